"""Gates on texts that come twice: held-out items in train, and near-duplicates inside train.

They refuse to flag a template: see `engine.core.leakage`.
"""

from collections.abc import Mapping, Sequence

from engine.core.leakage import Leak, marked_pair, shares_grams
from engine.data.duplicates import DuplicateCount
from engine.data.gate_results import Found, counted, limit, paired_texts, percent
from engine.data.inputs import Inputs
from engine.data.records import Record
from engine.protocol.gates import GateResult

_HOW = {"exact": "equal after normalisation", "grams": "containment {:.2f}", "near": "edit ratio {:.3f}"}


def leakage(inputs: Inputs) -> GateResult:
    """Held-out items found in train."""
    leaks, most = inputs.leakage.leaks(), inputs.config.gates.max_leaked_items
    exact = sum(leak.kind == "exact" for leak in leaks)
    reason = f"{counted(len(leaks), 'held-out item')} in train: {exact} equal, {len(leaks) - exact} by shared 8-grams"
    reason = reason if leaks else f"none of {counted(len(inputs.held_out.items), 'held-out item')} stands in train"
    return inputs.draft.result(
        "leakage", "hard", "pass" if len(leaks) <= most else "fail", reason, measured=counted(len(leaks), "item"),
        threshold=f"{most}", found=_leak_evidence(leaks),
    )  # fmt: skip


def leakage_near(inputs: Inputs) -> GateResult:
    """Held-out items with a near-identical train instruction, to look at."""
    near = inputs.leakage.near()
    reason = f"{counted(len(near), 'held-out item')} with a train instruction of edit ratio ≥ 0.95 and equal digits and signs"
    return inputs.draft.result(
        "leakage.near", "advisory", "fail" if near else "pass", reason, measured=counted(len(near), "item"), threshold="0",
        found=_leak_evidence(near),
    )  # fmt: skip


def duplicates(inputs: Inputs, counts: DuplicateCount, texts: Mapping[int, Record]) -> GateResult:
    """Near-duplicate instructions inside train. `texts` has the records of the pairs by line."""
    most, share = inputs.config.gates.max_duplicate_share, counts.surplus / counts.records
    reason = f"{counts.surplus:,} of {counted(counts.records, 'instruction')} repeat another: {counts.equal:,} equal after normalisation, "
    reason += f"{counts.surplus - counts.equal:,} with word 3-grams of Jaccard ≥ 0.8"
    reason += f"; {counts.uncompared:,} that share much with many were not compared with all of them" if counts.uncompared else ""
    found = Found()
    for pair in counts.pairs:
        first, second = texts.get(pair.earlier), texts.get(pair.later)
        if first and second:
            how = "equal" if pair.equal else f"Jaccard {pair.jaccard:.2f}"
            found.add(f"{first.name} × {second.name}, {how}", *paired_texts(first.instruction, second.instruction))
    found.total = counts.surplus
    return inputs.draft.result(
        "duplicates", "advisory", "pass" if share <= most else "fail", reason, measured=percent(share), threshold=f"≤ {limit(most)}",
        found=found,
    )  # fmt: skip


def _leak_evidence(leaks: Sequence[Leak]) -> Found:
    found = Found()
    for leak in leaks:
        text, spans = marked_pair(leak.item.instruction, _matching_text(leak))
        found.add(f"held-out {leak.item.id} × train {leak.train.record}, {_HOW[leak.kind].format(leak.share)}", text, spans)
    return found


def _matching_text(leak: Leak) -> str:
    """The text of the train record that shares grams with the item: its instruction, its response, or both."""
    train = leak.train
    if leak.kind != "grams":
        return train.instruction
    texts = [text for text in (train.instruction, train.response) if shares_grams(leak.item.instruction, text)]
    return " → ".join(texts) or train.instruction
