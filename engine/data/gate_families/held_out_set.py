"""Gates on the held-out set: enough items, whole ones, references that pass, items that are alike; and the sentinels at load.

They refuse to count items that flip together as independent: clusters are counted.
"""

from collections import Counter

from engine.core.alike import near_identical, templates
from engine.core.design import guarded_types, units_of
from engine.data.gate_results import Found, counted, paired_texts
from engine.data.held_out import failed_references
from engine.data.inputs import Inputs
from engine.protocol.gates import GateResult, Status

_SHOWN_OF_A_TEMPLATE = 5


def held_out(inputs: Inputs) -> GateResult:
    """Enough items (clusters), whole, with every guarded type."""
    items, problems = inputs.evaluated, inputs.held_out.problems
    clusters, types = len(set(units_of(items).values())), Counter(name for item in items for name in item.types)
    least, faults, weak = inputs.config.gates.min_held_out, [], []
    if clusters < least:
        faults.append(f"{clusters:,} {_noun(inputs, clusters)}, at least {least:,} are needed")
    if problems:
        faults.append(
            f"{counted(len(problems), 'problem')} in the file, which no override covers: mend these lines or take them out"
        )
    for name in guarded_types(inputs.config.verdict.guarded, items):
        if types[name] == 0:
            faults.append(
                f"no item of the guarded type {name}, nor would a fall be seen: add some, or name yours in verdict.guarded"
            )
        elif types[name] < inputs.config.gates.min_guarded_items:
            weak.append(f"{name} is WEAK with {counted(types[name], 'item')} (advised: 100 to 150)")
    found = Found()
    for problem in problems:
        found.add(f"line {problem.line}", str(problem))
    listed = ", ".join(f"{name} {count}" for name, count in sorted(types.items()))
    everything = len(inputs.held_out.items)
    chosen = f"; eval.subset takes {len(items):,} of {everything:,} items" if len(items) < everything else ""
    return inputs.draft.result(
        "held-out", "hard", "fail" if faults else "pass", "; ".join([*faults, *weak, f"by type: {listed or 'none'}"]) + chosen,
        measured=f"{len(items):,} items, {clusters:,} clusters", threshold=f"≥ {least:,}", found=found,
    )  # fmt: skip


def references(inputs: Inputs) -> GateResult:
    """Reference answers pass their own items' checks."""
    given, found = sum(item.reference is not None for item in inputs.held_out.items), Found()
    for failed in failed_references(inputs.held_out.items):
        found.add(failed.item.id, f"{'; '.join(failed.reasons)}\n{failed.item.reference}")
    status: Status = "fail" if found.total else "pass" if given else "n/a"
    reason = f"{found.total:,} of {counted(given, 'reference answer')} fail the checks of their own item"
    return inputs.draft.result(
        "held-out.references", "advisory", status, reason if given else "no item gives a reference answer",
        measured=f"{found.total:,} of {given:,} fail", threshold="0", found=found,
    )  # fmt: skip


def alike(inputs: Inputs) -> GateResult:
    """Near-identical items that count as independent, and the templates that the items were made from."""
    items = inputs.evaluated
    pairs, made = near_identical(items), templates(items)
    found = Found()
    for pair in pairs:
        text, spans = paired_texts(pair.first.instruction, pair.second.instruction)
        found.add(f"{pair.first.id} × {pair.second.id}, Jaccard {pair.jaccard:.2f}", text, spans)
    for template in made:
        listed = "\n".join(f"{item.id}: {item.instruction}" for item in template.items[:_SHOWN_OF_A_TEMPLATE])
        found.add(f"template of {counted(len(template.items), 'item')}: {template.pattern}", listed)
    reason = f"{counted(len(pairs), 'pair')} of near-identical items that are not in one cluster"
    if made:
        held = sum(len(template.items) for template in made)
        reason += f"; {held:,} of {counted(len(items), 'item')} come from {counted(len(made), 'template')}, the largest with "
        reason += f"{len(made[0].items):,} ({made[0].pattern}): where such items rise and fall together, give them one `cluster`"
    return inputs.draft.result(
        "held-out.alike", "advisory", "fail" if pairs else "pass", reason,
        measured=f"{counted(len(pairs), 'pair')}, {counted(len(made), 'template')}", threshold="0 pairs", found=found,
    )  # fmt: skip


def sentinels(inputs: Inputs) -> GateResult:
    """This run's own loader on its own model; known once the model is loaded."""
    return inputs.draft.result(
        "sentinels", "hard", "pending", "the plain-completion sentinel runs when the model is loaded", measured="at load",
        threshold="all pass",
    )  # fmt: skip


def _noun(inputs: Inputs, clusters: int) -> str:
    return "items" if clusters == len(inputs.evaluated) else "clusters"
