import os
from pathlib import Path

import msgspec
import pytest

from app.listing_text import what
from engine.protocol.durability import fleeting, warning
from engine.protocol.listing import Listed, RunsReader
from engine.protocol.runs import Owner, RunFolder, RunSummary, State, boot_id, runs_folder, start_ticks

NOW_S = 1_780_000_000.0
AGO = "2026-05-28T20:20:00.000Z"  # 373 s before NOW_S is 20:26:40


def made(root: Path, state: State, *, alive: bool, **more: object) -> RunFolder:
    run = RunFolder(runs_folder(root) / "0528-2000-sft-a7f0")
    run.path.mkdir(parents=True)
    run.config.write_text("")
    summary = RunSummary(run_id=run.run_id, name="sft", state=state, stage="train", created_at=AGO, updated_at=AGO, since=AGO)
    run.state.write_bytes(msgspec.json.encode(msgspec.structs.replace(summary, **more)))
    ticks = start_ticks(os.getpid()) or 0
    owner = Owner(
        uuid="0", epoch=1, hostname=os.uname().nodename, boot_id=boot_id(), pid=os.getpid(), start_ticks=ticks, released=not alive
    )
    run.owner.write_bytes(msgspec.json.encode(owner))
    return run


def listed(root: Path) -> Listed:
    (found,) = RunsReader(root, clock=lambda: NOW_S).read()
    return found


@pytest.mark.parametrize(
    ("state", "more", "shown", "said"),
    [
        ("queued", {"behind": "0528-1900-big-a7f1"}, "queued", "behind 0528-1900-big-a7f1, for 6 min"),
        ("loading", {"loaded_bytes": 31 << 30, "load_total_bytes": 65 << 30}, "loading", "31.0 GiB of 65.0 GiB"),
        ("loading", {}, "loading", "for 6 min"),
        ("running", {"heard_at": AGO}, "silent", "no word from the worker for 6 min"),
        ("running", {"heard_at": "2026-05-28T20:26:30Z", "step": 3, "steps": 9}, "running", "step 3 of 9"),
        ("blocked", {"detail": "leakage"}, "blocked", "by leakage"),
        ("finished", {"stage": "gates"}, "finished", "done up to gates, as asked"),
    ],
)
def test_a_run_is_called_what_it_is(tmp_path, state, more, shown, said):
    made(tmp_path, state, alive=True, **more)
    found = listed(tmp_path)
    assert found.state == shown and said in what(found, NOW_S)


def test_without_an_owner_a_live_state_is_interrupted_and_a_run_without_one_a_draft(tmp_path):
    run = made(tmp_path, "running", alive=False)
    assert listed(tmp_path).state == "interrupted"
    run.state.unlink()
    assert listed(tmp_path).state == "draft" and "resume starts it" in what(listed(tmp_path), NOW_S)


def test_a_workspace_on_the_containers_own_layer_goes_with_the_pod(tmp_path):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 0:1 / / rw - overlay overlay rw\n"
        f"2 1 0:2 / {tmp_path}/volume rw - ext4 /dev/sdb rw\n"
        f"3 2 0:3 / {tmp_path}/volume/quick rw shared:1 - tmpfs tmpfs rw\n"
    )
    (tmp_path / "volume" / "quick").mkdir(parents=True)
    assert "own layer" in fleeting(tmp_path / "w" / "not there yet", mounts)
    assert fleeting(tmp_path / "volume" / "w", mounts) == "" == warning(tmp_path / "volume", mounts)
    assert "memory" in warning(tmp_path / "volume" / "quick" / "w", mounts)
    assert fleeting(tmp_path, tmp_path / "nothing") == ""
