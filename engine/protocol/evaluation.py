"""The structures of `evaluation.json` (SPEC §8), and how they are written and read.

A value that is undefined is null and has a `…_undecided` field beside it that says why; that field is absent where there is a value
(such fields, and those that came later than version 1 of the file, have a default, and a default is not written).
This module computes nothing and decides nothing.
"""

from typing import Literal

import msgspec

from engine.protocol.errors import InputError
from engine.protocol.review import Validation

SCHEMA_VERSION = 1

Interval = tuple[float, float]
"""[low, high]."""
OpenInterval = tuple[float | None, float | None]
"""[low, high], null at an end that is not finite."""
Scalar = bool | int | float | str | None
Decision = Literal["GO", "NO-GO", "INCONCLUSIVE"]
ReasonStatus = Literal["pass", "fail", "undecided", "warn"]
"""`fail` speaks against GO for good, `undecided` says that the evidence does not suffice, `warn` wants a person to look."""
GuardStatus = Literal["ok", "suspect", "regressed", "weak"]
NonInferiorityStatus = Literal["shown", "inconclusive", "inferior"]
Flag = Literal["BORDERLINE", "STOPPING ONLY", "WEAK", "RELAXED"]
PrimaryTest = Literal["mcnemar_midp", "cluster_sign_flip"]
IntervalMethod = Literal["tango", "clustered"]


class Primary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The test that decides, and its two-sided p."""

    name: PrimaryTest
    p: float | None
    p_undecided: str | None = None


class McNemar(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """McNemar's readings: `b` pairs lost (only base succeeds), `c` pairs won (only SFT succeeds)."""

    b: int
    c: int
    exact_p: float | None
    midp_p: float | None
    chi2_cc: float | None
    cc_p: float | None
    primary: Primary
    exact_p_undecided: str | None = None
    midp_p_undecided: str | None = None
    chi2_cc_undecided: str | None = None
    cc_p_undecided: str | None = None


class Clustered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The reading by clusters; without clusters every item is one, and it repeats the unclustered figures."""

    clusters: int
    se: float | None
    p: float | None
    exact_p: float | None
    se_ratio: float | None
    """Clustered standard error over the one that ignores clusters."""
    se_undecided: str | None = None
    p_undecided: str | None = None
    exact_p_undecided: str | None = None
    se_ratio_undecided: str | None = None


class Unscored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Items that the scorer or the machinery could not score, per arm, of `items` in all; such a pair is not in n."""

    base: int
    sft: int
    items: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One group of paired items. a both succeed, b only base, c only SFT, d neither; rates in [0, 1], lift in [-1, 1]."""

    n: int
    a: int
    b: int
    c: int
    d: int
    base_rate: float | None
    base_ci: Interval | None
    sft_rate: float | None
    sft_ci: Interval | None
    lift: float | None
    lift_ci: Interval | None
    lift_ci_method: IntervalMethod
    lift_ci_newcombe: Interval | None
    mcnemar: McNemar
    odds_ratio: float | None
    odds_ratio_ci: OpenInterval | None
    cohens_h: float | None
    """Effect size; it ignores the pairing."""
    clustered: Clustered
    unscored: Unscored
    base_rate_undecided: str | None = None
    base_ci_undecided: str | None = None
    sft_rate_undecided: str | None = None
    sft_ci_undecided: str | None = None
    lift_undecided: str | None = None
    lift_ci_undecided: str | None = None
    lift_ci_newcombe_undecided: str | None = None
    odds_ratio_undecided: str | None = None
    odds_ratio_ci_undecided: str | None = None
    cohens_h_undecided: str | None = None


class Guard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The regression test of a guarded type: `p_one_sided` for "the SFT arm is worse", Holm-adjusted over the guarded types."""

    p_one_sided: float | None
    p_holm: float | None
    wilson_disjoint: bool | None
    status: GuardStatus
    smallest_detectable_fall: float | None
    p_one_sided_undecided: str | None = None
    p_holm_undecided: str | None = None
    wilson_disjoint_undecided: str | None = None
    smallest_detectable_fall_undecided: str | None = None


