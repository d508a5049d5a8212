"""One sentence an event, for the log in the panel, for `sluice watch` and for plain progress lines. Text from data never goes in.

It refuses to speak of every event: steps, batches and progress have widgets of their own.
"""

from collections.abc import Callable, Sequence
from typing import Any

from engine.protocol import events as ev

Level = str


def log_line(event: ev.Event) -> tuple[str, Level] | None:
    """(text, level) with level info, warning or error; None for an event that has no line."""
    known = _TEXTS.get(type(event))
    return None if known is None else (known[1](event), known[0])


def gib(size_bytes: float) -> str:
    """Bytes as MB or GiB with sensible digits."""
    return f"{size_bytes / 2**30:.1f} GiB" if size_bytes >= 2**30 else f"{size_bytes / 1e6:.1f} MB"


def duration(seconds: float) -> str:
    """Seconds as 0.8 s, 42 s, 3 min 12 s or 1 h 58 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def several(problems: Sequence[str], shown: int = 3) -> str:
    """The first problems as one sentence, and how many more there are: the engine's log has them all."""
    more = f"; and {len(problems) - shown} more, all in the engine's log" if len(problems) > shown else ""
    return "; ".join(problems[:shown]) + more


def _exited(event: ev.WorkerExited) -> str:
    how = f"killed by {event.signal}" if event.signal else f"exit status {event.exit_status}"
    return f"worker of stage {event.stage} ended: {how}{' (the kernel was out of memory)' if event.kernel_oom else ''}"


def _disk_filled(event: ev.DiskFilled) -> str:
    return f"no space for {event.path}: {event.consequence}"


def _noise(event: ev.NoiseMeasured) -> str:
    return f"noise floor ({event.kind}): {event.success_flips} of {event.items} outcomes changed, {event.text_flips} texts"


def _plan(event: ev.PlanChosen) -> str:
    chosen = event.chosen
    return (
        f"plan {chosen.name}"
        + (f": {duration(chosen.step_s)} a step expected" if chosen.step_s else "")
        + (f", a peak of {gib(chosen.peak_bytes)} of {gib(event.free_bytes)} free" if chosen.peak_bytes else "")
        + (f"; set by hand: {', '.join(event.forced)}" if event.forced else "")
    )


def _preflight(event: ev.PreflightMeasured) -> str:
    seen = "" if event.measured_peak_bytes is None else f", peak {gib(event.measured_peak_bytes)}"
    said = "" if event.predicted_peak_bytes is None else f" (predicted {gib(event.predicted_peak_bytes)})"
    return f"preflight {event.what}: {event.tokens} tokens in {duration(event.elapsed_s)}{seen}{said}"


def _ran_out(event: ev.MemoryRanOut) -> str:
    where = f"after step {event.step}" if event.step is not None else f"at batch {event.batch}" if event.batch is not None else ""
    return f"out of GPU memory in stage {event.stage} {where}".rstrip() + (f": {event.reason}" if event.reason else "")


def _planned(event: ev.TrainingPlanned) -> str:
    return (
        f"{event.examples} examples, {event.tokens} tokens an epoch, {event.steps} steps, {event.dev_examples} for dev loss"
        + (f", {event.dropped} dropped" if event.dropped else "")
        + (f", {event.truncated} truncated" if event.truncated else "")
    )


