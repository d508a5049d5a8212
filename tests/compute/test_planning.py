"""A worker plans anew only where it has to: a resumed run keeps the plan it had, on the device it had it on, while it fits."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from engine.compute.loader import load_clean_model
from engine.compute.memory import Figures
from engine.compute.planning import choose_compute_plan
from engine.compute.training_set import read_training_set
from engine.protocol.events import PlanChosen
from engine.protocol.plans import PlanEstimate
from engine.protocol.recoveries import Recovery
from engine.store.run_plan import note_chosen, note_recovery, read_run_plan

GIB = 2**30


class Card:
    """A GPU with so much free of 80 GiB."""

    def __init__(self, free: int) -> None:
        self._free = free

    def figures(self) -> Figures:
        return Figures(allocated=0, reserved=0, peak=0, device_used=80 * GIB - self._free, device_total=80 * GIB)

    def reset_peak(self) -> None:
        pass

    def own_bytes(self) -> int | None:
        return None

    def limit_bytes(self) -> int | None:
        return None


class Planned:
    """Plans one run again and again, on a card with so many bytes free; `run` is its folder."""

    def __init__(self, context_of: Callable[..., Any]) -> None:
        self._context_of, first = context_of, context_of("first")
        self.run = first.run
        self._loaded = load_clean_model(first.config, emit=first.emit)
        self._data = read_training_set(first.config, self._loaded)

    def __call__(self, free: int = 70 * GIB) -> PlanEstimate:
        context = self._context_of("first")
        chosen = choose_compute_plan(context, self._loaded, self._data, Card(free))
        (told,) = context.of(PlanChosen)
        assert told.chosen == chosen
        assert read_run_plan(context.run).chosen == chosen
        return chosen


@pytest.fixture
def planned(context_of: Callable[..., Any]) -> Planned:
    return Planned(context_of)


def another(chosen: PlanEstimate) -> PlanEstimate:
    plan = msgspec.structs.replace(chosen.plan, mirrored_layers=1, graph=False)
    return msgspec.structs.replace(chosen, name="kept", plan=plan)


def test_a_resumed_run_keeps_its_plan(planned: Planned) -> None:
    first = planned()
    kept, device = another(first), read_run_plan(planned.run).device
    note_chosen(planned.run, kept, device)
    assert planned() == kept


def test_a_plan_of_another_device_is_not_kept(planned: Planned) -> None:
    first = planned()
    note_chosen(planned.run, another(first), "another card")
    assert planned() == first


def test_a_plan_that_no_longer_fits_is_not_kept(planned: Planned) -> None:
    first = planned()
    device = read_run_plan(planned.run).device
    note_chosen(planned.run, msgspec.structs.replace(another(first), peak_bytes=69 * GIB), device)
    assert planned(69 * GIB) == first


def test_a_plan_that_ran_out_is_not_kept(planned: Planned) -> None:
    first = planned()
    device = read_run_plan(planned.run).device
    kept = msgspec.structs.replace(another(first), peak_bytes=60 * GIB)
    note_chosen(planned.run, kept, device)
    assert planned() == kept
    note_recovery(planned.run, Recovery(stage="train", at="", reason="", predicted_peak_bytes=61 * GIB))
    assert planned() == first
