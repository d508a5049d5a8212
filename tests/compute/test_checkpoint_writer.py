"""Checkpoints are written beside the training: by steps, by the clock, never two at once, and no failure is lost."""

import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.compute import checkpoint as checkpoints
from engine.compute import checkpoint_writer
from engine.compute.checkpoint import Checkpoint, CheckpointFolder, TrainerState
from engine.compute.checkpoint_writer import CheckpointWriter
from engine.compute.host_copies import on_host
from engine.compute.train import Trainer, train_stage
from engine.protocol.config import TrainTable
from engine.protocol.errors import DiskFullError, StopRequested
from engine.protocol.events import CheckpointFailed, CheckpointWritten, Rewound, StepTrained
from engine.protocol.plans import ComputePlan

Contexts = Callable[..., Any]


def made(step: int) -> Checkpoint:
    tensors = {"a.weight": torch.full((3,), float(step))}
    return Checkpoint(TrainerState(step=step), tensors, {"state": {}}, None, ComputePlan(row_tokens=8), {}, 1)


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "checkpoints", course={"[train]": "c"}, keep=2)


def test_a_file_that_cannot_be_written_is_an_event_and_not_the_end(folder: CheckpointFolder) -> None:
    """For another reason than space: here the process may write files of 4 KiB, on a pod a volume may be gone for a moment."""
    large = made(3)
    large.adapter["a.weight"] = torch.zeros(100_000)
    writer, before = CheckpointWriter(folder, TrainTable()), resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        list(writer.start(large))
        (event,) = writer.settle()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert isinstance(event, CheckpointFailed) and "large" in event.reason
    assert list(folder.folder.iterdir()) == []


class Gate:
    """Holds every write until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.open, self.at_once, self.most = threading.Event(), threading.Event(), 0, 0
        real = CheckpointFolder.write

        def write(folder: CheckpointFolder, checkpoint: Checkpoint) -> Any:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            self.begun.set()
            assert self.open.wait(200)
            self.at_once -= 1
            return real(folder, checkpoint)

        monkeypatch.setattr(CheckpointFolder, "write", write)


def test_the_loop_goes_on_while_a_checkpoint_is_written(folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, writer = Gate(monkeypatch), CheckpointWriter(folder, TrainTable())
    assert list(writer.start(made(1))) == []
    assert gate.begun.wait(200)
    assert list(writer.finished()) == []
    assert writer.has(TrainerState(step=1)) and not writer.has(TrainerState(step=2))
    gate.open.set()
    (told,) = writer.settle()
    assert isinstance(told, CheckpointWritten) and told.step == 1 and folder.steps() == [1]
    assert list(writer.settle()) == []


def test_a_second_write_waits_for_the_first(folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, writer = Gate(monkeypatch), CheckpointWriter(folder, TrainTable())
    list(writer.start(made(1)))
    threading.Timer(0.05, gate.open.set).start()
    (told,) = writer.start(made(2))
    assert isinstance(told, CheckpointWritten) and told.step == 1
    (told,) = writer.settle()
    assert isinstance(told, CheckpointWritten) and (told.step, told.kept) == (2, 2)
    assert gate.most == 1


@pytest.mark.parametrize("error", [DiskFullError("no space"), OSError("input/output error"), MemoryError()])
def test_a_failure_is_an_event_and_the_checkpoint_is_not_taken_to_be_there(
    folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(CheckpointFolder, "write", fails)
    writer = CheckpointWriter(folder, TrainTable())
    list(writer.start(made(3)))
    (told,) = writer.settle()
    assert isinstance(told, CheckpointFailed) and told.step == 3 and told.reason
    assert not writer.has(TrainerState(step=3))


def test_a_bug_in_the_writer_is_raised_in_the_loop(folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(CheckpointFolder, "write", fails)
    writer = CheckpointWriter(folder, TrainTable())
    list(writer.start(made(3)))
    with pytest.raises(KeyError):
        list(writer.settle())


def test_checkpoints_are_due_by_steps_by_the_clock_and_at_the_end(
    folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(checkpoint_writer.time, "monotonic", lambda: now[0])
    both = CheckpointWriter(folder, TrainTable(checkpoint_every_s=60, checkpoint_every_steps=10))
    assert [both.due(TrainerState(step=step)) for step in (9, 10, 11)] == [False, True, False]
    now[0] += 60
    assert both.due(TrainerState(step=11))
    both.resumed(TrainerState(step=11))
    assert not both.due(TrainerState(step=12))
    by_steps = CheckpointWriter(folder, TrainTable(checkpoint_every_s=0, checkpoint_every_steps=10))
    now[0] += 1e9
    assert not by_steps.due(TrainerState(step=11)) and by_steps.due(TrainerState(step=20))
    never = CheckpointWriter(folder, TrainTable(checkpoint_every_s=0))
    now[0] += 1e9
    assert not never.due(TrainerState(step=11)) and never.due(TrainerState(step=11, ended="early"))


def test_a_state_is_copied_so_that_later_steps_do_not_change_what_is_written() -> None:
    state, moments = TrainerState(step=1), {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
    copied, kept = state.copy(), on_host(moments)
    state.losses.append(checkpoints.StepRecord(2, 1.0, 0.1, 1.0))
    moments["state"][0]["exp_avg"].fill_(7)
    moments["param_groups"][0]["lr"] = 9
    assert copied.losses == [] and not kept["state"][0]["exp_avg"].any() and kept["param_groups"] == [{"lr": 0.1}]


@pytest.mark.usefixtures("copies_of_loaded_models")
def test_a_snapshot_is_taken_once_the_one_before_is_written(context_of: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them at once would be 3 GB of the host's memory on the reference model."""
    real, writing = Trainer._snapshot, []

    def snapshot(trainer: Any) -> Checkpoint:
        writing.append(trainer._writer._thread is not None)
        return real(trainer)

    monkeypatch.setattr(Trainer, "_snapshot", snapshot)
    train_stage(context_of(checkpoint_every_steps=1, dev_share=0.0, stop_after=None))
    assert len(writing) > 3 and not any(writing)


