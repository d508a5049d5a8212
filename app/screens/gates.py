"""The tab of the gates: worst first, and below the reason and the evidence of the gate under the cursor, one record at a time.

It says plainly what blocks the run. It refuses to override without a reason and without saying what an override costs.
"""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widget import Widget

from app.engine_calls import override
from app.following import RunView
from app.inert import MARK_STYLE, inert, inert_line
from app.keys import Key, bindings
from app.screens.pane import EXPORT, Pane
from app.state_words import gate_word
from app.widgets.line import TextBlock, rule
from app.widgets.row_table import Column, Row, RowTable
from engine.protocol.gates import STATUS_ORDER, Evidence, GateResult, GatesReport, Status, worst_first
from engine.protocol.run_state import RunState

KEYS = (
    Key(keys="n,right", action="evidence(1)", label="Next evid.", help="The next record of evidence of this gate."),
    Key(keys="p,left", action="evidence(-1)", label="Prev", help="The record of evidence before.", footer=False),
    Key(
        keys="o",
        action="override",
        label="Override…",
        help="Go on although this hard gate blocks; asks for a reason, and GO is then impossible.",
    ),
    EXPORT,
)
COLUMNS = (
    Column(title="status", width=10),
    Column(title="gate", width=22),
    Column(title="sev", width=4),
    Column(title="declared"),
    Column(title="measured"),
    Column(title="threshold"),
)

NAMED = 3
_STATUSES: dict[str, Status] = {status: status for status in STATUS_ORDER}


class GatesPane(Pane):
    """Gates, worst first."""

    KEYS = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS)]

    def __init__(self, *, widget_id: str) -> None:
        super().__init__(id=widget_id)
        self._gates: tuple[GateResult, ...] = ()
        # the gate whose evidence is gone through, and the record: of another gate it is the first one
        self._place = ("", 0)

    def compose(self) -> ComposeResult:
        """Table, detail, the sentence that says what blocks."""
        with Container(id="gate-split"):
            yield RowTable(COLUMNS, widget_id="gate-table")
            with VerticalScroll(id="gate-detail", can_focus=False):
                yield TextBlock(widget_id="gate-text")
        yield TextBlock(widget_id="gate-word")

    def focus_target(self) -> Widget:
        """The table."""
        return self.query_one(RowTable)

    def paint(self, view: RunView) -> None:
        """Rows from gates.json; while the gates are being checked, from the journal."""
        self._gates = shown_gates(view)
        covered = {given.gate for given in view.gates.overrides} if view.gates else set()
        self.query_one(RowTable).show([_row(gate, gate.id in covered) for gate in self._gates])
        self.query_one("#gate-word", TextBlock).show(gates_sentence(view))
        self._show_detail()

    def on_row_table_moved(self) -> None:
        """Another gate: its first record."""
        self._show_detail()
        self.run_screen.show_keys()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Evidence where there is more than one, an override where the gate blocks a resting run."""
        gate = self._gate
        if action == "evidence":
            return gate is not None and len(gate.evidence) > 1
        if action == "override":
            blocking = self.view.gates.blocking if self.view.gates else ()
            return gate is not None and gate.id in blocking and not self.view.going_on
        if action == "export":
            return bool(self._gates)
        return True

    def action_evidence(self, by: int) -> None:
        """Another record of the evidence, round and round."""
        if self._gate is not None and self._gate.evidence:
            self._place = (self._gate.id, (self._record_of(self._gate) + by) % len(self._gate.evidence))
            self._show_detail()

    def action_override(self) -> None:
        """Ask for the reason, then override in another process."""
        from app.screens.dialogs import AskReason

        gate, run = self._gate, self.view.run
        if gate is None:
            return
        name = gate.id
        self.app.push_screen(
            AskReason(
                f"Override {name}?",
                "The run goes on although this hard gate blocks. The override and your reason stand in the verdict for ever, "
                "and a GO is then impossible: the best verdict is INCONCLUSIVE.",
                "Override",
            ),
            lambda reason: self.panel.ask_engine(lambda: override(run, name, reason)) if reason else None,
        )

    def _record_of(self, gate: GateResult) -> int:
        name, record = self._place
        return record % max(1, len(gate.evidence)) if name == gate.id else 0

    @property
    def _gate(self) -> GateResult | None:
        key = self.query_one(RowTable).key
        return next((gate for gate in self._gates if gate.id == key), None)

    def _show_detail(self) -> None:
        gate = self._gate
        detail = self.query_one("#gate-detail")
        detail.display = gate is not None
        if gate is None:
            return
        text = self.query_one("#gate-text", TextBlock)
        text.show(gate_detail(gate, self._record_of(gate), self.width_of(text)))


def shown_gates(view: RunView) -> tuple[GateResult, ...]:
    """The gates of gates.json, else those of the journal: what blocks first, then worst first."""
    written = {} if view.state.state == "gating" or view.gates is None else {gate.id: gate for gate in view.gates.gates}
    live = {gate.id: gate for gate in gates_of_journal(view.state)}
    return tuple(sorted(worst_first(tuple({**live, **written}.values())), key=lambda gate: not gate.blocking))


def gates_of_journal(state: RunState) -> list[GateResult]:
    """Gate results as the journal tells them, without evidence."""
    return [
        GateResult(
            id=checked.id,
            severity="hard" if checked.severity == "hard" else "advisory",
            status=_STATUSES.get(checked.status, "n/a"),
            declared=checked.declared,
            measured=checked.measured,
            threshold=checked.threshold,
            reason=checked.reason,
            evidence_total=checked.evidence,
        )
        for checked in state.gates.values()
    ]


def _row(gate: GateResult, overridden: bool) -> Row:
    severity = "hard" if gate.severity == "hard" else "adv"
    cells = (gate.declared or "–", gate.measured or "–", gate.threshold or "–")
    word = gate_word(gate, overridden).content(bold=gate.blocking)
    return Row(gate.id, (word, inert_line(gate.id, 40), severity, *(inert_line(cell, 60) for cell in cells)))


def gate_detail(gate: GateResult, place: int, width: int) -> Content:
    """Reason, full figures, and one record of the evidence with what matters in it marked."""
    counted = f"evidence {place + 1} of {len(gate.evidence)}" if gate.evidence else ""
    if gate.evidence_total > len(gate.evidence) > 0:
        counted += f" (of {gate.evidence_total} found)"
    parts = [
        rule(f"{gate.id} · {gate.title}" if gate.title else gate.id, width, counted),
        inert(gate.reason or "no reason was recorded"),
    ]
    figures = f"declared {gate.declared or '–'} · measured {gate.measured or '–'} · threshold {gate.threshold or '–'}"
    parts.append(inert(figures, style="$muted"))
    if gate.evidence:
        found = gate.evidence[place]
        parts += [inert_line(found.record, width, style="$secondary"), evidence_content(found)]
    return Content("\n").join(parts)


def evidence_content(found: Evidence) -> Content:
    """The record's text with «…» around each range that matters."""
    pieces: list[Content] = []
    at = 0
    for start, end in sorted(found.spans):
        start, end = max(at, start), max(at, end)
        pieces += [
            inert(found.text[at:start]),
            Content.styled("«", MARK_STYLE),
            inert(found.text[start:end], style="bold $error"),
        ]
        pieces.append(Content.styled("»", MARK_STYLE))
        at = end
    return Content.assemble(*pieces, inert(found.text[at:]))


