"""What a run looks like now: the one state that the supervisor, `sluice watch`, the panel, history and tests share.

`run_fold.apply` folds events into it; here are its fields and what follows from them (ETA, progress, the 2×2 table). It refuses to
decide anything: statistics and verdict come from files.
"""

from collections import deque

import msgspec

from engine.protocol import events as ev
from engine.protocol.runs import LIVE_STATES, State

LOG_LINES = 500
LAST_ITEMS = 50
MAX_POINTS = 4096
RECENT_STEPS = 50


class StepPoint(msgspec.Struct, frozen=True):
    """One optimizer step of the curve: raw loss and its exponential mean (both nats a response token).

    `smooth_weight` is 1 − βⁿ after n losses: how much of the mean stands on losses, so that it can go on from this point.
    """

    step: int
    loss: float
    smooth: float
    learning_rate: float
    grad_norm: float
    smooth_weight: float


class ArmProgress(msgspec.Struct):
    """How far one arm is; `outcomes` maps item id to its outcome."""

    items: int = 0
    done_items: int = 0
    tokens: int = 0
    elapsed_s: float = 0.0
    finished: bool = False
    outcomes: dict[str, ev.ItemOutcome] = {}

    @property
    def items_per_s(self) -> float | None:
        """Measured speed, None before the first batch."""
        return len(self.outcomes) / self.elapsed_s if self.elapsed_s > 0 and self.outcomes else None


class LogLine(msgspec.Struct, frozen=True):
    """A line for the log of what happened; `level` is info, warning or error."""

    t: str
    text: str
    level: str = "info"


class Pairs(msgspec.Struct, frozen=True):
    """The 2×2 table over the items both arms have answered so far; unscored pairs are left out and counted."""

    both: int
    lost: int
    won: int
    neither: int
    unscored: int

    @property
    def n(self) -> int:
        """Pairs that count."""
        return self.both + self.lost + self.won + self.neither


class RunState:
    """Everything the four tabs and the status line show, folded from events."""

    def __init__(self) -> None:
        self.created: ev.RunCreated | None = None
        self.created_at = ""
        self.last_t = ""
        self.last_mono_s = 0.0
        self.worker_event_mono_s: float | None = None
        self.worker_heard_at = ""
        self.state: State = "draft"
        self.state_since = ""
        self.before_disk_full: State = "draft"
        self.stage: ev.Stage = "gates"
        self.stages_done: dict[str, float] = {}
        self.behind = ""
        self.detail = ""
        self.failed_status = 4
        self.log_tail: tuple[str, ...] = ()
        self.log: deque[LogLine] = deque(maxlen=LOG_LINES)
        self.gates: dict[str, ev.GateChecked] = {}
        self.gates_finished: ev.GatesFinished | None = None
        self.gate_progress: ev.GateProgressed | None = None
        self.model: ev.ModelLoaded | None = None
        self.load_progress: ev.ModelLoadProgressed | None = None
        self.sentinels: dict[str, ev.SentinelRun] = {}
        self.plan: ev.TrainingPlanned | None = None
        self.compute_plan: ev.PlanChosen | None = None
        self.preflights: dict[str, ev.PreflightMeasured] = {}
        self.ran_out: list[ev.MemoryRanOut] = []
        self.points: list[StepPoint] = []
        self.points_seen = 0
        self.point_stride = 1
        self.dev: list[ev.DevEvaluated] = []
        self.last_step: ev.StepTrained | None = None
        self.memory: ev.Memory | None = None
        self.checkpoints = 0
        self.stopped_early: ev.TrainingStoppedEarly | None = None
        self.adapter: ev.AdapterSaved | None = None
        self.restarts: list[ev.WorkerRestarted] = []
        self.arms: dict[str, ArmProgress] = {"base": ArmProgress(), "sft": ArmProgress()}
        self.last_items: deque[tuple[str, ev.ItemOutcome]] = deque(maxlen=LAST_ITEMS)
        # by stage and kind: both arms are decoded again, and the event does not name its arm
        self.noise: dict[tuple[ev.Stage, str], ev.NoiseMeasured] = {}
        self.verdict: ev.VerdictReached | None = None
        self.decision: str | None = None
        self.recent_step_s: deque[float] = deque(maxlen=RECENT_STEPS)

    @property
    def live(self) -> bool:
        """True while a supervisor should be there."""
        return self.state in LIVE_STATES

    @property
    def pairs(self) -> Pairs:
        """The 2×2 table so far; interim until both arms are complete."""
        return pairs_of(self.arms["base"].outcomes, self.arms["sft"].outcomes)

    def noise_of(self, kind: str) -> tuple[int, int] | None:
        """(outcomes flipped, items decoded again) of both arms together; None where it was not measured."""
        found = [noise for (_, name), noise in self.noise.items() if name == kind]
        return (sum(noise.success_flips for noise in found), sum(noise.items for noise in found)) if found else None

    @property
    def step_s(self) -> float | None:
        """Median seconds of the last `RECENT_STEPS` steps."""
        recent = sorted(self.recent_step_s)
        return recent[len(recent) // 2] if recent else None

    @property
    def train_left_s(self) -> float | None:
        """Seconds of training to come at the present pace, None where unknown."""
        if "train" in self.stages_done:
            return 0.0
        if self.last_step is None or self.step_s is None:
            return None
        return (self.last_step.steps - self.last_step.step) * self.step_s

    def arm_left_s(self, arm: ev.Arm) -> float | None:
        """Seconds of evaluation to come for an arm; an arm not begun is taken to be as fast as the other, None where unknown."""
        progress = self.arms[arm]
        if progress.finished:
            return 0.0
        other = self.arms["base" if arm == "sft" else "sft"]
        speed = progress.items_per_s or other.items_per_s
        total = progress.items or other.items
        return None if not speed or not total else (total - progress.done_items) / speed

    @property
    def eta_s(self) -> float | None:
        """Seconds to the verdict, evaluations counted in; None while a part of it is unknown."""
        if not self.live:
            return None
        parts = [self.arm_left_s("base"), self.train_left_s, self.arm_left_s("sft")]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    @property
    def progress(self) -> float:
        """0..1 within the present stage."""
        if self.state == "finished":
            return 1.0
        if self.stage == "train" and self.last_step is not None:
            return self.last_step.step / max(1, self.last_step.steps)
        if self.stage in ("base", "sft"):
            arm = self.arms[self.stage]
            return arm.done_items / arm.items if arm.items else 0.0
        if self.gate_progress is not None and self.gate_progress.total:
            return min(1.0, self.gate_progress.done / self.gate_progress.total)
        return 0.0


def pairs_of(base: dict[str, ev.ItemOutcome], sft: dict[str, ev.ItemOutcome], of_type: str | None = None) -> Pairs:
    """The 2×2 table over items that both arms answered, optionally of one type only."""
    both = lost = won = neither = unscored = 0
    for item_id, ours in sft.items():
        theirs = base.get(item_id)
        if theirs is None or (of_type is not None and of_type not in ours.types):
            continue
        if ours.success is None or theirs.success is None:
            unscored += 1
        elif ours.success:
            both, won = (both + 1, won) if theirs.success else (both, won + 1)
        else:
            lost, neither = (lost + 1, neither) if theirs.success else (lost, neither + 1)
    return Pairs(both, lost, won, neither, unscored)
