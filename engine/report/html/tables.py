"""The tables of the report: results by type, guarded types, second readings, power, gates. Numbers are written as in `summary.txt`."""

from collections.abc import Iterator, Mapping

from engine.core.wording import counted, number, p_value, percent, points, points_interval
from engine.protocol.evaluation import Evaluation, Interval, NoiseFloor, Outcome, Power, Secondary, TypeOutcome
from engine.protocol.gates import GatesReport, worst_first
from engine.report.html.markup import Markup, element, joined, table, text

_STATUS_CLASS = {"pass": "good", "fail": "bad", "undecided": "open", "pending": "open", "n/a": "soft"}
_GUARD_CLASS = {"ok": "good", "suspect": "open", "weak": "open", "regressed": "bad"}
_NOISE = {
    "repeat": "the same batches decoded again (expected: 0)",
    "rebatch": "decoded in other batches",
    "unpadded": "padded items decoded again without padding",
    "base_drift": "base arm decoded again by the second process",
}
_FALL = {"shown": "excluded", "inferior": "shown", "inconclusive": "not excluded"}


def results(evaluation: Evaluation) -> Markup:
    """Overall and by type: n, both rates, lost and won pairs, lift, p, adjusted p, h."""
    level = f"{100 * evaluation.metadata.confidence_level:g}% CI"
    head = ("", "n", f"base [{level}]", f"SFT [{level}]", "lost", "won", f"lift, points [{level}]", "p", "adj. p", "h")
    rows = [_result("overall", evaluation.overall, None)]
    rows += [_result(f"{name} †" if of_type.guard else name, of_type, of_type) for name, of_type in evaluation.by_type.items()]
    return joined(
        [table(head, rows, numeric=frozenset(range(1, 10))), element("p", text(_family(evaluation)), class_="soft small")]
    )


def guards(by_type: Mapping[str, TypeOutcome]) -> Markup:
    """Each guarded type: status, test against a fall, what the interval excludes."""
    rows = [row for name, outcome in by_type.items() for row in _guard(name, outcome)]
    if not rows:
        return element("p", text("None: a fall of any type would not stop a GO."))
    head = ("type", "status", "one-sided p", "Holm p", "a fall beyond the margin", "smallest fall these items show")
    return table(head, rows, numeric=frozenset({2, 3}))


def second_readings(secondary: Secondary) -> Markup:
    """The readings that do not decide, the worst case of unscored items, and the noise floor."""
    rows = [
        _reading("both arms cut at new-prompt markers", secondary.after_stop_rules, secondary.after_stop_rules_undecided),
        _reading("both arms cut at the first blank line", secondary.after_blank_line, secondary.after_blank_line_undecided),
    ]
    worst = secondary.unscored_worst_case
    if worst is not None:
        shown = f"lost {worst.b}, won {worst.c} of {worst.n}"
        rows.append((text("every unscored item against the SFT arm"), text("–"), text("–"), text(shown), text(p_value(worst.p))))
    readings = table(("reading", "base", "SFT", "lift, points", "p"), rows, numeric=frozenset({1, 2, 4}))
    return joined([readings, element("h3", text("Noise floor")), _noise(secondary.noise_floor, secondary.noise_floor_undecided)])


def power(found: Power) -> Markup:
    """The smallest lift that these items can find, by the share on which the base alone succeeds."""
    unit = counted(found.units, found.unit.removesuffix("s"))
    words = f"The smallest lift that {unit} find with power {found.target:g} at α {number(found.alpha)}, by design, not from the result:"
    rows = [
        (text(percent(row.p10)), text(points(row.lift) if row.lift is not None else row.lift_undecided or "none"))
        for row in found.smallest_detectable_lift
    ]
    head = ("base alone succeeds on", "smallest detectable lift")
    return joined([element("p", text(words)), table(head, rows)])


