"""The compute plan of a worker: chosen once, before anything runs, without the plans that ran out of memory before.

It refuses to change what is learnt: the effective batch, its order and its randomness are the same under every plan.
"""

import os

import torch

from engine.compute.device import device_name
from engine.compute.loader import LoadedModel
from engine.compute.memory import DeviceGauge, Gauge
from engine.compute.training_set import TrainingSet
from engine.core.batching import BatchPlan
from engine.core.planner import (
    DeviceFigures,
    ModelShape,
    Workload,
    budget_bytes,
    candidates,
    choose,
    cpu_figures,
    decoding_estimate,
    decoding_plan,
    element_bytes,
    forced_settings,
    gpu_figures,
    mirrorable,
    peak_of_row,
    still_fits,
)
from engine.protocol.arms import Conditions
from engine.protocol.config import Config
from engine.protocol.events import Arm, PlanChosen
from engine.protocol.plans import ComputePlan, PlanEstimate
from engine.protocol.stage_context import StageContext
from engine.store.run_plan import note_chosen, read_run_plan

MOST_REFUSED_TOLD = 8


def choose_compute_plan(
    context: StageContext, loaded: LoadedModel, data: TrainingSet, gauge: Gauge | None = None
) -> PlanEstimate:
    """The plan that this worker trains by; told as PlanChosen and kept in plan.json.

    A resumed run keeps the plan it had on this device, so that it is exact, unless that no longer fits. `gauge` is that of the device's memory unless given. Raises: ConfigError where no plan fits or a forced choice cannot be had.
    """
    config = context.config
    device = device_figures(loaded.device, gauge or DeviceGauge(loaded.device))
    known = read_run_plan(context.run)
    failed = known.failed_peaks("train")
    estimates = candidates(shape_of(config, loaded), _workload(config, data), device, config, failed_peaks=failed)
    before = known.chosen if known.device == device.name else None
    keeps = before is not None and still_fits(before, device, config, failed_peaks=failed)
    chosen = before if before is not None and keeps else choose(estimates)
    faster = () if keeps else estimates[: estimates.index(chosen)][:MOST_REFUSED_TOLD]
    context.emit(
        PlanChosen(stage="train", chosen=chosen, free_bytes=device.free_bytes, forced=forced_settings(config), refused=faster)
    )
    note_chosen(context.run, chosen, device.name)
    return chosen


def choose_decoding_plan(
    context: StageContext, arm: Arm, loaded: LoadedModel, plan: BatchPlan, before: Conditions | None
) -> PlanEstimate:
    """The plan of an arm, told as PlanChosen: that of the base arm where it has been answered, so that both have the same arithmetic.

    Where that no longer fits, the arm has a plan of its own, under which the base arm is then answered again.
    """
    config, device = context.config, device_figures(loaded.device, DeviceGauge(loaded.device))
    shape = shape_of(config, loaded)
    # smaller batches alone would free nothing: what they leave would go to more mirrored layers
    failed = read_run_plan(context.run).failed_peaks("base", "sft")
    estimate = decoding_estimate(
        shape, [(len(batch.ids), batch.width) for batch in plan.batches], device, usable_bytes=budget_bytes(device, config, failed),
        new_tokens=config.eval.max_new_tokens, mirrorable=mirrorable(config, shape, device), element_size=element_bytes(config, device),
    )  # fmt: skip
    compute_plan = decoding_plan(estimate.mirrored_layers, device, config, shape)
    as_before = before is not None and (device.kind == "cpu" or before.compute_plan.mirrored_layers <= estimate.mirrored_layers)
    if before is not None and as_before:
        compute_plan = before.compute_plan
    mirrored = f"mirror {compute_plan.mirrored_layers}/{shape.layers}" if compute_plan.mirrored_layers else "plain"
    name = f"{mirrored}, as the base arm" if as_before else mirrored
    chosen = PlanEstimate(name=name, plan=compute_plan, step_s=0.0, peak_bytes=estimate.peak_bytes)
    context.emit(PlanChosen(stage=arm, chosen=chosen, free_bytes=device.free_bytes, forced=forced_settings(config)))
    return chosen


def bytes_per_token(config: Config, loaded: LoadedModel, plan: ComputePlan) -> float | None:
    """The planner's slope of the peak over the width of a row, about the plan's widest; None for a model it does not know."""
    shape, widest = shape_of(config, loaded), plan.row_tokens
    if shape.unknown:
        return None
    wide, narrow = (peak_of_row(shape, plan, tokens, optimizer=config.train.optimizer) for tokens in (widest, widest // 2))
    return (wide - narrow) / (widest - widest // 2)


def shape_of(config: Config, loaded: LoadedModel) -> ModelShape:
    """The shape of the loaded model with the adapters that the settings ask for."""
    train = config.train
    return ModelShape.from_config(
        loaded.model.config.to_dict(), quantized=loaded.provenance.quantization != "none", lora_rank=train.lora_rank,
        lora_targets=train.lora_targets, dropout=train.lora_dropout,
    )  # fmt: skip


def device_figures(device: torch.device, gauge: Gauge) -> DeviceFigures:
    """The device as the planner sees it: what the loaded model holds counts as free, as a plan's peak has it in it."""
    found = gauge.figures()
    if found is None:
        page = os.sysconf("SC_PAGE_SIZE")
        return cpu_figures(total_bytes=page * os.sysconf("SC_PHYS_PAGES"), free_bytes=page * os.sysconf("SC_AVPHYS_PAGES"))
    free_bytes, limit = found.device_total - found.device_used + found.reserved, gauge.limit_bytes()
    return gpu_figures(
        total_bytes=found.device_total if limit is None else min(limit, found.device_total),
        free_bytes=free_bytes if limit is None else min(limit, free_bytes),
        name=device_name(device), kind="rocm" if torch.version.hip else "cuda",
    )  # fmt: skip


def _workload(config: Config, data: TrainingSet) -> Workload:
    return Workload.of_lengths(
        [example.tokens for example in data.train.examples], response_tokens=data.train.response_tokens,
        dev=[example.tokens for example in data.dev.examples], seed=config.run.seed, epochs=config.train.epochs,
        batch_examples=config.train.batch_examples,
    )  # fmt: skip
