"""Near-duplicate instructions inside train (SPEC §4): word 3-grams, MinHash LSH of 32 bands × 4 rows, candidates verified exactly.

Equal normalised texts are found by hash. Of the others those are left out that share too few grams with anything to be near a second
text; the rest go through locality-sensitive hashing, and a pair counts only if the exact Jaccard similarity of its 3-gram sets is
≥ 0.8. Texts of fewer than three words are compared as wholes only. It refuses to keep texts: 8 bytes a gram and 20 bytes a record.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.grams import I64, U64, WordHashes, Words
from engine.data.gram_sets import GramSets, RareGrams, with_enough_shared
from engine.data.minhash import BANDS, BandHasher, buckets

JACCARD: Final = 0.8
GRAM_WORDS: Final = 3
CROWDED_BUCKET: Final = 64
"""Texts in a bucket beyond which only those that share a rare gram are compared."""
COMPARED_BY_A_GRAM: Final = 64
_BLOCK_TEXTS = 1024
_BLOCK_PAIRS = 8192


class DuplicatePair(msgspec.Struct, frozen=True):
    """Two lines of the file whose instructions are near-duplicates; `jaccard` 1.0 and `equal` where they are the same text."""

    earlier: int
    later: int
    jaccard: float
    equal: bool


class DuplicateCount(msgspec.Struct, frozen=True, kw_only=True):
    """`share` of surplus records: (records − components) / records. `uncompared`: texts of crowded buckets that joined
    nothing and were not compared with all that might be near."""

    records: int
    components: int
    equal: int
    uncompared: int
    pairs: tuple[DuplicatePair, ...]

    @property
    def surplus(self) -> int:
        """Records that a component has beyond its first."""
        return self.records - self.components


class NearDuplicates:
    """Give it every instruction with `add` or `add_block`, then ask once for the `count`. Parts of a file are joined by `absorb`."""

    def __init__(self, seed: int = 0, kept_pairs: int = 50) -> None:
        self._seed, self._kept_pairs = seed, kept_pairs
        self._known = WordHashes()
        self._waiting: list[tuple[int, Sequence[str]]] = []
        self._lines: list[I64] = []
        self._keys: list[U64] = []
        self._sizes: list[NDArray[np.int32]] = []
        self._grams: list[U64] = []

    def add(self, line: int, words: Sequence[str]) -> None:
        """One record: its line and the words of its normalised instruction."""
        self._waiting.append((line, words))
        if len(self._waiting) == _BLOCK_TEXTS:
            self._flush()

    def add_block(self, lines: Sequence[int], words: Words) -> None:
        """Records by their lines, with the words of their normalised instructions."""
        self._lines.append(np.array(lines, dtype=np.int64))
        self._keys.append(words.whole())
        self._sizes.append(np.maximum(words.sizes - (GRAM_WORDS - 1), 0).astype(np.int32))
        self._grams.append(words.grams(GRAM_WORDS)[0])

    def absorb(self, later: "NearDuplicates") -> None:
        """Adds the records of the part that follows."""
        self._flush()
        later._flush()
        self._lines += later._lines
        self._keys += later._keys
        self._sizes += later._sizes
        self._grams += later._grams

    def count(self) -> DuplicateCount:
        """The components of all records added so far."""
        self._flush()
        if not self._lines:
            return DuplicateCount(records=0, components=0, equal=0, uncompared=0, pairs=())
        lines, sizes = np.concatenate(self._lines), np.concatenate(self._sizes).astype(np.int64)
        earlier = _first_with_the_same(np.concatenate(self._keys))
        repeats = np.flatnonzero(earlier != np.arange(len(lines)))
        pairs = [DuplicatePair(int(lines[earlier[at]]), int(lines[at]), 1.0, True) for at in repeats[: self._kept_pairs]]
        kept = sizes > 0
        kept[repeats] = False
        self._grams = [np.concatenate(self._grams)]  # so that they lie in memory once
        near = _Joined(self._grams[0][np.repeat(kept, sizes)], sizes[kept], self._seed)
        for one, two, jaccard in near.pairs[: self._kept_pairs - len(pairs)]:
            first, second = sorted((int(lines[kept][one]), int(lines[kept][two])))
            pairs.append(DuplicatePair(first, second, jaccard, False))
        return DuplicateCount(
            records=len(lines), components=len(lines) - len(repeats) - near.joined, equal=len(repeats), uncompared=near.left_out,
            pairs=tuple(sorted(pairs, key=lambda pair: (pair.later, pair.earlier))),
        )  # fmt: skip

    def _flush(self) -> None:
        if self._waiting:
            self.add_block([line for line, _ in self._waiting], Words([words for _, words in self._waiting], self._known))
            self._waiting = []


class _Joined:
    """The texts joined: `joined` joins in all, the `pairs` (place, place, Jaccard) that made them, `left_out` as `uncompared`."""

    def __init__(self, grams: U64, sizes: I64, seed: int) -> None:
        self.joined = self.left_out = 0
        self.pairs: list[tuple[int, int, float]] = []
        self._rare: RareGrams | None = None
        self._not_all_compared: set[int] = set()
        self._places = with_enough_shared(grams, sizes, JACCARD)
        if len(self._places) < 2:
            return
        chosen = np.zeros(len(sizes), dtype=bool)
        chosen[self._places] = True
        self._sets = GramSets(grams[np.repeat(chosen, sizes)], sizes[chosen])
        self._parent = np.arange(len(self._places))
        bands = BandHasher(seed).bands(self._sets.grams, self._sets.sizes)
        for band in range(BANDS):
            self._join_band(*buckets(bands[band]))
        self.left_out = self._alone_of(self._not_all_compared)

    def _join_band(self, places: I64, starts: I64, ends: I64) -> None:
        roots = self._roots()[places]
        small: list[tuple[I64, I64]] = []
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            if end - start > CROWDED_BUCKET:
                self._join_all(small)
                small = []
                self._join_crowd(places[start:end])
            elif (roots[start:end] != roots[start]).any():
                later, earlier = np.tril_indices(end - start, -1)
                small.append((places[start:end][later], places[start:end][earlier]))
                if len(small) == _BLOCK_TEXTS:
                    self._join_all(small)
                    small = []
        self._join_all(small)

    def _join_all(self, pairs: list[tuple[I64, I64]]) -> set[int]:
        """Joins the near-duplicates among all these pairs, in their order; the first of each pair that joined."""
        joining: set[int] = set()
        if not pairs:
            return joining
        roots = self._roots()
        one, two = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
        apart = roots[one] != roots[two]
        one, two = one[apart], two[apart]
        for start in range(0, len(one), _BLOCK_PAIRS):
            block = slice(start, start + _BLOCK_PAIRS)
            jaccards = self._sets.jaccards(one[block], two[block])
            for at in np.flatnonzero(jaccards >= JACCARD).tolist():
                if self._join(int(one[start + at]), int(two[start + at]), float(jaccards[at])):
                    joining.add(int(one[start + at]))
        return joining

    def _join_crowd(self, bucket: I64) -> None:
        if self._rare is None:
            self._rare = RareGrams(self._sets.grams, self._sets.sizes, JACCARD)
        sharing = _sharing_rare_grams(bucket, self._rare)
        while block := list(islice(sharing, _BLOCK_TEXTS)):
            later = np.repeat([place for place, _, _ in block], [len(others) for _, others, _ in block])
            earlier = np.fromiter(chain.from_iterable(others for _, others, _ in block), np.int64)
            joining = self._join_all([(later, earlier)])
            self._not_all_compared.update(place for place, _, complete in block if not complete and place not in joining)

    def _alone_of(self, places: set[int]) -> int:
        """How many of these texts, each of which may have been in the crowds of several bands, joined nothing in any."""
        roots = self._roots()
        members = np.bincount(roots, minlength=len(roots))
        return int((members[roots[list(places)]] == 1).sum()) if places else 0

    def _join(self, place: int, other: int, jaccard: float) -> bool:
        one, two = _root(self._parent, place), _root(self._parent, other)
        if one != two:
            self._parent[max(one, two)] = min(one, two)
            self.joined += 1
            self.pairs.append((int(self._places[place]), int(self._places[other]), jaccard))
        return one != two

    def _roots(self) -> I64:
        while not np.array_equal(above := self._parent[self._parent], self._parent):
            self._parent = above
        return self._parent.copy()


def _first_with_the_same(keys: U64) -> I64:
    """For every place the first place with the same key."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    first = np.empty(len(keys), dtype=np.int64)
    first[order] = np.repeat(order[starts], np.diff(np.append(starts, len(keys))))
    return first


def _sharing_rare_grams(bucket: I64, rare: RareGrams) -> Iterator[tuple[int, Sequence[int], bool]]:
    """(place, places to compare it with, whether these are all that matter) in a crowded bucket; places that share none are left out."""
    index: dict[int, list[int]] = {}
    for place, grams in rare.shared(bucket):
        lists = [index.setdefault(gram, []) for gram in grams]
        yield (
            place,
            sorted({other for found in lists for other in found}),
            all(len(found) < COMPARED_BY_A_GRAM for found in lists),
        )
        for found in lists:
            if len(found) < COMPARED_BY_A_GRAM:
                found.append(place)


def _root(parent: I64, place: int) -> int:
    while (above := int(parent[place])) != place:
        parent[place] = parent[above]
        place = above
    return place
