"""What a captured graph is made for: every row that will be replayed in it, and no more than the widest of them needs."""

from itertools import pairwise

from engine.compute.batches import segment_ends
from engine.compute.row_graphs import BucketSize, bucket_sizes
from engine.core.masking import Example
from engine.core.packing import RowPlan, plan_epoch

LENGTHS = (7, 30, 12, 90, 5, 61, 33, 18, 44, 71, 9, 26)


def examples_of(*lengths: int) -> list[Example]:
    return [Example(tuple(range(1, length + 1)), length // 3) for length in lengths]


def test_sizes_are_those_of_the_rows_of_that_width_alone() -> None:
    some = examples_of(10, 20, 60, 30)
    rows = [RowPlan((0, 1), 30, 21, 64), RowPlan((2,), 60, 40, 64), RowPlan((3, 2, 0), 100, 67, 128)]
    assert bucket_sizes(rows, some) == {64: BucketSize(64, 3, 60), 128: BucketSize(128, 4, 60)}
    assert bucket_sizes(rows[:1], some) == {64: BucketSize(64, 3, 34)}, "the padding is a segment too"


def test_every_row_fits_the_size_of_its_width() -> None:
    some = examples_of(*LENGTHS)
    for row_tokens in (96, 128, 256):
        epoch = plan_epoch(some, seed=3, epoch=0, batch_examples=5, row_tokens=row_tokens)
        rows = [row for step in epoch.steps for row in step.rows]
        sizes = bucket_sizes(rows, some)
        for width, size in sizes.items():
            ends = [segment_ends(row, some) for row in rows if row.width == width]
            assert size.longest == max(end - start for row in ends for start, end in pairwise(row))
            assert all(len(row) <= size.segments + 1 for row in ends)
            assert all(row.response_tokens <= size.learnt for row in rows if row.width == width)