def gates(report: GatesReport | None) -> Markup:
    """Every gate with what was declared, measured and wanted; the worst first."""
    if report is None:
        return element("p", text("This run has no gates.json."))
    dropped = ", ".join(f"{count} {reason}" for reason, count in report.dataset.dropped.items()) or "none"
    rows = [
        (
            text(gate.id), text(gate.severity), element("b", text(gate.status), class_=_STATUS_CLASS[gate.status]),
            text(gate.declared), text(gate.measured), text(gate.threshold), text(gate.reason),
        )
        for gate in worst_first(report.gates)
    ]  # fmt: skip
    head = ("gate", "severity", "status", "declared", "measured", "wanted", "finding")
    words = f"{counted(report.dataset.records, 'record')} to train on; dropped: {dropped}."
    return joined([element("p", text(words)), table(head, rows)])


def _result(name: str, outcome: Outcome, of_type: TypeOutcome | None) -> Iterator[Markup]:
    yield element("b", text(name)) if of_type is None else text(name)
    yield joined([text(f"{outcome.n:,}"), *_unscored(outcome)])
    yield _rate(outcome.base_rate, outcome.base_ci)
    yield _rate(outcome.sft_rate, outcome.sft_ci)
    yield text(f"{outcome.b:,}")
    yield text(f"{outcome.c:,}")
    yield _lift(outcome)
    yield text(p_value(outcome.mcnemar.primary.p))
    yield text("–" if of_type is None else p_value(of_type.p_adjusted))
    yield text("undecided" if outcome.cohens_h is None else f"{outcome.cohens_h:+.2f}")


def _unscored(outcome: Outcome) -> Iterator[Markup]:
    if outcome.unscored.base or outcome.unscored.sft:
        yield element("div", text(f"unscored: base {outcome.unscored.base}, SFT {outcome.unscored.sft}"), class_="soft small")


def _rate(rate: float | None, interval: Interval | None) -> Markup:
    if rate is None:
        return text("undecided")
    limits = "[undecided]" if interval is None else f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
    return joined([text(f"{100 * rate:.1f} "), element("span", text(limits), class_="soft")])


def _lift(outcome: Outcome) -> Markup:
    if outcome.lift is None:
        return text("undecided")
    limits = element("span", text(points_interval(outcome.lift_ci)), class_="soft")
    return joined([text(f"{100 * outcome.lift:+.1f} "), limits])


def _family(evaluation: Evaluation) -> str:
    bh = evaluation.bh
    words = f"Rates in %. {counted(bh.n_tests, 'type')} tested: {bh.n_significant_raw} with p < {bh.fdr:g}, "
    words += f"{bh.n_significant_adjusted} after Benjamini–Hochberg (adj. p < {bh.fdr:g})"
    if bh.n_significant_adjusted_by is not None:
        words += f", {bh.n_significant_adjusted_by} after Benjamini–Yekutieli, as items have several types"
    words += ". lost: only the base arm succeeds; won: only the SFT arm. † guarded. h is Cohen's and ignores the pairing."
    clustered = evaluation.overall.lift_ci_method == "clustered"
    return words + (" p and the interval of the lift treat the items of a cluster as one." if clustered else "")


def _guard(name: str, outcome: TypeOutcome) -> Iterator[tuple[Markup, ...]]:
    guard, limits = outcome.guard, outcome.noninferiority
    if guard is None:
        return
    margin = "–" if limits is None else f"{100 * limits.margin:g} points: {_FALL[limits.status]}"
    smallest = "undecided" if guard.smallest_detectable_fall is None else f"{100 * guard.smallest_detectable_fall:.0f} points"
    status = element("b", text(guard.status), class_=_GUARD_CLASS[guard.status])
    yield text(name), status, text(p_value(guard.p_one_sided)), text(p_value(guard.p_holm)), text(margin), text(smallest)


def _reading(name: str, outcome: Outcome | None, why: str | None) -> tuple[Markup, ...]:
    if outcome is None:
        return text(name), text("–"), text("–"), text(f"not taken ({why or 'no reason given'})"), text("–")
    rates = (text(percent(rate)) for rate in (outcome.base_rate, outcome.sft_rate))
    return text(name), *rates, _lift(outcome), text(p_value(outcome.mcnemar.primary.p))


def _noise(noise: NoiseFloor | None, why: str | None) -> Markup:
    if noise is None:
        return element("p", text(f"Not taken ({why or 'no reason given'})."))
    rows = [(text(_NOISE[reading.kind]), text(reading.words)) for reading in noise.readings()]
    return table(("reading", "outcomes that flipped without any change of weights"), rows)
