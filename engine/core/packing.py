"""Packing: the examples of one effective batch as few rows, and a whole epoch's rows known beforehand.

Each example is a segment of a row: positions restart at 0, attention stays inside the segment, and the padding at the end of a row is
a segment of its own. Order depends on seed and epoch alone. It refuses to split an example over rows, or to move one to another
optimizer step: how a batch is cut into rows changes nothing but rounding.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.core.masking import IGNORED, Example

WIDTH_MULTIPLE = 8


@dataclass(frozen=True, slots=True)
class RowPlan:
    """One packed row (a micro-step): indices of its examples in order, and its width in tokens with the padding."""

    examples: tuple[int, ...]
    tokens: int
    response_tokens: int
    width: int


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One optimizer step: the rows of its effective batch."""

    rows: tuple[RowPlan, ...]

    @property
    def tokens(self) -> int:
        """Tokens without padding."""
        return sum(row.tokens for row in self.rows)

    @property
    def widest_row_tokens(self) -> int:
        """Width of the widest row, which decides the step's peak of the memory."""
        return max((row.width for row in self.rows), default=0)

    @property
    def response_tokens(self) -> int:
        """Learnt tokens: what the step's loss is averaged over."""
        return sum(row.response_tokens for row in self.rows)


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """All optimizer steps of one epoch (counted from 0)."""

    epoch: int
    steps: tuple[StepPlan, ...]

    @property
    def longest_row_tokens(self) -> int:
        """Width of the widest row, which decides the peak of the memory."""
        return max((step.widest_row_tokens for step in self.steps), default=0)


@dataclass(frozen=True, slots=True)
class PackedRow:
    """One row as ids, labels (not shifted), positions and segment numbers, all of the row's width; padding is the last segment."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    positions: tuple[int, ...]
    segments: tuple[int, ...]


def epoch_order(count: int, *, seed: int, epoch: int) -> list[int]:
    """A permutation of `count` indices: sorted by a hash of seed, epoch and index, so that it is the same on every machine."""
    prefix = f"{seed}:{epoch}:".encode()
    return sorted(range(count), key=lambda index: hashlib.blake2b(prefix + str(index).encode(), digest_size=8).digest())


def pack_rows(lengths: Mapping[int, int], row_tokens: int) -> list[list[int]]:
    """First-fit decreasing of `lengths` (tokens by example): longest first into the first row with room, ties in the given order.

    At most 11/9 of the fewest rows, plus one (Johnson 1973). An example longer than `row_tokens` has a row of its own.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for index in sorted(lengths, key=lambda index: -lengths[index]):
        place = next((row for row, left in enumerate(room) if lengths[index] <= left), None)
        if place is None:
            rows.append([index])
            room.append(row_tokens - lengths[index])
        else:
            rows[place].append(index)
            room[place] -= lengths[index]
    return rows


def plan_rows(
    indices: Sequence[int], examples: Sequence[Example], row_tokens: int, buckets: Sequence[int] = ()
) -> tuple[RowPlan, ...]:
    """Rows of the given examples, each padded to the narrowest of `buckets` (ascending, the last at least `row_tokens`) that holds it.

    Without buckets widths are rounded up to a multiple of 8 but not beyond `row_tokens`.

    Raises: ValueError where a row fits no bucket: they were chosen for other examples.
    """
    lengths = {index: examples[index].tokens for index in indices}
    planned = []
    for row in pack_rows(lengths, row_tokens):
        tokens = sum(lengths[index] for index in row)
        learnt = sum(examples[index].response_tokens for index in row)
        planned.append(RowPlan(tuple(row), tokens, learnt, row_width(tokens, row_tokens, buckets)))
    return tuple(planned)


def row_width(tokens: int, row_tokens: int, buckets: Sequence[int] = ()) -> int:
    """Width that a row of `tokens` is padded to, as in `plan_rows`, which has its errors too."""
    if not buckets:
        rounded = -(-tokens // WIDTH_MULTIPLE) * WIDTH_MULTIPLE
        return max(tokens, min(rounded, row_tokens))
    for width in buckets:
        if tokens <= width:
            return width
    raise ValueError(f"a row of {tokens} tokens fits no bucket (the widest is {buckets[-1]})")


def plan_epoch(
    examples: Sequence[Example], *, seed: int, epoch: int, batch_examples: int, row_tokens: int, buckets: Sequence[int] = ()
) -> EpochPlan:
    """Every step of one epoch; the last step has the examples that are left over. Widths and errors as in `plan_rows`."""
    order = epoch_order(len(examples), seed=seed, epoch=epoch)
    batches = (order[start : start + batch_examples] for start in range(0, len(order), batch_examples))
    return EpochPlan(epoch, tuple(StepPlan(plan_rows(batch, examples, row_tokens, buckets)) for batch in batches))


def plan_epochs(
    examples: Sequence[Example], *, seed: int, epochs: int, batch_examples: int, row_tokens: int, buckets: Sequence[int] = ()
) -> tuple[StepPlan, ...]:
    """Every step of a whole training, in order. Widths and errors as in `plan_rows`."""
    plans = (
        plan_epoch(examples, seed=seed, epoch=epoch, batch_examples=batch_examples, row_tokens=row_tokens, buckets=buckets)
        for epoch in range(epochs)
    )
    return tuple(step for plan in plans for step in plan.steps)


def steps_per_epoch(examples: int, batch_examples: int) -> int:
    """Optimizer steps of one epoch."""
    return -(-examples // batch_examples)


def widest_to_come(steps: Sequence[StepPlan]) -> list[int]:
    """By completed steps (0 … all): the width of the widest row of the steps that are left, 0 after the last."""
    widest = [0]
    for step in reversed(steps):
        widest.append(max(widest[-1], step.widest_row_tokens))
    return widest[::-1]


def pack(row: RowPlan, examples: Sequence[Example], pad_id: int) -> PackedRow:
    """The row's tokens. The first token of a segment has no label: nothing inside its segment comes before it."""
    ids: list[int] = []
    labels: list[int] = []
    positions: list[int] = []
    segments: list[int] = []
    for segment, example in enumerate(examples[index] for index in row.examples):
        ids += example.ids
        labels += (IGNORED, *example.labels[1:])
        positions += range(example.tokens)
        segments += (segment,) * example.tokens
    padding = row.width - len(ids)
    ids += (pad_id,) * padding
    labels += (IGNORED,) * padding
    positions += range(padding)
    segments += (len(row.examples),) * padding
    return PackedRow(tuple(ids), tuple(labels), tuple(positions), tuple(segments))
