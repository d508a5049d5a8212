"""What an evaluation on this held-out set can tell: the gates power, before it, and headroom, after the base arm.

They speak of designs, never of a result. They refuse to count items that flip together as independent: clusters are counted.
"""

from engine.core.design import guarded_types, units_of
from engine.core.statistics import attempt_alpha, smallest_detectable_difference, tango_interval, wilson_interval
from engine.core.statistics.counts import Interval, Undecided
from engine.data.gate_results import counted
from engine.data.inputs import Inputs
from engine.protocol.gates import GateResult

P10 = (0.02, 0.05, 0.10)
_POWER = 0.8


def power(inputs: Inputs, attempt: int) -> GateResult:
    """The smallest lift that can be found, overall and by type, the smallest falls of guarded types, and the widest intervals."""
    verdict, items = inputs.config.verdict, inputs.evaluated
    alpha = attempt_alpha(verdict.alpha, attempt)
    unit = units_of(items)
    lifts = [smallest_detectable_difference(len(set(unit.values())), p10, alpha, _POWER) for p10 in P10]
    parts = [
        f"smallest lift found with power {_POWER:g} at α = {alpha:g} (attempt {attempt}), where 2, 5, 10 % of the items are lost: "
        f"{' / '.join(map(_shown, lifts))}",
        *_by_type(inputs),
        *_falls(inputs),
        _widest(inputs, len(set(unit.values()))),
    ]
    decided = not any(isinstance(lift, Undecided) for lift in lifts)
    return inputs.draft.result(
        "power", "advisory", "pass" if decided else "undecided", "; ".join(parts), measured=" / ".join(map(_shown, lifts)),
        threshold="shown only",
    )  # fmt: skip


def headroom(inputs: Inputs) -> GateResult:
    """Room above the base rate; known once the base arm is done."""
    return inputs.draft.result(
        "headroom", "advisory", "pending", "known once the base arm is evaluated", measured="after base arm",
        threshold="≥ smallest detectable lift",
    )  # fmt: skip


def _by_type(inputs: Inputs) -> list[str]:
    """A type that alone rises has to stay below the first step of Benjamini-Hochberg, FDR over the number of types."""
    items, fdr = inputs.evaluated, inputs.config.verdict.fdr
    names = sorted({name for item in items for name in item.types})
    if not names:
        return []
    lifts = [f"{name} {_shown(_smallest(inputs, name, fdr / len(names)))}" for name in names]
    return [f"of a type that alone rises, at 2 % lost and FDR {fdr:g} over {counted(len(names), 'type')}: {', '.join(lifts)}"]


def _falls(inputs: Inputs) -> list[str]:
    verdict = inputs.config.verdict
    # Twice the level of the two-sided test is the one-sided test of a regression
    level = 2 * verdict.guard_alpha
    falls = [f"{name} {_shown(_smallest(inputs, name, level))}" for name in guarded_types(verdict.guarded, inputs.evaluated)]
    return [f"smallest fall of a guarded type, before Holm: {', '.join(falls)}"] if falls else []


def _smallest(inputs: Inputs, name: str, level: float) -> float | Undecided:
    unit = units_of(inputs.evaluated)
    units = len({unit[item.id] for item in inputs.evaluated if name in item.types})
    return smallest_detectable_difference(units, P10[0], level, _POWER)


def _widest(inputs: Inputs, units: int) -> str:
    """An interval is widest at one half: items solved, and items that change, which is as many as arms that have nothing in common."""
    verdict, count = inputs.config.verdict, len(inputs.evaluated)
    arm = _width(wilson_interval(count // 2, count, verdict.confidence_level))
    lift = _width(tango_interval(units // 4, units // 4, units, verdict.confidence_level))
    shown = f"widest interval to expect of an arm, with half of the items solved: {_against(arm, verdict.max_arm_width)}"
    return f"{shown}; of the lift, with half of them changed: {_against(lift, verdict.max_lift_width)}"


def _width(interval: Interval | Undecided) -> float | None:
    return None if isinstance(interval, Undecided) else interval[1] - interval[0]


def _against(width: float | None, most: float) -> str:
    if width is None:
        return "none"
    return f"{width:.3f}, " + (
        f"within the {most:g} allowed" if width <= most else f"wider than the {most:g} of a decided verdict"
    )


def _shown(difference: float | Undecided) -> str:
    return "none" if isinstance(difference, Undecided) else f"{difference:.3f}"
