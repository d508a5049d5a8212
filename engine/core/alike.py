"""Held-out items that are like each other: near-identical ones, and those made from one template.

Both flip together, so that they tell less than as many independent items. Near-identical are two items whose word 3-gram sets have a
Jaccard similarity ≥ 0.8 (the rule for duplicates inside train) and whose digits and signs are equal. Of one template are items that
begin and end with the same words, numbers read as equal, where these make up at least 60% of each; three or more are a template. It
refuses to join them: only a `cluster` in the file, or equal texts, make one unit of several items.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.core.design import units_of
from engine.core.leakage import figures
from engine.core.text import normalised_words, word_grams
from engine.protocol.items import HeldOutItem

JACCARD: Final = 0.8
GRAM_WORDS: Final = 3
FIXED_SHARE: Final = 0.6
TEMPLATE_ITEMS: Final = 3
_LEAST_FIXED_WORDS: Final = 3
_LENGTHS_APART: Final = 3
"""Fixed parts this many words longer than the least are tried too, so that items of other lengths meet."""
_COMPARED_BY_A_GRAM: Final = 64


@dataclass(frozen=True)
class AlikePair:
    """Two near-identical items of different units, in the order of the file."""

    first: HeldOutItem
    second: HeldOutItem
    jaccard: float


@dataclass(frozen=True)
class Template:
    """Three or more items of one template that are not one unit, in the order of the file; `pattern` has `…` where they differ."""

    items: tuple[HeldOutItem, ...]
    pattern: str


def near_identical(items: Sequence[HeldOutItem]) -> list[AlikePair]:
    """Every pair of near-identical items that do not count as one unit. A gram of more than 64 items finds only the first 64."""
    unit, words = units_of(items), [normalised_words(item.instruction) for item in items]
    grams = [frozenset(word_grams(text, GRAM_WORDS)) for text in words]
    shown = [figures(" ".join(text)) for text in words]
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    found = []
    for place, mine in enumerate(grams):
        for other in sorted({holder for gram in mine for holder in holders[gram]}):
            shared = len(mine & grams[other])
            jaccard = shared / (len(mine) + len(grams[other]) - shared)
            apart = unit[items[place].id] != unit[items[other].id]
            if jaccard >= JACCARD and apart and shown[place] == shown[other]:
                found.append(AlikePair(items[other], items[place], jaccard))
        for gram in mine:
            if len(holders[gram]) < _COMPARED_BY_A_GRAM:
                holders[gram].append(place)
    return found


def templates(items: Sequence[HeldOutItem]) -> list[Template]:
    """The templates that hold items of different units, the largest first."""
    words = [["#" if any(map(str.isdigit, word)) else word for word in normalised_words(item.instruction)] for item in items]
    unit, joined = units_of(items), _Joined(len(items))
    first_with: dict[Hashable, int] = {}
    for place, text in enumerate(words):
        for key in _fixed_parts(text):
            joined.join(first_with.setdefault(key, place), place)
    groups: dict[int, list[int]] = defaultdict(list)
    for place in range(len(items)):
        groups[joined.root(place)].append(place)
    found = [places for places in groups.values() if _counts(places, items, unit)]
    found.sort(key=lambda places: (-len(places), places))
    return [Template(tuple(items[place] for place in places), _pattern([words[place] for place in places])) for places in found]


def _counts(places: Sequence[int], items: Sequence[HeldOutItem], unit: Mapping[str, str]) -> bool:
    return len(places) >= TEMPLATE_ITEMS and len({unit[items[place].id] for place in places}) > 1


def _fixed_parts(words: Sequence[str]) -> Iterator[Hashable]:
    """A key for every way to begin and end with that many of the words; texts that share one share these words."""
    size, least = len(words), math.ceil(FIXED_SHARE * len(words) - 1e-9)
    if least < _LEAST_FIXED_WORDS:
        return
    starts, ends = _running(words), _running(words[::-1])
    for fixed in range(least, min(least + _LENGTHS_APART, size + 1)):
        for begin in range(fixed + 1):
            yield begin, fixed - begin, starts[begin], ends[fixed - begin]


def _running(words: Sequence[str]) -> list[int]:
    """A hash of the first 0, 1, 2 … words."""
    hashes = [0]
    for word in words:
        hashes.append(hash((hashes[-1], word)))
    return hashes


def _pattern(texts: Sequence[list[str]]) -> str:
    """What all of them begin and end with; where they have that only two by two, the first of them."""
    begin = _common(min(texts), max(texts))  # the most different of texts in order are the ends of the order
    backwards = [text[::-1] for text in texts]
    end = min(_common(min(backwards), max(backwards)), min(map(len, texts)) - begin)
    if not begin + end:
        return f"such as: {' '.join(texts[0])}"
    return " ".join([*texts[0][:begin], "…", *texts[0][len(texts[0]) - end :]])


def _common(one: Sequence[str], two: Sequence[str]) -> int:
    return next((place for place, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


class _Joined:
    """Which places belong together."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, place: int) -> int:
        """The first place of its group."""
        while self._parent[place] != place:
            self._parent[place] = self._parent[self._parent[place]]
            place = self._parent[place]
        return place

    def join(self, one: int, two: int) -> None:
        """Put the groups of both together."""
        one, two = sorted((self.root(one), self.root(two)))
        self._parent[two] = one
