import os
import time
from pathlib import Path

import msgspec
import pytest

from engine.protocol import runs as runs_module
from engine.protocol.errors import RunFolderError
from engine.protocol.runs import (
    Owner,
    OwnerWatch,
    RunFolder,
    RunSummary,
    find_run,
    is_run_folder,
    list_runs,
    new_run_id,
    read_owner,
    read_summary,
    runs_folder,
    start_ticks,
    workspace,
)


def make(root: Path, name: str, age_s: int = 0) -> RunFolder:
    path = runs_folder(root) / name
    path.mkdir(parents=True)
    (path / "config.toml").write_text("")
    os.utime(path / "config.toml", (time.time() - age_s, time.time() - age_s))
    return RunFolder(path)


def test_a_run_id_has_time_name_and_four_digits():
    made = new_run_id("my.run-1", time.strptime("2026-03-07 04:05", "%Y-%m-%d %H:%M"), b"\x0a\xbc\xff")
    assert made == "0307-0405-my.run-1-0abc"


def test_the_workspace_is_the_named_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert workspace({"SLUICE_WORKSPACE": "there"}) == tmp_path / "there"
    assert workspace({}) in (tmp_path / "workspace", Path("/workspace"))


def test_runs_are_listed_newest_first_and_other_folders_left_out(tmp_path: Path):
    old, new = make(tmp_path, "0101-0000-a-0001", 100), make(tmp_path, "0101-0000-a-0002")
    make(tmp_path, "notes")
    (runs_folder(tmp_path) / "0101-0000-a-0003").mkdir()
    assert [run.run_id for run in list_runs(tmp_path)] == [new.run_id, old.run_id]
    assert list_runs(tmp_path / "nothing") == []
    assert not is_run_folder(runs_folder(tmp_path) / "notes")


def test_a_run_that_is_removed_between_two_looks_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kept, gone = (RunFolder(runs_folder(tmp_path) / name) for name in ("0528-2000-kept-a7f0", "0528-2000-gone-a7f1"))
    for run in (kept, gone):
        run.path.mkdir(parents=True)
        run.config.write_text("")

    def there(path: Path) -> bool:
        if path == gone.path:
            gone.config.unlink()
        return True

    monkeypatch.setattr(runs_module, "is_run_folder", there)
    assert [run.run_id for run in list_runs(tmp_path)] == [kept.run_id]


def test_a_run_is_found_by_last_id_prefix_name_and_path(tmp_path: Path):
    old, new = make(tmp_path, "0101-0000-alpha-0001", 100), make(tmp_path, "0102-0000-beta-0002")
    for name, run in [("last", new), (old.run_id, old), ("0101", old), ("alpha", old), (str(new.path), new)]:
        assert find_run(name, tmp_path).path == run.path, name


@pytest.mark.parametrize(
    ("name", "message"),
    [("01", "fits 2 runs: .*write more"), ("zz", "there is none .*known are"), ("./zz", "is not a run folder")],
)
def test_a_run_that_cannot_be_told_is_an_error(tmp_path: Path, name: str, message: str):
    make(tmp_path, "0101-0000-alpha-0001")
    make(tmp_path, "0102-0000-beta-0002")
    with pytest.raises(RunFolderError, match=message):
        find_run(name, tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a":1}', b"[]"])
def test_half_written_files_read_as_nothing(tmp_path: Path, content: bytes):
    run = RunFolder(tmp_path)
    assert read_owner(run) is None
    run.owner.write_bytes(content)
    run.state.write_bytes(content)
    assert read_owner(run) is None
    assert read_summary(run) is None
    assert not OwnerWatch(run).alive()


def test_a_summary_survives_the_disk(tmp_path: Path):
    run = RunFolder(tmp_path)
    made = RunSummary(
        run_id="r", name="n", state="disk full", stage="train", created_at="a", updated_at="b", eta_s=1.5, flags=("WEAK",)
    )
    run.state.write_bytes(msgspec.json.encode(made))
    assert read_summary(run) == made


def test_start_ticks_tell_processes_apart():
    mine = start_ticks(os.getpid())
    assert mine is not None
    assert start_ticks(2**22 + 1) is None


def test_an_owner_with_a_reused_pid_is_dead(tmp_path: Path):
    from engine.protocol.runs import boot_id

    run = RunFolder(tmp_path)
    ticks = start_ticks(os.getpid()) or 0
    owner = Owner(uuid="u", epoch=1, hostname=os.uname().nodename, boot_id=boot_id(), pid=os.getpid(), start_ticks=ticks)
    run.owner.write_bytes(msgspec.json.encode(owner))
    assert OwnerWatch(run).alive()
    run.owner.write_bytes(msgspec.json.encode(msgspec.structs.replace(owner, start_ticks=ticks + 1)))
    assert not OwnerWatch(run).alive()
    run.owner.write_bytes(msgspec.json.encode(msgspec.structs.replace(owner, released=True)))
    assert not OwnerWatch(run).alive()
