"""Memory as training tells it, on a device that is made up at its edge: forecast, plan, preflight and what the manifest keeps."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from engine.compute import planning
from engine.compute import train as training
from engine.compute.memory import DeviceGauge, Figures, MemoryWatch
from engine.compute.train import train_stage
from engine.core.planner import CONTEXT_BYTES
from engine.protocol.events import PlanChosen, PreflightMeasured, StepTrained
from engine.protocol.provenance import TrainingManifest
from engine.store.run_plan import read_run_plan

Contexts = Callable[..., Any]
GIB = 2**30
RESTING, A_TOKEN = 40 * GIB, 20 << 20


class MadeUpGauge:
    """A card of 80 GiB on which a row of w tokens takes 40 GiB + 20 MiB a token; `width` says which row ran last."""

    def __init__(self, *, own: int | None = None, limit: int | None = None, others: int = 0) -> None:
        self.width, self.own, self.limit, self.others = 0, own, limit, others
        self.reserved = RESTING

    def figures(self) -> Figures:
        peak = RESTING + self.width * A_TOKEN
        self.reserved = max(self.reserved, peak)
        return Figures(RESTING, self.reserved, peak, self.reserved + CONTEXT_BYTES + self.others, 80 * GIB)

    def reset_peak(self) -> None:
        self.width = 0

    def own_bytes(self) -> int | None:
        return self.own

    def limit_bytes(self) -> int | None:
        return self.limit


def ran(gauge: MadeUpGauge, watch: MemoryWatch, width: int, to_come: int | None) -> Any:
    watch.begin()
    gauge.width = width
    return watch.after_step(width, to_come)


def test_a_step_tells_what_the_largest_row_to_come_will_need() -> None:
    gauge = MadeUpGauge()
    watch = MemoryWatch(gauge, A_TOKEN)
    memory = ran(gauge, watch, 512, 1024)
    assert memory.largest_row_tokens == 1024
    assert memory.predicted_peak_bytes == RESTING + 1024 * A_TOKEN
    assert memory.headroom_bytes == 80 * GIB - CONTEXT_BYTES - memory.predicted_peak_bytes
    assert (memory.risk, memory.others_bytes, memory.fragmentation_bytes) == ("low", None, 0)
    assert ran(gauge, watch, 512, 2048).risk == "high"
    gauge.others = 19 * GIB
    seen = ran(gauge, watch, 512, 1024)
    assert (seen.risk, seen.others_bytes) == ("high", 19 * GIB)
    assert "other processes hold 19.0 GiB" in seen.risk_reason


def test_the_peak_of_the_whole_training_is_kept_though_every_step_has_its_own() -> None:
    gauge = MadeUpGauge()
    watch = MemoryWatch(gauge)
    for width in (256, 1024, 128):
        memory = ran(gauge, watch, width, 128)
    assert memory.peak_allocated_bytes == watch.peak_bytes == RESTING + 1024 * A_TOKEN
    assert ran(gauge, watch, 64, None).predicted_peak_bytes is None, "after the last row nothing is to come"


def test_the_driver_s_list_tells_others_that_were_there_from_the_start() -> None:
    gauge = MadeUpGauge(own=RESTING + CONTEXT_BYTES, others=600 << 20)
    assert ran(gauge, MemoryWatch(gauge), 512, 512).others_bytes == 600 << 20
    blind = MadeUpGauge(others=100 << 20)
    assert ran(blind, MemoryWatch(blind), 512, 512).others_bytes is None


def test_a_cpu_tells_no_figures_of_a_gpu() -> None:
    import torch

    gauge = DeviceGauge(torch.device("cpu"))
    watch = MemoryWatch(gauge)
    watch.begin()
    memory = watch.after_step(512, 1024)
    assert msgspec.to_builtins(memory).keys() == {"rss_bytes"}
    assert (gauge.own_bytes(), gauge.limit_bytes(), watch.peak_bytes, watch.measured(8)) == (None, None, None, None)


@pytest.fixture
def on_a_made_up_card(monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeUpGauge]:
    """Training sees the card; what it computes stays on the CPU."""
    gauge, real = MadeUpGauge(), training.Trainer._accumulate

    def accumulate(self: Any, plan: Any, step: int) -> Any:
        gauge.width = max(gauge.width, plan.widest_row_tokens)
        return real(self, plan, step)

    for module in (training, planning):
        monkeypatch.setattr(module, "DeviceGauge", lambda _: gauge)
    monkeypatch.setattr(training.Trainer, "_accumulate", accumulate)
    yield gauge


@pytest.mark.usefixtures("copies_of_loaded_models")
def test_events_and_manifest_have_prediction_and_measurement(context_of: Contexts, on_a_made_up_card: MadeUpGauge) -> None:
    context = context_of(epochs=1)
    settings = context.config
    context.config = msgspec.structs.replace(
        settings,
        engine=msgspec.structs.replace(settings.engine, preflight="on"),
        plan=msgspec.structs.replace(settings.plan, graph="off", compile="off", mirror="none", checkpointing="none", adapters="float32", attention="masked"),
    )  # fmt: skip
    train_stage(context)
    (chosen,), (preflight,) = context.of(PlanChosen), context.of(PreflightMeasured)
    assert chosen.free_bytes == 80 * GIB - CONTEXT_BYTES
    assert "plan.graph = off" in chosen.forced
    assert chosen.chosen.peak_bytes > 0
    steps = context.of(StepTrained)
    largest = preflight.tokens
    assert preflight.measured_peak_bytes == RESTING + largest * A_TOKEN
    assert preflight.predicted_peak_bytes == chosen.chosen.peak_bytes
    assert steps[0].memory.largest_row_tokens <= largest
    assert steps[0].memory.predicted_peak_bytes <= RESTING + largest * A_TOKEN
    assert steps[-1].memory.largest_row_tokens is None
    known = read_run_plan(context.run)
    assert known.chosen == chosen.chosen and known.preflights["train"].tokens == largest
    manifest = msgspec.json.decode(context.run.training_manifest.read_bytes(), type=TrainingManifest)
    assert manifest.compute is not None
    assert manifest.compute.plan == chosen.chosen
    assert manifest.compute.measured_peak_bytes == manifest.outcome.peak_allocated_bytes == RESTING + largest * A_TOKEN
    assert json.loads(context.run.training_manifest.read_bytes())["compute"]["recoveries"] == []
