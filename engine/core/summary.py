"""`summary.txt`: an evaluation as plain text in 80 columns, the verdict and its reasons first.

It shows what the evaluation holds and computes nothing. Names that come from data are shown inert: a character that is not printable
is replaced, so no text can drive the terminal that shows it.
"""

import textwrap
from collections.abc import Iterator, Mapping

from engine.core.review import kappa_words
from engine.core.wording import counted, number, p_value, percent, points, points_interval
from engine.protocol.evaluation import (
    Evaluation,
    Interval,
    NoiseFloor,
    Outcome,
    Power,
    ReasonStatus,
    Scalar,
    Secondary,
    TypeOutcome,
    Verdict,
)
from engine.protocol.review import Validation

WIDTH = 80
_NAME = 11
_NOISE = {
    "repeat": "decoded again",
    "rebatch": "in other batches",
    "unpadded": "without padding",
    "base_drift": "base arm, second process",
}
_WORDS: dict[ReasonStatus, str] = {"fail": "FAIL", "undecided": "OPEN", "warn": "NOTE", "pass": "ok"}


def summary_text(evaluation: Evaluation) -> str:
    """Write the whole evaluation as text with lines of at most 80 characters and a newline at the end."""
    sections = (
        _verdict(evaluation.verdict),
        _results(evaluation),
        _guards(evaluation.by_type),
        _secondary(evaluation.secondary),
        validation_lines(evaluation.validation),
        _power(evaluation.power),
        _provenance(evaluation),
    )
    lines = [line for section in sections for line in (*section, "")]
    return "\n".join(_inert(line).rstrip() for line in lines[:-1]) + "\n"


