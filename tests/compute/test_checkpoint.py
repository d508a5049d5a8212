"""Checkpoints: whole or not there, the right ones kept, damage and full disks survived; and the end of training on a full disk."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from engine.compute import checkpoint as checkpoints
from engine.compute import finish
from engine.compute.checkpoint import Checkpoint, CheckpointFolder, DevRecord, StepRecord, TrainerState
from engine.compute.train import train_stage
from engine.protocol.errors import DiskFullError, EngineError, InputError, StopRequested
from engine.protocol.events import (
    AdapterSaved,
    CheckpointFailed,
    CheckpointWritten,
    DiskFilled,
    DiskFreed,
    Rewound,
    StepTrained,
    Warned,
)
from engine.protocol.plans import ComputePlan
from engine.store import disk_patience
from engine.store.hashes import sha256_bytes
from engine.store.stages import stage_complete

pytestmark = pytest.mark.usefixtures("copies_of_loaded_models")

Contexts = Callable[..., Any]
FILES = (
    "adapter_model.safetensors", "optimizer.safetensors", "optimizer.json", "best_adapter.safetensors", "trainer_state.json", "checkpoint.json",
)  # fmt: skip


def made(step: int, best_step: int | None = None) -> Checkpoint:
    tensors = {"a.weight": torch.full((3, 2), float(step)), "b.weight": torch.arange(4.0) + step}
    optimizer = {
        "state": {0: {"step": torch.tensor(float(step)), "exp_avg": torch.ones(3, 2) / 3}},
        "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "fused": None, "amsgrad": False, "params": [0]}],
    }
    state = TrainerState(
        step=step, losses=[StepRecord(n, 1 / 3 + n, 2e-4, 0.1) for n in range(1, step + 1)], dev=[DevRecord(step, 0.1 + 0.2)],
        best_step=best_step, best_loss=None if best_step is None else 0.1, waited=2,
    )  # fmt: skip
    best = {name: value + 0.5 for name, value in tensors.items()} if best_step not in (None, step) else None
    return Checkpoint(state, tensors, optimizer, best, ComputePlan(row_tokens=64), {"torch": "1"}, 2)


def folder(path: Path, settings: str = "s", data: str = "d", keep: int = 2) -> CheckpointFolder:
    return CheckpointFolder(path / "checkpoints", course={"[train]": settings, "the training examples": data}, keep=keep)


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    written = folder(tmp_path).write(made(5, best_step=3))
    assert written.path.name == "step-5" and written.kept == 1
    assert sorted(path.name for path in written.path.iterdir()) == sorted(FILES)
    assert {path.stat().st_mode & 0o777 for path in written.path.iterdir()} == {0o600}
    found, expected = folder(tmp_path).newest([]), made(5, best_step=3)
    assert found is not None and found.state == expected.state and found.best is not None and expected.best is not None
    assert all(torch.equal(found.adapter[name], value) for name, value in expected.adapter.items())
    assert all(torch.equal(found.best[name], value) for name, value in expected.best.items())
    assert torch.equal(found.optimizer["state"][0]["exp_avg"], torch.ones(3, 2) / 3)
    (group,) = found.optimizer["param_groups"]
    assert group == {"lr": 0.1, "betas": [0.9, 0.999], "fused": None, "amsgrad": False, "params": [0]}
    assert (found.versions, found.threads) == ({"torch": "1"}, 2)
    assert found.plan == ComputePlan(row_tokens=64)


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    store = folder(tmp_path)
    for step, best in ((2, 2), (4, 2), (6, 2), (8, 2)):
        store.write(made(step, best))
    assert store.steps() == [8, 6, 2]
    store.write(made(10, best_step=10))
    assert store.steps() == [10, 8]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path, name: str, damage: str) -> None:
    store = folder(tmp_path)
    store.write(made(2, best_step=1))
    store.write(made(4, best_step=1))
    path = store.path(4) / name
    whole = path.read_bytes()
    half = len(whole) // 2
    if damage == "truncated":
        path.write_bytes(whole[:half])
    elif damage == "flipped":
        path.write_bytes(whole[:half] + bytes([whole[half] ^ 0xFF]) + whole[half + 1 :])
    else:
        path.unlink()
    warnings: list[str] = []
    found = store.newest(warnings)
    assert found is not None and found.state.step == 2
    assert len(warnings) == 1 and "step-4: cannot be used" in warnings[0]
    assert store.steps() == [2]


@pytest.mark.parametrize(
    "text", ["null", "[]", '"x"', '{"dict":null}', '{"dict":[[{},{"value":1}]]}', '{"value":1}', '{"tensor":"x"}']
)
def test_an_optimizers_form_that_is_none_is_passed_over(tmp_path: Path, text: str) -> None:
    """Also where its hash is right: a writer may be wrong."""
    store = folder(tmp_path)
    store.write(made(2))
    path = store.write(made(4)).path
    (path / "optimizer.json").write_text(text)
    manifest = json.loads((path / "checkpoint.json").read_text())
    manifest["files"]["optimizer.json"] = {"size_bytes": len(text), "sha256": sha256_bytes(text.encode())}
    (path / "checkpoint.json").write_text(json.dumps(manifest))
    warnings: list[str] = []
    found = store.newest(warnings)
    assert found is not None and found.state.step == 2 and "step-4: cannot be used" in warnings[0]


def test_checkpoints_of_another_course_are_neither_used_nor_removed(tmp_path: Path) -> None:
    store = folder(tmp_path)
    store.write(made(2))
    store.write(made(4))
    warnings: list[str] = []
    for other, what in ((folder(tmp_path, settings="x"), "[train]"), (folder(tmp_path, data="x"), "the training examples")):
        with pytest.raises(InputError) as caught:
            other.newest(warnings)
        assert f"step-4: was written before these changed: {what}; put them back" in str(caught.value)
    assert (store.steps(), warnings) == ([4, 2], [])


def test_checkpoints_of_another_version_are_neither_used_nor_removed(tmp_path: Path) -> None:
    store = folder(tmp_path)
    manifest = store.write(made(4)).path / "checkpoint.json"
    manifest.write_text(manifest.read_text().replace('"format": 5', '"format": 3'))
    with pytest.raises(InputError, match=r"step-4: another version of sluice wrote it \(format 3, expected 5\)"):
        store.newest([])
    assert store.steps() == [4]


def test_a_disk_that_cannot_be_read_costs_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = folder(tmp_path)
    store.write(made(4))

    def stale(_: Path) -> bytes:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(Path, "read_bytes", stale)
    with pytest.raises(EngineError, match=r"step-4: cannot be read \(Stale file handle\)"):
        store.newest([])
    assert store.steps() == [4]


def test_a_checkpoint_of_another_step_than_it_says_is_passed_over(tmp_path: Path) -> None:
    store = folder(tmp_path)
    store.write(made(2))
    store.write(made(4)).path.rename(store.path(9))
    warnings: list[str] = []
    found = store.newest(warnings)
    assert found is not None and found.state.step == 2
    assert "its folder is of step 9, its manifest of 4" in warnings[0]


def test_no_checkpoint_is_no_warning(tmp_path: Path) -> None:
    warnings: list[str] = []
    assert folder(tmp_path).newest(warnings) is None and warnings == []


def test_a_write_that_fails_leaves_the_others_and_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = folder(tmp_path)
    store.write(made(2))

    def full(folder: Path, _: Checkpoint) -> Any:
        (folder / "adapter_model.safetensors").write_bytes(b"some bytes")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "_fill", full)
    with pytest.raises(DiskFullError):
        store.write(made(4))
    assert [path.name for path in store.folder.iterdir()] == ["step-2"]


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    store = folder(tmp_path)
    store.write(made(2))
    shutil.copytree(store.path(2), store.folder / ".step-4.0a1b2c3d.tmp")
    assert store.steps() == [2]
    assert store.newest([]) is not None
    assert [path.name for path in store.folder.iterdir()] == ["step-2"]


def test_training_goes_on_when_a_checkpoint_cannot_be_written(context_of: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = context_of("whole", dev_every_steps=2)
    train_stage(whole)
    context, real = context_of("full", dev_every_steps=2), checkpoints.CheckpointFolder.write

    def sometimes(self: Any, checkpoint: Checkpoint) -> Any:
        if checkpoint.state.step == 4:
            raise DiskFullError("no space or quota left")
        return real(self, checkpoint)

    monkeypatch.setattr(checkpoints.CheckpointFolder, "write", sometimes)
    train_stage(context)
    assert [(event.step, "no space" in event.reason) for event in context.of(CheckpointFailed)] == [(4, True)]
    assert 4 in [event.step for event in whole.of(CheckpointWritten)]
    name = "adapter_model.safetensors"
    assert (context.run.adapter / name).read_bytes() == (whole.run.adapter / name).read_bytes()


def test_a_truncated_checkpoint_of_a_real_run_costs_only_the_steps_since_the_one_before(context_of: Contexts) -> None:
    whole = context_of("whole", checkpoint_every_steps=2)
    train_stage(whole)
    first = context_of("damaged", checkpoint_every_steps=2, stop_after=4)
    with pytest.raises(StopRequested):
        train_stage(first)
    damaged = first.run.checkpoints / "step-4" / "optimizer.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    second = context_of("damaged", checkpoint_every_steps=2)
    train_stage(second)
    assert len(second.of(Warned)) == 1 and "step-4: cannot be used" in second.of(Warned)[0].text
    before = second.of(Rewound)[0].step
    assert before in (2, 3) and second.of(StepTrained)[0].step == before + 1
    name = "adapter_model.safetensors"
    assert (second.run.adapter / name).read_bytes() == (whole.run.adapter / name).read_bytes()


def test_other_settings_are_told_and_the_checkpoints_left(context_of: Contexts) -> None:
    first = context_of(stop_after=3)
    with pytest.raises(StopRequested):
        train_stage(first)
    kept = sorted(path.name for path in first.run.checkpoints.iterdir())
    with pytest.raises(InputError, match=r"was written before these changed: \[train\]"):
        train_stage(context_of(lr=1e-3))
    assert sorted(path.name for path in first.run.checkpoints.iterdir()) == kept != []


@pytest.mark.parametrize("what", ["adapter", "optimizer", "step"])
def test_a_whole_checkpoint_that_does_not_fit_is_passed_over(context_of: Contexts, what: str) -> None:
    first = context_of(checkpoint_every_steps=2, stop_after=4)
    with pytest.raises(StopRequested):
        train_stage(first)
    path = first.run.checkpoints / "step-4"
    manifest = json.loads((path / "checkpoint.json").read_text())
    if what == "adapter":
        tensors = safetensors.torch.load_file(path / "adapter_model.safetensors")
        safetensors.torch.save_file(
            {name: value[:1].clone() for name, value in tensors.items()}, path / "adapter_model.safetensors"
        )
    elif what == "optimizer":
        form = (path / "optimizer.json").read_text()
        (path / "optimizer.json").write_text(form.replace('["params",{"list":[', '["params",{"list":[{"value":7},'))
    else:
        state = json.loads((path / "trainer_state.json").read_text())
        (path / "trainer_state.json").write_text(json.dumps(state | {"step": 99_999}))
        manifest["step"] = 99_999
        path = path.rename(path.with_name("step-99999"))
    for name in manifest["files"]:
        data = (path / name).read_bytes()
        manifest["files"][name] = {"size_bytes": len(data), "sha256": sha256_bytes(data)}
    (path / "checkpoint.json").write_text(json.dumps(manifest))
    second = context_of(checkpoint_every_steps=2)
    train_stage(second)
    assert [path.name in event.text and "cannot be used" in event.text for event in second.of(Warned)] == [True]
    assert second.of(Rewound)[0].step in (2, 3)


def test_the_adapter_waits_for_room_on_the_disk(context_of: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    context, real, refusals = context_of(dev_share=0.0), finish.write_training_success, iter([True, True, False])

    def sometimes(*arguments: Any) -> None:
        if next(refusals):
            raise DiskFullError("no space or quota left")
        real(*arguments)

    monkeypatch.setattr(finish, "write_training_success", sometimes)
    monkeypatch.setattr(disk_patience, "POLL_S", 0.0)
    train_stage(context)
    (filled,) = context.of(DiskFilled)
    assert filled.consequence == "waiting" and filled.free_bytes > 0
    kinds = [type(event) for event in context.events if isinstance(event, DiskFilled | DiskFreed | AdapterSaved)]
    assert kinds == [DiskFilled, DiskFreed, AdapterSaved]
    assert stage_complete(context.run, "train")


def test_a_stop_while_waiting_for_room_is_obeyed_and_resumed(context_of: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_of(dev_share=0.0)
    with monkeypatch.context() as patched:

        def full(*_: Any) -> None:
            context.stop_after = 0
            raise DiskFullError("no space or quota left")

        patched.setattr(finish, "atomic_write", full)
        with pytest.raises(StopRequested):
            train_stage(context)
    assert not stage_complete(context.run, "train")
    again = context_of(dev_share=0.0)
    train_stage(again)
    assert again.of(StepTrained) == []
    assert stage_complete(again.run, "train")
