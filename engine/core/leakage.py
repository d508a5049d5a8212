"""Which held-out items stand in the training data (SPEC §4, leakage), with the training data streamed once past an exact index.

A held-out item leaks where its instruction equals a train instruction after normalisation, or where enough of its word 8-grams stand
in one train record. Grams of three or more held-out items or of more than ten distinct train instructions are a template's and do not
count. It refuses to flag by likeness alone: a near-identical text is only advisory. Memory is bounded by the held-out set. What parts of
the training data hold is found apart (`LeakageHits`) and joined in file order, which gives the same as one pass.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from engine.core.grams import HashSet, WordHashes, Words, text_hash
from engine.core.text import normalise, word_grams
from engine.protocol.items import HeldOutItem

GRAM_WORDS: Final = 8
COMMON_ITEMS: Final = 3
"""A gram in this many held-out items does not count."""
COMMON_INSTRUCTIONS: Final = 10
"""A gram in more distinct train instructions than this does not count."""
NEAR_GRAM_WORDS: Final = 3
NEAR_RATIO: Final = 0.95
KEPT_HITS: Final = 64
"""Train records remembered for one gram; more can only be copies of one instruction with other responses."""

Gram = tuple[str, ...]
Kind = Literal["exact", "grams", "near"]


@dataclass(frozen=True)
class TrainText:
    """A train record as far as leakage is concerned."""

    record: str
    instruction: str
    response: str


@dataclass(frozen=True)
class Leak:
    """One held-out item found in train. `share` is 1 for exact ones, the containment for grams, the edit ratio for near ones."""

    item: HeldOutItem
    train: TrainText
    kind: Kind
    share: float


@dataclass
class _Gram:
    instructions: set[int] = field(default_factory=set)
    hits: list[TrainText] = field(default_factory=list)
    common: bool = False

    def add(self, trains: Sequence[TrainText], instruction_keys: Iterable[int]) -> None:
        self.instructions.update(instruction_keys)
        if self.common or len(self.instructions) > COMMON_INSTRUCTIONS:
            self.common = True
            self.hits.clear()
            self.instructions.clear()
        else:
            self.hits += trains[: KEPT_HITS - len(self.hits)]

    def absorb(self, later: "_Gram") -> None:
        self.common = self.common or later.common
        self.add(later.hits, later.instructions)


@dataclass
class LeakageHits:
    """What was found in one part of the training data, by place of the held-out item and by gram."""

    exact: dict[int, TrainText] = field(default_factory=dict)
    near: dict[int, tuple[TrainText, float]] = field(default_factory=dict)
    grams: dict[Gram, _Gram] = field(default_factory=dict)

    def absorb(self, later: "LeakageHits") -> None:
        """Adds what was found in the part that follows."""
        self.exact = later.exact | self.exact
        self.near = later.near | self.near
        for gram, found in later.grams.items():
            if gram in self.grams:
                self.grams[gram].absorb(found)
            else:
                self.grams[gram] = found


class LeakageIndex:
    """An inverted index over the held-out instructions; `observe` every train record once, then ask for `leaks` and `near`."""

    def __init__(self, items: Sequence[HeldOutItem], containment: float = 0.6) -> None:
        self._items, self._containment = items, containment
        self._normal = [normalise(item.instruction) for item in items]
        words = [text.split() for text in self._normal]
        self._grams = frozenset(_rare(words, GRAM_WORDS))
        self._item_grams = [[gram for gram in sorted(set(word_grams(text, GRAM_WORDS))) if gram in self._grams] for text in words]
        self._three = _rare(words, NEAR_GRAM_WORDS)
        self._by_text: dict[str, list[int]] = defaultdict(list)
        for place, text in enumerate(self._normal):
            if text:
                self._by_text[text].append(place)
        self.hits = LeakageHits()
        known = WordHashes()
        self._gram_hashes = HashSet(Words(list(self._grams), known).grams(GRAM_WORDS)[0])
        self._three_hashes = HashSet(Words(list(self._three), known).grams(NEAR_GRAM_WORDS)[0])
        self._whole_hashes = HashSet(Words(words, known).whole())

    def take(self) -> LeakageHits:
        """What was found since the last `take`."""
        hits, self.hits = self.hits, LeakageHits()
        return hits

    def candidates(self, instructions: Words, responses: Words) -> list[int]:
        """The places of the records of a block that `observe` has to see; it would find nothing in the others."""
        eight, three = instructions.grams(GRAM_WORDS), instructions.grams(NEAR_GRAM_WORDS)
        answer = responses.grams(GRAM_WORDS)
        found = [self._whole_hashes.places(instructions.whole())]
        for members, (hashes, owners) in ((self._gram_hashes, eight), (self._gram_hashes, answer), (self._three_hashes, three)):
            found.append(owners[members.places(hashes)])
        return sorted({place for places in found for place in places.tolist()})

    def observe(
        self, train: TrainText, instruction: str, instruction_words: Sequence[str], response_words: Sequence[str]
    ) -> None:
        """One train record, with its normalised instruction and the words of both normalised texts."""
        for place in self._by_text.get(instruction, ()):
            self.hits.exact.setdefault(place, train)
        grams = self._grams
        found = [gram for gram in word_grams(instruction_words, GRAM_WORDS) if gram in grams]
        found += [gram for gram in word_grams(response_words, GRAM_WORDS) if gram in grams]
        if found:
            key = text_hash(instruction)
            for gram in set(found):
                self.hits.grams.setdefault(gram, _Gram()).add((train,), (key,))
        self._look_near(train, instruction, instruction_words)

    def leaks(self) -> list[Leak]:
        """The held-out items that leak, in the order of the held-out file, each with the train record that has most of it."""
        found = []
        for place, item in enumerate(self._items):
            if place in self.hits.exact:
                found.append(Leak(item, self.hits.exact[place], "exact", 1.0))
            elif best := self._contained(place):
                found.append(Leak(item, best[0], "grams", best[1]))
        return found

    def near(self) -> list[Leak]:
        """The items with a near-identical train instruction that do not leak by the rule: edit ratio ≥ 0.95, equal digits and signs."""
        leaked = {leak.item.id for leak in self.leaks()}
        return [
            Leak(self._items[place], train, "near", ratio)
            for place, (train, ratio) in sorted(self.hits.near.items())
            if self._items[place].id not in leaked
        ]

    def _contained(self, place: int) -> tuple[TrainText, float] | None:
        every = [self.hits.grams.get(gram, _Gram()) for gram in self._item_grams[place]]
        grams = [gram for gram in every if not gram.common]
        records: dict[int, TrainText] = {}
        counts: Counter[int] = Counter()
        for gram in grams:
            for train in gram.hits:
                records[id(train)] = train
                counts[id(train)] += 1
        if not counts:
            return None
        best, count = counts.most_common(1)[0]
        share = count / len(grams)
        return (records[best], share) if share >= self._containment else None

    def _look_near(self, train: TrainText, instruction: str, words: Sequence[str]) -> None:
        candidates = {place for gram in word_grams(words, NEAR_GRAM_WORDS) for place in self._three.get(gram, ())}
        for place in candidates:
            held = self._normal[place]
            if place not in self.hits.near and held != instruction and (ratio := near_ratio(held, instruction)) is not None:
                self.hits.near[place] = (train, ratio)


def near_ratio(first: str, second: str, least: float = NEAR_RATIO) -> float | None:
    """1 − Levenshtein distance / longer length of two normalised texts; None below `least`, or where digits or signs differ."""
    longer = max(len(first), len(second))
    limit = int(longer * (1 - least) + 1e-9)
    if abs(len(first) - len(second)) > limit or figures(first) != figures(second):
        return None
    distance = _edit_distance(first, second, limit)
    return None if distance is None or not longer else 1 - distance / longer


def figures(normal: str) -> list[str]:
    """The digits and arithmetic signs of a normalised text, in order."""
    return _FIGURES.findall(normal)


def shares_grams(held: str, train: str) -> bool:
    """True where two texts have a normalised word 8-gram in common."""
    return bool(_shared_grams(_placed_words(held), _placed_words(train)))


def marked_pair(held: str, train: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """`H  held` and `T  train` on two lines, and the spans of what they share: their common 8-grams, else each whole."""
    held_words, train_words = _placed_words(held), _placed_words(train)
    shared = _shared_grams(held_words, train_words)
    text, spans = "", []
    for label, part, words in (("H  ", held, held_words), ("\nT  ", train, train_words)):
        shown, marks = _excerpt(part, _covered(words, shared) or [(0, len(part))])
        text += label
        spans += [(len(text) + start, len(text) + end) for start, end in marks]
        text += shown
    return text, tuple(spans)


_FIGURES = re.compile(r"[\d+−*/%=<>]")
_LINE_ENDS = re.compile(r"[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
_SHOWN_CHARACTERS: Final = 1000


def _rare(texts: Iterable[Sequence[str]], size: int) -> dict[Gram, list[int]]:
    """Gram → the places of the texts that have it, for grams of fewer than `COMMON_ITEMS` texts."""
    places: dict[Gram, list[int]] = defaultdict(list)
    for place, words in enumerate(texts):
        for gram in set(word_grams(words, size)):
            places[gram].append(place)
    return {gram: found for gram, found in places.items() if len(found) < COMMON_ITEMS}


def _edit_distance(first: str, second: str, limit: int) -> int | None:
    """Levenshtein distance in a band of `limit` about the diagonal; None where it is larger."""
    far = limit + 1
    row = [column if column <= limit else far for column in range(len(second) + 1)]
    for line, character in enumerate(first, start=1):
        low, high = max(1, line - limit), min(len(second), line + limit)
        following = [far] * (len(second) + 1)
        following[0] = line if line <= limit else far
        for column in range(low, high + 1):
            changed = row[column - 1] + (character != second[column - 1])
            following[column] = min(changed, row[column] + 1, following[column - 1] + 1, far)
        if min(following[low - 1 : high + 1]) > limit:
            return None
        row = following
    return row[-1] if row[-1] <= limit else None


def _shared_grams(*texts: Sequence[tuple[str, int, int]]) -> set[Gram]:
    first, second = (set(word_grams([word for word, _, _ in words], GRAM_WORDS)) for words in texts)
    return first & second


def _placed_words(text: str) -> list[tuple[str, int, int]]:
    """(normalised word, start, end in `text`), token by token: for marking, not for deciding."""
    return [
        (word, match.start(), match.end()) for match in re.finditer(r"\S+", text) for word in normalise(match.group()).split()
    ]


def _covered(words: Sequence[tuple[str, int, int]], shared: set[Gram]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for place, gram in enumerate(word_grams([word for word, _, _ in words], GRAM_WORDS)):
        if gram not in shared:
            continue
        start, end = words[place][1], words[place + GRAM_WORDS - 1][2]
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def _excerpt(text: str, spans: Sequence[tuple[int, int]]) -> tuple[str, list[tuple[int, int]]]:
    """At most 1,000 characters of `text` on one line, from shortly before its first span, with the spans moved along."""
    text = _LINE_ENDS.sub(" ", text)
    start = max(0, spans[0][0] - 40) if len(text) > _SHOWN_CHARACTERS else 0
    end = start + _SHOWN_CHARACTERS
    before, after = "…" if start else "", "…" if end < len(text) else ""
    moved = [
        (max(low, start) - start + len(before), min(high, end, len(text)) - start + len(before))
        for low, high in spans
        if low < end
    ]
    return before + text[start:end] + after, moved
