"""The fold of a run's events into its `RunState`: one small function an event, no clock, so a live view and a replay are the same.

It refuses to raise on a sequence that makes no sense (a repaired journal can begin anywhere): it shows what it has.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from engine.protocol import events as ev
from engine.protocol.codec import SkimmedStep, Stamp
from engine.protocol.event_texts import log_line
from engine.protocol.run_state import MAX_POINTS, RECENT_STEPS, LogLine, RunState, StepPoint

SMOOTHING = 0.9


def apply(state: RunState, event: ev.Event, stamp: Stamp | None = None) -> None:
    """Fold one event into `state`; `stamp` gives the log its time and the ages their clock."""
    if stamp is not None:
        state.last_t, state.last_mono_s = stamp.t, stamp.mono_s
    before, handler = state.state, _HANDLERS.get(type(event))
    if handler is not None:
        handler(state, event)
    if state.state != before or not state.state_since:
        state.state_since = state.last_t
    shown = log_line(event)
    if shown is not None:
        state.log.append(LogLine(state.last_t, *shown))
    if type(event) in ev.WORKER_EVENTS:
        state.worker_event_mono_s, state.worker_heard_at = state.last_mono_s, state.last_t


def apply_all(state: RunState, found: Iterable[tuple[Stamp, ev.Event] | SkimmedStep]) -> None:
    """Fold what `JournalTail.skim` found; the state is the same as after every event whole."""
    skimmed: list[SkimmedStep] = []
    for each in found:
        if isinstance(each, SkimmedStep):
            skimmed.append(each)
            continue
        _skim_run(state, skimmed)
        skimmed.clear()
        stamp, event = each
        apply(state, event, stamp)
    _skim_run(state, skimmed)


def _skim_run(state: RunState, steps: Sequence[SkimmedStep]) -> None:
    if not steps:
        return
    if state.state != "running" or not state.state_since:
        state.state, state.state_since = "running", steps[0].t
    _skim(state, steps)


def replay(stamped: Iterable[tuple[Stamp, ev.Event]]) -> RunState:
    """The state after all of the events."""
    state = RunState()
    for stamp, event in stamped:
        apply(state, event, stamp)
    return state


def _created(state: RunState, event: ev.RunCreated) -> None:
    state.created, state.created_at = event, state.last_t


def _supervisor_started(state: RunState, event: ev.SupervisorStarted) -> None:
    state.state, state.detail, state.log_tail = "starting", "", ()


def _stage_started(state: RunState, event: ev.StageStarted) -> None:
    state.stage = event.stage
    state.state = "gating" if event.stage == "gates" else "starting"


def _stage_finished(state: RunState, event: ev.StageFinished) -> None:
    state.stages_done[event.stage] = event.elapsed_s


def _queued(state: RunState, event: ev.RunQueued) -> None:
    state.state, state.behind = "queued", event.behind


def _worker_starting(state: RunState, event: ev.WorkerStarting) -> None:
    state.state = "gating" if event.stage == "gates" else "running" if event.stage == "report" else "loading"
    state.load_progress = None


def _load_progressed(state: RunState, event: ev.ModelLoadProgressed) -> None:
    state.load_progress = event


def _model_loaded(state: RunState, event: ev.ModelLoaded) -> None:
    state.state, state.model, state.memory = "running", event, event.memory


def _sentinel(state: RunState, event: ev.SentinelRun) -> None:
    state.sentinels[event.name] = event


def _gate_progressed(state: RunState, event: ev.GateProgressed) -> None:
    state.gate_progress = event


def _gate_checked(state: RunState, event: ev.GateChecked) -> None:
    state.gates[event.id] = event


def _gates_finished(state: RunState, event: ev.GatesFinished) -> None:
    state.gates_finished, state.gate_progress = event, None


def _evaluation_planned(state: RunState, event: ev.EvaluationPlanned) -> None:
    arm = state.arms[event.arm]
    arm.items, arm.done_items = event.items, event.done_items


def _batch_evaluated(state: RunState, event: ev.BatchEvaluated) -> None:
    state.state = "running"
    arm = state.arms[event.arm]
    arm.items, arm.done_items = event.items, event.done_items
    arm.tokens += event.tokens
    arm.elapsed_s += event.elapsed_s
    for outcome in event.outcomes:
        arm.outcomes[outcome.id] = outcome
        state.last_items.append((event.arm, outcome))
    state.memory = event.memory or state.memory


def _noise(state: RunState, event: ev.NoiseMeasured) -> None:
    state.noise[state.stage, event.kind] = event


def _evaluation_finished(state: RunState, event: ev.EvaluationFinished) -> None:
    state.arms[event.arm].finished = True


def _planned(state: RunState, event: ev.TrainingPlanned) -> None:
    state.plan = event


def _plan_chosen(state: RunState, event: ev.PlanChosen) -> None:
    state.compute_plan = event


def _preflight(state: RunState, event: ev.PreflightMeasured) -> None:
    state.preflights[event.what] = event


def _ran_out(state: RunState, event: ev.MemoryRanOut) -> None:
    state.ran_out.append(event)


def _step(state: RunState, event: ev.StepTrained) -> None:
    state.state = "running"
    state.last_step, state.memory = event, event.memory
    _skim(state, (event,))


def _skim(state: RunState, steps: Sequence[ev.StepTrained | SkimmedStep]) -> None:
    """Add steps to the curve: the newest is always the last point, of those before it every `point_stride`-th stays.

    The mean goes on over every loss, but a point is made only of what stays.
    """
    points, seen = state.points, state.points_seen
    smooth, weight = (points[-1].smooth, points[-1].smooth_weight) if points else (0.0, 0.0)
    last = len(steps) - 1
    for place, step in enumerate(steps):
        smooth, weight = smoothed(smooth, weight, step.loss)
        here = seen % state.point_stride == 0
        if here or (seen + 1) % state.point_stride == 0 or place == last:
            point = StepPoint(step.step, step.loss, smooth, step.learning_rate, step.grad_norm, weight)
            if here or not points:
                points.append(point)
            else:
                points[-1] = point
        seen += 1
        if len(points) > MAX_POINTS:
            # a long run keeps its shape in bounded memory: every other point goes, and only every other one comes from now on
            points = state.points = points[::2]
            state.point_stride *= 2
    state.points_seen = seen
    state.recent_step_s.extend(step.elapsed_s for step in steps[-RECENT_STEPS:])


def smoothed(smooth: float, weight: float, loss: float) -> tuple[float, float]:
    """The exponential mean after one more loss, and its weight; both are 0 before the first one.

    Bias-corrected (Kingma and Ba 2015, section 3): mₙ = β mₙ₋₁ + (1 − β) xₙ with m₀ = 0, shown as mₙ / (1 − βⁿ). A
    mean that simply began at the first loss would keep it, usually the highest of all, at weight βⁿ⁻¹ and show too high a curve early.
    """
    weight = 1 - SMOOTHING * (1 - weight)
    # m = smooth · weight; written as a step towards the new loss it is exact for a constant loss
    return smooth + (1 - SMOOTHING) / weight * (loss - smooth), weight


def _rewound(state: RunState, event: ev.Rewound) -> None:
    if state.last_step is not None and state.last_step.step > event.step:
        state.last_step = msgspec.structs.replace(state.last_step, step=event.step)
        state.stopped_early = None
    state.points = [point for point in state.points if point.step <= event.step]
    state.points_seen = len(state.points) * state.point_stride
    state.dev = [dev for dev in state.dev if dev.step <= event.step]


def _dev(state: RunState, event: ev.DevEvaluated) -> None:
    state.dev.append(event)


def _checkpoint(state: RunState, event: ev.CheckpointWritten) -> None:
    state.checkpoints += 1


def _stopped_early(state: RunState, event: ev.TrainingStoppedEarly) -> None:
    state.stopped_early = event


def _adapter(state: RunState, event: ev.AdapterSaved) -> None:
    state.adapter = event


def _worker_exited(state: RunState, event: ev.WorkerExited) -> None:
    state.log_tail = event.log_tail


def _restarted(state: RunState, event: ev.WorkerRestarted) -> None:
    state.state = "recovering"
    state.restarts.append(event)


def _disk_filled(state: RunState, event: ev.DiskFilled) -> None:
    if event.consequence == "waiting" and state.state != "disk full":
        state.before_disk_full, state.state = state.state, "disk full"
    state.detail = f"no space for {event.path}"


def _disk_freed(state: RunState, event: ev.DiskFreed) -> None:
    if state.state == "disk full":
        state.state = state.before_disk_full
    state.detail = ""


def _stopping(state: RunState, event: ev.RunStopping) -> None:
    state.state, state.detail = "stopping", event.reason


def _stopped(state: RunState, event: ev.RunStopped) -> None:
    state.state, state.detail = "stopped", event.reason


def _blocked(state: RunState, event: ev.RunBlocked) -> None:
    state.state, state.detail = "blocked", ", ".join(event.gates)


def _failed(state: RunState, event: ev.RunFailed) -> None:
    state.state, state.detail, state.failed_status = "failed", event.reason, event.exit_status
    state.log_tail = event.log_tail or state.log_tail


def _finished(state: RunState, event: ev.RunFinished) -> None:
    state.state, state.decision = "finished", event.decision


def _verdict(state: RunState, event: ev.VerdictReached) -> None:
    state.verdict = event


_HANDLERS: dict[type[ev.Event], Callable[[RunState, Any], None]] = {
    ev.RunCreated: _created,
    ev.SupervisorStarted: _supervisor_started,
    ev.StageStarted: _stage_started,
    ev.StageFinished: _stage_finished,
    ev.RunQueued: _queued,
    ev.WorkerStarting: _worker_starting,
    ev.ModelLoadProgressed: _load_progressed,
    ev.ModelLoaded: _model_loaded,
    ev.SentinelRun: _sentinel,
    ev.GateProgressed: _gate_progressed,
    ev.GateChecked: _gate_checked,
    ev.GatesFinished: _gates_finished,
    ev.EvaluationPlanned: _evaluation_planned,
    ev.BatchEvaluated: _batch_evaluated,
    ev.NoiseMeasured: _noise,
    ev.EvaluationFinished: _evaluation_finished,
    ev.TrainingPlanned: _planned,
    ev.PlanChosen: _plan_chosen,
    ev.PreflightMeasured: _preflight,
    ev.MemoryRanOut: _ran_out,
    ev.StepTrained: _step,
    ev.Rewound: _rewound,
    ev.DevEvaluated: _dev,
    ev.CheckpointWritten: _checkpoint,
    ev.TrainingStoppedEarly: _stopped_early,
    ev.AdapterSaved: _adapter,
    ev.WorkerExited: _worker_exited,
    ev.WorkerRestarted: _restarted,
    ev.DiskFilled: _disk_filled,
    ev.DiskFreed: _disk_freed,
    ev.RunStopping: _stopping,
    ev.RunStopped: _stopped,
    ev.RunBlocked: _blocked,
    ev.RunFailed: _failed,
    ev.RunFinished: _finished,
    ev.VerdictReached: _verdict,
}
