from hypothesis import given
from hypothesis import strategies as st

from engine.core.masking import IGNORED, Example
from engine.core.packing import epoch_order, pack, pack_rows, plan_epoch, plan_rows

PAD = 99


def example(tokens: int, prompt_tokens: int = 1, first: int = 1) -> Example:
    return Example(tuple(range(first, first + tokens)), prompt_tokens)


def test_a_row_is_packed_token_by_token() -> None:
    examples = [Example((11, 12, 13), 1), Example((21, 22, 23, 24), 2)]
    (row,) = plan_rows([0, 1], examples, row_tokens=64)
    assert (row.examples, row.tokens, row.response_tokens, row.width) == ((1, 0), 7, 4, 8)
    packed = pack(row, examples, PAD)
    assert packed.ids == (21, 22, 23, 24, 11, 12, 13, PAD)
    assert packed.labels == (IGNORED, IGNORED, 23, 24, IGNORED, 12, 13, IGNORED)
    assert packed.positions == (0, 1, 2, 3, 0, 1, 2, 0)
    assert packed.segments == (0, 0, 0, 0, 1, 1, 1, 2)


def test_the_first_token_of_a_segment_is_never_learnt() -> None:
    examples = [Example((11, 12), 0), Example((21, 22), 0)]
    (row,) = plan_rows([0, 1], examples, row_tokens=8)
    assert pack(row, examples, PAD).labels == (IGNORED, 12, IGNORED, 22, *(IGNORED,) * 4)


def test_first_fit_decreasing_by_hand() -> None:
    lengths = dict(enumerate([4, 7, 3, 6, 2, 4]))
    assert pack_rows(lengths, 10) == [[1, 2], [3, 0], [5, 4]]
    assert pack_rows({0: 12, 1: 3}, 10) == [[0], [1]]
    assert pack_rows({}, 10) == []


def test_the_padding_never_widens_a_row_beyond_its_limit() -> None:
    examples = [example(13)]
    assert plan_rows([0], examples, row_tokens=14)[0].width == 14
    assert plan_rows([0], examples, row_tokens=512)[0].width == 16


def test_the_order_is_fixed_for_ever_and_differs_by_seed_and_epoch() -> None:
    assert epoch_order(6, seed=0, epoch=0) == [1, 3, 5, 4, 0, 2]
    orders = {tuple(epoch_order(50, seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_every_epoch_uses_every_example_once_in_steps_of_the_batch() -> None:
    examples = [example(3 + index % 7) for index in range(21)]
    plan = plan_epoch(examples, seed=1, epoch=2, batch_examples=8, row_tokens=16)
    assert len(plan.steps) == 3
    used = [[index for row in step.rows for index in row.examples] for step in plan.steps]
    assert [len(indices) for indices in used] == [8, 8, 5]
    assert sorted(index for indices in used for index in indices) == list(range(21))
    assert sum(step.tokens for step in plan.steps) == sum(one.tokens for one in examples)
    assert sum(step.response_tokens for step in plan.steps) == sum(one.response_tokens for one in examples)
    assert plan.longest_row_tokens == max(row.width for step in plan.steps for row in step.rows) == 16


def test_how_rows_are_cut_moves_no_example_to_another_step() -> None:
    examples = [example(3 + index % 7) for index in range(30)]
    wide, narrow = (plan_epoch(examples, seed=3, epoch=0, batch_examples=4, row_tokens=tokens) for tokens in (64, 9))
    for one, other in zip(wide.steps, narrow.steps, strict=True):
        assert len(one.rows) < len(other.rows)
        assert {i for row in one.rows for i in row.examples} == {i for row in other.rows for i in row.examples}


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30), limit=st.integers(1, 60))
def test_packing_is_whole_and_near_the_fewest_rows(lengths: list[int], limit: int) -> None:
    rows = pack_rows(dict(enumerate(lengths)), limit)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    for row in rows:
        assert len(row) == 1 or sum(lengths[index] for index in row) <= limit
    fitting = [length for length in lengths if length <= limit]
    needed = -(-sum(fitting) // limit) + len(lengths) - len(fitting)
    assert len(rows) <= 2 * needed


@given(lengths=st.lists(st.integers(2, 30), min_size=1, max_size=12), limit=st.integers(8, 64))
def test_a_packed_row_holds_each_example_with_positions_from_zero(lengths: list[int], limit: int) -> None:
    examples = [example(length, prompt_tokens=1 + index % (length - 1)) for index, length in enumerate(lengths)]
    for row in plan_rows(range(len(lengths)), examples, limit):
        packed = pack(row, examples, PAD)
        assert len(packed.ids) == len(packed.labels) == len(packed.positions) == len(packed.segments) == row.width
        start = 0
        for segment, index in enumerate(row.examples):
            end = start + lengths[index]
            assert packed.ids[start:end] == examples[index].ids
            assert packed.labels[start:end] == examples[index].labels
            assert packed.positions[start:end] == tuple(range(lengths[index]))
            assert set(packed.segments[start:end]) == {segment}
            start = end
        assert set(packed.labels[start:]) <= {IGNORED} and set(packed.ids[start:]) <= {PAD}
        assert row.response_tokens == sum(label != IGNORED for label in packed.labels)
