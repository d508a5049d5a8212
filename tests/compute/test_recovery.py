"""Memory that runs out in training: the completed step is kept, plan.json knows, and what follows is bit for bit what it would have been."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from engine.compute import train as training
from engine.compute.checkpoint import CheckpointFolder
from engine.compute.gradients import BatchGradients
from engine.compute.train import train_stage
from engine.protocol.errors import DiskFullError, DisplacedError, MemoryRanOutError
from engine.protocol.events import CheckpointFailed, CheckpointWritten, DevEvaluated, MemoryRanOut, Rewound, StepTrained
from engine.store import run_plan
from engine.store.run_plan import read_run_plan

pytestmark = pytest.mark.usefixtures("copies_of_loaded_models")
Contexts = Callable[..., Any]
ALLOC_FAILED = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation")
ACCELERATOR = type("AcceleratorError", (RuntimeError,), {})("CUDA error: out of memory\nmore")


def adapter(context: Any) -> bytes:
    return bytes((context.run.adapter / "adapter_model.safetensors").read_bytes())


def failing_in_step(step: int, error: Exception, monkeypatch: pytest.MonkeyPatch, *, after_backward: bool) -> None:
    """Make `step` run out of memory, before its forward pass or once gradients are there."""
    real = BatchGradients.of

    def of(self: Any, plan: Any, examples: Any, number: int, following: Any = None) -> Any:
        if number == step and not after_backward:
            raise error
        total = real(self, plan, examples, number, following)
        if number == step:
            raise error
        return total

    monkeypatch.setattr(BatchGradients, "of", of)


@pytest.mark.parametrize("after_backward", [False, True])
@pytest.mark.parametrize("error", [OUT_OF_MEMORY, ACCELERATOR, ALLOC_FAILED], ids=["allocator", "driver", "library"])
def test_the_completed_step_is_kept_and_the_next_worker_goes_on_from_it(
    context_of: Contexts, monkeypatch: pytest.MonkeyPatch, error: Exception, after_backward: bool
) -> None:
    whole = context_of("whole")
    train_stage(whole)
    first = context_of("lost")
    with monkeypatch.context() as patched:
        failing_in_step(5, error, patched, after_backward=after_backward)
        with pytest.raises(MemoryRanOutError, match="out of GPU memory: CUDA"):
            train_stage(first)
    (told,) = first.of(MemoryRanOut)
    assert (told.stage, told.step) == ("train", 4)
    assert "\n" not in told.reason
    assert first.of(CheckpointWritten)[-1].step == 4
    (known,) = read_run_plan(first.run).recoveries
    assert (known.stage, known.step, known.plan, known.reason) == ("train", 4, "plain", told.reason)
    assert known.predicted_peak_bytes == told.predicted_peak_bytes > 0
    second = context_of("lost")
    train_stage(second)
    assert [event.step for event in second.of(Rewound)] == [4]
    assert second.of(StepTrained)[0].step == 5, "the step is never reset"
    assert adapter(second) == adapter(whole)


def test_memory_that_runs_out_inside_the_optimizer_leaves_the_checkpoint_before(
    context_of: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some weights may have moved and others not, so nothing of this process is written."""
    whole = context_of("whole", checkpoint_every_steps=3)
    train_stage(whole)
    first = context_of("lost", checkpoint_every_steps=3)
    steps, real = iter(range(1, 100)), torch.optim.AdamW.step

    def step(self: Any, *arguments: Any) -> Any:
        found = real(self, *arguments)
        if next(steps) == 5:
            raise OUT_OF_MEMORY
        return found

    with monkeypatch.context() as patched:
        patched.setattr(torch.optim.AdamW, "step", step)
        with pytest.raises(MemoryRanOutError):
            train_stage(first)
    assert [event.step for event in first.of(CheckpointWritten)] == [3]
    second = context_of("lost", checkpoint_every_steps=3)
    train_stage(second)
    assert second.of(Rewound)[0].step == 3
    assert adapter(second) == adapter(whole)


