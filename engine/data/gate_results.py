"""What every gate shares: severities, the form of figures, evidence up to its limit, and the making of a `GateResult`.

It refuses unknown gate ids: a severity set for a gate that does not exist is an error.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from engine.protocol.config import Config
from engine.protocol.errors import InputError
from engine.protocol.gates import GATE_IDS, GATE_TITLES, MAX_EVIDENCE, Evidence, GateResult, Severity, Status

NOT_DECLARED = "–"
SHOWN_CHARACTERS = 2000
_PAIRED_CHARACTERS = 1000
Span = tuple[int, int]


def check_gate_ids(names: Iterable[str], where: str) -> None:
    """Raises: InputError for every name that is no gate, with the nearest one."""
    problems = []
    for name in names:
        if name not in GATE_IDS:
            close = difflib.get_close_matches(name, GATE_IDS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"gates are {', '.join(GATE_IDS)}"
            problems.append(f"{where}: there is no gate {name!r}; {hint}")
    if problems:
        raise InputError(*problems)


@dataclass(frozen=True)
class Draft:
    """Makes results with the severities of the settings: one set for the gate, else its default.

    A severity set for `qc-scale` also holds for its rows.
    """

    config: Config

    @property
    def external(self) -> bool:
        """True in profile `external`, where what the documented pipeline declares is advisory."""
        return self.config.run.profile == "external"

    @property
    def pipeline_severity(self) -> Severity:
        """Of the gates on manifests, provenance and QC."""
        return "advisory" if self.external else "hard"

    def result(
        self, gate: str, severity: Severity, status: Status, reason: str, *, declared: str = NOT_DECLARED, measured: str = NOT_DECLARED,
        threshold: str = NOT_DECLARED, found: "Found | None" = None,
    ) -> GateResult:  # fmt: skip
        """One result; `severity` is the default that the settings may replace."""
        chosen = self.config.gates.severity
        family = "qc-scale" if gate.startswith("qc-scale.") else gate
        return GateResult(
            id=gate, title=GATE_TITLES[gate], severity=chosen.get(gate, chosen.get(family, severity)), status=status, declared=declared,
            measured=measured, threshold=threshold, reason=reason, evidence=tuple(found.shown) if found else (),
            evidence_total=found.total if found else 0,
        )  # fmt: skip


@dataclass
class Found:
    """Evidence of one gate: the first 50 pieces kept, all counted."""

    shown: list[Evidence] = field(default_factory=list)
    total: int = 0

    def add(self, record: str, text: str, spans: Sequence[Span] = ()) -> None:
        """One finding; long texts are cut around the first span."""
        self.total += 1
        if len(self.shown) < MAX_EVIDENCE:
            self.shown.append(excerpt(record, text, spans))

    def absorb(self, later: "Found") -> None:
        """Adds the findings of the part of the file that follows."""
        self.shown += later.shown[: MAX_EVIDENCE - len(self.shown)]
        self.total += later.total


def excerpt(record: str, text: str, spans: Sequence[Span]) -> Evidence:
    """Evidence of at most 2,000 characters, from shortly before the first span."""
    if len(text) <= SHOWN_CHARACTERS:
        return Evidence(record=record, text=text, spans=tuple(spans))
    start = max(0, spans[0][0] - 200) if spans else 0
    end = start + SHOWN_CHARACTERS
    before, after = "…" if start else "", "…" if end < len(text) else ""
    shift = len(before) - start
    moved = tuple((low + shift, min(high, end) + shift) for low, high in spans if start <= low < end)
    return Evidence(record=record, text=before + text[start:end] + after, spans=moved)


def paired_texts(first: str, second: str) -> tuple[str, tuple[Span, ...]]:
    """Two texts on two lines with the words that the other lacks marked, each of at most 1,000 characters."""
    first, second = (
        text if len(text) <= _PAIRED_CHARACTERS else text[: _PAIRED_CHARACTERS - 1] + "…" for text in (first, second)
    )
    words = [list(re.finditer(r"\S+", text)) for text in (first, second)]
    spans: list[Span] = []
    one, two = ([match.group() for match in side] for side in words)
    matcher = difflib.SequenceMatcher(None, one, two, autojunk=False)
    second_at = len("1  ") + len(first) + len("\n2  ")
    for _, *places in (block for block in matcher.get_opcodes() if block[0] != "equal"):
        for side, low, high, at in ((0, places[0], places[1], len("1  ")), (1, places[2], places[3], second_at)):
            if low < high:
                spans.append((at + words[side][low].start(), at + words[side][high - 1].end()))
    return f"1  {first}\n2  {second}", tuple(sorted(spans))


def percent(share: float) -> str:
    """`6.4 %`; small shares with two decimals, so that a few in many do not read as none."""
    return f"{share:.2%}".replace("%", " %") if 0 < share < 0.001 else f"{share:.1%}".replace("%", " %")


def limit(share: float) -> str:
    """A threshold as a percentage without needless decimals."""
    return f"{100 * share:g} %"


def share_of(count: int, total: int) -> str:
    """`12 of 300 (4.0 %)`."""
    return f"{count:,} of {total:,} ({percent(count / total)})" if total else "0 of 0"


def counted(count: int, noun: str) -> str:
    """`1 record`, `2 records`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