def gates_sentence(view: RunView) -> Content:
    """What the gates mean for the run, in one or two sentences."""
    state, report = view.state, view.gates
    if state.state == "gating" or report is None:
        return _checking(view)
    blocking = report.blocking
    if blocking:
        hard = f"{len(blocking)} hard gate{'s' if len(blocking) > 1 else ''}"
        return Content.assemble(
            (f"✗ BLOCKED by {_named(blocking)} ({hard})\n", "bold $error"),
            "Mend the data and press ", ("r", "bold $primary"), " to check again, or override each with ", ("o", "bold $primary"),
            " (GO is then impossible).",
        )  # fmt: skip
    lines = _passed_lines(report)
    if view.partial:
        lines.append(Content.assemble(("l", "bold $primary"), " launches it: base arm, training, SFT arm, verdict."))
    return Content.join(Content("\n"), lines)


def _named(blocking: Sequence[str]) -> str:
    """The first of them by name; the table above has them all."""
    left = len(blocking) - NAMED
    return ", ".join(blocking[:NAMED]) + (f" and {left} more" if left > 0 else "")


def _passed_lines(report: GatesReport) -> list[Content]:
    pending = [gate.id for gate in report.gates if gate.status == "pending"]
    lines = [Content.assemble(("✓ nothing blocks training", "bold $success"), f": {report.dataset.records:,} records")]
    if pending:
        lines[0] = Content.assemble(lines[0], f"; decided later: {', '.join(pending)}")
    if report.overrides:
        names = ", ".join(f"{given.gate} ({given.reason})" for given in report.overrides)
        lines.append(Content.assemble(("! overridden, so GO is impossible: ", "bold $warning"), inert_line(names, 300)))
    if report.relaxed:
        lines.append(Content.assemble(("! RELAXED: ", "bold $warning"), inert_line(", ".join(report.relaxed), 300)))
    return lines


def _checking(view: RunView) -> Content:
    progress = view.state.gate_progress
    if not view.state.created:
        return Content.styled("The run has not started; r starts it, and the gates come first.", "$muted")
    if progress is None:
        return Content.styled("Checking the dataset …" if view.going_on else "The gates have not been decided.", "$muted")
    share = f" {100 * progress.done / progress.total:.0f} %" if progress.total else f" {progress.done:,} {progress.unit}"
    return Content.assemble(("Checking ", "$muted"), inert_line(progress.what, 50), share)
