"""What to try after NO-GO, each suggestion drawn from a measurement. What was not measured is not guessed at."""

from collections.abc import Iterator

from engine.core.verdict.evidence import Evidence
from engine.core.verdict.rules import lift_holds
from engine.core.wording import counted, number, percent, points
from engine.protocol.evaluation import Scalar, Suggestion, TypeOutcome

_OF_THE_DESIGN = ("power", "headroom", "sentinels", "pod")
"""Gates that speak of the evaluation, the model or the machine, not of the training data."""
_NOTABLE = 0.01
_FALLEN_P = 0.05
_SLICES = 3


def suggestions(evidence: Evidence) -> tuple[Suggestion, ...]:
    """List what to try, the most telling measurement first; empty where nothing measured points anywhere."""
    parts = (_gates, _ceiling, _loss, _fallen, _stopping, _data, _slices)
    return tuple(found for part in parts for found in part(evidence))


def _try(name: str, text: str, **numbers: Scalar) -> Suggestion:
    return Suggestion(id=name, text=text, numbers=numbers)


def _gates(evidence: Evidence) -> Iterator[Suggestion]:
    failed = [g.id for g in evidence.gates if g.severity == "hard" and g.status == "fail" and not g.overridden]
    if failed:
        yield _try("gates", f"mend the data first ({', '.join(failed)}): the gates show the records", failed=len(failed))
    doubtful = [g.id for g in evidence.gates if g.severity == "advisory" and g.status == "fail" and g.id not in _OF_THE_DESIGN]
    if doubtful:
        text = f"look at what the advisory gates measured in the data ({', '.join(doubtful)}): they show the records"
        yield _try("gates.advisory", text, failed=len(doubtful))


def _ceiling(evidence: Evidence) -> Iterator[Suggestion]:
    rate, table = evidence.analysis.overall.base_rate, evidence.analysis.power.smallest_detectable_lift
    smallest = table[0].lift if table else None
    if rate is not None and smallest is not None and 1 - rate < smallest:
        text = f"the base model already answers {percent(rate)}: test what it cannot do, or do not fine-tune for this"
        yield _try("ceiling", text, base_rate=rate)


def _loss(evidence: Evidence) -> Iterator[Suggestion]:
    measured = evidence.measured
    if measured.loss_shape == "diverged":
        yield _try("loss.diverged", "the training loss rose: lower the learning rate (a third of it), or warm up longer")
    if measured.loss_shape == "plateaued":
        yield _try(
            "loss.plateaued", "the training loss hardly fell: raise the learning rate or the LoRA rank, or check the responses"
        )
    if measured.loss_shape == "overfitted":
        yield _overfitted(evidence)


def _overfitted(evidence: Evidence) -> Suggestion:
    m = evidence.measured
    where = ""
    if m.best_dev_loss is not None and m.best_dev_step is not None and m.last_dev_loss is not None:
        where = f" from {number(m.best_dev_loss, None, 4)} at step {m.best_dev_step:,} to {number(m.last_dev_loss, None, 4)}"
    text = f"the dev loss rose{where}: train fewer epochs, or on more records"
    return _try("loss.overfitted", text, best=m.best_dev_loss, best_step=m.best_dev_step, last=m.last_dev_loss)


def _fell(kind: TypeOutcome) -> bool:
    p = kind.guard.p_one_sided if kind.guard else kind.mcnemar.primary.p
    return kind.b > kind.c and p is not None and p < _FALLEN_P


def _fallen(evidence: Evidence) -> Iterator[Suggestion]:
    fallen = [(name, kind) for name, kind in evidence.analysis.by_type.items() if _fell(kind)]
    for name, kind in sorted(fallen, key=lambda pair: (pair[1].lift or 0.0, pair[0])):
        share = evidence.measured.train_share_by_type.get(name)
        text = f"{name} fell {percent(kind.base_rate)} → {percent(kind.sft_rate)}: read its {counted(kind.b, 'lost item')}"
        text += "" if share is None else f"; it is {percent(share)} of the training records, add more of it"
        yield _try(f"fell.{name}", text, lift=kind.lift, b=kind.b, c=kind.c, train_share=share)


def _stopping(evidence: Evidence) -> Iterator[Suggestion]:
    overall, after = evidence.analysis.overall, evidence.after_stop_rules
    if after is not None and lift_holds(overall, evidence.alpha) and not lift_holds(after, evidence.alpha):
        text = (
            f"{points(after.lift)} is left once both arms are cut at new-prompt markers: a stop rule at decoding may do as well"
        )
        yield _try("stopping", text, lift=overall.lift, lift_after=after.lift)


def _data(evidence: Evidence) -> Iterator[Suggestion]:
    m = evidence.measured
    advice = (
        ("truncated", m.truncated_share, "of the training examples were cut at max_seq_len: raise it, or shorten them"),
        ("token_limit", m.token_limit_share, "of the SFT answers ran into max_new_tokens: raise it, or check that responses end"),
        ("runaway", m.runaway_share, "of the training responses go on into a new prompt: cut them"),
        ("low_confidence", m.low_confidence_share, "of the training records had an unsure critic: drop or regenerate them"),
    )
    for name, share, text in advice:
        if share is not None and share >= _NOTABLE:
            yield _try(name, f"{percent(share)} {text}", share=share)


def _slices(evidence: Evidence) -> Iterator[Suggestion]:
    for part in evidence.measured.weakest_slices[:_SLICES]:
        margin = "" if part.mean_margin is None else f", mean critic margin {number(part.mean_margin)}"
        text = f"regenerate the slice {part.name} ({counted(part.records, 'record')}, {percent(part.share)} of train{margin})"
        yield _try(f"slice.{part.name}", text, records=part.records, share=part.share, mean_margin=part.mean_margin)
