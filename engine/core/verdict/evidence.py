"""What the verdict is given to weigh. Plain data: nothing here is computed or judged."""

import msgspec

from engine.core.analysis import Analysis, Settings
from engine.core.verdict.loss_curve import LossShape
from engine.protocol.evaluation import NoiseFloor, Outcome, Prereg
from engine.protocol.gates import GatesReport, Severity, Status
from engine.protocol.review import Validation


class GateOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one gate ended, and whether a person overrode it."""

    id: str
    severity: Severity
    status: Status
    overridden: bool = False


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """How many of its planned items an arm has answered."""

    name: str
    planned: int
    done: int


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the training data (a type or a source), its share of the records, and its mean critic margin where known."""

    name: str
    records: int
    share: float
    mean_margin: float | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What the run measured besides the outcomes; None or empty where it was not measured. Shares in [0, 1]."""

    loss_shape: LossShape | None = None
    best_dev_loss: float | None = None
    best_dev_step: int | None = None
    last_dev_loss: float | None = None
    last_step: int | None = None
    truncated_share: float | None = None
    """Training examples cut at max_seq_len."""
    token_limit_share: float | None = None
    """SFT answers that ran into max_new_tokens."""
    runaway_share: float | None = None
    """Training responses that go on into a new prompt."""
    low_confidence_share: float | None = None
    """Training records that the critic was not sure of."""
    train_share_by_type: dict[str, float] = {}
    weakest_slices: tuple[Slice, ...] = ()
    """Weakest first."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the rules look at.

    With `pairs_only` there was no run: gates, arms and pre-registration are not asked for. Without it, a missing pre-registration makes
    the report exploratory and missing gate results leave it undecided.
    """

    analysis: Analysis
    settings: Settings
    gates: tuple[GateOutcome, ...] = ()
    arms: tuple[Arm, ...] = ()
    prereg: Prereg | None = None
    after_stop_rules: Outcome | None = None
    noise_floor: NoiseFloor | None = None
    validation: Validation | None = None
    relaxed: tuple[str, ...] = ()
    measured: Measured = Measured()
    pairs_only: bool = False

    @property
    def alpha(self) -> float:
        """Level of this attempt."""
        return self.prereg.alpha if self.prereg else self.settings.alpha

    @property
    def p(self) -> float | None:
        """Two-sided p of the deciding test."""
        return self.analysis.overall.mcnemar.primary.p

    @property
    def significant(self) -> bool:
        """Whether the overall test decides at all, in whichever direction."""
        return self.p is not None and self.p < self.alpha


def gate_outcomes(report: GatesReport) -> tuple[GateOutcome, ...]:
    """Take the outcomes from gates.json."""
    overridden = {override.gate for override in report.overrides}
    return tuple(
        GateOutcome(id=gate.id, severity=gate.severity, status=gate.status, overridden=gate.id in overridden)
        for gate in report.gates
    )
