"""gates.json: the results of the dataset gates (SPEC §4), as the engine writes and the panel reads them. Protocol only, no checks."""

from pathlib import Path
from typing import Literal

import msgspec

from engine.protocol.errors import RunFolderError

Severity = Literal["hard", "advisory"]
Status = Literal["pass", "fail", "undecided", "pending", "n/a"]
STATUS_ORDER: tuple[Status, ...] = ("fail", "undecided", "pending", "pass", "n/a")
MAX_EVIDENCE = 50
GATE_TITLES = {
    "manifest": "session manifest and QC summaries",
    "integrity": "the file is the one declared",
    "provenance": "records say how they were made",
    "qc-pilot": "QC summary of the pilot run",
    "qc-scale": "QC summary of the scale run",
    "qc-scale.runaway": "responses that go on into a new prompt",
    "qc-scale.token-limit": "raw generations cut at the token limit",
    "qc-scale.delimiter": "delimiters left in responses",
    "qc-scale.median-tokens": "median length of responses",
    "qc-scale.acceptance": "the critic's acceptance",
    "contamination-guards": "chat templates and control tokens",
    "leakage": "held-out items in train",
    "leakage.near": "held-out items much like train",
    "duplicates": "near-duplicates inside train",
    "length": "examples cut at max_seq_len",
    "held-out": "the held-out set is whole and large enough",
    "held-out.references": "reference answers pass their checks",
    "held-out.alike": "held-out items like each other",
    "power": "what the evaluation can find",
    "headroom": "room above the base model",
    "sentinels": "this run's model completes text",
    "pod": "GPU, disk and output folder",
}
GATE_IDS = tuple(GATE_TITLES)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One finding to look at: the record's id or place, its text, and the half-open character ranges of `text` that matter."""

    record: str
    text: str
    spans: tuple[tuple[int, int], ...] = ()


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """One gate: `declared` by the manifests, `measured` here, `threshold`, all as short texts for people; up to 50 evidence records.

    `title` says in a few words what it looks at; empty in files of versions before there were titles.
    """

    id: str
    title: str = ""
    severity: Severity
    status: Status
    declared: str
    measured: str
    threshold: str
    reason: str
    evidence: tuple[Evidence, ...] = ()
    evidence_total: int = 0

    @property
    def blocking(self) -> bool:
        """A hard gate that failed or is undecided (pending does not block yet)."""
        return self.severity == "hard" and self.status in ("fail", "undecided")


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """A person's decision to go on although a hard gate blocks; shown in the verdict for ever. `at` is UTC ISO 8601."""

    gate: str
    reason: str
    who: str
    at: str


class DatasetFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The dataset the gates looked at; `dropped` counts unusable records by reason."""

    path: str
    sha256: str
    records: int
    dropped: dict[str, int] = {}


class GatesReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of gates.json."""

    schema_version: int = 1
    passed: bool
    gates: tuple[GateResult, ...]
    dataset: DatasetFacts
    held_out: DatasetFacts
    overrides: tuple[Override, ...] = ()
    relaxed: tuple[str, ...] = ()

    @property
    def blocking(self) -> tuple[str, ...]:
        """Ids of blocking gates that no override covers."""
        covered = {override.gate for override in self.overrides}
        return tuple(gate.id for gate in self.gates if gate.blocking and gate.id not in covered)


def worst_first(gates: tuple[GateResult, ...]) -> tuple[GateResult, ...]:
    """Failed before undecided before pending before passed; hard before advisory within each; otherwise in the given order."""
    return tuple(sorted(gates, key=lambda gate: (STATUS_ORDER.index(gate.status), gate.severity != "hard")))


def read_gates(path: Path) -> GatesReport:
    """gates.json of a run.

    Raises: RunFolderError where it is missing or not whole.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=GatesReport)
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be read: {error.strerror}; the gates have not been checked yet") from None
    except msgspec.DecodeError as error:
        raise RunFolderError(f"{path}: is not a whole gates.json: {error}") from None
