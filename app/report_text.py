"""The report as text: verdict, reasons, the figures of a type, what to try next and the second readings. Pure.

Every number comes from evaluation.json; it refuses to compute one, and shows what is undefined with its reason.
"""

from collections.abc import Sequence

from textual.content import Content

from app.figures import NONE, p_value, percent, percent_interval, points
from app.inert import inert, inert_line
from app.item_filters import chosen
from app.state_words import DECISIONS, REASONS
from app.widgets.line import rule
from engine.protocol.arms import AnsweredItem
from engine.protocol.evaluation import Evaluation, Outcome, Reason, Secondary, TypeOutcome, Verdict
from engine.protocol.review import Agreement, Validation

NOISE_NAMES = {"repeat": "same batches", "rebatch": "other batches", "unpadded": "unpadded", "base_drift": "base again"}
TEST_NAMES = {"mcnemar_midp": "mid-p", "cluster_sign_flip": "sign-flip by cluster"}


def lift_content(outcome: Outcome) -> str:
    """`+57.1 pp [53.6, 60.3]`."""
    return f"{points(outcome.lift)} pp {percent_interval(outcome.lift_ci)}"


def headline(evaluation: Evaluation) -> Content:
    """Decision, lift, p, n, flags, signature."""
    overall, verdict = evaluation.overall, evaluation.verdict
    primary = overall.mcnemar.primary
    figures = f"  lift {lift_content(overall)}  p {p_value(primary.p)} ({TEST_NAMES[primary.name]})  n {overall.n}"
    if verdict is None:
        return Content.assemble(("no verdict: these pairs were only described", "$muted"), figures)
    signed = verdict.signed_off
    tail = f"  signed by {inert_line(signed.name, 20).plain}" if signed else "  not signed"
    word = DECISIONS[verdict.decision].content(bold=True)
    flags = [Content.styled(f"  ! {flag}", "bold $warning") for flag in verdict.flags]
    exploratory = evaluation.prereg is not None and evaluation.prereg.exploratory
    if exploratory:
        flags.append(Content.styled("  EXPLORATORY", "bold $warning"))
    return Content.assemble(word, figures, (tail, "$muted"), *flags)


def reason_lines(reason: Reason, width: int, *, whole: bool = False) -> list[Content]:
    """Glyph and sentence: one line for what is in order unless it is wanted `whole`, as many as it takes for what is not."""
    word = REASONS[reason.status]
    text, room = inert(reason.text), max(10, width - 2)
    cut = reason.status == "pass" and not whole
    lines = [text.truncate(room, ellipsis=True)] if cut else list(text.wrap(room))
    return [
        Content.assemble((f"{word.glyph} " if place == 0 else "  ", f"bold {word.style}"), line)
        for place, line in enumerate(lines)
    ]


def before_signing(verdict: Verdict) -> Content:
    """What a signature stands under, and whose it replaces."""
    parts: list[Content | str] = ["The verdict is ", DECISIONS[verdict.decision].content(bold=True)]
    parts.append(". A signature stands beside it and changes nothing in it.")
    if verdict.signed_off is not None:
        parts += ["\n\n", inert(f"It is signed by {verdict.signed_off.name}; signing again replaces that.", style="$warning")]
    return Content.assemble(*parts)


def signature_line(verdict: Verdict) -> Content:
    """Who signed, when and with which note; or that nobody did."""
    signed = verdict.signed_off
    if signed is None:
        return Content("not signed")
    when = f"{signed.time[:10]} {signed.time[11:16]} UTC"
    note = inert(f": {signed.note}" if signed.note else "")
    return Content.assemble("signed by ", inert_line(signed.name, 100, style="bold"), f", {when}", note)


def head_lines(evaluation: Evaluation, width: int, lines: int) -> Content:
    """The verdict and as many reasons as have room; what has none is counted."""
    verdict = evaluation.verdict
    rows = [headline(evaluation).truncate(width, ellipsis=True)]
    reasons = [reason_lines(reason, width) for reason in verdict.reasons] if verdict else []
    shown = reasons
    if sum(map(len, reasons)) > lines - 1:
        # a line is left for the sentence that counts the others
        shown = [reason for place, reason in enumerate(reasons) if sum(map(len, reasons[: place + 1])) <= lines - 2]
    rows += [line for reason in shown for line in reason]
    if len(shown) < len(reasons):
        rows.append(
            Content.assemble(
                (f"  {len(reasons) - len(shown)} more reasons: ", "$muted"),
                ("v", "bold $primary"),
                (" shows the whole verdict", "$muted"),
            )
        )
    return Content("\n").join(rows)


