"""Gates on the texts themselves: runaway, token limit, delimiter, median tokens, acceptance, length.

Each is recomputed from the data; what the QC summary declared stands beside it, marked ≠ where it says something else. They refuse to
call an unmeasured share 0: it is undecided, with the reason.
"""

from engine.core.qc import within
from engine.data.gate_results import NOT_DECLARED, Found, counted, limit, percent, share_of
from engine.data.inputs import Inputs
from engine.data.manifests import QcSummary
from engine.protocol.gates import GateResult, Status

_SAME_SHARE = 0.005
"""Shares that differ by less than half a point are called the same."""


def runaway(inputs: Inputs) -> GateResult:
    """Responses that go on into a new prompt nobody asked for."""
    found, least = inputs.observed.texts.runaway, inputs.config.gates.max_runaway
    share = found.total / inputs.records
    declared = _declared_share(inputs, "heuristic_cutoff")
    reason = f"{share_of(found.total, inputs.records)} of the responses go on into a new prompt after their first line"
    return inputs.draft.result(
        "qc-scale.runaway", inputs.draft.pipeline_severity, "pass" if share < least else "fail",
        reason + _worse(declared, share, "cut by the heuristic"), declared=_shown(declared),
        measured=percent(share) + _unequal(declared, share), threshold=f"< {limit(least)}", found=found,
    )  # fmt: skip


def token_limit(inputs: Inputs) -> GateResult:
    """Raw generations that were cut at the token limit; without raw generations the declared figure decides."""
    least, raw = inputs.config.gates.max_token_limit, inputs.observed.raw
    declared, severity, threshold = (
        _declared_share(inputs, "hit_token_limit"),
        inputs.draft.pipeline_severity,
        f"< {limit(least)}",
    )
    if raw.measurable and inputs.tokenizer is not None:
        share, found, label = _limit_hits(inputs)
        status: Status = "pass" if share < least else "fail"
        reason = (
            f"{percent(share)} of {counted(raw.measurable, 'raw generation')} ran into max_new_tokens without a delimiter{label}"
        )
        reason += f"; {raw.without_limit:,} more do not state max_new_tokens" if raw.without_limit else ""
        return inputs.draft.result(
            "qc-scale.token-limit", severity, status, reason + _worse(declared, share, "at the token limit"),
            declared=_shown(declared), measured=percent(share) + _unequal(declared, share), threshold=threshold, found=found,
        )  # fmt: skip
    why = _why_unmeasured(inputs)
    if declared is None:
        return inputs.draft.result(
            "qc-scale.token-limit",
            "advisory",
            "undecided",
            f"{why}, and nothing is declared",
            measured="no field",
            threshold=threshold,
        )
    return inputs.draft.result(
        "qc-scale.token-limit", severity, "pass" if declared < least else "fail", f"{why}; the declared figure decides",
        declared=percent(declared), measured="no field", threshold=threshold,
    )  # fmt: skip


def delimiter(inputs: Inputs) -> GateResult:
    """End delimiters or evaluator markers left in responses."""
    found, most = inputs.observed.texts.markers, inputs.config.gates.max_delimiters
    reason = f"{counted(found.total, 'response')} with an end delimiter or an evaluator's marker left in"
    return inputs.draft.result(
        "qc-scale.delimiter", inputs.draft.pipeline_severity, "fail" if found.total > most else "pass", reason,
        measured=f"{found.total:,}", threshold=f"{most:,}", found=found,
    )  # fmt: skip


def median_tokens(inputs: Inputs) -> GateResult:
    """The median length of final responses, in tokens of the run's tokenizer."""
    external, tokens = inputs.draft.external, inputs.tokens
    most = (
        inputs.config.gates.max_median_share * inputs.config.eval.max_new_tokens
        if external
        else inputs.config.gates.max_median_tokens
    )
    summary = inputs.manifests.scale.value
    said = summary.token_stats.median if summary else None
    threshold, declared = f"{'≤' if external else '<'} {most:g}", NOT_DECLARED if said is None else f"{said:g}"
    severity = inputs.draft.pipeline_severity
    if tokens is None:
        return inputs.draft.result(
            "qc-scale.median-tokens", severity, "undecided", inputs.no_tokenizer, declared=declared, threshold=threshold
        )
    found = tokens.median
    low, high = tokens.bounds("median")
    differs = said is not None and not within(said, low, high, inputs.config.gates.token_tolerance)
    holds = found <= most if external else found < most
    reason = f"half of the responses have at most {found:g} tokens{tokens.label}"
    reason += f"; {said:g} were declared" if differs else ""
    return inputs.draft.result(
        "qc-scale.median-tokens", severity, "pass" if holds else "fail", reason, declared=declared,
        measured=f"{found:g}{' ≠' if differs else ''}", threshold=threshold,
    )  # fmt: skip


