"""The events of a run: one small frozen class each, past tense, tagged by its name, units in the field names.

Workers send them down a pipe, the supervisor stamps and appends them to `events.jsonl`, and `run_state` folds them. It refuses to
carry anything that decides: resume, statistics and verdict read files, never events.
"""

from typing import Literal

import msgspec

from engine.protocol.plans import PlanEstimate

Stage = Literal["gates", "base", "train", "sft", "report"]
STAGES: tuple[Stage, ...] = ("gates", "base", "train", "sft", "report")
Arm = Literal["base", "sft"]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="type"):
    """Something that happened in a run."""


class Memory(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Memory at one moment. GPU figures are None on the CPU; `device_used_bytes` counts every process on the card.

    The forecast: with the largest row still to come (`largest_row_tokens`) torch's peak will be `predicted_peak_bytes`, which leaves
    `headroom_bytes` of the card. `fragmentation_bytes` is reserved beyond the most that was ever allocated at once; `others_bytes` belongs
    to other processes, None where there are none or they cannot be told.
    """

    rss_bytes: int
    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    device_used_bytes: int | None = None
    device_total_bytes: int | None = None
    peak_allocated_bytes: int | None = None
    predicted_peak_bytes: int | None = None
    risk: Literal["low", "watch", "high"] | None = None
    risk_reason: str = ""
    largest_row_tokens: int | None = None
    headroom_bytes: int | None = None
    fragmentation_bytes: int | None = None
    others_bytes: int | None = None


class ItemOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One held-out item as one arm answered it, short enough for the journal. `success` None means unscored."""

    id: str
    types: tuple[str, ...]
    success: bool | None
    preview: str = ""
    reason: str = ""


# --- the supervisor's -----------------------------------------------------------------------------------------------------------


class RunCreated(Event, frozen=True):
    """A run folder was made and its settings frozen."""

    run_id: str
    name: str
    profile: str
    version: str
    model: str
    train_path: str
    held_out_path: str
    device: str
    price_per_hour: float = 0.0
    currency: str = "USD"
    until: Stage = "report"
    parent: str | None = None


class SupervisorStarted(Event, frozen=True):
    """A supervisor took the run; `epoch` rises with every take-over."""

    pid: int
    hostname: str
    epoch: int
    resumed: bool


class JournalRepaired(Event, frozen=True):
    """A torn last line of the journal was ended; the events before it are whole."""

    torn_bytes: int


class RunQueued(Event, frozen=True):
    """The GPU is held by another run; this one waits behind it."""

    behind: str


class StageStarted(Event, frozen=True):
    """A stage began, or began again after a restart (`attempt` > 1)."""

    stage: Stage
    attempt: int = 1


class StageFinished(Event, frozen=True):
    """A stage is complete and its files are on the disk."""

    stage: Stage
    elapsed_s: float


class WorkerStarted(Event, frozen=True):
    """A worker process was spawned for a stage."""

    pid: int
    stage: Stage


class WorkerExited(Event, frozen=True):
    """A worker ended; exactly one of `exit_status` and `signal` is set. `kernel_oom`: the kernel killed it for memory."""

    pid: int
    stage: Stage
    exit_status: int | None = None
    signal: str | None = None
    kernel_oom: bool = False
    log_tail: tuple[str, ...] = ()


class WorkerRestarted(Event, frozen=True):
    """A lost worker is replaced; `without_progress` counts restarts since the furthest step rose, `limit` ends the run."""

    reason: str
    without_progress: int
    limit: int


class CommandReceived(Event, frozen=True):
    """A command file was taken up: what, by whom, when asked (UTC)."""

    uuid: str
    command: str
    who: str
    asked_at: str


class EventsDropped(Event, frozen=True):
    """A stalled volume made the journal's queue overflow; `steps` step events are missing, nothing else."""

    steps: int


class StepsThinned(Event, frozen=True):
    """Step events faster than twice a second were left out of the journal; `steps` so far in this stage."""

    steps: int


class DiskFilled(Event, frozen=True):
    """A write failed for want of space; the run waits or goes on without it as `consequence` says."""

    path: str
    consequence: str
    free_bytes: int | None = None


class DiskFreed(Event, frozen=True):
    """Writing works again."""

    path: str


class RunStopping(Event, frozen=True):
    """A stop was asked for; the worker finishes its step and writes a checkpoint."""

    reason: str


class RunStopped(Event, frozen=True):
    """The run stopped where a resume goes on."""

    reason: str


class RunBlocked(Event, frozen=True):
    """Hard gates failed or are undecided without an override."""

    gates: tuple[str, ...]


class RunFailed(Event, frozen=True):
    """The run cannot go on: why, how to mend it, and the last lines of the engine's log. `exit_status` as SPEC §9: 2 or 4."""

    reason: str
    mend: str = ""
    exit_status: int = 4
    log_tail: tuple[str, ...] = ()


class RunFinished(Event, frozen=True):
    """Every stage asked for is complete."""

    decision: str | None = None


# --- the worker's ---------------------------------------------------------------------------------------------------------------


class WorkerStarting(Event, frozen=True):
    """The worker lives and is about to import the libraries of its stage."""

    stage: Stage


class LibrariesLoaded(Event, frozen=True):
    """The imports are done."""

    versions: dict[str, str]
    elapsed_s: float


class ModelLoadProgressed(Event, frozen=True):
    """Bytes of the model read so far; `total_bytes` None where unknown."""

    done_bytes: int
    total_bytes: int | None = None


class ModelLoaded(Event, frozen=True):
    """The base model is on its device."""

    name: str
    device: str
    quantization: str
    compute_dtype: str
    parameters: int
    memory: Memory
    elapsed_s: float


class SentinelRun(Event, frozen=True):
    """A sentinel prompt was completed; an advisory one is only shown."""

    name: str
    advisory: bool
    passed: bool
    prompt: str
    output: str


class GateProgressed(Event, frozen=True):
    """How far a long pass over a file has come."""

    what: str
    done: int
    total: int | None = None
    unit: str = "bytes"


class GateChecked(Event, frozen=True):
    """One gate has a result; the evidence itself is in gates.json."""

    id: str
    severity: str
    status: str
    declared: str
    measured: str
    threshold: str
    reason: str
    evidence: int = 0
    overridden: bool = False


class GatesFinished(Event, frozen=True):
    """All gates that need only files are decided."""

    passed: bool
    blocking: tuple[str, ...]
    records: int
    dropped: int


class EvaluationPlanned(Event, frozen=True):
    """The batches of an arm are frozen; `done_items` of them were finished before."""

    arm: Arm
    items: int
    batches: int
    done_items: int
    digest: str


class BatchEvaluated(Event, frozen=True):
    """One batch of an arm is on the disk."""

    arm: Arm
    batch: int
    done_items: int
    items: int
    tokens: int
    elapsed_s: float
    outcomes: tuple[ItemOutcome, ...]
    memory: Memory | None = None


class NoiseMeasured(Event, frozen=True):
    """Items were decoded again: `kind` repeat (same batches), rebatch (other batches), unpadded (padded items without padding) or drift (base
    batches in the SFT process).
    """

    kind: Literal["repeat", "rebatch", "unpadded", "drift"]
    items: int
    text_flips: int
    success_flips: int


class EvaluationFinished(Event, frozen=True):
    """An arm is complete."""

    arm: Arm
    items: int
    successes: int
    unscored: int
    tokens: int
    elapsed_s: float


class TrainingPlanned(Event, frozen=True):
    """What training will do: counts after dropping and truncating, steps of all epochs."""

    examples: int
    dev_examples: int
    dropped: int
    truncated: int
    tokens: int
    response_tokens: int
    steps: int
    epochs: int
    row_tokens: int
    longest_row_tokens: int
    trainable_parameters: int


class PlanChosen(Event, frozen=True):
    """The compute plan of this worker with its prediction. `free_bytes` was there to plan for; `forced` names the settings that were not
    left to the planner; `refused` are plans (fastest first) that would have been faster, each with its reason."""

    stage: Stage
    chosen: PlanEstimate
    free_bytes: int
    forced: tuple[str, ...] = ()
    refused: tuple[PlanEstimate, ...] = ()


class FastPathFellBack(Event, frozen=True):
    """A fast path of the plan cannot be taken here (libraries, model or device); `instead` is what is done."""

    path: str
    reason: str
    instead: str


class PreflightMeasured(Event, frozen=True):
    """The heaviest work of the stage was tried before it counts. `what` is train (longest row, optimizer step) or decode (largest batch)."""

    what: Literal["train", "decode"]
    tokens: int
    predicted_peak_bytes: int | None
    measured_peak_bytes: int | None
    elapsed_s: float


class MemoryRanOut(Event, frozen=True):
    """GPU memory ran out after `step` completed steps (training) or at `batch` (evaluation); the next worker takes a plan that needs less."""

    stage: Stage
    step: int | None = None
    batch: int | None = None
    predicted_peak_bytes: int | None = None
    reason: str = ""


class LossSpiked(Event, frozen=True):
    """A step's loss (nats a response token) is far above the recent ones; training goes on."""

    step: int
    loss: float
    usual: float


class StepTrained(Event, frozen=True):
    """One optimizer step. `loss` is nats a response token over the effective batch; `epoch` is fractional."""

    step: int
    steps: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    response_tokens: int
    micro_steps: int
    elapsed_s: float
    memory: Memory


class DevEvaluated(Event, frozen=True):
    """Dev loss (nats a response token) after `step`; `best_step` is the best so far."""

    step: int
    loss: float
    best_loss: float
    best_step: int
    patience_left: int | None = None


class CheckpointWritten(Event, frozen=True):
    """A checkpoint is whole on the disk."""

    step: int
    path: str
    size_bytes: int
    elapsed_s: float
    kept: int


class CheckpointFailed(Event, frozen=True):
    """A checkpoint could not be written; the old ones are kept and training goes on."""

    step: int
    reason: str


class Rewound(Event, frozen=True):
    """Training goes on from `step`; later steps in the journal are void."""

    step: int


class TrainingStoppedEarly(Event, frozen=True):
    """The dev loss stopped improving; the adapter is that of `best_step`."""

    step: int
    best_step: int
    best_loss: float


class AdapterSaved(Event, frozen=True):
    """The adapter and its TRAINING_SUCCESS marker are on the disk."""

    path: str
    sha256: str
    size_bytes: int
    step: int


class WorkerStopped(Event, frozen=True):
    """The worker obeyed a stop: everything done so far is on the disk."""

    stage: Stage
    step: int | None = None


class VerdictReached(Event, frozen=True):
    """The report is written; evaluation.json holds the numbers."""

    decision: str
    flags: tuple[str, ...]
    reasons: tuple[str, ...]


class Warned(Event, frozen=True):
    """Something a person should know that stops nothing."""

    text: str


class WorkerFailed(Event, frozen=True):
    """The worker ends because of a problem it can name. `retry`: starting it again may help."""

    stage: Stage
    problems: tuple[str, ...]
    exit_status: int
    retry: bool = False
    out_of_memory: bool = False


EVENTS: tuple[type[Event], ...] = tuple(Event.__subclasses__())
WORKER_EVENTS: frozenset[type[Event]] = frozenset(EVENTS[EVENTS.index(WorkerStarting) :])
