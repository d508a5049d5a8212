"""The list of runs: every run of the workspace from its small state.json, read by a thread every two seconds.

It refuses to read journals, and to call a run alive that has no owner.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message

from app.engine_calls import ask, resume, start_demo
from app.figures import age, clock_duration
from app.inert import inert_line
from app.keys import Key, bindings
from app.messages import Open
from app.screens.panel_screen import PanelScreen
from app.state_words import DECISIONS, STATES
from app.widgets.bars import bar
from app.widgets.key_footer import KeyFooter
from app.widgets.line import TextBlock
from app.widgets.row_table import Column, Row, RowTable
from engine.protocol.listing import shown_state, utc_seconds
from engine.protocol.runs import LIVE_STATES, OwnerWatch, RunFolder, RunSummary, State, list_runs, read_summary

LOOK_S = 2.0
RESUMABLE = frozenset({"draft", "blocked", "stopped", "interrupted", "failed"})
KEYS = (
    Key(keys="enter,o", action="open", label="Open", help="Open the run under the cursor."),
    Key(
        keys="D", action="demo", label="Demo", help="Start the demo: the whole job on an embedded model, about a minute on a CPU."
    ),
    Key(keys="n", action="new", label="New…", help="Start a run of a sluice.toml of your own, or the demo."),
    Key(keys="s", action="stop", label="Stop…", help="Stop the run: it finishes its step and writes a checkpoint."),
    Key(keys="r", action="resume", label="Resume", help="Go on with a run that rests, exactly where it was."),
    Key(keys="q", action="app.leave", label="Leave", help="Leave the panel; every run goes on."),
)
COLUMNS = (
    Column(title="run", width=0),
    Column(title="state", width=13),
    Column(title="stage", width=6),
    Column(title="done", width=5, right=True, below_width=100),
    Column(title="progress", width=16, from_width=100),
    Column(title="ETA", width=6, right=True, from_width=100),
    Column(title="verdict", width=14),
    Column(title="age", width=6, right=True),
    Column(title="what", width=0, from_width=130),
)


@dataclass(frozen=True)
class Listed:
    """A run of the list with the state it is really in, from state.json and its owner."""

    run: RunFolder
    summary: RunSummary | None
    state: State


class RunsRead(Message):
    """The thread has read the runs anew."""

    def __init__(self, listed: list[Listed]) -> None:
        self.listed = listed
        super().__init__()


class RunsScreen(PanelScreen):
    """Runs, newest first."""

    CSS_PATH = "runs.tcss"
    opens_new_runs = True
    KEYS = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS)]

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self.workspace, self.clock = root, clock
        self.listed: dict[str, Listed] = {}
        self._watches: dict[str, OwnerWatch] = {}
        self._stopped = threading.Event()

    def compose(self) -> ComposeResult:
        """Title, list, what the row means, keys."""
        yield TextBlock(widget_id="title", classes="title")
        yield RowTable(COLUMNS, widget_id="runs")
        yield TextBlock(widget_id="empty")
        yield TextBlock(widget_id="note")
        yield KeyFooter()

    def on_mount(self) -> None:
        """Show what one quick look gives, then look again in a thread."""
        self._show(self._read())
        self.query_one(RowTable).focus()
        self.run_worker(self._look, thread=True, group="runs")

    def on_unmount(self) -> None:
        """End the thread."""
        self._stopped.set()

    @property
    def goes_on(self) -> str | None:
        """The newest run that goes on."""
        return next((listed.run.run_id for listed in self.listed.values() if listed.state in LIVE_STATES), None)

    def on_runs_read(self, message: RunsRead) -> None:
        """Show the runs."""
        self._show(message.listed)

    def on_row_table_moved(self) -> None:
        """Tell about the row, offer what can be done with it."""
        self._show_note()
        self.show_keys()

    def on_row_table_chosen(self) -> None:
        """Enter opens."""
        self.action_open()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what the row under the cursor allows."""
        here = self._here()
        if action == "open":
            return here is not None
        if action == "stop":
            return here is not None and here.state in LIVE_STATES and here.state != "stopping"
        if action == "resume":
            return here is not None and here.state in RESUMABLE
        return True

    def action_open(self) -> None:
        """Open the run under the cursor."""
        here = self._here()
        if here is not None:
            self.panel.open_run(here.run)

    def action_demo(self) -> None:
        """Start the demo and open it."""
        root = self.workspace
        self.notify("starting the demo …", timeout=3, markup=False)
        self.panel.ask_engine(lambda: Open(start_demo(root)))

    def action_new(self) -> None:
        """Ask for a sluice.toml, start its run and open it."""
        from app.screens.new_run import NewRun

        self.app.push_screen(NewRun(self.workspace), lambda run: self.panel.open_run(run) if run else None)

    def action_stop(self) -> None:
        """Ask, then stop."""
        from app.screens.dialogs import Confirm

        here = self._here()
        if here is None:
            return
        run = here.run
        self.app.push_screen(
            Confirm(
                f"Stop {run.run_id}?", "It finishes its step, writes a checkpoint and rests. Resume goes on from there.", "Stop"
            ),
            lambda yes: self.panel.ask_engine(lambda: ask(run, "stop")) if yes else None,
        )

    def action_resume(self) -> None:
        """Go on with a resting run."""
        here = self._here()
        if here is not None:
            run = here.run
            self.panel.ask_engine(lambda: resume(run))

    def _here(self) -> Listed | None:
        tables = self.query(RowTable)
        return self.listed.get(tables.first().key or "") if tables else None

    def _look(self) -> None:
        while not self._stopped.wait(LOOK_S):
            self.post_message(RunsRead(self._read()))

    def _read(self) -> list[Listed]:
        found = []
        for run in list_runs(self.workspace):
            summary = read_summary(run)
            watch = self._watches.setdefault(run.run_id, OwnerWatch(run))
            state: State = summary.state if summary else "draft"
            live = state in LIVE_STATES
            found.append(Listed(run, summary, shown_state(state, live=live, owned=live and watch.alive(), quiet_s=None)))
        return found

    def _show(self, listed: list[Listed]) -> None:
        self.listed = {each.run.run_id: each for each in listed}
        table = self.query_one(RowTable)
        table.show([_row(each, self.clock()) for each in listed])
        table.display = bool(listed)
        empty = self.query_one("#empty", TextBlock)
        empty.display = not listed
        if not listed:
            empty.show(_EMPTY)
        live = sum(each.state in LIVE_STATES for each in listed)
        counted = f"{len(listed)} run{'s' if len(listed) != 1 else ''}" + (f", {live} going on" if live else "")
        lead = Content.assemble(("sluice", "bold $primary"), f" › Runs   {counted}   ", ("workspace ", "$muted"))
        room = max(10, self.size.width - 2 - lead.cell_length)
        title = Content.assemble(lead, inert_line(str(self.workspace), room, style="$muted"))
        self.query_one("#title", TextBlock).show(title)
        self._show_note()
        self.show_keys()

    def _show_note(self) -> None:
        here = self._here()
        note = self.query_one("#note", TextBlock)
        note.show(inert_line(_note(here), max(20, self.size.width - 2)) if here else Content(""))