def test_memory_that_runs_out_in_the_dev_loss_keeps_the_step_and_the_dev_loss_follows(
    context_of: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = context_of("whole")
    train_stage(whole)
    first, real = context_of("lost"), training.Trainer._evaluate

    def evaluate(self: Any) -> Any:
        if self._state.step == 6:
            raise OUT_OF_MEMORY
        return real(self)

    with monkeypatch.context() as patched:
        patched.setattr(training.Trainer, "_evaluate", evaluate)
        with pytest.raises(MemoryRanOutError):
            train_stage(first)
    second = context_of("lost")
    train_stage(second)
    assert second.of(Rewound)[0].step == 6
    assert first.of(DevEvaluated) + second.of(DevEvaluated) == whole.of(DevEvaluated)
    assert adapter(second) == adapter(whole)


def test_where_the_checkpoint_fails_too_the_last_one_serves(context_of: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    first, real = context_of("lost", checkpoint_every_steps=2), CheckpointFolder.write

    def write(self: Any, checkpoint: Any) -> Any:
        if checkpoint.state.step == 5:
            raise RuntimeError("CUDA error: out of memory")
        return real(self, checkpoint)

    with monkeypatch.context() as patched:
        patched.setattr(CheckpointFolder, "write", write)
        failing_in_step(6, OUT_OF_MEMORY, patched, after_backward=True)
        with pytest.raises(MemoryRanOutError):
            train_stage(first)
    assert [event.step for event in first.of(CheckpointFailed)] == [5]
    assert first.of(MemoryRanOut)[0].step == 5
    second = context_of("lost", checkpoint_every_steps=2)
    train_stage(second)
    assert second.of(Rewound)[0].step == 4


def test_where_the_device_is_of_no_use_any_more_the_last_checkpoint_serves(
    context_of: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that checkpoint is still being written when memory runs out: it is told, too."""
    first, real, real_write, ran_out = (
        context_of("lost", checkpoint_every_steps=2),
        BatchGradients.of,
        CheckpointFolder.write,
        threading.Event(),
    )

    def of(self: Any, plan: Any, examples: Any, number: int, following: Any = None) -> Any:
        if number == 6:

            def broken() -> None:
                raise RuntimeError("CUDA error: unspecified launch failure")

            monkeypatch.setattr(self._bank, "zero_grad", broken)
            ran_out.set()
            raise OUT_OF_MEMORY
        return real(self, plan, examples, number, following)

    def write(self: Any, checkpoint: Any) -> Any:
        assert checkpoint.state.step != 4 or ran_out.wait(200)
        return real_write(self, checkpoint)

    with monkeypatch.context() as patched:
        patched.setattr(BatchGradients, "of", of)
        patched.setattr(CheckpointFolder, "write", write)
        with pytest.raises(MemoryRanOutError):
            train_stage(first)
    assert "unspecified launch failure" in first.of(CheckpointFailed)[0].reason
    assert (first.of(MemoryRanOut)[0].step, first.of(CheckpointWritten)[-1].step) == (5, 4)
    second = context_of("lost", checkpoint_every_steps=2)
    train_stage(second)
    assert second.of(Rewound)[0].step == 4


def test_a_preflight_that_does_not_fit_says_so_before_step_1(context_of: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    import msgspec

    context = context_of()
    context.config = msgspec.structs.replace(
        context.config, engine=msgspec.structs.replace(context.config.engine, preflight="on")
    )
    failing_in_step(0, OUT_OF_MEMORY, monkeypatch, after_backward=True)
    with pytest.raises(MemoryRanOutError):
        train_stage(context)
    assert not context.of(StepTrained) and not context.of(CheckpointWritten)
    assert read_run_plan(context.run).recoveries[0].step == 0


def test_a_full_disk_keeps_the_event_and_a_displaced_worker_writes_nothing(
    context_of: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_in_step(3, OUT_OF_MEMORY, monkeypatch, after_backward=True)
    full = context_of("full")

    def no_space(*_: Any) -> None:
        raise DiskFullError("no space")

    with monkeypatch.context() as patched:
        patched.setattr(run_plan, "atomic_write", no_space)
        with pytest.raises(MemoryRanOutError):
            train_stage(full)
    assert full.of(MemoryRanOut)[0].step == 2
    displaced = context_of("displaced")
    emit = displaced.emit

    def until_step_2(event: Any) -> None:
        emit(event)
        if isinstance(event, StepTrained) and event.step == 2:
            displaced.displaced = DisplacedError("another supervisor has the run")

    displaced.emit = until_step_2
    with pytest.raises(DisplacedError):
        train_stage(displaced)
    assert list(displaced.run.checkpoints.iterdir()) == []
    assert read_run_plan(displaced.run).recoveries == ()


def test_another_error_is_no_recovery(context_of: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_in_step(2, RuntimeError("shapes do not match"), monkeypatch, after_backward=False)
    context = context_of()
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train_stage(context)
    assert read_run_plan(context.run).recoveries == ()