def type_detail(name: str, outcome: Outcome, width: int) -> list[Content]:
    """Everything about one type that the narrow table has no room for."""
    mcnemar = outcome.mcnemar
    arms = (
        f"base {percent(outcome.base_rate)} % {percent_interval(outcome.base_ci)}  SFT {percent(outcome.sft_rate)} % "
        f"{percent_interval(outcome.sft_ci)}  unscored {outcome.unscored.base}/{outcome.unscored.sft}"
    )
    counts = Content.assemble(
        f"both {outcome.a}  ", (f"lost {outcome.b}", "$error" if outcome.b else ""), "  ", (f"won {outcome.c}", "$success" if outcome.c else ""),
        f"  neither {outcome.d}  p {p_value(mcnemar.primary.p)} ({TEST_NAMES[mcnemar.primary.name]})  h {_signed(outcome.cohens_h)}",
    )  # fmt: skip
    lines = [Content(arms), counts]
    if outcome.lift_undecided:
        lines.append(inert_line(f"undecided: {outcome.lift_undecided}", width, style="$warning"))
    if isinstance(outcome, TypeOutcome):
        lines += _type_lines(outcome)
    return lines


def _type_lines(outcome: TypeOutcome) -> list[Content]:
    after = "significant" if outcome.significant_after_bh else "not significant"
    lines = [Content(f"adjusted p {p_value(outcome.p_adjusted)} (Benjamini–Hochberg): {after} after adjustment")]
    guard, margin = outcome.guard, outcome.noninferiority
    if guard is not None:
        style = {"ok": "$success", "regressed": "bold $error"}.get(guard.status, "bold $warning")
        lines.append(
            Content.assemble("guard: ", (guard.status.upper(), style), f", one-sided p {p_value(guard.p_one_sided)}, Holm {p_value(guard.p_holm)}"
                             f", detectable fall {points_plain(guard.smallest_detectable_fall)}")
        )  # fmt: skip
    if margin is not None:
        limits = f"90 % limits [{points(margin.lower)}, {points(margin.upper)}] pp"
        lines.append(Content(f"non-inferiority at {100 * margin.margin:.0f} pp: {margin.status}, {limits}"))
    return lines


def points_plain(share: float | None) -> str:
    """0.083 as 8.3 pp."""
    return NONE if share is None else f"{100 * share:.1f} pp"


def _signed(value: float | None) -> str:
    return NONE if value is None else f"{value:+.2f}"


def try_next(verdict: Verdict) -> list[Content]:
    """What to try, from what was measured."""
    return [inert(f"· {suggestion.text}") for suggestion in verdict.try_next]


def second_readings(secondary: Secondary) -> list[Content]:
    """Readings that do not decide: after stop rules, after the blank line, noise floor, worst case of the unscored."""
    lines = []
    for words, outcome, why in (
        ("cut at new-prompt markers", secondary.after_stop_rules, secondary.after_stop_rules_undecided),
        ("cut at the first blank line", secondary.after_blank_line, secondary.after_blank_line_undecided),
    ):
        if outcome is None:
            lines.append(Content(f"{words}: {why or 'not taken'}"))
        else:
            lines.append(Content(f"{words}: lift {lift_content(outcome)}, p {p_value(outcome.mcnemar.primary.p)}"))
    noise = secondary.noise_floor
    if noise is None:
        lines.append(Content(f"noise floor: {secondary.noise_floor_undecided or 'not measured'}"))
    else:
        said = " · ".join(
            f"{NOISE_NAMES[reading.kind]} {reading.flips}/{reading.items}"
            for reading in noise.readings()
            if reading.flips is not None
        )
        lines.append(Content(f"noise floor, outcomes flipped: {said or 'not measured'}"))
    worst = secondary.unscored_worst_case
    if worst is not None:
        lines.append(Content(f"worst case of the unscored: p {p_value(worst.p)}, lost {worst.b}, won {worst.c}"))
    return lines


def agreement_lines(validation: Validation | None) -> list[Content]:
    """How far a person agreed with the scorer: overall, by arm, by check kind, and what they judged differently."""
    if validation is None:
        return [Content("scorer not validated: there is nothing that a person could review")]
    lines = [inert(validation.text, style="bold" if validation.status == "validated" else "bold $warning")]
    if not validation.complete:
        return lines
    lines.append(
        Content(
            f"{validation.answered} judged, {validation.skipped} skipped, {validation.after_seeing_checks} after a look at the checks\n"
        )
    )
    groups = {
        "overall": validation.overall,
        **{f"{arm} arm": found for arm, found in validation.by_arm.items()},
        **validation.by_kind,
    }
    lines.append(Content.styled(f"{'':<24} {'n':>4} {'alike':>6} {'kappa':>6}  95 % CI", "$muted"))
    lines += [_agreement_line(name, found) for name, found in groups.items() if found.n]
    if validation.disagreements:
        lines.append(Content.styled("\nJudged differently", "bold $secondary"))
    for one in validation.disagreements:
        said = "scorer passes it" if one.scorer_passes else "scorer fails it"
        lines.append(
            Content.assemble(inert_line(one.item, 40, style="bold"), f" {one.arm} arm, {said}: ", inert_line(one.reason, 300))
        )
    return lines