def _inert(line: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def _wrapped(text: str, first: str = "", rest: str | None = None) -> list[str]:
    """Wrap to 80 columns; `first` begins the first line, `rest` (blanks of the same width) the others."""
    indent = " " * len(first) if rest is None else rest
    return textwrap.wrap(_inert(text), WIDTH, initial_indent=first, subsequent_indent=indent) or [first]


def _verdict(verdict: Verdict | None) -> Iterator[str]:
    if verdict is None:
        yield "NO VERDICT: these pairs are described, not judged"
        return
    yield f"{verdict.decision}   (rule {verdict.rule}; {_flags(verdict)}; {_signature(verdict)})"
    yield ""
    for reason in verdict.reasons:
        yield from _wrapped(reason.text, f"  {_WORDS[reason.status]:<4}  ")
    if verdict.overrides:
        yield from _wrapped(f"gates overridden: {', '.join(verdict.overrides)}", "  NOTE  ")
    if verdict.try_next:
        yield from ("", "Try next")
        for suggestion in verdict.try_next:
            yield from _wrapped(suggestion.text, "  - ")
    if verdict.signed_off:
        yield ""
        yield from _wrapped(
            f"signed off by {verdict.signed_off.name}, {verdict.signed_off.time}: {verdict.signed_off.note or 'no note'}"
        )


def _flags(verdict: Verdict) -> str:
    return f"flags: {', '.join(verdict.flags)}" if verdict.flags else "no flags"


def _signature(verdict: Verdict) -> str:
    if verdict.signed_off:
        return "signed off"
    waits = verdict.decision == "GO" and verdict.flags
    return "not signed: counts only once it is" if waits else "not signed"


def _results(evaluation: Evaluation) -> Iterator[str]:
    level = f"{100 * evaluation.metadata.confidence_level:g}% CI"
    yield f"{'Results':<{_NAME}} {'n':>7} {f'base % [{level}]':<19} {f'SFT % [{level}]':<19} lift, points"
    yield from _result("overall", evaluation.overall, None)
    for name, outcome in evaluation.by_type.items():
        yield from _result(f"{name} †" if outcome.guard else name, outcome, outcome)
    yield ""
    bh = evaluation.bh
    text = f"{counted(bh.n_tests, 'type')} tested: {bh.n_significant_raw} with p < {bh.fdr:g}, "
    text += f"{bh.n_significant_adjusted} after Benjamini-Hochberg (adj. p < {bh.fdr:g})"
    if bh.n_significant_adjusted_by is not None:
        text += f", {bh.n_significant_adjusted_by} after Benjamini-Yekutieli, as items have several types"
    yield from _wrapped(text + ". † guarded. h is Cohen's and ignores the pairing.")
    if evaluation.overall.lift_ci_method == "clustered":
        yield from _wrapped("p and the interval of the lift treat the items of a cluster as one.")


def _result(name: str, outcome: Outcome, of_type: TypeOutcome | None) -> Iterator[str]:
    if len(name) > _NAME:
        yield from _wrapped(name)
        name = ""
    base, sft = _rate(outcome.base_rate, outcome.base_ci), _rate(outcome.sft_rate, outcome.sft_ci)
    lift = "undecided" if outcome.lift is None else f"{100 * outcome.lift:+.1f} {_limits(outcome.lift_ci)}"
    rates = f"{name:<{_NAME}} {outcome.n:>7} {base:<19} {sft:<19}"
    if len(f"{rates} {lift}") <= WIDTH:
        yield f"{rates} {lift}"
    else:
        yield rates
        yield from _wrapped(f"lift {lift}", " " * (_NAME + 9))
    yield from _wrapped(_tests(outcome, of_type), " " * (_NAME + 9))


def _rate(rate: float | None, interval: Interval | None) -> str:
    return "undecided" if rate is None else f"{100 * rate:.1f} {_limits(interval)}"


def _limits(interval: Interval | None) -> str:
    return "[undecided]" if interval is None else f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def _tests(outcome: Outcome, of_type: TypeOutcome | None) -> str:
    parts = [f"lost {outcome.b}", f"won {outcome.c}", f"p {p_value(outcome.mcnemar.primary.p)}"]
    if of_type is not None:
        parts.append(f"adj. p {p_value(of_type.p_adjusted)}")
    parts.append("h undecided" if outcome.cohens_h is None else f"h {outcome.cohens_h:+.2f}")
    if outcome.unscored.base or outcome.unscored.sft:
        parts.append(f"unscored base {outcome.unscored.base}, SFT {outcome.unscored.sft}")
    return "  ".join(parts)


def _guards(by_type: Mapping[str, TypeOutcome]) -> Iterator[str]:
    yield "Guarded types"
    guarded = {name: outcome for name, outcome in by_type.items() if outcome.guard}
    if not guarded:
        yield "  none: a fall of any type would not stop a GO"
    for name, outcome in guarded.items():
        yield from _wrapped(_guard(name, outcome), "  ", "    ")


def _guard(name: str, outcome: TypeOutcome) -> str:
    guard, limits = outcome.guard, outcome.noninferiority
    if guard is None:
        return name
    text = f"{name}: {guard.status.upper()}, one-sided p {p_value(guard.p_one_sided)}, Holm p {p_value(guard.p_holm)}"
    if limits is not None:
        text += f"; a fall beyond {100 * limits.margin:g} points: "
        text += {"shown": "excluded", "inferior": "shown", "inconclusive": "not excluded"}[limits.status]
    smallest = guard.smallest_detectable_fall
    return text + (
        "" if smallest is None else f"; smallest fall that {counted(outcome.n, 'item')} show: {100 * smallest:.0f} points"
    )


def _secondary(secondary: Secondary) -> Iterator[str]:
    yield "Second readings (they do not decide by themselves)"
    yield from _reading("both arms cut at new-prompt markers", secondary.after_stop_rules, secondary.after_stop_rules_undecided)
    yield from _reading("both arms cut at the first blank line", secondary.after_blank_line, secondary.after_blank_line_undecided)
    yield from _noise(secondary.noise_floor, secondary.noise_floor_undecided)
    worst = secondary.unscored_worst_case
    if worst is not None:
        text = f"every unscored item against the SFT arm: lost {worst.b}, won {worst.c} of {worst.n}, p {p_value(worst.p)}"
        yield from _wrapped(text, "  ", "    ")


def _reading(name: str, outcome: Outcome | None, why: str | None) -> list[str]:
    if outcome is None:
        return _wrapped(f"{name}: not taken ({why or 'no reason given'})", "  ", "    ")
    lift = f"lift {points(outcome.lift)} {points_interval(outcome.lift_ci)}"
    rates = f"base {percent(outcome.base_rate)}, SFT {percent(outcome.sft_rate)}"
    return _wrapped(f"{name}: {rates}, {lift}, p {p_value(outcome.mcnemar.primary.p)}", "  ", "    ")


def _noise(noise: NoiseFloor | None, why: str | None) -> list[str]:
    if noise is None:
        return _wrapped(f"noise floor: not taken ({why or 'no reason given'})", "  ", "    ")
    parts = [f"{_NOISE[reading.kind]} {reading.words}" for reading in noise.readings()]
    return _wrapped(f"noise floor: {'; '.join(parts)}", "  ", "    ")


def validation_lines(validation: Validation | None) -> Iterator[str]:
    """How far a person agreed with the scorer, in 80 columns."""
    yield "Scorer against a person"
    if validation is None:
        yield "  not validated: there is nothing that a person could review"
        return
    yield from _wrapped(validation.text, "  ", "    ")
    if validation.sampled:
        text = f"{counted(validation.sampled, 'response')} sampled, {validation.answered} judged, {validation.skipped} skipped, "
        text += f"{validation.after_seeing_checks} of them after a look at what the checks ask for"
        yield from _wrapped(text, "  ", "    ")
    for name, found in {"overall": validation.overall, **validation.by_arm, **validation.by_kind}.items():
        if found.n:
            yield from _wrapped(f"{name}: {kappa_words(found)}", "  ", "    ")
    for one in validation.disagreements:
        said = "passes" if one.scorer_passes else "fails"
        yield from _wrapped(f"judged differently: {one.item}, {one.arm} arm, scorer {said} it: {one.reason}", "  ", "    ")


def _power(power: Power) -> Iterator[str]:
    yield "Power"
    unit = power.unit.removesuffix("s")
    text = f"smallest lift that {counted(power.units, unit)} find with power {power.target:g} at α {number(power.alpha)}, "
    found = (
        f"{'none' if row.lift is None else points(row.lift)} where the base alone succeeds on {percent(row.p10)}"
        for row in power.smallest_detectable_lift
    )
    yield from _wrapped(text + "by design: " + "; ".join(found), "  ", "    ")


def _provenance(evaluation: Evaluation) -> Iterator[str]:
    yield "Provenance"
    prereg, meta = evaluation.prereg, evaluation.metadata
    if prereg is not None:
        kept = "EXPLORATORY: other settings than those frozen" if prereg.exploratory else "frozen before the evaluation"
        level = f"attempt {prereg.attempt} on this held-out set, α {number(prereg.alpha)}"
        yield from _wrapped(f"pre-registration: {kept}; {level}; hash {prereg.hash}", "  ", "    ")
    named: tuple[tuple[str, Mapping[str, Scalar] | Mapping[str, str]], ...] = (
        ("arms", meta.labels),
        ("data sha256", meta.data_sha256),
        ("seeds", meta.seeds),
        ("git", meta.git_sha),
        ("decoding", meta.decoding),
        ("environment", meta.environment),
    )
    for title, values in named:
        if values:
            yield from _wrapped(f"{title}: {', '.join(f'{key} {value}' for key, value in values.items())}", "  ", "    ")
    yield f"  loader: {meta.loader_version or 'unknown'}"
    for note in meta.notes:
        yield from _wrapped(note, "  ", "    ")
    if meta.created_at:
        yield f"  written: {meta.created_at}"