def _row(listed: Listed, now: float) -> Row:
    summary = listed.summary
    cells: list[Content | str] = [inert_line(listed.run.run_id, 60), STATES[listed.state].content()]
    if summary is None:
        return Row(listed.run.run_id, (*cells, "–", "–", "–", "–", "–", "–", ""))
    done = Content.assemble(bar(summary.progress, 8), f" {100 * summary.progress:3.0f} %")
    decision = DECISIONS[summary.decision].content(bold=True) if summary.decision in DECISIONS else Content("–")
    eta = clock_duration(summary.eta_s) if summary.eta_s is not None and listed.state in LIVE_STATES else "–"
    since = age(now - utc_seconds(summary.created_at)) if summary.created_at else "–"
    return Row(
        listed.run.run_id,
        (*cells, summary.stage, f"{100 * summary.progress:.0f} %", done, eta, decision, since, inert_line(summary.detail, 120)),
    )


def _note(listed: Listed) -> str:
    """One sentence on the row under the cursor."""
    summary = listed.summary
    if listed.state == "interrupted":
        return "no live supervisor: r resumes from the last checkpoint"
    if summary is None:
        return "not started yet: r starts it"
    detail = f"blocked by {summary.detail}" if listed.state == "blocked" and summary.detail else summary.detail
    where = f"step {summary.step} of {summary.steps}" if summary.step is not None and summary.steps else ""
    flags = f"flags {', '.join(summary.flags)}" if summary.flags else ""
    return " · ".join(text for text in (detail, where, flags, summary.note) if text) or f"{listed.run.path}"


_EMPTY = Content.assemble(
    ("No runs yet.\n\n", "bold"),
    ("D", "bold $primary"), "  starts the demo: gates, QLoRA training and a real verdict on a small\n"
    "   embedded model, in about a minute, without a GPU or a network.\n\n",
    ("n", "bold $primary"), "  starts a run on a model and a dataset of your own, by its sluice.toml.\n"
    "   In a shell, this writes a commented one to fill in:\n\n",
    ("      sluice init mine\n", "$secondary"),
    ("      $EDITOR mine/sluice.toml\n\n", "$secondary"),
    ("A run stands here from then on, and goes on when you close the terminal.", "$muted"),
)  # fmt: skip
