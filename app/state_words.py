"""How states, gates and risks are named: a glyph, a word and a style for each, so that colour never carries the meaning alone."""

from dataclasses import dataclass

from textual.content import Content

from engine.protocol.gates import GateResult
from engine.protocol.runs import State


@dataclass(frozen=True)
class Word:
    """A glyph of one cell, a word and the style of both."""

    glyph: str
    word: str
    style: str

    def content(self, bold: bool = False) -> Content:
        """Glyph and word."""
        return Content.styled(f"{self.glyph} {self.word}", f"bold {self.style}" if bold else self.style)


STATES: dict[State, Word] = {
    "draft": Word("·", "draft", "$muted"),
    "gating": Word("▶", "gating", "$primary"),
    "queued": Word("…", "queued", "$secondary"),
    "starting": Word("▶", "starting", "$primary"),
    "loading": Word("▶", "loading", "$primary"),
    "blocked": Word("✗", "blocked", "$error"),
    "running": Word("▶", "running", "$primary"),
    "silent": Word("?", "silent", "$warning"),
    "recovering": Word("!", "recovering", "$warning"),
    "disk full": Word("!", "disk full", "$error"),
    "stopping": Word("■", "stopping", "$warning"),
    "stopped": Word("■", "stopped", "$secondary"),
    "interrupted": Word("!", "interrupted", "$warning"),
    "failed": Word("✗", "failed", "$error"),
    "finished": Word("✓", "finished", "$success"),
}
RESUMABLE: frozenset[State] = frozenset({"draft", "blocked", "stopped", "interrupted", "failed"})
"""States that a resume goes on from."""
DECISIONS = {
    "GO": Word("✓", "GO", "$success"),
    "NO-GO": Word("✗", "NO-GO", "$error"),
    "INCONCLUSIVE": Word("?", "INCONCLUSIVE", "$warning"),
}
RISKS = {"low": Word("✓", "LOW", "$success"), "watch": Word("!", "WATCH", "$warning"), "high": Word("✗", "HIGH", "$error")}
REASONS = {
    "pass": Word("✓", "pass", "$success"),
    "fail": Word("✗", "fail", "$error"),
    "undecided": Word("?", "undecided", "$warning"),
    "warn": Word("!", "warn", "$warning"),
}
NOT_YET = Word("·", "–", "$muted")
_GATES = {
    "pass": Word("✓", "PASS", "$success"),
    "fail": Word("✗", "FAIL", "$error"),
    "undecided": Word("?", "UNDEC", "$warning"),
    "pending": Word("…", "PENDING", "$secondary"),
    "n/a": Word("·", "N/A", "$muted"),
}


def gate_word(gate: GateResult, overridden: bool = False) -> Word:
    """An advisory gate that fails only warns; an overridden one says so for ever."""
    if overridden:
        return Word("!", "OVERRIDE", "$warning")
    if gate.severity == "advisory" and gate.status == "fail":
        return Word("!", "WARN", "$warning")
    return _GATES[gate.status]


def outcome_word(success: bool | None) -> Word:
    """Pass, fail, or unscored for an item that could not be scored."""
    if success is None:
        return Word("?", "unscored", "$warning")
    return Word("✓", "pass", "$success") if success else Word("✗", "fail", "$error")
