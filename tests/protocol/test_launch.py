import os
import stat
import time
from pathlib import Path

import msgspec
import pytest

from engine.protocol import events as ev
from engine.protocol import launch
from engine.protocol.config import Config, DataTable, ModelTable
from engine.protocol.errors import EngineError, RunBusyError
from engine.protocol.journal_tail import JournalTail
from engine.protocol.launch import start_supervisor
from engine.protocol.runs import Owner, RunFolder, boot_id, read_owner, start_ticks
from engine.store.create_run import create_run

ROOT = Path(__file__).parents[2]
FACTS = {"path": "x", "sha256": "y", "records": 1}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run whose gates are done, so that a supervisor up to `gates` needs no worker."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    data = tmp_path / "data.jsonl"
    data.write_text("")
    made = create_run(
        Config(model=ModelTable(path=str(tmp_path)), data=DataTable(train=str(data), held_out=str(data))), tmp_path / "workspace"
    )
    made.gates.write_bytes(msgspec.json.encode({"passed": True, "gates": [], "dataset": FACTS, "held_out": FACTS}))
    made.prereg.write_text("{}")
    return made


def owned_by(run: RunFolder, **changes: object) -> None:
    owner = Owner(
        uuid="u",
        epoch=3,
        hostname=os.uname().nodename,
        boot_id=boot_id(),
        pid=os.getpid(),
        start_ticks=start_ticks(os.getpid()) or 0,
    )
    run.owner.write_bytes(msgspec.json.encode(msgspec.structs.replace(owner, **changes)))


def await_release(run: RunFolder) -> Owner:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        owner = read_owner(run)
        if owner is not None and owner.released:
            return owner
        time.sleep(0.01)
    raise AssertionError(f"no supervisor came and went: {run.engine_log.read_text()}")


def test_a_detached_supervisor_does_its_work(run: RunFolder):
    start_supervisor(run, "gates")
    owner = await_release(run)
    events = [event for _, event in JournalTail(run.journal).poll_all()]
    assert [type(event) for event in events] == [ev.RunCreated, ev.SupervisorStarted, ev.RunFinished]
    with pytest.raises(ChildProcessError):
        os.waitpid(owner.pid, os.WNOHANG)
    assert stat.S_IMODE(run.engine_log.stat().st_mode) == 0o600
    assert run.engine_log.read_bytes() == b""


def test_a_file_of_a_modules_name_in_the_run_folder_is_not_run(run: RunFolder):
    for name in ("subprocess.py", "msgspec.py", "engine.py"):
        (run.path / name).write_text("raise SystemExit(9)")
    start_supervisor(run, "gates")
    assert await_release(run).epoch == 1


def test_a_live_run_is_not_started_again(run: RunFolder):
    owned_by(run)
    with pytest.raises(RunBusyError, match=f"sluice watch {run.run_id}"):
        start_supervisor(run)


def test_a_run_that_beats_on_another_host_is_not_started_again(run: RunFolder):
    owned_by(run, hostname="elsewhere", boot_id="other")
    with pytest.raises(RunBusyError):
        start_supervisor(run)
    assert not list(run.path.glob(".probe*"))


def test_a_folder_that_cannot_be_written_is_one_clear_message(run: RunFolder):
    run.engine_log.mkdir()
    with pytest.raises(EngineError, match=r"could not be started: Is a directory: .*engine\.log"):
        start_supervisor(run)


def test_places_of_modules_mean_the_same_from_the_runs_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f".{os.pathsep}/somewhere")
    assert launch._environment()["PYTHONPATH"] == f"{tmp_path}{os.pathsep}/somewhere"
    monkeypatch.delenv("PYTHONPATH")
    assert "PYTHONPATH" not in launch._environment()
