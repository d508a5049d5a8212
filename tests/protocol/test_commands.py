import errno
import os
import re
import stat
from pathlib import Path

import msgspec
import pytest

from engine.protocol.commands import Command, send_command, utc_now, waiting_commands
from engine.protocol.runs import RunFolder


def test_a_command_is_found_with_all_it_says(tmp_path: Path):
    run = RunFolder(tmp_path)
    assert waiting_commands(run) == []
    made = send_command(run, "stop", "ada@lab")
    [(path, found)] = waiting_commands(run)
    assert found == made
    assert path.name == f"{made.uuid}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(run.commands.stat().st_mode) == 0o700


def test_the_oldest_comes_first_and_what_is_no_command_is_ignored(tmp_path: Path):
    run = RunFolder(tmp_path)
    run.commands.mkdir()
    for name, at in [("b", "2026-01-02"), ("a", "2026-01-03"), ("c", "2026-01-01")]:
        command = Command(uuid=name, command="stop", who="w", asked_at=at)
        (run.commands / f"{name}.json").write_bytes(msgspec.json.encode(command))
    for name, content in [("x", b"{"), ("y", b'{"uuid":"y","command":"explode","who":"w","asked_at":"t"}'), ("z", b"\xff")]:
        (run.commands / f"{name}.json").write_bytes(content)
    (run.commands / ".hidden.tmp").write_bytes(b"")
    assert [command.uuid for _, command in waiting_commands(run)] == ["c", "b", "a"]


def test_the_present_has_milliseconds_and_sorts_as_text():
    first, second = utc_now(), utc_now()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first)
    assert first <= second


@pytest.mark.parametrize("command", ["stop", "checkpoint"])
def test_a_full_disk_has_room_for_a_command(tmp_path, monkeypatch, command):
    run = RunFolder(tmp_path)

    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    def full(descriptor, _):
        os.close(descriptor)
        return Full()

    monkeypatch.setattr(os, "fdopen", full)
    made = send_command(run, command, "ada@lab")
    [(path, found)] = waiting_commands(run)
    assert (found.uuid, found.command, path.stat().st_size) == (made.uuid, command, 0)
    assert found.who == f"user {os.getuid()}" and found.asked_at[:10] == made.asked_at[:10]
    assert list(run.commands.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    run = RunFolder(tmp_path)

    def refused(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    run.commands.mkdir()
    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(OSError, match="Read-only file system") as caught:
        send_command(run, "stop", "ada@lab")
    assert str(run.commands) in str(caught.value)


def test_files_that_are_no_commands_are_ignored(tmp_path):
    run = RunFolder(tmp_path)
    run.commands.mkdir()
    for name in ("a.json", "b.start", "c", ".d.stop"):
        (run.commands / name).touch()
    assert waiting_commands(run) == []
