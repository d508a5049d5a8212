"""What the one pass over the training file gathers for the gates: findings in texts, in metadata and in critiques, block by block.

What two parts of a file hold is joined by `absorb`, in file order, and is the same as one pass over both. It refuses to keep records:
counters, up to 50 pieces of evidence a finding, samples of bounded size, and hashes of the instructions' words.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.core import qc
from engine.core.grams import WordHashes, Words
from engine.core.leakage import LeakageHits, LeakageIndex, TrainText
from engine.core.stop_rules import END_DELIMITER
from engine.core.text import normalised_words
from engine.data.duplicates import NearDuplicates
from engine.data.gate_results import Found
from engine.data.records import Critique, Record
from engine.data.tokens import TextSample

_SHORTEST_GRAM_CHARACTERS = 15
"""Eight words and the spaces between them have at least this many characters."""
_MOST_ORIGINS = 100


Bounds = tuple[int, int]
"""Of the samples of final texts and of raw ones: the hash from which on they take nothing."""
NO_BOUNDS: Bounds = (2**64, 2**64)


@dataclass
class TextFindings:
    """Runaways, markers left in responses and chat-control tokens anywhere."""

    literals: frozenset[str]
    runaway: Found = field(default_factory=Found)
    markers: Found = field(default_factory=Found)
    control: Found = field(default_factory=Found)
    control_kinds: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._anywhere = qc.ControlFinder(self.literals)
        self._in_raw = qc.ControlFinder(self.literals - qc.DOCUMENT_ENDS)

    def observe(self, record: Record) -> None:
        """One record."""
        at = qc.runaway_at(record.instruction, record.response)
        if at is not None:
            self.runaway.add(record.name, record.response, ((at, len(record.response)),))
        if spans := qc.kept_markers(record.instruction, record.response):
            self.markers.add(record.name, record.response, spans)
        self.look_for_control(record.name, record.instruction, record.response, record.prompt, raw=record.completion)

    def look_for_control(self, name: str, *texts: str | None, raw: str | None = None) -> None:
        """Chat-control tokens in the texts of one record or item; a raw generation may end with a document-end token."""
        for text in texts:
            if text and (spans := self._anywhere.spans(text)):
                self._add_control(name, text, spans)
                return
        if raw and (spans := self._in_raw.spans(raw)):
            self._add_control(name, raw, spans)

    def absorb(self, later: "TextFindings") -> None:
        """Adds the part that follows."""
        self.runaway.absorb(later.runaway)
        self.markers.absorb(later.markers)
        self.control.absorb(later.control)
        self.control_kinds.update(later.control_kinds)

    def _add_control(self, name: str, text: str, spans: Sequence[tuple[int, int]]) -> None:
        self.control.add(name, text, spans)
        self.control_kinds.update(text[low:high] for low, high in spans)


@dataclass
class MetadataFindings:
    """Full metadata, what it states of the guards, and how many different origins there are."""

    incomplete: Found = field(default_factory=Found)
    denied: Found = field(default_factory=Found)
    denied_kinds: Counter[str] = field(default_factory=Counter)
    missing_keys: Counter[str] = field(default_factory=Counter)
    origins: dict[str, set[str]] = field(
        default_factory=lambda: {"git_commit": set(), "loader_version": set(), "model_name": set()}
    )
    stating: int = 0

    def observe(self, record: Record) -> None:
        """One record."""
        missing = qc.missing_metadata(record.metadata)
        if missing:
            self.missing_keys.update(missing)
            self.incomplete.add(record.name, "no metadata" if record.metadata is None else f"lacks {', '.join(missing)}")
        denied, unstated = qc.broken_guards(record.metadata)
        self.stating += not unstated
        if denied:
            self.denied_kinds.update(guard.partition(" is ")[0] for guard in denied)
            self.denied.add(record.name, ", ".join(denied))
        for key, values in self.origins.items():
            value = (record.metadata or {}).get(key)
            if isinstance(value, str) and len(values) < _MOST_ORIGINS:
                values.add(value)

    def absorb(self, later: "MetadataFindings") -> None:
        """Adds the part that follows."""
        self.incomplete.absorb(later.incomplete)
        self.denied.absorb(later.denied)
        self.denied_kinds.update(later.denied_kinds)
        self.missing_keys.update(later.missing_keys)
        self.stating += later.stating
        for key, values in self.origins.items():
            values.update(sorted(later.origins[key] - values)[: _MOST_ORIGINS - len(values)])


@dataclass
class CritiqueFindings:
    """Kept records that the critic did not judge good and confident."""

    with_critique: int = 0
    not_good: Found = field(default_factory=Found)
    unjudged: int = 0

    def observe(self, record: Record) -> None:
        """One record."""
        pairs = (("instruction", record.instruction_critique), ("pair", record.pair_critique))
        given = [(what, critique) for what, critique in pairs if critique is not None]
        if not given:
            self.unjudged += 1
            return
        self.with_critique += 1
        if all(_good(critique) for _, critique in given):
            return
        faults = [f"{what} critique: {_verdict(critique)}" for what, critique in given if not _good(critique)]
        self.not_good.add(record.name, f"{'; '.join(faults)}\n{record.instruction}\n{record.response}")

    def absorb(self, later: "CritiqueFindings") -> None:
        """Adds the part that follows."""
        self.with_critique += later.with_critique
        self.unjudged += later.unjudged
        self.not_good.absorb(later.not_good)


@dataclass
class RawFindings:
    """Raw generations: how many there are, and those without a delimiter that may have hit the token limit."""

    sample: TextSample
    measurable: int = 0
    without_limit: int = 0

    def observe(self, record: Record) -> None:
        """One record."""
        if record.completion is None:
            return
        limit = (record.metadata or {}).get("max_new_tokens")
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            self.without_limit += 1
            return
        self.measurable += 1
        # No token is empty, so fewer bytes than tokens cannot be
        if END_DELIMITER not in record.completion and len(record.completion.encode()) >= limit:
            self.sample.offer(record.name, (record.completion, str(limit)))

    def absorb(self, later: "RawFindings") -> None:
        """Adds the part that follows."""
        self.sample.absorb(later.sample)
        self.measurable += later.measurable
        self.without_limit += later.without_limit


@dataclass
class Observed:
    """Everything that the pass gathers of one part of the file, or of parts joined."""

    texts: TextFindings
    tokens: TextSample
    raw: RawFindings
    leaks: LeakageHits = field(default_factory=LeakageHits)
    metadata: MetadataFindings = field(default_factory=MetadataFindings)
    critiques: CritiqueFindings = field(default_factory=CritiqueFindings)
    duplicates: NearDuplicates = field(default_factory=NearDuplicates)
    records: int = 0

    def absorb(self, later: "Observed") -> None:
        """Adds the part of the file that follows."""
        self.texts.absorb(later.texts)
        self.tokens.absorb(later.tokens)
        self.raw.absorb(later.raw)
        self.leaks.absorb(later.leaks)
        self.metadata.absorb(later.metadata)
        self.critiques.absorb(later.critiques)
        self.duplicates.absorb(later.duplicates)
        self.records += later.records


class Observer:
    """Looks at blocks of records; `leakage` and the hashes of the words met are kept between parts."""

    def __init__(self, leakage: LeakageIndex, literals: frozenset[str], seed: int) -> None:
        self._leakage, self._literals, self._seed = leakage, literals, seed
        self._known = WordHashes()

    def nothing(self, bounds: Bounds = NO_BOUNDS) -> Observed:
        """Where a part begins. `bounds`: the samples of the parts before take no text from there on, so this part need not."""
        tokens, raw = (TextSample(self._seed, below) for below in bounds)
        return Observed(texts=TextFindings(self._literals), tokens=tokens, raw=RawFindings(raw))

    def observe(self, records: Sequence[Record], seen: Observed) -> None:
        """One block of records."""
        instructions, responses = [], []
        for record in records:
            seen.texts.observe(record)
            seen.metadata.observe(record)
            seen.critiques.observe(record)
            seen.raw.observe(record)
            seen.tokens.offer(record.name, (record.instruction, record.response))
            instructions.append(normalised_words(record.instruction))
            responses.append(normalised_words(record.response) if len(record.response) >= _SHORTEST_GRAM_CHARACTERS else [])
        seen.records += len(records)
        asked, answered = Words(instructions, self._known), Words(responses, self._known)
        for place in self._leakage.candidates(asked, answered):
            record, words = records[place], instructions[place]
            train = TrainText(record.name, record.instruction, record.response)
            self._leakage.observe(train, " ".join(words), words, responses[place])
        seen.leaks.absorb(self._leakage.take())
        seen.duplicates.add_block([record.line for record in records], asked)


def _good(critique: Critique) -> bool:
    return critique.is_good is True and critique.confident is True


def _verdict(critique: Critique) -> str:
    said = [f"is_good {_word(critique.is_good)}", f"confident {_word(critique.confident)}"]
    return ", ".join(said)


def _word(value: Any) -> str:
    return "not stated" if value is None else str(value).lower()


def control_literals(tokenizer_literals: Sequence[str] | frozenset[str]) -> frozenset[str]:
    """The literals that must not stand in any text: the tokenizer's own and those of common chat formats."""
    return frozenset(tokenizer_literals) | frozenset(qc.CHAT_CONTROL_LITERALS)
