"""What a person must look at: the flags that make a GO wait for a signature, and notes that do not.

A flag never changes the decision.
"""

from collections.abc import Iterator

from engine.core.verdict.evidence import Evidence
from engine.core.verdict.rules import finding, lift_holds
from engine.core.wording import counted, number, p_value, percent, points
from engine.protocol.evaluation import Flag, Reason


def relaxed_names(evidence: Evidence) -> tuple[str, ...]:
    """Every loosened default by name; guarding nothing is one of them."""
    unguarded = () if evidence.settings.guarded else ("verdict.guarded",)
    return tuple(sorted({*evidence.relaxed, *unguarded}))


def flags(evidence: Evidence) -> Iterator[tuple[Flag, Reason]]:
    """Give each flag that applies, with its reason; WEAK once for each weak type."""
    yield from _borderline(evidence)
    yield from _stopping_only(evidence)
    yield from _weak(evidence)
    if names := relaxed_names(evidence):
        yield "RELAXED", finding("flag.relaxed", "warn", f"defaults loosened: {', '.join(names)}", count=len(names))


def _borderline(evidence: Evidence) -> Iterator[tuple[Flag, Reason]]:
    exact, midp, alpha = evidence.analysis.overall.clustered.exact_p, evidence.p, evidence.alpha
    if exact is not None and midp is not None and (exact < alpha) != (midp < alpha):
        text = f"borderline: mid-p {p_value(midp, alpha)} and exact p {p_value(exact, alpha)} lie on different sides of α {number(alpha)}"
        yield "BORDERLINE", finding("flag.borderline", "warn", text, midp_p=midp, exact_p=exact, alpha=alpha)


def _stopping_only(evidence: Evidence) -> Iterator[tuple[Flag, Reason]]:
    overall, after = evidence.analysis.overall, evidence.after_stop_rules
    if after is None or not lift_holds(overall, evidence.alpha) or lift_holds(after, evidence.alpha):
        return
    p = after.mcnemar.primary.p
    text = f"the lift may be only learning to stop: {points(overall.lift)} becomes {points(after.lift)} "
    text += f"(p {p_value(p, evidence.alpha)}) once both arms are cut at new-prompt markers"
    yield "STOPPING ONLY", finding("flag.stopping_only", "warn", text, lift=overall.lift, lift_after=after.lift, p_after=p)


def _weak(evidence: Evidence) -> Iterator[tuple[Flag, Reason]]:
    least = evidence.settings.min_guarded_items
    for name, kind in evidence.analysis.by_type.items():
        units = kind.clustered.clusters
        if kind.guard is None or units >= least:
            continue
        fall = kind.guard.smallest_detectable_fall
        seen = (
            "no fall, however large, would be found"
            if fall is None
            else f"only a fall of {100 * fall:.0f} points or more would be found"
        )
        text = f"guarded type {name} is weak, {counted(units, 'item')}: {seen}; 100 to 150 items are advised"
        yield "WEAK", finding(f"flag.weak.{name}", "warn", text, n=units, advised_at_least=100, smallest_detectable_fall=fall)


def notes(evidence: Evidence) -> Iterator[Reason]:
    """Give what changes how the numbers must be read."""
    yield from _attempt(evidence)
    yield from _clusters(evidence)
    yield from _headroom(evidence)
    yield from _fallen_types(evidence)
    yield from _readings(evidence)
    yield from _scorer(evidence)


def _attempt(evidence: Evidence) -> Iterator[Reason]:
    if evidence.prereg and evidence.prereg.attempt > 1:
        k = evidence.prereg.attempt
        text = f"attempt {k} on this held-out set: tested at α/{k * (k - 1)} = {number(evidence.alpha)}"
        yield finding("attempt", "warn", text, attempt=k, alpha=evidence.alpha)


def _clusters(evidence: Evidence) -> Iterator[Reason]:
    overall, limit = evidence.analysis.overall, evidence.settings.max_se_ratio
    ratio = overall.clustered.se_ratio
    if ratio is not None and ratio >= limit:
        text = f"items of a cluster go together: {overall.n:,} pairs in {counted(overall.clustered.clusters, 'cluster')} "
        text += f"widen the standard error {number(ratio, limit)}-fold"
        yield finding("clusters", "warn", text, se_ratio=ratio, clusters=overall.clustered.clusters, n=overall.n)


def _headroom(evidence: Evidence) -> Iterator[Reason]:
    rate, table = evidence.analysis.overall.base_rate, evidence.analysis.power.smallest_detectable_lift
    smallest = table[0].lift if table else None
    if rate is not None and smallest is not None and 1 - rate < smallest:
        text = f"the base model is near the ceiling, {percent(rate)}: at most {points(1 - rate, smallest)} can be gained, "
        text += f"and {points(smallest)} is the least that these items can show"
        yield finding("headroom", "warn", text, base_rate=rate, smallest_detectable_lift=smallest)


def _fallen_types(evidence: Evidence) -> Iterator[Reason]:
    for name, kind in evidence.analysis.by_type.items():
        if kind.guard is None and kind.significant_after_bh and kind.b > kind.c:
            text = f"type {name} (not guarded) fell, {percent(kind.base_rate)} → {percent(kind.sft_rate)}, "
            text += f"adjusted p {p_value(kind.p_adjusted)}"
            yield finding(f"fell.{name}", "warn", text, lift=kind.lift, p_adjusted=kind.p_adjusted, b=kind.b, c=kind.c)


def _readings(evidence: Evidence) -> Iterator[Reason]:
    if evidence.after_stop_rules is None and not evidence.pairs_only:
        yield finding("after_stop_rules", "warn", "how much of the lift is only learning to stop was not measured")
    noise = evidence.noise_floor
    if noise is None:
        return
    repeated = (
        ("repeat", "the same batches decoded again", noise.repeat_flips, noise.repeat_items),
        ("base_drift", "base batches decoded again beside the SFT arm", noise.base_drift_flips, noise.base_drift_items),
    )
    for name, what, flips, items in repeated:
        if flips and items:
            text = f"{what} flipped {flips:,} of {counted(items, 'item')}, none was expected"
            yield finding(f"noise.{name}", "warn", text, flips=flips, items=items)


def _scorer(evidence: Evidence) -> Iterator[Reason]:
    """Without a threshold, agreement with a person decides nothing, and a reader must know whether there was any."""
    validation = evidence.validation
    if validation is not None and validation.gate is None:
        found = validation.overall
        yield finding("scorer", "warn", validation.text, sampled=validation.sampled, n=found.n, kappa=found.kappa)
