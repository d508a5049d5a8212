"""`items.jsonl`: every evaluated item with both answers and outcomes, one a line, for other tools; `sluice stats` reads it as pairs.

It refuses to add anything to what the records say.
"""

import msgspec

from engine.core.design import clusters_of
from engine.protocol.arms import ItemRecord
from engine.protocol.items import CheckOutcome
from engine.report.run_records import RunRecords


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How one arm answered an item."""

    response: str
    tokens: int
    stop: str
    checks: tuple[CheckOutcome, ...]


class ItemLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line; `base` and `sft` are success, null where an answer could not be scored."""

    id: str
    type: tuple[str, ...]
    base: bool | None
    sft: bool | None
    instruction: str
    base_answer: Answer
    sft_answer: Answer
    cluster: str | None = None


def item_lines(records: RunRecords) -> bytes:
    """Every item that both arms answered, in the order of the held-out file; equal records give equal bytes."""
    base, sft = ({record.id: record for record in arm.records} for arm in (records.base, records.sft))
    clusters = clusters_of(records.items)
    lines = (
        ItemLine(
            id=item.id,
            type=item.types,
            base=base[item.id].success,
            sft=sft[item.id].success,
            instruction=item.instruction,
            base_answer=_answer(base[item.id]),
            sft_answer=_answer(sft[item.id]),
            cluster=clusters[item.id],
        )
        for item in records.items
        if item.id in base and item.id in sft
    )
    return msgspec.json.Encoder().encode_lines(list(lines))


def _answer(record: ItemRecord) -> Answer:
    return Answer(response=record.text, tokens=record.tokens, stop=record.stop, checks=record.checks)
