"""The end of training: the adapter, the training manifest and, last, the marker TRAINING_SUCCESS.

A full disk does not lose the adapter: it is kept in memory until there is room. It refuses to write the marker before everything it
vouches for is on the disk.
"""

import resource
import sys
import time
from dataclasses import dataclass

import msgspec
import torch

from engine.compute.checkpoint import TrainerState
from engine.compute.libraries import versions
from engine.compute.loader import LoadedModel
from engine.compute.lora import ADAPTER_CONFIG_FILE, ADAPTER_FILE
from engine.compute.provenance import git_sha
from engine.compute.tensor_files import save_tensors
from engine.protocol.events import AdapterSaved
from engine.protocol.plans import PlanEstimate
from engine.protocol.provenance import ComputeRecord, DatasetSource, TrainingManifest, TrainingOutcome
from engine.protocol.stage_context import StageContext
from engine.store.atomic import atomic_folder, atomic_write
from engine.store.disk_patience import once_there_is_room
from engine.store.hashes import sha256_file
from engine.store.run_plan import read_run_plan
from engine.store.stages import TrainingSuccess, write_training_success


@dataclass(frozen=True)
class Outcome:
    """How the loop ended: its last state, the steps that were planned, the step whose adapter is in the model, and the compute plan.

    `peak_bytes` is the most that was allocated on the GPU at once, None where the device tells nothing.
    """

    state: TrainerState
    steps: int
    adapter_step: int
    chosen: PlanEstimate
    peak_bytes: int | None


@dataclass(frozen=True)
class TrainedAdapter:
    """An adapter as its files hold it: fp32 tensors by name, the bytes of adapter_config.json, and how many numbers were trained."""

    tensors: dict[str, torch.Tensor]
    config: bytes
    parameters: int


def finish_training(
    context: StageContext, loaded: LoadedModel, adapter: TrainedAdapter, source: DatasetSource, outcome: Outcome
) -> None:
    """Save adapter, manifest and marker; on a full disk wait and try again every few seconds.

    Raises: StopRequested where a stop is asked for while it waits; the last checkpoint has everything then.
    """
    saved = once_there_is_room(
        lambda: _save(context, loaded, adapter, source, outcome),
        context.run.path,
        emit=context.emit,
        stop_requested=context.stop_requested,
        step=outcome.state.step,
    )
    context.emit(saved)


def _save(
    context: StageContext, loaded: LoadedModel, adapter: TrainedAdapter, source: DatasetSource, outcome: Outcome
) -> AdapterSaved:
    run = context.run
    context.check_ownership()
    with atomic_folder(run.adapter) as folder:
        save_tensors(adapter.tensors, folder / ADAPTER_FILE)
        (folder / ADAPTER_CONFIG_FILE).write_bytes(adapter.config)
        sha256, size_bytes = sha256_file(folder / ADAPTER_FILE), sum(file.stat().st_size for file in folder.iterdir())
    manifest = _manifest(context, loaded, adapter, source, outcome, sha256)
    atomic_write(run.training_manifest, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    context.check_ownership()
    write_training_success(
        run, TrainingSuccess(adapter=run.adapter.name, step=outcome.adapter_step, sha256=sha256, git_sha=git_sha())
    )
    return AdapterSaved(path=str(run.adapter), sha256=sha256, size_bytes=size_bytes, step=outcome.adapter_step)


def _manifest(
    context: StageContext, loaded: LoadedModel, adapter: TrainedAdapter, source: DatasetSource, outcome: Outcome, sha256: str
) -> TrainingManifest:
    run, config = context.run, context.config
    return TrainingManifest(
        run_id=run.run_id,
        finished_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        hyper_parameters=msgspec.to_builtins(config.train),
        seed=config.run.seed,
        dataset=source,
        qc_pilot=config.data.qc_pilot,
        qc_scale=config.data.qc_scale,
        session_manifest=config.data.session_manifest,
        base_model=loaded.provenance,
        trainable_parameters=adapter.parameters,
        outcome=_outcome(outcome),
        adapter=str(run.adapter),
        adapter_sha256=sha256,
        checkpoints=tuple(str(path) for path in sorted(run.checkpoints.glob("step-*"))),
        success_marker=str(run.success_marker),
        evaluation=str(run.evaluation),
        compute=_compute(context, outcome),
        threads=torch.get_num_threads(),
        environment=versions() | {"device": loaded.provenance.device},
    )


def _compute(context: StageContext, outcome: Outcome) -> ComputeRecord:
    known = read_run_plan(context.run)
    return ComputeRecord(
        plan=outcome.chosen,
        measured_peak_bytes=outcome.peak_bytes,
        preflights=known.preflights,
        recoveries=known.recoveries,
    )


def _outcome(outcome: Outcome) -> TrainingOutcome:
    state = outcome.state
    unit = 1 if sys.platform == "darwin" else 1024
    return TrainingOutcome(
        steps_planned=outcome.steps,
        steps_done=state.step,
        adapter_step=outcome.adapter_step,
        ended=state.ended,
        best_step=state.best_step,
        best_loss=state.best_loss,
        last_loss=state.losses[-1].loss if state.losses else None,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        peak_allocated_bytes=outcome.peak_bytes,
        exact=state.exact,
    )