class NonInferiority(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether a fall larger than `margin` is excluded: `lower` and `upper` are the 90% limits of the lift."""

    margin: float
    lower: float | None
    upper: float | None
    status: NonInferiorityStatus
    lower_undecided: str | None = None
    upper_undecided: str | None = None


class TypeOutcome(Outcome, frozen=True, kw_only=True, omit_defaults=True):
    """One type of items. `guard` and `noninferiority` are there for guarded types, `p_adjusted_by` where items have several types."""

    p_adjusted: float | None
    significant_after_bh: bool
    p_adjusted_undecided: str | None = None
    p_adjusted_by: float | None = None
    guard: Guard | None = None
    noninferiority: NonInferiority | None = None


class Multiplicity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The family of per-type tests; `n_significant_adjusted_by` is there where items have several types."""

    fdr: float
    n_tests: int
    n_significant_raw: int
    n_significant_adjusted: int
    n_significant_adjusted_by: int | None = None


class DetectableLift(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The smallest lift found with the target power where the base alone succeeds on a share `p10` of the items."""

    p10: float
    lift: float | None
    lift_undecided: str | None = None


class Power(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What this many units can find; by design, not from the result."""

    units: int
    unit: Literal["pairs", "clusters"]
    alpha: float
    target: float
    smallest_detectable_lift: tuple[DetectableLift, ...]


class NoiseFloor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Outcomes that flipped without any change of weights; null where a reading was not taken.

    `repeat`: the same batches decoded again (expected 0); `rebatch`: a sample decoded in other batches; `unpadded`: padded items decoded
    among others of their length, so without padding; `base_drift`: base batches decoded again, adapter off, by the process that decoded the SFT arm.
    `…_flips` are outcomes, `…_texts` are answers whose token ids changed.
    """

    repeat_flips: int | None
    repeat_items: int | None
    rebatch_flips: int | None
    rebatch_items: int | None
    base_drift_flips: int | None
    base_drift_items: int | None
    unpadded_flips: int | None = None
    unpadded_items: int | None = None
    repeat_texts: int | None = None
    rebatch_texts: int | None = None
    unpadded_texts: int | None = None
    base_drift_texts: int | None = None
    repeat_undecided: str | None = None
    rebatch_undecided: str | None = None
    unpadded_undecided: str | None = None
    base_drift_undecided: str | None = None

    def readings(self) -> tuple["NoiseOfKind", ...]:
        """Each reading by its kind, in the order in which they are shown."""
        return tuple(
            NoiseOfKind(kind, *(getattr(self, f"{kind}_{field}") for field in ("flips", "texts", "items", "undecided")))
            for kind in NOISE_KINDS
        )


class NoiseOfKind(msgspec.Struct, frozen=True):
    """One reading of the noise floor: of `items` decoded again, `flips` changed their outcome and `texts` their token ids."""

    kind: str
    flips: int | None
    texts: int | None
    items: int | None
    undecided: str | None

    @property
    def words(self) -> str:
        """`0 flips of 64 (12 texts differ)`, or why the reading was not taken."""
        if self.flips is None:
            return f"not taken ({self.undecided or 'no reason given'})"
        texts = "" if self.texts is None else f" ({self.texts} texts differ)" if self.texts != 1 else " (1 text differs)"
        return f"{self.flips} {'flip' if self.flips == 1 else 'flips'} of {self.items}{texts}"


NOISE_KINDS = ("repeat", "rebatch", "unpadded", "base_drift")


class WorstCase(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The decisive tests with every unscored base item a success and every unscored SFT item a failure."""

    n: int
    b: int
    c: int
    p: float | None
    guards: dict[str, float | None]
    """Guarded type → one-sided p."""
    p_undecided: str | None = None


class Secondary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Readings that do not decide by themselves; null where one was not taken."""

    after_stop_rules: Outcome | None
    after_blank_line: Outcome | None
    noise_floor: NoiseFloor | None
    unscored_worst_case: WorstCase | None
    after_stop_rules_undecided: str | None = None
    after_blank_line_undecided: str | None = None
    noise_floor_undecided: str | None = None
    unscored_worst_case_undecided: str | None = None


class Prereg(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was frozen before the evaluation: its hash, whether the report kept to it, and the level of this attempt."""

    hash: str
    exploratory: bool
    attempt: int
    alpha: float
    differences: tuple[str, ...] = ()
    """The settings in which the report differs from what was frozen."""


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finding of the verdict: a sentence, and every number in it."""

    id: str
    status: ReasonStatus
    text: str
    numbers: dict[str, Scalar]


class Suggestion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing to try after NO-GO, and the measurement it is drawn from."""

    id: str
    text: str
    numbers: dict[str, Scalar]


class Signature(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who signed the verdict off, why, and when (UTC, ISO 8601)."""

    name: str
    note: str
    time: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The decision with all its reasons, those of the deciding rule first."""

    decision: Decision
    rule: int
    """Which rule decided: 1 … 5 in the order of the verdict's rules."""
    flags: tuple[Flag, ...]
    relaxed: tuple[str, ...]
    """Every default that was loosened, by name."""
    overrides: tuple[str, ...]
    """Every gate that was overridden, by id."""
    signed_off: Signature | None
    reasons: tuple[Reason, ...]
    try_next: tuple[Suggestion, ...]


class Metadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the numbers come from."""

    labels: dict[str, str]
    confidence_level: float
    seeds: dict[str, int]
    git_sha: dict[str, str]
    loader_version: str | None
    environment: dict[str, str]
    decoding: dict[str, Scalar]
    data_sha256: dict[str, str]
    prereg_hash: str | None
    created_at: str | None
    notes: tuple[str, ...]
    """What a reader must know, for example that a subset was evaluated."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole of `evaluation.json`. `verdict` and `prereg` are null for pairs that were only described; these have no `validation`."""

    schema_version: int
    overall: Outcome
    by_type: dict[str, TypeOutcome]
    bh: Multiplicity
    secondary: Secondary
    power: Power
    prereg: Prereg | None
    verdict: Verdict | None
    metadata: Metadata
    validation: Validation | None = None
    """How far a blinded review by a person agreed with the scorer."""


def encode_evaluation(evaluation: Evaluation) -> bytes:
    """Write as UTF-8 JSON, indented, with a newline at the end; equal evaluations give equal bytes."""
    return msgspec.json.format(msgspec.json.encode(evaluation, order="deterministic"), indent=2) + b"\n"


def decode_evaluation(data: bytes, where: str = "evaluation.json") -> Evaluation:
    """Read what `encode_evaluation` wrote; `where` names the file in messages.

    Raises:
        InputError: not JSON, another schema version, or a field that is missing or of the wrong type.
    """
    try:
        version = msgspec.json.decode(data, type=_Version).schema_version
        if version != SCHEMA_VERSION:
            raise InputError(_version_problem(version, where))
        return msgspec.json.decode(data, type=Evaluation)
    except msgspec.DecodeError as error:
        raise InputError(f"{where}: {error}; write it anew with `sluice report RUN`") from error


def exit_status(verdict: Verdict | None) -> int:
    """Process status of SPEC §9: 0 GO that is signed or has no flag, and no verdict at all; 1 NO-GO; 3 otherwise."""
    if verdict is None:
        return 0
    if verdict.decision == "NO-GO":
        return 1
    settled = verdict.signed_off is not None or not verdict.flags
    return 0 if verdict.decision == "GO" and settled else 3


class _Version(msgspec.Struct):
    schema_version: int


def _version_problem(version: int, where: str) -> str:
    mend = "upgrade sluice" if version > SCHEMA_VERSION else "write it anew with `sluice report RUN`"
    return f"{where}: schema_version is {version}; this sluice reads version {SCHEMA_VERSION}: {mend}"