def acceptance(inputs: Inputs) -> GateResult:
    """The critic accepted enough of what was generated (declared), and every kept record (measured)."""
    seen, summary = inputs.observed.critiques, inputs.manifests.scale.value
    faults, unknown = _acceptance_faults(inputs, summary), []
    if summary is None or None in (summary.acceptance.rate("instructions"), summary.acceptance.rate("pairs")):
        unknown.append("no acceptance is declared for instructions and pairs")
    if seen.with_critique == 0:
        unknown.append("no record has a critique, so kept records cannot be checked")
    elif seen.not_good.total or seen.unjudged:
        faults.append(
            f"{counted(seen.not_good.total, 'kept record')} not judged good and confident, {seen.unjudged:,} not judged"
        )
    status: Status = "fail" if faults else "undecided" if unknown else "pass"
    undecided_on_critiques = status == "undecided" and seen.with_critique == 0
    measured = f"{seen.not_good.total + seen.unjudged:,} not good" if seen.with_critique else "no critiques"
    return inputs.draft.result(
        "qc-scale.acceptance", "advisory" if undecided_on_critiques else inputs.draft.pipeline_severity, status,
        "; ".join([*faults, *unknown]) or "enough was accepted, and every kept record is good and confident",
        declared=_shown_acceptance(summary), measured=measured + (" ≠" if seen.not_good.total else ""),
        threshold=f"≥ {limit(inputs.config.gates.min_acceptance)} each; 0", found=seen.not_good,
    )  # fmt: skip


def length(inputs: Inputs) -> GateResult:
    """Examples that are cut at max_seq_len."""
    most, size = inputs.config.gates.max_truncated, inputs.config.train.max_seq_len
    threshold, tokens = f"≤ {limit(most)}", inputs.tokens
    if tokens is None:
        return inputs.draft.result("length", "hard", "undecided", inputs.no_tokenizer, threshold=threshold)
    share = tokens.truncated.total / tokens.count
    reason = f"{share_of(tokens.truncated.total, tokens.count)} examples{tokens.label} are longer than max_seq_len {size}"
    reason += f"; {tokens.without_response:,} of them keep no response and would be dropped" if tokens.without_response else ""
    return inputs.draft.result(
        "length", "hard", "pass" if share <= most else "fail", reason, measured=percent(share), threshold=threshold,
        found=tokens.truncated,
    )  # fmt: skip


def _limit_hits(inputs: Inputs) -> tuple[float, Found, str]:
    """(share of the raw generations at the limit, evidence, how it was estimated)."""
    raw, tokenizer = inputs.observed.raw, inputs.tokenizer
    texts = raw.sample.texts
    assert tokenizer is not None
    found = Found()
    for (name, (completion, most)), ids in zip(texts, tokenizer.token_ids([text for _, (text, _) in texts]), strict=True):
        if len(ids) >= int(most):
            found.add(name, f"{len(ids)} tokens of {most}\n{completion}")
    hits = found.total / len(texts) * raw.sample.offered if texts else 0.0
    return hits / raw.measurable, found, raw.sample.label


def _why_unmeasured(inputs: Inputs) -> str:
    if inputs.observed.raw.measurable:
        return inputs.no_tokenizer
    if inputs.observed.raw.without_limit:
        return "no record with a raw generation states max_new_tokens"
    return "no record has a raw generation (completion)"


def _acceptance_faults(inputs: Inputs, summary: QcSummary | None) -> list[str]:
    if summary is None:
        return []
    faults, least, counts = [], inputs.config.gates.min_acceptance, summary.counts
    for what in ("instructions", "pairs"):
        judged, rate = summary.acceptance.judged(what), summary.acceptance.rate(what)
        if rate is not None and rate < least:
            faults.append(f"{percent(rate)} of the {what} were accepted")
        if judged is not None and counts.generated is not None and sum(judged) not in _expected_sums(what, summary):
            faults.append(f"the judgements of {what} add up to {sum(judged):,}, generated were {counts.generated:,}")
    if counts.kept is not None and counts.kept != inputs.records:
        faults.append(f"{counts.kept:,} kept records are declared, here are {inputs.records:,}")
    return faults


def _expected_sums(what: str, summary: QcSummary) -> set[int | None]:
    """Pairs may have been judged only for the instructions that were good."""
    return {summary.counts.generated, summary.acceptance.instructions_good if what == "pairs" else summary.counts.generated}


def _shown_acceptance(summary: QcSummary | None) -> str:
    rates = [summary.acceptance.rate(what) for what in ("instructions", "pairs")] if summary else []
    return " / ".join(_shown(rate) for rate in rates) or NOT_DECLARED


def _declared_share(inputs: Inputs, count: str) -> float | None:
    counts = inputs.manifests.scale.value.counts if inputs.manifests.scale.value else None
    number = getattr(counts, count) if counts else None
    return number / counts.generated if counts and number is not None and counts.generated else None


def _shown(share: float | None) -> str:
    return NOT_DECLARED if share is None else percent(share)


def _unequal(declared: float | None, measured: float) -> str:
    return " ≠" if declared is not None and measured > declared + _SAME_SHARE else ""


def _worse(declared: float | None, measured: float, what: str) -> str:
    return f"; only {percent(declared)} were declared as {what}" if declared is not None and _unequal(declared, measured) else ""
