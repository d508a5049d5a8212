"""The compute plan of a worker: chosen once, before anything runs, without the plans that ran out of memory before.

It refuses to change what is learnt: the effective batch, its order and its randomness are the same under every plan.
"""

from engine.compute.loader import LoadedModel
from engine.compute.memory import DeviceGauge
from engine.compute.training_set import TrainingSet
from engine.protocol.config import TrainTable
from engine.protocol.events import PlanChosen
from engine.protocol.plans import ComputePlan, PlanEstimate
from engine.protocol.stage_context import StageContext
from engine.store.run_plan import note_chosen


def choose_compute_plan(context: StageContext, loaded: LoadedModel, data: TrainingSet) -> PlanEstimate:
    """The plan that this worker trains by; told as PlanChosen and kept in plan.json. Raises: ConfigError where none fits."""
    chosen = plain_plan(context.config.train)
    found = DeviceGauge(loaded.device).figures()
    free_bytes = 0 if found is None else found.device_total - found.device_used + found.reserved - found.allocated
    context.emit(PlanChosen(stage="train", chosen=chosen, free_bytes=free_bytes))
    note_chosen(context.run, chosen)
    return chosen


def plain_plan(settings: TrainTable) -> PlanEstimate:
    """Everything the plain way, nothing predicted (time and peak are 0)."""
    row_tokens = max(settings.row_tokens, settings.max_seq_len)
    return PlanEstimate(name="plain", plan=ComputePlan(row_tokens=row_tokens), step_s=0.0, peak_bytes=0)
