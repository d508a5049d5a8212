"""The work to plan for: the examples of every optimizer step, by their tokens; and the widths of its packed rows.

Steps are those that training takes, in its order, from lengths alone. Large workloads are looked at through their first steps, their
longest example and their heaviest step, so that planning a million records takes a second. It refuses to know any text.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from engine.core.packing import epoch_order, pack_rows
from engine.protocol.plans import ComputePlan

MOST_BUCKETS = 12
GPU_MULTIPLE = 32
"""Row widths on a GPU are multiples of this. Finer than the tiles of the matrix kernels, and dearer a token for it at some widths, but with the least
time in all: the reference job's rows take 215.0 s in multiples of 64, 211.0 s of 32 and 227.2 s of 16 (by the measured time of each width)."""

PACKED_STEPS = 2_000
"""Steps that are packed to see how wide rows become; with more steps the rest is taken to be like them."""

CAPTURE_ROWS = 6
"""What a bucket more costs, in rows of it: one run kernel by kernel and a capture, 0.84 s a width where a row of 576 takes 0.14 s."""


DEV_ROW_TOKENS = 2048
"""Rows of the dev loss may be so wide: without gradients they take little memory, and there are fewer of them."""

_MOST_WIDTHS = 128
_ONE_ROW_SHARE = 0.98


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of each example of each optimizer step, over all epochs; of the dev examples; and the learnt tokens of all steps."""

    steps: tuple[tuple[int, ...], ...]
    response_tokens: int
    dev: tuple[int, ...] = ()
    batch_examples: int = 8

    @classmethod
    def of_lengths(
        cls, lengths: Sequence[int], *, response_tokens: int, dev: Sequence[int], seed: int, epochs: int, batch_examples: int
    ) -> "Workload":
        """The steps that training will take over examples of these lengths; `response_tokens` is that of one epoch."""
        steps = []
        for epoch in range(epochs):
            order = epoch_order(len(lengths), seed=seed, epoch=epoch)
            steps += [tuple(lengths[i] for i in order[at : at + batch_examples]) for at in range(0, len(order), batch_examples)]
        return cls(steps=tuple(steps), response_tokens=response_tokens * epochs, dev=tuple(dev), batch_examples=batch_examples)

    @property
    def tokens(self) -> int:
        """Tokens of all steps, without padding."""
        return sum(map(sum, self.steps))

    @property
    def longest_example(self) -> int:
        """Tokens of the longest example, dev examples included."""
        return max((length for lengths in (*self.steps, self.dev) for length in lengths), default=0)

    @property
    def heaviest_step(self) -> int:
        """Tokens of the step that has most."""
        return max(map(sum, self.steps), default=0)


class RowWidths(msgspec.Struct, frozen=True, kw_only=True):
    """How a workload packs into rows of at most `row_tokens`: how many rows a step has, and rows by tokens before padding, of that `share`
    of all steps."""

    row_tokens: int
    rows_per_step: float
    counts: dict[int, int]
    share: float = 1.0


def packed_widths(workload: Workload, row_tokens: int) -> RowWidths:
    """Rows of at most `row_tokens` over the workload's steps (the first 2,000 of them)."""
    steps = workload.steps[:PACKED_STEPS]
    counts: Counter[int] = Counter()
    for lengths in steps:
        by_place = dict(enumerate(lengths))
        counts.update(sum(by_place[place] for place in row) for row in pack_rows(by_place, row_tokens))
    share = len(steps) / max(1, len(workload.steps))
    return RowWidths(row_tokens=row_tokens, rows_per_step=counts.total() / max(1, len(steps)), counts=dict(counts), share=share)


def dev_row_tokens(plan: ComputePlan) -> int:
    """Width of the rows that the dev loss is read in: wider than training's, unless a mask of its square is to be made."""
    return plan.row_tokens if plan.attention == "masked" else max(plan.row_tokens, DEV_ROW_TOKENS)


def row_limits(workload: Workload, *, multiple: int = GPU_MULTIPLE) -> tuple[int, ...]:
    """Row widths worth planning for, widest first, down to the longest example.

    They are the heaviest step in one row; all but the heaviest 2% of the steps in one row each (the others are cut); then half of
    the width before, again and again.
    """
    least = _round_up(max(1, workload.longest_example), multiple)
    sums = sorted(map(sum, workload.steps)) or [1]
    limits = [_round_up(sums[-1], multiple)]
    cut = _round_up(sums[int(_ONE_ROW_SHARE * (len(sums) - 1))], multiple)
    while cut > least:
        limits.append(cut)
        cut = _round_up(-(-cut // 2), multiple)
    return tuple(dict.fromkeys(limit for limit in (*limits, least) if limit >= least))


def bucket_widths(
    counts: Mapping[int, int], row_tokens: int, *, most: int = MOST_BUCKETS, multiple: int = GPU_MULTIPLE, share: float = 1.0
) -> tuple[int, ...]:
    """At most `most` widths, ascending, the last of them `row_tokens`, that rows of the counted tokens are padded to.

    Of all such choices of multiples it is one with the fewest tokens, padding and the capture of each width included. `share` of all rows are
    counted.
    """
    # Few enough widths to choose among, however long the rows
    multiple *= max(1, -(-row_tokens // (multiple * _MOST_WIDTHS)))
    rows: Counter[int] = Counter()
    for tokens, count in counts.items():
        rows[min(_round_up(max(1, tokens), multiple), row_tokens)] += count
    rows[row_tokens] += 0
    widths = sorted(rows)
    return _cheapest(widths, [rows[width] for width in widths], most, CAPTURE_ROWS * share)


def _cheapest(widths: Sequence[int], counts: Sequence[int], most: int, capture_rows: float) -> tuple[int, ...]:
    """At most `most` of the widths, the last among them, for the fewest tokens of padded and captured rows. By dynamic programming over the
    last bucket but one."""
    summed = [0]
    for count in counts:
        summed.append(summed[-1] + count)
    # now[end]: the cheapest cover of the rows up to widths[end] with at most so many buckets, ending at widths[end]
    now: list[tuple[float, tuple[int, ...]]] = [
        ((summed[end + 1] + capture_rows) * width, (width,)) for end, width in enumerate(widths)
    ]
    for _ in range(1, min(most, len(widths))):
        before, now = now, list(now)
        for end, width in enumerate(widths):
            for cut in range(end):
                cost = before[cut][0] + (summed[end + 1] - summed[cut + 1] + capture_rows) * width
                if cost < now[end][0]:
                    now[end] = (cost, (*before[cut][1], width))
    return now[-1][1]


def _round_up(tokens: int, multiple: int) -> int:
    return -(-tokens // multiple) * multiple
