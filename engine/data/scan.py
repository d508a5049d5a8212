"""The one pass over the training file, in parts that two processes look at side by side; joined in file order, so that the result does
not depend on how many there are.

Small files and Parquet stay in this process. Memory is bounded by the parts under way, and by what `Observed` keeps. It refuses to go on
when one of its processes is lost.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from engine.data.lines import Part, Parts, Progress, changed, sha256_of
from engine.data.observers import NO_BOUNDS, Bounds, Observed, Observer
from engine.data.parquet import is_parquet
from engine.data.part_workers import PartWorkers
from engine.data.problems import Findings
from engine.data.records import Identities, RecordReader, no_record, note_oddities

PART_BYTES: Final = 8 * 2**20
IN_PROCESS_BYTES: Final = 32 * 2**20
"""Files up to this size are read faster than another process starts."""
_BLOCK_RECORDS: Final = 1024


@dataclass
class Scanned:
    """The whole file: what was seen, the reader's findings and its sha256."""

    observed: Observed
    findings: Findings
    sha256: str


@dataclass
class ScannedPart:
    """One part: what was seen, the reader's findings, and what the next parts are needed for to judge."""

    end_bytes: int
    observed: Observed
    findings: Findings
    given_ids: list[tuple[int, str]]
    oddities: Counter[str]


def scan(path: Path, observer: Observer, progress: Progress, workers: int) -> Scanned:
    """Everything that the gates need of the training file.

    Raises: InputError where the file as a whole cannot be used; EngineError where a process was lost.
    """
    if is_parquet(path):
        return _scan_rows(path, observer, progress)
    total_bytes = path.stat().st_size if path.is_file() else 0
    parts, joined = Parts(path, PART_BYTES), _Joined(path, observer)
    if workers == 1 or total_bytes <= IN_PROCESS_BYTES:
        for part in parts:
            joined.add(scan_part(path, part, observer, joined.bounds))
            progress(part.end, total_bytes)
    else:
        with PartWorkers(workers, scan_part, path, observer) as pool:
            for scanned in pool.results(parts, lambda: joined.bounds):
                joined.add(scanned)
                progress(scanned.end_bytes, total_bytes)
    if parts.sha256 != sha256_of(path):  # each part was read once to be cut off and once to be looked at
        raise changed(path)
    return joined.whole(parts.sha256)


def scan_part(path: Path, part: Part, observer: Observer, bounds: Bounds) -> ScannedPart:
    """One part of a JSONL file."""
    reader = RecordReader(path, part=part)
    observed = _observed(reader, observer, bounds)
    return ScannedPart(part.end, observed, reader.findings, reader.given_ids, reader.oddities)


class _Joined:
    """The parts so far."""

    def __init__(self, path: Path, observer: Observer) -> None:
        self._observed, self._findings, self._oddities = observer.nothing(), Findings(path), Counter[str]()
        self._repeated = Findings(path)
        self._ids = Identities(self._repeated)

    @property
    def bounds(self) -> Bounds:
        """From where on the samples take nothing more."""
        return self._observed.tokens.below, self._observed.raw.sample.below

    def add(self, part: ScannedPart) -> None:
        """The part that follows."""
        for line, identity in part.given_ids:
            self._ids.check(line, identity)
        self._oddities.update(part.oddities)
        self._findings.absorb(part.findings)
        self._observed.absorb(part.observed)

    def whole(self, sha256: str) -> Scanned:
        """Raises: InputError where there is no usable record."""
        self._findings.absorb(self._repeated)
        note_oddities(self._findings, self._oddities)
        if self._observed.records == 0:
            raise no_record(self._findings)
        return Scanned(self._observed, self._findings, sha256)


def _scan_rows(path: Path, observer: Observer, progress: Progress) -> Scanned:
    reader = RecordReader(path, progress)
    observed = _observed(reader, observer, NO_BOUNDS)
    return Scanned(observed, reader.findings, reader.sha256)


def _observed(reader: RecordReader, observer: Observer, bounds: Bounds) -> Observed:
    observed, records = observer.nothing(bounds), iter(reader)
    while block := list(islice(records, _BLOCK_RECORDS)):
        observer.observe(block, observed)
    return observed