@pytest.mark.usefixtures("copies_of_loaded_models")
def test_training_does_not_wait_for_the_disk_but_its_end_and_a_stop_do(
    context_of: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    context = context_of(checkpoint_every_steps=2, dev_share=0.0, stop_after=4)
    emit = context.emit

    def open_after_step_3(event: Any) -> None:
        emit(event)
        if isinstance(event, StepTrained) and event.step == 3:
            gate.open.set()

    context.emit = open_after_step_3
    with pytest.raises(StopRequested):
        train_stage(context)
    order = [(type(event).__name__, event.step) for event in context.events if isinstance(event, StepTrained | CheckpointWritten)]
    assert order.index(("StepTrained", 3)) < order.index(("CheckpointWritten", 2))
    assert order[-1] == ("CheckpointWritten", 4)
    assert (context.run.checkpoints / "step-4" / "checkpoint.json").is_file()


class KilledError(BaseException):
    """As if the process were gone: nothing that handles errors sees it."""


@pytest.mark.usefixtures("copies_of_loaded_models")
class TestKilledAnywhere:
    """A run that dies after any step, or with a checkpoint half-written, ends with the bits of one that did not."""

    @pytest.fixture(scope="class")
    def whole(self) -> dict[str, bytes]:
        return {}

    def reference(self, whole: dict[str, bytes], context_of: Contexts) -> bytes:
        if not whole:
            context = context_of("whole", checkpoint_every_steps=3)
            train_stage(context)
            whole["adapter"] = (context.run.adapter / "adapter_model.safetensors").read_bytes()
        return whole["adapter"]

    @pytest.mark.parametrize("step", range(1, 7))
    def test_after_a_step(self, whole: dict[str, bytes], context_of: Contexts, step: int) -> None:
        expected = self.reference(whole, context_of)
        first = context_of("killed", checkpoint_every_steps=3)
        emit = first.emit

        def dies(event: Any) -> None:
            emit(event)
            if isinstance(event, StepTrained) and event.step == step:
                raise KilledError

        first.emit = dies
        with pytest.raises(KilledError):
            train_stage(first)
        second = context_of("killed", checkpoint_every_steps=3)
        train_stage(second)
        assert [event.step for event in second.of(Rewound)] == [(step - 1) // 3 * 3]
        assert (second.run.adapter / "adapter_model.safetensors").read_bytes() == expected

    @pytest.mark.parametrize("files", [1, 2])
    def test_while_a_checkpoint_is_written(
        self, whole: dict[str, bytes], context_of: Contexts, monkeypatch: pytest.MonkeyPatch, files: int
    ) -> None:
        expected = self.reference(whole, context_of)
        real = checkpoints._fill

        def stops(folder: Path, checkpoint: Checkpoint) -> Any:
            written = real(folder, checkpoint)
            if checkpoint.state.step == 6:
                for path in sorted(folder.iterdir())[files:]:
                    path.unlink()
                raise KilledError
            return written

        first = context_of("torn", checkpoint_every_steps=3)
        with monkeypatch.context() as patched:
            patched.setattr(checkpoints, "_fill", stops)
            # what a killed writer leaves stays, as nothing of it runs any more
            patched.setattr("engine.store.atomic.shutil.rmtree", lambda *_, **__: None)
            with pytest.raises(KilledError):
                train_stage(first)
        assert any(path.name.startswith(".step-6") for path in first.run.checkpoints.iterdir())
        second = context_of("torn", checkpoint_every_steps=3)
        train_stage(second)
        assert [event.step for event in second.of(Rewound)] == [3]
        assert not any(path.name.startswith(".") for path in second.run.checkpoints.iterdir())
        assert (second.run.adapter / "adapter_model.safetensors").read_bytes() == expected
