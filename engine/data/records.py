"""The records of an SFT dataset (SPEC §2), streamed from JSONL or Parquet, with every problem named by file, line and column.

It refuses to guess: a record that is broken, ambiguous or empty is dropped and counted by reason, never mended and never skipped in
silence. No input makes it raise anything but `InputError`.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec

from engine.core.qc import METADATA_KEYS
from engine.data.json_lines import Fault, InnerKeys, decode_line, key_column, validation_fault
from engine.data.lines import MAX_LINE_BYTES, LineReader, Part, Progress, no_progress
from engine.data.parquet import is_parquet
from engine.data.problems import Findings, Problem
from engine.protocol.errors import InputError

_KEYS = ("instruction", "response", "id", "prompt", "completion", "instruction_critique", "pair_critique", "metadata")
_INNER_KEYS = InnerKeys(METADATA_KEYS, each=("is_good", "confident"), holder="_critique")
"""What gates go by inside a record: its metadata, and the judgements of two critics."""
_BOM = b"\xef\xbb\xbf"
_FOREIGN = (
    ((b"\xff\xfe", b"\xfe\xff"), "is UTF-16; save it as UTF-8"),
    ((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"BZh", b"\xfd7zXZ"), "is compressed; unpack it and name the file inside"),
)
"""How files begin that are no JSONL, and what to say."""


class Critique(msgspec.Struct, frozen=True, kw_only=True):
    """A critic's judgement of an instruction or of a pair."""

    is_good: bool | None = None
    predicted_label: str | None = None
    logp_a: float | None = None
    logp_b: float | None = None
    margin: float | None = None
    confident: bool | None = None


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """A record as it is written; unknown keys are allowed and ignored."""

    instruction: str
    response: str
    id: str | int | None = None
    prompt: str | None = None
    completion: str | None = None
    instruction_critique: Critique | None = None
    pair_critique: Critique | None = None
    metadata: dict[str, Any] | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One usable record. `line` counts from 1 (Parquet: the row); `name` is its id, or its line where it has none."""

    line: int
    id: str | None
    instruction: str
    response: str
    prompt: str | None = None
    completion: str | None = None
    instruction_critique: Critique | None = None
    pair_critique: Critique | None = None
    metadata: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """What people can find the record by."""
        return self.id if self.id is not None else f"line {self.line}"


_DECODER = msgspec.json.Decoder(Fields)


class RecordReader:
    """The usable records of `path`, once, in file order. Its findings are complete after the iteration.

    Of one `part` of a JSONL file it leaves what only the whole file can tell to the caller: whether there is a record at all, and
    whether its `given_ids` came before, and what its `oddities` add up to. With `wanted` lines it passes over all others undecoded.
    """

    def __init__(
        self, path: Path, progress: Progress = no_progress, *, part: Part | None = None, wanted: Collection[int] | None = None
    ) -> None:
        self.path, self._part, self._wanted = path, part, wanted
        self.findings = Findings(path)
        self.sha256 = ""
        self.records = 0
        self._progress = progress
        self._ids = Identities(self.findings)
        self.given_ids: list[tuple[int, str]] = []
        self.oddities: Counter[str] = Counter()

    @property
    def problems(self) -> list[Problem]:
        """Findings in file order, up to a limit."""
        return self.findings.listed

    @property
    def dropped(self) -> Counter[str]:
        """Unusable records by reason."""
        return self.findings.dropped

    def __iter__(self) -> Iterator[Record]:
        """Raises: InputError where the file as a whole cannot be used."""
        source = self._parquet() if is_parquet(self.path) else self._jsonl()
        for line, fields in source:
            self.records += 1
            yield self._record(line, fields)
        if self.records == 0 and self._part is None and self._wanted is None:
            raise no_record(self.findings)

    def _record(self, line: int, fields: Fields) -> Record:
        identity = None if fields.id is None else str(fields.id)
        if identity is not None and self._part is not None:
            self.given_ids.append((line, identity))
        elif identity is not None:
            self._ids.check(line, identity)
        return Record(
            line=line, id=identity, instruction=fields.instruction, response=fields.response, prompt=fields.prompt,
            completion=fields.completion, instruction_critique=fields.instruction_critique,
            pair_critique=fields.pair_critique, metadata=fields.metadata,
        )  # fmt: skip

    def _jsonl(self) -> Iterator[tuple[int, Fields]]:
        lines, oddities = LineReader(self.path, self._progress, self._part), self.oddities
        for number, data, ended in lines:
            if self._wanted is not None and number not in self._wanted:
                continue
            if number == 1 and data is not None:
                data = self._without_bom(data)
                self._refuse_list(data)
            if data is not None and data.endswith(b"\r"):
                oddities["CRLF"] += 1
                data = data[:-1]
            if data is not None and not data.strip():
                oddities["blank lines"] += 1
                continue
            fields = self._decoded(number, data, ended)
            if fields is not None:
                yield number, fields
        self.sha256 = lines.sha256
        if self._part is None:
            note_oddities(self.findings, oddities)

    def _without_bom(self, data: bytes) -> bytes:
        for beginnings, words in _FOREIGN:
            if data.startswith(beginnings):
                raise InputError(f"{self.path}: {words}")
        if not data.startswith(_BOM):
            return data
        self.findings.note("byte order mark", "starts with a byte order mark; passed over, better save it without", line=1)
        return data[len(_BOM) :]

    def _refuse_list(self, first_line: bytes) -> None:
        """A whole file that is one JSON list would lose every record but those that happen to be alone on their line."""
        if first_line.strip() == b"[" or first_line.replace(b" ", b"").startswith(b"[{"):
            raise InputError(f"{self.path}: is one JSON list; write one object a line, for example with: jq -c '.[]'")

    def _decoded(self, number: int, data: bytes | None, ended: bool) -> Fields | None:
        if data is None:
            self.findings.drop("line too long", f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB", line=number)
            return None
        found = decode_line(data, _DECODER, _KEYS, ended=ended, inner=_INNER_KEYS)
        fault = found if isinstance(found, Fault) else _empty(found, data)
        if fault is not None:
            self.findings.drop(fault.reason, fault.text, line=number, column=fault.column)
        return found if isinstance(found, Fields) and fault is None else None

    def _parquet(self) -> Iterator[tuple[int, Fields]]:
        from engine.data.parquet import ParquetRows

        rows = ParquetRows(self.path, _KEYS, self._progress)
        for number, row in rows:
            try:
                fields = msgspec.convert(row, Fields)
                fault = _empty(fields, b"")
            except msgspec.ValidationError as error:
                fault = validation_fault(str(error), b"")
            if fault is None:
                yield number, fields
            else:
                self.findings.drop(fault.reason, fault.text, line=number)
        self.sha256 = rows.sha256


def _empty(fields: Fields, data: bytes) -> Fault | None:
    """The fault of a record without an instruction or a response; `data` is its line, empty where there is none."""
    for key in ("instruction", "response"):
        if not getattr(fields, key).strip():
            return Fault("empty field", f'"{key}" is empty; expected a text', key_column(data, key))
    return None


class Identities:
    """The ids of a dataset so far; those that come again are noted. It keeps their hashes only."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._known: set[int] = set()

    def check(self, line: int, identity: str) -> None:
        """One record's id."""
        key = hash(identity)
        if key in self._known:
            text = f"the id {identity[:60]!r} was used before; give every record its own"
            self._findings.note("duplicate id", text, line=line)
        self._known.add(key)


def note_oddities(findings: Findings, oddities: Counter[str]) -> None:
    """Notes what the lines of the whole file have in common."""
    if count := oddities["CRLF"]:
        findings.note("CRLF", f"{count} lines end in CRLF; read all the same")
    if count := oddities["blank lines"]:
        findings.note("blank lines", f"{count} blank lines; passed over")


def no_record(findings: Findings) -> InputError:
    """For a file without a usable record: the first reasons."""
    return InputError(f"{findings.path}: holds no usable record", *(str(problem) for problem in findings.listed[:20]))


def records_at(path: Path, lines: Collection[int]) -> dict[int, Record]:
    """The usable records of these lines (Parquet: rows) by line, read again."""
    found: dict[int, Record] = {}
    for record in RecordReader(path, wanted=lines):
        if record.line in lines:
            found[record.line] = record
            if len(found) == len(lines):
                break
    return found


def read_records(path: Path, progress: Progress = no_progress) -> Iterator[Record]:
    """The usable records of `path`; take a `RecordReader` where its findings matter.

    Raises: InputError as `RecordReader`.
    """
    yield from RecordReader(path, progress)
