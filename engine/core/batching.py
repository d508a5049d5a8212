"""The frozen plan of an evaluation: which held-out items are answered, and which of them are decoded together.

Both arms follow one plan, so that a difference between them is never one of batching. Pure: equal items give an equal plan, in
whatever order they come. It refuses to plan the same id twice.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from engine.protocol.errors import InputError
from engine.protocol.items import HeldOutItem


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Items decoded together: their ids in row order, the tokens of the longest prompt, and a digest of ids, token ids and width."""

    index: int
    ids: tuple[str, ...]
    width: int
    digest: str


class BatchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Every batch in the order of work; `digest` covers all of them."""

    batches: tuple[Batch, ...]
    digest: str

    @property
    def items(self) -> int:
        """How many items are planned."""
        return sum(len(batch.ids) for batch in self.batches)


def seeded_order(ids: Sequence[str], seed: int) -> list[str]:
    """The ids in an order that looks random and depends on nothing but each id and the seed: by SHA-256 of `seed:id`."""
    return sorted(ids, key=lambda item_id: (hashlib.sha256(f"{seed}:{item_id}".encode()).digest(), item_id))


def choose_subset(items: Sequence[HeldOutItem], size: int, seed: int) -> tuple[HeldOutItem, ...]:
    """`size` items, every combination of types in proportion, in the order given; all of them where `size` is 0 or not below N.

    Shares are rounded by largest remainder; within a stratum the first of `seeded_order` are taken.
    """
    if size <= 0 or size >= len(items):
        return tuple(items)
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for item in items:
        strata[tuple(sorted(item.types))].append(item.id)
    quota = _quotas({name: len(ids) for name, ids in strata.items()}, size)
    chosen = {item_id for name, ids in strata.items() for item_id in seeded_order(ids, seed)[: quota[name]]}
    return tuple(item for item in items if item.id in chosen)


def plan_batches(prompts: Mapping[str, Sequence[int]], batch_items: int) -> BatchPlan:
    """Cut prompts (id → token ids) into batches of `batch_items` ≥ 1 by length in tokens, then by id; the last may be smaller."""
    order = sorted(prompts, key=lambda item_id: (len(prompts[item_id]), item_id))
    return plan_in_order(prompts, order, batch_items)


def plan_in_order(prompts: Mapping[str, Sequence[int]], order: Sequence[str], batch_items: int) -> BatchPlan:
    """As `plan_batches`, for the ids of `order` in that order.

    Raises:
        InputError: an id stands twice.
    """
    if len(set(order)) != len(order):
        twice = sorted({item_id for item_id in order if order.count(item_id) > 1})
        raise InputError(f"held-out: {len(twice)} ids occur more than once ({', '.join(twice[:20])}); give every item its own id")
    batches = tuple(_batches(prompts, order, batch_items))
    return BatchPlan(batches=batches, digest=_sha256([batch.digest for batch in batches]))


def rebatched(prompts: Mapping[str, Sequence[int]], plan: BatchPlan, items: int, batch_items: int, seed: int) -> BatchPlan:
    """A seeded sample of `items` planned ids in other batches: of about half the rows, and of mixed lengths.

    Fewer rows and other widths change which kernels run and what is padding, which is what the noise floor asks about.
    """
    ids = [item_id for batch in plan.batches for item_id in batch.ids]
    return plan_in_order(prompts, seeded_order(ids, seed)[:items], max(1, batch_items // 2))


def unpadded(prompts: Mapping[str, Sequence[int]], plan: BatchPlan, items: int, seed: int) -> BatchPlan:
    """At most `items` planned ids that stand behind padding in their batches, each with others of its own length, so without any.

    The lengths that most of them have are taken first, as one batch of many rows costs little more than one of a single row. Fewer ids where
    fewer are padded: an item as long as its batch is wide would say nothing about padding.
    """
    by_length: dict[int, list[str]] = defaultdict(list)
    for batch in plan.batches:
        for item_id in batch.ids:
            if len(prompts[item_id]) < batch.width:
                by_length[len(prompts[item_id])].append(item_id)
    batches: list[Batch] = []
    for ids in sorted(by_length.values(), key=lambda ids: (-len(ids), len(prompts[ids[0]]))):
        left = items - sum(len(batch.ids) for batch in batches)
        if left > 0:
            chosen = plan_in_order(prompts, seeded_order(ids, seed)[:left], left).batches
            batches += [msgspec.structs.replace(batch, index=len(batches)) for batch in chosen]
    return BatchPlan(batches=tuple(batches), digest=_sha256([batch.digest for batch in batches]))


def _batches(prompts: Mapping[str, Sequence[int]], order: Sequence[str], batch_items: int) -> Iterator[Batch]:
    for index, start in enumerate(range(0, len(order), batch_items)):
        ids = tuple(order[start : start + batch_items])
        width = max(len(prompts[item_id]) for item_id in ids)
        digest = _sha256([[item_id, list(prompts[item_id])] for item_id in ids] + [width])
        yield Batch(index=index, ids=ids, width=width, digest=digest)


def _quotas(sizes: Mapping[tuple[str, ...], int], total: int) -> dict[tuple[str, ...], int]:
    """Items of each stratum by largest remainder (Hamilton); whole numbers throughout, so that no rounding decides."""
    population = sum(sizes.values())
    quota = {name: size * total // population for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: (-(sizes[name] * total % population), name))
    for name in by_remainder[: total - sum(quota.values())]:
        quota[name] += 1
    return quota


def _sha256(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()
