"""From the records of both arms to pairs, and the readings that come for free: cut at new prompts, cut at a blank line, noise floor.

A text that a cut leaves as it is keeps its recorded outcome; only changed texts are scored again. Nothing is decoded.
"""

from collections.abc import Callable, Iterable

import msgspec

from engine.core.analysis import ArmOutcome, Item, Pair, pair_arms
from engine.core.checks import score
from engine.core.design import clusters_of
from engine.core.stop_rules import after_blank_line, after_stop_rules, asked_for
from engine.protocol.arms import ItemRecord, NoiseReading
from engine.protocol.evaluation import NoiseFloor
from engine.protocol.items import HeldOutItem
from engine.report.run_records import RunRecords

Cut = Callable[[HeldOutItem, str], str]


def paired(run: RunRecords) -> tuple[Pair, ...]:
    """Every frozen item with the recorded outcomes of both arms.

    Raises:
        InputError: ids that are in one arm only, in neither, twice, or not frozen; all of them at once.
    """
    return pair_arms(_items(run), _outcomes(run.base.records), _outcomes(run.sft.records))


def paired_after_stop_rules(run: RunRecords) -> tuple[Pair, ...]:
    """Pairs as if both arms had been cut at new-prompt markers that the instruction did not ask for."""
    return _paired_after(run, lambda item, text: after_stop_rules(text, asked_for(item.instruction)))


def paired_after_blank_line(run: RunRecords) -> tuple[Pair, ...]:
    """Pairs as if both arms had been cut at the first blank line; never decides, as good answers have blank lines."""
    return _paired_after(run, lambda item, text: after_blank_line(text))


def noise_floor(run: RunRecords) -> NoiseFloor | None:
    """Outcomes that flipped without any change of weights, over both arms; None where neither arm was read."""
    noises = [noise for noise in (run.base.noise, run.sft.noise) if noise is not None]
    if not noises:
        return None
    repeat = _total(noise.repeat for noise in noises)
    rebatch = _total(noise.rebatch for noise in noises)
    unpadded = _total(noise.unpadded for noise in noises if noise.unpadded is not None)
    drift = _total(noise.drift for noise in noises if noise.drift is not None)
    return NoiseFloor(
        repeat_flips=repeat.flips,
        repeat_items=repeat.items,
        repeat_texts=repeat.texts,
        repeat_undecided=_why_not(repeat, "eval.repeat_batches is 0"),
        rebatch_flips=rebatch.flips,
        rebatch_items=rebatch.items,
        rebatch_texts=rebatch.texts,
        rebatch_undecided=_why_not(rebatch, "eval.rebatch_items is 0"),
        unpadded_flips=unpadded.flips,
        unpadded_items=unpadded.items,
        unpadded_texts=unpadded.texts,
        unpadded_undecided=_why_not(unpadded, "eval.unpadded_items is 0, or no item was padded"),
        base_drift_flips=drift.flips,
        base_drift_items=drift.items,
        base_drift_texts=drift.texts,
        base_drift_undecided=_why_not(drift, "eval.repeat_batches is 0"),
    )


def _items(run: RunRecords) -> list[Item]:
    clusters = clusters_of(run.items)
    return [Item(id=item.id, types=item.types, cluster=clusters[item.id]) for item in run.items]


def _outcomes(records: Iterable[ItemRecord]) -> list[ArmOutcome]:
    return [ArmOutcome(record.id, record.success) for record in records]


def _paired_after(run: RunRecords, cut: Cut) -> tuple[Pair, ...]:
    items = {item.id: item for item in run.items}
    arms = [[_rescored(items[record.id], record, cut) for record in arm.records] for arm in (run.base, run.sft)]
    return pair_arms(_items(run), *arms)


def _rescored(item: HeldOutItem, record: ItemRecord, cut: Cut) -> ArmOutcome:
    text = cut(item, record.text)
    return ArmOutcome(record.id, record.success if text == record.text else score(item, text).success)


class _Total(msgspec.Struct, frozen=True):
    """Sums over readings; all None where no item was decoded again."""

    flips: int | None
    texts: int | None
    items: int | None


def _total(readings: Iterable[NoiseReading]) -> _Total:
    taken = [reading for reading in readings if reading.items]
    if not taken:
        return _Total(None, None, None)
    return _Total(
        sum(len(reading.success_flips) for reading in taken),
        sum(len(reading.text_flips) for reading in taken),
        sum(reading.items for reading in taken),
    )


def _why_not(total: _Total, reason: str) -> str | None:
    return reason if total.items is None else None