def _agreement_line(name: str, found: Agreement) -> Content:
    kappa = NONE if found.kappa is None else f"{found.kappa:.2f}"
    limits = found.kappa_ci_undecided or found.kappa_undecided or ""
    if found.kappa_ci is not None:
        limits = f"[{found.kappa_ci[0]:.2f}, {found.kappa_ci[1]:.2f}]"
    alike = found.both_pass + found.both_fail
    return Content.assemble(inert_line(f"{name:<24}", 24), f" {found.n:>4} {alike:>6} {kappa:>6}  ", (limits, "$muted"))


def facts(evaluation: Evaluation) -> list[Content]:
    """What the verdict rests on: attempt, level, multiplicity, overrides, relaxations, notes."""
    lines = []
    prereg, family, verdict = evaluation.prereg, evaluation.bh, evaluation.verdict
    if prereg is not None:
        lines.append(
            Content(
                f"attempt {prereg.attempt} on this held-out set, tested at α = {prereg.alpha:g}; frozen as {prereg.hash[:12]}"
            )
        )
        lines += [inert(f"differs from what was frozen: {difference}", style="$warning") for difference in prereg.differences]
    lines.append(
        Content(
            f"{family.n_tests} types tested at FDR {family.fdr:g}: {family.n_significant_raw} significant raw, {family.n_significant_adjusted} adjusted"
        )
    )
    if evaluation.validation is not None:
        lines.append(inert(evaluation.validation.text, style="" if evaluation.validation.status == "validated" else "$warning"))
    if verdict is not None:
        lines += [Content(f"rule {verdict.rule} decided"), signature_line(verdict)]
        lines += [inert(f"! overridden gate: {name}", style="$warning") for name in verdict.overrides]
        lines += [inert(f"! RELAXED: {name}", style="$warning") for name in verdict.relaxed]
    return [*lines, *(inert(note) for note in evaluation.metadata.notes)]


def whole_verdict(evaluation: Evaluation) -> Content:
    """The whole verdict for a screen of its own."""
    verdict = evaluation.verdict
    blocks: list[tuple[str, list[Content]]] = []
    if verdict is not None:
        blocks.append(("Reasons", [_full_reason(reason) for reason in verdict.reasons]))
        if verdict.try_next:
            blocks.append(("Try next", try_next(verdict)))
    blocks += [
        ("Second readings (they do not decide)", second_readings(evaluation.secondary)),
        ("What it rests on", facts(evaluation)),
    ]
    parts = [headline(evaluation)]
    for title, lines in blocks:
        parts += [Content.styled(f"\n{title}", "bold $secondary"), *lines]
    return Content("\n").join(parts)


def _full_reason(reason: Reason) -> Content:
    word = REASONS[reason.status]
    return Content.assemble((f"{word.glyph} {word.word:<9} ", f"bold {word.style}"), inert(reason.text))


def differing_items(pairs: Sequence[AnsweredItem], of_type: str | None, width: int, lines: int) -> Content:
    """The items of a type that only one arm passes, the lost ones first, each as one line; at most `lines`, counted in the first one."""
    lost, won = (chosen(pairs, of_type=of_type, name=name, wanted="") for name in ("lost", "won"))
    rows = [rule(f"{of_type or 'all types'}: only one arm passes", width, f"{len(lost):,} lost, {len(won):,} won")]
    for word, style, items in (("lost", "$error", lost), ("won ", "$success", won)):
        for pair in items[: max(0, lines - len(rows))]:
            answer = pair.sft.text if pair.sft is not None else ""
            head = Content.assemble((f"{word} ", style), inert_line(f"{pair.id:<16} ", 24, style="$secondary"))
            asked = inert_line(pair.instruction, max(10, (width - head.cell_length) // 2))
            left = max(10, width - head.cell_length - asked.cell_length - 3)
            rows.append(Content.assemble(head, asked, (" → ", "$muted"), inert_line(answer, left)))
    return Content("\n").join(rows)
