"""The frozen batch plan: order, subset, digests."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.batching import choose_subset, plan_batches, plan_in_order, rebatched, seeded_order, unpadded
from engine.protocol.errors import InputError
from engine.protocol.items import CheckSpec, HeldOutItem


def item(name: str, *types: str) -> HeldOutItem:
    return HeldOutItem(id=name, types=types, instruction=f"Do {name}.", checks=(CheckSpec(kind="no_echo"),))


def prompts(count: int, seed: int = 0) -> dict[str, list[int]]:
    rng = random.Random(seed)
    return {f"i{number}": [rng.randrange(100) for _ in range(rng.randint(1, 12))] for number in range(count)}


def test_batches_are_sorted_by_length_then_id_and_cut_to_size() -> None:
    plan = plan_batches({"b": [1, 2], "a": [3, 4], "c": [5], "d": [1, 2, 3]}, 3)
    assert [batch.ids for batch in plan.batches] == [("c", "a", "b"), ("d",)]
    assert [batch.width for batch in plan.batches] == [2, 3]
    assert [batch.index for batch in plan.batches] == [0, 1]
    assert plan.items == 4


@given(st.integers(1, 60), st.integers(1, 20), st.randoms(use_true_random=False))
def test_the_order_of_the_file_changes_nothing(count: int, batch_items: int, rng: random.Random) -> None:
    given_prompts = prompts(count)
    shuffled = list(given_prompts)
    rng.shuffle(shuffled)
    plan = plan_batches(given_prompts, batch_items)
    assert plan == plan_batches({name: given_prompts[name] for name in shuffled}, batch_items)
    assert sorted(name for batch in plan.batches for name in batch.ids) == sorted(given_prompts)
    assert all(len(batch.ids) == batch_items for batch in plan.batches[:-1])


def test_a_digest_changes_with_ids_tokens_order_and_size() -> None:
    plain = {"a": [1, 2], "b": [3, 4]}
    digests = {
        plan_batches(plain, 2).batches[0].digest,
        plan_batches({"a": [1, 2], "c": [3, 4]}, 2).batches[0].digest,
        plan_batches({"a": [1, 2], "b": [3, 5]}, 2).batches[0].digest,
        plan_in_order(plain, ["b", "a"], 2).batches[0].digest,
        plan_batches(plain, 1).batches[0].digest,
    }
    assert len(digests) == 5
    assert plan_batches(plain, 2).digest != plan_batches(plain, 1).digest


def test_a_digest_does_not_confuse_neighbours() -> None:
    assert plan_batches({"a": [1], "b": [23]}, 2).digest != plan_batches({"a": [12], "b": [3]}, 2).digest


def test_an_id_twice_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="a1"):
        plan_in_order({"a1": [1], "b": [2]}, ["a1", "b", "a1"], 2)


def test_the_seeded_order_is_the_same_for_any_input_order_and_differs_by_seed() -> None:
    ids = [f"i{number}" for number in range(50)]
    assert seeded_order(ids, 3) == seeded_order(ids[::-1], 3)
    assert seeded_order(ids, 3) != seeded_order(ids, 4)


def test_no_subset_and_one_too_large_take_everything_as_given() -> None:
    items = [item(f"i{number}", "fact") for number in range(5)]
    assert choose_subset(items, 0, 1) == tuple(items) == choose_subset(items, 5, 1) == choose_subset(items, 9, 1)


@given(st.lists(st.sampled_from(["fact", "list", "safety"]), min_size=2, max_size=80), st.data())
def test_a_subset_keeps_the_proportions_of_the_types(types: list[str], data: st.DataObject) -> None:
    items = [item(f"i{number}", name) for number, name in enumerate(types)]
    size = data.draw(st.integers(1, len(items) - 1))
    chosen = choose_subset(items, size, 7)
    assert len(chosen) == size
    assert {one.id for one in chosen} == {one.id for one in choose_subset(items[::-1], size, 7)}
    of_type = Counter(one.types[0] for one in chosen)
    for name, total in Counter(types).items():
        assert abs(of_type[name] - total * size / len(items)) < 1


def test_a_subset_differs_by_seed_and_keeps_the_order_of_the_file() -> None:
    items = [item(f"i{number:02}", "fact") for number in range(40)]
    first, second = choose_subset(items, 10, 1), choose_subset(items, 10, 2)
    assert first != second
    assert list(first) == sorted(first, key=lambda one: one.id)


def test_rebatching_takes_a_sample_in_batches_of_other_size() -> None:
    given_prompts = prompts(40)
    plan = plan_batches(given_prompts, 8)
    other = rebatched(given_prompts, plan, 12, 8, seed=5)
    assert other.items == 12
    assert all(len(batch.ids) == 4 for batch in other.batches)
    assert {batch.digest for batch in plan.batches}.isdisjoint(batch.digest for batch in other.batches)
    assert rebatched(given_prompts, plan, 0, 8, seed=5).batches == ()


def test_only_padded_items_are_decoded_without_padding_and_only_with_others_of_their_length() -> None:
    given_prompts = {"a": [1], "b": [2, 2], "c": [1, 2, 3], "d": [4, 5], "e": [7] * 9, "f": [3] * 4, "g": [1] * 3}
    plan = plan_in_order(given_prompts, ["a", "b", "c", "d", "e", "f", "g"], 3)
    found = unpadded(given_prompts, plan, 10, seed=5)
    assert [set(batch.ids) for batch in found.batches] == [{"b", "d"}, {"a"}, {"f"}]
    assert [batch.index for batch in found.batches] == [0, 1, 2]
    assert all(len(given_prompts[name]) == batch.width for batch in found.batches for name in batch.ids)
    assert [len(batch.ids) for batch in unpadded(given_prompts, plan, 3, seed=5).batches] == [2, 1]
    assert unpadded(given_prompts, plan, 0, seed=5).batches == ()
