"""Two runs side by side: the settings that differ, their loss curves, their verdicts. Read from their files; nothing is computed anew.

It refuses a test between the two runs: each verdict is about its own base model and held-out set, and says so where these differ.
"""

from collections.abc import Iterator

import msgspec

from engine.protocol.config_file import Difference, differences, load_config
from engine.protocol.errors import SluiceError
from engine.protocol.evaluation import Evaluation, Interval, Outcome, decode_evaluation
from engine.protocol.journal_tail import JournalTail
from engine.protocol.listing import shown_state
from engine.protocol.run_fold import apply
from engine.protocol.run_state import RunState, StepPoint
from engine.protocol.runs import OwnerWatch, RunFolder, State, read_launch, read_summary

CURVE_POINTS = 400


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """One group of items in one run: rates and lift in shares, null where undefined."""

    n: int
    base_rate: float | None
    sft_rate: float | None
    lift: float | None
    lift_ci: Interval | None
    p: float | None


class DevPoint(msgspec.Struct, frozen=True):
    """A dev evaluation: its loss, nats a response token."""

    step: int
    loss: float


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two runs; what it has not reached yet is null or empty."""

    run_id: str
    name: str
    parent: str | None
    state: State
    decision: str | None
    flags: tuple[str, ...]
    signed_by: str | None
    attempt: int | None
    overall: Rates | None
    by_type: dict[str, Rates]
    steps: int | None
    best_dev: DevPoint | None
    train_s: float | None
    total_s: float | None
    peak_bytes: int | None
    curve: tuple[StepPoint, ...]
    dev: tuple[DevPoint, ...]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """`settings` as they differ from the first run to the second; `cautions` are what keeps their figures from being set side by side."""

    first: Side
    second: Side
    settings: tuple[Difference, ...]
    cautions: tuple[str, ...]


def compare_runs(first: RunFolder, second: RunFolder) -> Comparison:
    """Read both runs whole, journals included.

    Raises: SluiceError where settings, journal or evaluation cannot be read.
    """
    evaluations = [_evaluation(run) for run in (first, second)]
    sides = [_side(run, evaluation) for run, evaluation in zip((first, second), evaluations, strict=True)]
    settings = [load_config(run.config, inputs_must_exist=False) for run in (first, second)]
    return Comparison(
        first=sides[0], second=sides[1], settings=differences(*settings), cautions=tuple(_cautions(evaluations, sides))
    )


def _cautions(evaluations: list[Evaluation | None], sides: list[Side]) -> Iterator[str]:
    one, other = evaluations
    if one is None or other is None:
        missing = " and ".join(side.run_id for side, found in zip(sides, evaluations, strict=True) if found is None)
        yield f"no verdict yet: {missing}"
        return
    for what, name in (("held_out", "held-out sets"), ("base_records", "base arms' answers")):
        before, after = one.metadata.data_sha256.get(what), other.metadata.data_sha256.get(what)
        if before != after:
            yield f"the {name} differ: the two lifts are not about the same thing"
    yield "two verdicts, not a test between the runs: intervals that overlap decide nothing"


def _side(run: RunFolder, evaluation: Evaluation | None) -> Side:
    state = RunState()
    for chunk in JournalTail(run.journal).chunks():
        for stamp, event in chunk:
            apply(state, event, stamp)
    summary, verdict = read_summary(run), evaluation.verdict if evaluation else None
    last, dev = state.last_step, state.dev[-1] if state.dev else None
    return Side(
        run_id=run.run_id, name=summary.name if summary else "", parent=read_launch(run).parent,
        state=shown_state(state.state, live=state.live, owned=state.live and OwnerWatch(run).alive(), quiet_s=None),
        decision=verdict.decision if verdict else None, flags=verdict.flags if verdict else (),
        signed_by=verdict.signed_off.name if verdict and verdict.signed_off else None,
        attempt=evaluation.prereg.attempt if evaluation and evaluation.prereg else None,
        overall=_rates(evaluation.overall) if evaluation else None,
        by_type={name: _rates(outcome) for name, outcome in evaluation.by_type.items()} if evaluation else {},
        steps=last.step if last else None, best_dev=DevPoint(dev.best_step, dev.best_loss) if dev else None,
        train_s=state.stages_done.get("train"), total_s=sum(state.stages_done.values()) if state.stages_done else None,
        peak_bytes=last.memory.peak_allocated_bytes if last and last.memory else None,
        curve=tuple(_thinned(state.points)),
        dev=tuple(DevPoint(each.step, each.loss) for each in state.dev),
    )  # fmt: skip


def _rates(outcome: Outcome) -> Rates:
    return Rates(
        n=outcome.n, base_rate=outcome.base_rate, sft_rate=outcome.sft_rate, lift=outcome.lift, lift_ci=outcome.lift_ci,
        p=outcome.mcnemar.primary.p,
    )  # fmt: skip


def _evaluation(run: RunFolder) -> Evaluation | None:
    try:
        return decode_evaluation(run.evaluation.read_bytes(), str(run.evaluation))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SluiceError(f"{run.evaluation}: cannot be read: {error.strerror}") from None


def _thinned(points: list[StepPoint]) -> list[StepPoint]:
    stride = max(1, -(-len(points) // CURVE_POINTS))
    return points if stride == 1 else [*points[:-1:stride], points[-1]]
