"""Preflight of training: the heaviest row runs before step 1, and leaves no trace."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch

from engine.compute import preflight
from engine.compute import train as training
from engine.compute.train import train_stage
from engine.core.packing import RowPlan
from engine.protocol.config import EngineTable
from engine.protocol.errors import StopRequested
from engine.protocol.events import PreflightMeasured, StepTrained, TrainingPlanned

pytestmark = pytest.mark.usefixtures("copies_of_loaded_models")
Contexts = Callable[..., Any]


def with_preflight(context: Any) -> Any:
    context.config = msgspec.structs.replace(
        context.config, engine=msgspec.structs.replace(context.config.engine, preflight="on")
    )
    return context


def adapter(context: Any) -> bytes:
    return bytes((context.run.adapter / "adapter_model.safetensors").read_bytes())


def test_a_run_with_preflight_ends_with_the_same_bits(context_of: Contexts) -> None:
    plain, tried = context_of("plain"), with_preflight(context_of("tried"))
    train_stage(plain)
    train_stage(tried)
    (told,) = tried.of(PreflightMeasured)
    assert (told.what, told.tokens) == ("train", tried.of(TrainingPlanned)[0].longest_row_tokens)
    assert not plain.of(PreflightMeasured), "auto does without on a CPU"
    assert tried.events.index(told) < tried.events.index(tried.of(StepTrained)[0])
    assert [event.loss for event in tried.of(StepTrained)] == [event.loss for event in plain.of(StepTrained)]
    assert adapter(tried) == adapter(plain)


def test_a_resumed_run_is_tried_again_and_ends_with_the_same_bits(context_of: Contexts) -> None:
    plain = context_of("plain")
    train_stage(plain)
    first = with_preflight(context_of("stopped", stop_after=4))
    with pytest.raises(StopRequested):
        train_stage(first)
    second = with_preflight(context_of("stopped"))
    train_stage(second)
    assert len(second.of(PreflightMeasured)) == 1
    assert adapter(second) == adapter(plain)


def test_weights_moments_gradients_and_randomness_are_put_back(context_of: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at after a few steps, when there are moments that could be lost."""
    with pytest.raises(StopRequested):
        train_stage(context_of("run", stop_after=3))
    seen: list[tuple[Any, ...]] = []
    real = training.Trainer._preflight

    def looked_at(self: Any) -> Any:
        def state() -> tuple[Any, ...]:
            moments = self._optimizer.state_dict()["state"][0]
            return (
                self._bank.master.detach().clone(), moments["exp_avg"].clone(), moments["exp_avg_sq"].clone(), moments["step"].clone(),
                self._bank.master.grad.clone(), torch.get_rng_state(),
            )  # fmt: skip

        seen.append(state())
        inner = self._accumulate
        ran: list[int] = []
        monkeypatch.setattr(self, "_accumulate", lambda plan, step: (ran.append(plan.tokens), inner(plan, step))[1])
        told = real(self)
        monkeypatch.setattr(self, "_accumulate", inner)
        seen.append(state())
        assert len(ran) == 1
        return told

    monkeypatch.setattr(training.Trainer, "_preflight", looked_at)
    with pytest.raises(StopRequested):
        train_stage(with_preflight(context_of("run", stop_after=3)))
    before, after = seen
    assert bool(before[1].any()), "there were moments"
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_the_heaviest_row_is_the_widest_and_of_equals_the_one_with_most_logits() -> None:
    rows = [RowPlan((0,), 60, 50, 64), RowPlan((1,), 120, 10, 128), RowPlan((2,), 121, 30, 128), RowPlan((3,), 122, 20, 128)]
    assert preflight.heaviest_row(rows) == rows[2]


@pytest.mark.parametrize(
    ("asked", "device", "tried"), [("auto", "cuda", True), ("auto", "cpu", False), ("on", "cpu", True), ("off", "cuda", False)]
)
def test_when_it_is_tried(asked: Any, device: str, tried: bool) -> None:
    assert preflight.wanted(EngineTable(preflight=asked), torch.device(device)) is tried