_TEXTS: dict[type[ev.Event], tuple[Level, Callable[[Any], str]]] = {
    ev.RunCreated: ("info", lambda e: f"run {e.run_id} created, profile {e.profile}"),
    ev.SupervisorStarted: ("info", lambda e: f"engine {'resumed' if e.resumed else 'started'} (pid {e.pid} on {e.hostname})"),
    ev.JournalRepaired: ("warning", lambda e: f"journal repaired: {e.torn_bytes} bytes of a torn line were ended"),
    ev.RunQueued: ("info", lambda e: f"queued behind {e.behind}"),
    ev.StageStarted: ("info", lambda e: f"stage {e.stage}" + (f", attempt {e.attempt}" if e.attempt > 1 else "")),
    ev.StageFinished: ("info", lambda e: f"stage {e.stage} done in {duration(e.elapsed_s)}"),
    ev.WorkerExited: ("info", _exited),
    ev.WorkerRestarted: ("warning", lambda e: f"restart {e.without_progress} of {e.limit}: {e.reason}"),
    ev.CommandReceived: ("info", lambda e: f"{e.command} asked for by {e.who}"),
    ev.EventsDropped: ("warning", lambda e: f"{e.steps} step events lost: the volume of the run folder stalled"),
    ev.DiskFilled: ("error", _disk_filled),
    ev.DiskFreed: ("info", lambda e: f"space again for {e.path}"),
    ev.RunStopping: ("info", lambda e: f"stopping: {e.reason}"),
    ev.RunStopped: ("info", lambda e: f"stopped: {e.reason}"),
    ev.RunBlocked: ("error", lambda e: f"blocked by {', '.join(e.gates)}"),
    ev.RunFailed: ("error", lambda e: f"failed: {e.reason}" + (f" – {e.mend}" if e.mend else "")),
    ev.RunFinished: ("info", lambda e: "finished" + (f": {e.decision}" if e.decision else "")),
    ev.LibrariesLoaded: ("info", lambda e: f"libraries loaded in {duration(e.elapsed_s)}"),
    ev.ModelLoaded: ("info", lambda e: f"model loaded on {e.device} as {e.quantization} in {duration(e.elapsed_s)}"),
    ev.SentinelRun: (
        "info",
        lambda e: f"sentinel {e.name}: {'passed' if e.passed else 'failed'}{' (advisory)' if e.advisory else ''}",
    ),
    ev.GatesFinished: (
        "info",
        lambda e: f"gates {'passed' if e.passed else 'blocked by ' + ', '.join(e.blocking)}, {e.records} records",
    ),
    ev.NoiseMeasured: ("info", _noise),
    ev.EvaluationFinished: ("info", lambda e: f"{e.arm} arm complete: {e.items} items in {duration(e.elapsed_s)}"),
    ev.TrainingPlanned: ("info", _planned),
    ev.PlanChosen: ("info", _plan),
    ev.FastPathFellBack: ("warning", lambda e: f"{e.path} cannot be used here ({e.reason}); {e.instead}"),
    ev.PreflightMeasured: ("info", _preflight),
    ev.MemoryRanOut: ("error", _ran_out),
    ev.LossSpiked: ("warning", lambda e: f"loss {e.loss:.3f} at step {e.step}, usually {e.usual:.3f}"),
    ev.DevEvaluated: ("info", lambda e: f"dev loss {e.loss:.4f} at step {e.step} (best {e.best_loss:.4f} at {e.best_step})"),
    ev.CheckpointWritten: ("info", lambda e: f"checkpoint step {e.step}, {gib(e.size_bytes)} in {duration(e.elapsed_s)}"),
    ev.CheckpointFailed: ("warning", lambda e: f"checkpoint at step {e.step} failed: {e.reason}"),
    ev.Rewound: ("warning", lambda e: f"going on from step {e.step}"),
    ev.TrainingStoppedEarly: (
        "info",
        lambda e: f"stopped early at step {e.step}: best dev loss {e.best_loss:.4f} at step {e.best_step}",
    ),
    ev.AdapterSaved: ("info", lambda e: f"adapter of step {e.step} saved, {gib(e.size_bytes)}"),
    ev.WorkerStopped: (
        "info",
        lambda e: f"worker stopped in stage {e.stage}" + (f" at step {e.step}" if e.step is not None else ""),
    ),
    ev.VerdictReached: ("info", lambda e: f"verdict {e.decision}"),
    ev.Warned: ("warning", lambda e: e.text),
    ev.WorkerFailed: ("error", lambda e: several(e.problems)),
}
