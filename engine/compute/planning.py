"""The compute plan of a worker: chosen once, before anything runs, without the plans that ran out of memory before.

Here the device and the model are looked at; predicting and choosing is `engine.core.planner`'s part. It refuses to change what is learnt: the
effective batch, its order and its randomness are the same under every plan.
"""

import os

import torch

from engine.compute.loader import LoadedModel
from engine.compute.memory import DeviceGauge
from engine.compute.training_set import TrainingSet
from engine.core.batching import BatchPlan
from engine.core.planner import (
    DecodingWork,
    DeviceFigures,
    ModelShape,
    Workload,
    candidates,
    choose,
    choose_decoding,
    cpu_figures,
    forced_settings,
    gpu_figures,
)
from engine.protocol.arms import Conditions
from engine.protocol.config import Config
from engine.protocol.events import Arm, PlanChosen
from engine.protocol.plans import PlanEstimate
from engine.protocol.stage_context import StageContext
from engine.store.run_plan import note_chosen, read_run_plan

_FASTER_SHOWN = 5


def choose_compute_plan(context: StageContext, loaded: LoadedModel, data: TrainingSet) -> PlanEstimate:
    """The plan that this worker trains by; told as PlanChosen and kept in plan.json. Raises: ConfigError where none fits."""
    config, device = context.config, device_figures(loaded.device)
    failed = read_run_plan(context.run).failed_peaks("train")
    workload = Workload.of_lengths(
        [example.tokens for example in data.train.examples],
        response_tokens=data.train.response_tokens,
        dev=[example.tokens for example in data.dev.examples],
        seed=config.run.seed,
        epochs=config.train.epochs,
        batch_examples=config.train.batch_examples,
    )
    estimates = candidates(model_shape(config, loaded), workload, device, config, failed_peaks=failed)
    chosen = choose(estimates)
    faster = tuple(estimate for estimate in estimates[: estimates.index(chosen)] if estimate.refused)[:_FASTER_SHOWN]
    context.emit(
        PlanChosen(stage="train", chosen=chosen, free_bytes=device.free_bytes, forced=forced_settings(config), refused=faster)
    )
    note_chosen(context.run, chosen)
    return chosen


def choose_decoding_plan(
    context: StageContext, arm: Arm, loaded: LoadedModel, plan: BatchPlan, before: Conditions | None
) -> PlanEstimate:
    """The plan of an arm: that of the base arm where it has been answered, so that both have the same arithmetic; told as PlanChosen."""
    config, device = context.config, device_figures(loaded.device)
    heaviest = max(plan.batches, key=lambda batch: batch.width * len(batch.ids))
    work = DecodingWork(rows=len(heaviest.ids), prompt_tokens=heaviest.width, new_tokens=config.eval.max_new_tokens)
    chosen = choose_decoding(model_shape(config, loaded), work, device, config)
    if before is not None:
        chosen = PlanEstimate(name="as the base arm", plan=before.compute_plan, step_s=0.0, peak_bytes=chosen.peak_bytes)
    context.emit(PlanChosen(stage=arm, chosen=chosen, free_bytes=device.free_bytes, forced=forced_settings(config)))
    return chosen


def model_shape(config: Config, loaded: LoadedModel) -> ModelShape:
    """The model's shape as the planner knows it."""
    return ModelShape.from_config(
        loaded.model.config.to_dict(),
        quantized=loaded.provenance.quantization != "none",
        lora_rank=config.train.lora_rank,
        lora_targets=config.train.lora_targets,
        dropout=config.train.lora_dropout,
    )


def device_figures(device: torch.device) -> DeviceFigures:
    """The device with what this process may use of it: what is free, and what it holds itself, as a plan's peak counts the weights."""
    found = DeviceGauge(device).figures()
    if found is None:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        return cpu_figures(total_bytes=pages * size, free_bytes=os.sysconf("SC_AVPHYS_PAGES") * size)
    free = found.device_total - found.device_used + found.reserved
    limit = DeviceGauge(device).limit_bytes()
    return gpu_figures(
        total_bytes=found.device_total if limit is None else limit,
        free_bytes=free if limit is None else min(free, limit),
        name=torch.cuda.get_device_name(device),
        kind="rocm" if torch.version.hip else "cuda",
    )
