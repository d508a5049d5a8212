"""The five rules of the verdict, in their order; the first that applies decides. Each rule is one function of the evidence.

A rule says whether it applies and gives its findings either way, so that a verdict shows what held as well as what did not.
"""

from collections.abc import Callable, Iterator

import msgspec

from engine.core.verdict.evidence import Evidence
from engine.core.wording import counted, number, p_value, percent, points, points_interval
from engine.protocol.evaluation import Decision, Interval, Outcome, Reason, ReasonStatus, Scalar, TypeOutcome

_ARMS = {"base": "base", "sft": "SFT"}


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule found; where it applies, its `decision` stands."""

    rule: int
    decision: Decision
    applies: bool
    reasons: tuple[Reason, ...]


def finding(name: str, status: ReasonStatus, text: str, **numbers: Scalar) -> Reason:
    """Make one reason; the keyword arguments are the numbers of its text."""
    return Reason(id=name, status=status, text=text, numbers=numbers)


def hard_gate_failed(evidence: Evidence) -> Reading:
    """Rule 1: a hard gate failed → NO-GO."""
    hard = [gate for gate in evidence.gates if gate.severity == "hard"]
    failed = [gate for gate in hard if gate.status == "fail" and not gate.overridden]
    reasons = [finding(f"gate.{gate.id}", "fail", f"hard gate {gate.id} failed") for gate in failed]
    if hard and not failed:
        reasons.append(finding("gates", "pass", f"no hard gate of {len(hard)} failed", hard_gates=len(hard)))
    return Reading(rule=1, decision="NO-GO", applies=bool(failed), reasons=tuple(reasons))


def not_decidable(evidence: Evidence) -> Reading:
    """Rule 2: gates overridden or undecided, an arm incomplete, too few items, too many unscored, too wide, exploratory → INCONCLUSIVE.

    So does a scorer that does not reach the agreement with a blinded review that the settings ask for, where they ask for any.
    """
    parts = (_open_gates, _incomplete_arms, _too_few, _unscored, _too_wide, _exploratory, _scorer)
    reasons = tuple(reason for part in parts for reason in part(evidence))
    return Reading(rule=2, decision="INCONCLUSIVE", applies=any(r.status == "undecided" for r in reasons), reasons=reasons)


def _open_gates(evidence: Evidence) -> Iterator[Reason]:
    if not evidence.gates and not evidence.pairs_only:
        yield finding("gates", "undecided", "there are no gate results for this run")
    for gate in evidence.gates:
        if gate.severity != "hard" or gate.status in ("pass", "n/a") or (gate.status == "fail" and not gate.overridden):
            continue
        state = f"was overridden (it is {gate.status}); GO is then impossible" if gate.overridden else f"is {gate.status}"
        yield finding(f"gate.{gate.id}", "undecided", f"hard gate {gate.id} {state}")


def _incomplete_arms(evidence: Evidence) -> Iterator[Reason]:
    if not evidence.arms and not evidence.pairs_only:
        yield finding("arms", "undecided", "it is not known whether both arms are complete")
    for arm in evidence.arms:
        complete = arm.done >= arm.planned
        yield finding(
            f"arm.{arm.name}",
            "pass" if complete else "undecided",
            f"{_ARMS.get(arm.name, arm.name)} arm: {arm.done:,} of {counted(arm.planned, 'item')} answered",
            done=arm.done,
            planned=arm.planned,
        )


def _too_few(evidence: Evidence) -> Iterator[Reason]:
    overall, least = evidence.analysis.overall, evidence.settings.min_items
    units = overall.clustered.clusters
    unit = "scored pair" if units == overall.n else "cluster"
    enough = units >= least
    text = f"{counted(units, unit)}, at least {least} needed"
    yield finding("items", "pass" if enough else "undecided", text, n=overall.n, units=units, needed=least)
    for name, kind in _guarded(evidence):
        if kind.n == 0:
            yield finding(
                f"items.{name}", "undecided", f"guarded type {name} has no scored pair, so a fall could not be seen", n=0
            )


def _unscored(evidence: Evidence) -> Iterator[Reason]:
    overall, limit = evidence.analysis.overall, evidence.settings.max_unscored
    yield from (_unscored_share(f"unscored.{arm}", f"{_ARMS[arm]} arm", overall, arm, limit) for arm in ("base", "sft"))
    for name, kind in _guarded(evidence):
        for arm in ("base", "sft"):
            found = _unscored_share(f"unscored.{name}.{arm}", f"guarded type {name}, {_ARMS[arm]} arm", kind, arm, limit)
            if found.status == "undecided":
                yield found


def _unscored_share(name: str, place: str, outcome: Outcome, arm: str, limit: float) -> Reason:
    count, items = getattr(outcome.unscored, arm), outcome.unscored.items
    share = count / items if items else 0.0
    text = f"{place}: {count:,} of {counted(items, 'item')} unscored, {percent(share, limit)}; at most {percent(limit)}"
    return finding(name, "undecided" if share > limit else "pass", text, unscored=count, items=items, share=share, limit=limit)


def _too_wide(evidence: Evidence) -> Iterator[Reason]:
    overall, settings = evidence.analysis.overall, evidence.settings
    yield _width("width.base", "base rate", overall.base_ci, settings.max_arm_width, overall.base_ci_undecided)
    yield _width("width.sft", "SFT rate", overall.sft_ci, settings.max_arm_width, overall.sft_ci_undecided)
    yield _width("width.lift", "lift", overall.lift_ci, settings.max_lift_width, overall.lift_ci_undecided)


def _width(name: str, what: str, interval: Interval | None, limit: float, why: str | None) -> Reason:
    if interval is None:
        return finding(name, "undecided", f"the interval of the {what} is undecided: {why}", limit=limit)
    width = interval[1] - interval[0]
    status: ReasonStatus = "undecided" if width > limit else "pass"
    text = f"the interval of the {what} is {number(width, limit, 3)} wide, at most {number(limit)}"
    return finding(name, status, text, width=width, limit=limit)


def _exploratory(evidence: Evidence) -> Iterator[Reason]:
    if evidence.pairs_only:
        return
    if evidence.prereg is None:
        yield finding("exploratory", "undecided", "exploratory: nothing was frozen before the evaluation")
    elif evidence.prereg.exploratory:
        changed = ", ".join(evidence.prereg.differences) or "other settings than those frozen before the evaluation"
        yield finding("exploratory", "undecided", f"exploratory: {changed}")
    else:
        yield finding("exploratory", "pass", "the settings are those frozen before the evaluation")


def _scorer(evidence: Evidence) -> Iterator[Reason]:
    validation = evidence.validation
    if validation is not None and validation.gate is not None:
        gate, found = validation.gate, validation.overall
        status: ReasonStatus = "pass" if gate.met else "undecided"
        numbers: dict[str, Scalar] = {
            "kappa": found.kappa,
            "min_kappa": gate.min_kappa,
            "n": found.n,
            "needed": gate.min_responses,
        }
        yield finding("scorer", status, validation.text, **numbers)


def _guarded(evidence: Evidence) -> list[tuple[str, TypeOutcome]]:
    return [(name, kind) for name, kind in evidence.analysis.by_type.items() if kind.guard is not None]


def worse_or_useless(evidence: Evidence) -> Reading:
    """Rule 3: significantly worse, a guarded type regressed, or a lift that cannot reach `min_lift` → NO-GO."""
    reasons = [*_direction(evidence), *_regressions(evidence), *_too_small(evidence)]
    return Reading(rule=3, decision="NO-GO", applies=any(r.status == "fail" for r in reasons), reasons=tuple(reasons))


def _direction(evidence: Evidence) -> Iterator[Reason]:
    overall = evidence.analysis.overall
    if evidence.significant and overall.b > overall.c:
        text = f"the SFT arm is worse: {points(overall.lift)}, p {p_value(evidence.p, evidence.alpha)} < α {number(evidence.alpha, None, 3)}"
        yield finding("worse", "fail", text, lift=overall.lift, p=evidence.p, alpha=evidence.alpha, b=overall.b, c=overall.c)


def _regressions(evidence: Evidence) -> Iterator[Reason]:
    for name, kind in _guarded(evidence):
        why = _regression(kind, evidence)
        if kind.n == 0 or kind.guard is None:
            continue
        rates = f"{percent(kind.base_rate)} → {percent(kind.sft_rate)} ({kind.b} lost, {kind.c} won)"
        p = p_value(kind.guard.p_holm, evidence.settings.guard_alpha)
        text = (
            f"guarded type {name} regressed, {rates}: {why}"
            if why
            else f"guarded type {name} not shown to regress, {rates}, Holm p {p}"
        )
        yield finding(
            f"guard.{name}",
            "fail" if why else "pass",
            text,
            n=kind.n,
            b=kind.b,
            c=kind.c,
            base_rate=kind.base_rate,
            sft_rate=kind.sft_rate,
            p_one_sided=kind.guard.p_one_sided,
            p_holm=kind.guard.p_holm,
        )


def _regression(kind: TypeOutcome, evidence: Evidence) -> str | None:
    """Why a guarded type counts as regressed, or None."""
    settings, guard, inferiority = evidence.settings, kind.guard, kind.noninferiority
    if guard is None:
        return None
    if guard.p_holm is not None and guard.p_holm < settings.guard_alpha:
        return f"Holm p {p_value(guard.p_holm, settings.guard_alpha)} < {number(settings.guard_alpha)}"
    if guard.wilson_disjoint:
        return "the intervals of both arms do not overlap"
    if settings.guard == "strict" and inferiority is not None and inferiority.status == "inferior":
        return (
            f"the upper limit {points(inferiority.upper, -inferiority.margin)} is below the margin {points(-inferiority.margin)}"
        )
    return None


def _too_small(evidence: Evidence) -> Iterator[Reason]:
    overall, least = evidence.analysis.overall, evidence.settings.min_lift
    if overall.lift_ci is None:
        return
    upper, small = overall.lift_ci[1], overall.lift_ci[1] < least
    limits = f"{points(overall.lift)} {points_interval(overall.lift_ci)}"
    if small:
        text = f"too small to matter: lift {limits}, upper limit {points(upper, least)} below {points(least)}"
    else:
        text = f"the lift may reach {points(least)}: {limits}"
    yield finding("min_lift", "fail" if small else "pass", text, lift=overall.lift, upper=upper, min_lift=least)


def better(evidence: Evidence) -> Reading:
    """Rule 4: p < α with c > b, no guarded type with raw p < guard α, and the same in the worst case of the unscored → GO.

    `guard = "strict"` also wants non-inferiority shown, `require_beyond_stopping` a lift that is more than learning to stop.
    """
    parts = (_lift_shown, _guards_clear, _worst_case, _strict, _beyond_stopping)
    reasons = tuple(reason for part in parts for reason in part(evidence))
    return Reading(rule=4, decision="GO", applies=all(r.status == "pass" for r in reasons), reasons=reasons)


def _lift_shown(evidence: Evidence) -> Iterator[Reason]:
    overall, alpha = evidence.analysis.overall, evidence.alpha
    shown = lift_holds(overall, alpha)
    relation = "<" if evidence.significant else "not below"
    text = (
        f"{overall.c:,} won, {overall.b:,} lost of {counted(overall.n, 'pair')}, "
        f"p {p_value(evidence.p, alpha)} {relation} α {number(alpha, None, 3)}"
    )
    numbers: dict[str, Scalar] = {
        "p": evidence.p,
        "alpha": alpha,
        "b": overall.b,
        "c": overall.c,
        "n": overall.n,
        "lift": overall.lift,
    }
    yield finding("lift", "pass" if shown else "undecided", text, **numbers)


def _guards_clear(evidence: Evidence) -> Iterator[Reason]:
    level = evidence.settings.guard_alpha
    for name, kind in _guarded(evidence):
        p = kind.guard.p_one_sided if kind.guard else None
        if p is not None and p < level:
            text = (
                f"guarded type {name} is suspect: one-sided p {p_value(p, level)} < {number(level)} ({kind.b} lost, {kind.c} won)"
            )
            yield finding(f"suspect.{name}", "undecided", text, p_one_sided=p, level=level, b=kind.b, c=kind.c)


def _worst_case(evidence: Evidence) -> Iterator[Reason]:
    worst, overall, level = evidence.analysis.worst_case, evidence.analysis.overall, evidence.settings.guard_alpha
    if not (overall.unscored.base or overall.unscored.sft):
        return
    fallen = [name for name, p in worst.guards.items() if p is not None and p < level]
    holds = worst.p is not None and worst.p < evidence.alpha and worst.c > worst.b and not fallen
    text = (
        f"with every unscored item against the SFT arm: {worst.c:,} won, {worst.b:,} lost, p {p_value(worst.p, evidence.alpha)}"
    )
    text += f", suspect: {', '.join(fallen)}" if fallen else ""
    yield finding("worst_case", "pass" if holds else "undecided", text, p=worst.p, b=worst.b, c=worst.c, n=worst.n)


def _strict(evidence: Evidence) -> Iterator[Reason]:
    if evidence.settings.guard != "strict":
        return
    for name, kind in _guarded(evidence):
        limits = kind.noninferiority
        if limits is not None:
            shown, margin = limits.status == "shown", -limits.margin
            text = f"guarded type {name}: a fall beyond {points(margin)} is {'excluded' if shown else 'not excluded'}"
            text += f", lower limit {points(limits.lower, margin)}"
            yield finding(
                f"noninferiority.{name}", "pass" if shown else "undecided", text, lower=limits.lower, margin=limits.margin
            )


def _beyond_stopping(evidence: Evidence) -> Iterator[Reason]:
    if not evidence.settings.require_beyond_stopping:
        return
    after = evidence.after_stop_rules
    if after is None:
        yield finding("beyond_stopping", "undecided", "the reading after the stop rules was not taken")
        return
    holds = lift_holds(after, evidence.alpha)
    text = f"after the stop rules: lift {points(after.lift)}, p {p_value(after.mcnemar.primary.p, evidence.alpha)}"
    yield finding("beyond_stopping", "pass" if holds else "undecided", text, lift=after.lift, p=after.mcnemar.primary.p)


def lift_holds(outcome: Outcome, alpha: float) -> bool:
    """Whether a lift is significant at alpha, upwards."""
    p = outcome.mcnemar.primary.p
    return p is not None and p < alpha and outcome.c > outcome.b


def not_shown(evidence: Evidence) -> Reading:
    """Rule 5: otherwise → INCONCLUSIVE, with what rule 4 misses."""
    missing = tuple(reason for reason in better(evidence).reasons if reason.status != "pass")
    return Reading(rule=5, decision="INCONCLUSIVE", applies=True, reasons=(_remainder(evidence), *missing))


def _remainder(evidence: Evidence) -> Reason:
    overall = evidence.analysis.overall
    limits = f"lift {points(overall.lift)} {points_interval(overall.lift_ci)}, p {p_value(evidence.p, evidence.alpha)}"
    if lift_holds(overall, evidence.alpha):
        text = f"a lift is shown, but not all that GO asks for: {limits}"
    else:
        text = f"not shown to be better, not shown to be useless: {limits} at α {number(evidence.alpha, None, 3)}"
    return finding("not_shown", "undecided", text, lift=overall.lift, p=evidence.p, alpha=evidence.alpha)


RULES: tuple[Callable[[Evidence], Reading], ...] = (hard_gate_failed, not_decidable, worse_or_useless, better, not_shown)
