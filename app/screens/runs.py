"""The list of runs: every run of the workspace from its small state.json, read by a thread every two seconds.

What is asked of a run is in `run_actions`. It refuses to read journals, and to call a run alive that has no owner.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from msgspec.structs import replace
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Input

from app.exporting import export_into
from app.keys import Key, bindings
from app.runs_view import COLUMNS, EMPTY, FILTERS, ORDERS, chosen, head_line, note_lines, place_line, run_detail, run_row
from app.screens.run_actions import RUN_KEYS, RunActions
from app.widgets.key_footer import KeyFooter
from app.widgets.line import ClickLine, Part, TextBlock
from app.widgets.row_table import RowTable
from engine.protocol.durability import warning
from engine.protocol.listing import Listed, RunsReader

LOOK_S = 2.0
KEYS = (
    Key(keys="enter,o", action="open", label="Open", help="Open the run under the cursor."),
    Key(keys="n", action="new", label="New…", help="Start a run on a model and a dataset of your own; a form asks for them."),
    Key(
        keys="D", action="demo", label="Demo", help="Start the demo: the whole job on an embedded model, about a minute on a CPU."
    ),
    *RUN_KEYS,
    Key(keys="f", action="filter", label="Filter", help="Next filter: all, going on, resting, finished.", footer=False),
    Key(keys="O", action="order", label="Order", help="Next order: newest, name, state, verdict.", footer=False),
    Key(
        keys="slash",
        action="search",
        label="Search",
        help="Search in names, ids, notes and states; Enter takes it.",
        footer=False,
    ),
    Key(keys="x", action="export", label="Export list", help="This list as CSV and Markdown into the workspace.", footer=False),
    Key(keys="q", action="app.leave", label="Leave", help="Leave the panel; every run goes on."),
)


class RunsRead(Message):
    """The thread has read the runs anew."""

    def __init__(self, listed: list[Listed]) -> None:
        self.listed = listed
        super().__init__()


class RunsScreen(RunActions):
    """Runs, newest first unless another order is chosen."""

    CSS_PATH = "runs.tcss"
    opens_new_runs = True
    KEYS = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS)]

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(root)
        self.clock = clock
        self._reader = RunsReader(root, clock)
        self._lost = warning(root)
        self._wanted = ""
        self._stopped = threading.Event()

    def compose(self) -> ComposeResult:
        """Title, workspace, filters, list with the run's figures beside it, what the row means, keys."""
        yield TextBlock(widget_id="title", classes="title")
        yield TextBlock(widget_id="place")
        yield ClickLine(widget_id="filters")
        with Container(id="runs-split"):
            yield RowTable(COLUMNS, widget_id="runs")
            with VerticalScroll(id="run-side", can_focus=False):
                yield TextBlock(widget_id="run-detail")
        yield TextBlock(widget_id="empty")
        yield TextBlock(widget_id="note")
        search = Input(placeholder="search in names, ids, notes and states", id="search", compact=True)
        search.display = False
        yield search
        yield KeyFooter()

    def on_mount(self) -> None:
        """Show what one quick look gives, then look again in a thread."""
        self._take(self._reader.read())
        self.query_one(RowTable).focus()
        self.run_worker(self._look, thread=True, group="runs")

    def on_unmount(self) -> None:
        """End the thread."""
        self._stopped.set()

    @property
    def goes_on(self) -> str | None:
        """The newest run that goes on."""
        return next((listed.run.run_id for listed in self.listed.values() if listed.live), None)

    @property
    def here(self) -> Listed | None:
        """The run under the cursor."""
        tables = self.query(RowTable)
        return self.listed.get(tables.first().key or "") if tables else None

    def look_again(self) -> None:
        """Read the list now, after something was done to a run."""
        self.run_worker(lambda: self.post_message(RunsRead(self._reader.read())) and None, thread=True, group="once")

    def on_runs_read(self, message: RunsRead) -> None:
        """Show the runs."""
        self._take(message.listed)

    def on_row_table_moved(self) -> None:
        """Tell about the row, offer what can be done with it."""
        self.show_here()

    def on_row_table_chosen(self) -> None:
        """Enter opens."""
        self.action_open()

    def on_resize(self) -> None:
        """Texts are cut to the width."""
        self.call_after_refresh(self.show_list)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what the list and the row under the cursor allow."""
        if action == "open":
            return self.here is not None
        if action in ("filter", "order", "search", "export", "use"):
            return bool(self.listed)
        return self.check_run_action(action)

    def action_open(self) -> None:
        """Open the run under the cursor."""
        if self.here is not None:
            self.panel.open_run(self.here.run)

    def action_filter(self) -> None:
        """The next filter."""
        names = list(FILTERS)
        now = self.panel.settings.runs_filter
        self.action_use(names[(names.index(now) + 1) % len(names)] if now in names else names[0])

    def action_use(self, name: str) -> None:
        """One filter by name, remembered."""
        self.panel.remember(replace(self.panel.settings, runs_filter=name))
        self.show_list()

    def action_order(self) -> None:
        """The next order, remembered."""
        names = list(ORDERS)
        now = self.panel.settings.runs_order
        order = names[(names.index(now) + 1) % len(names)] if now in names else names[0]
        self.panel.remember(replace(self.panel.settings, runs_order=order))
        self.show_list()

    def action_search(self) -> None:
        """Write what to search for."""
        search = self.query_one("#search", Input)
        search.display = True
        self.set_focus(search)

    @on(Input.Changed, "#search")
    def take_search(self, event: Input.Changed) -> None:
        """Search while writing."""
        self._wanted = event.value
        self.show_list()

    @on(Input.Submitted, "#search")
    def leave_search(self) -> None:
        """Back to the list; an empty search goes away."""
        self.query_one("#search", Input).display = bool(self._wanted)
        self.query_one(RowTable).focus()

    def action_export(self) -> None:
        """The list as files."""
        table, folder = self.query_one(RowTable).texts(), self.workspace / "exports"
        self.panel.ask_engine(lambda: export_into(folder, "runs", table))

    def _look(self) -> None:
        while not self._stopped.wait(LOOK_S):
            self.post_message(RunsRead(self._reader.read()))

    def _take(self, listed: list[Listed]) -> None:
        self.listed = {each.run.run_id: each for each in listed}
        self.show_list()

    def show_list(self) -> None:
        """Everything from what was read last."""
        settings, width = self.panel.settings, max(20, self.size.width - 2)
        every = list(self.listed.values())
        shown = chosen(every, name=settings.runs_filter, order=settings.runs_order, wanted=self._wanted)
        self.query_one(RowTable).show([run_row(each, self.clock(), marked=each.run.run_id == self.marked) for each in shown])
        self.query_one("#title", TextBlock).show(head_line(every, width))
        self.query_one("#place", TextBlock).show(place_line(self.workspace, self._lost, width))
        self.query_one("#runs-split").display = bool(shown)
        self.query_one("#filters").display = self.query_one("#note").display = bool(every)
        empty = self.query_one("#empty", TextBlock)
        empty.display = not shown
        empty.show(_NONE_FIT if every else EMPTY)
        self._show_filters(every)
        self.show_here()

    def _show_filters(self, every: list[Listed]) -> None:
        settings = self.panel.settings
        parts = [Part("f ", "bold $primary", "filter")]
        for name, fits in FILTERS.items():
            style = "bold reverse" if name == settings.runs_filter else ""
            parts += [Part(f"{name} {sum(map(fits, every))}", style, f"use({name!r})"), Part("  ")]
        parts += [Part(" O", "bold $primary", "order"), Part(f" {settings.runs_order} first  ", "$muted", "order")]
        parts += [Part("/", "bold $primary", "search"), Part(f" {self._wanted or 'search'}", "$muted", "search")]
        self.query_one("#filters", ClickLine).show_parts(parts)

    def show_here(self) -> None:
        """What there is to say of the run under the cursor."""
        here, now_s, width = self.here, self.clock(), max(20, self.size.width - 2)
        self.query_one("#note", TextBlock).show(note_lines(here, self.marked, now_s, width))
        detail = self.query_one("#run-detail", TextBlock)
        detail.show(run_detail(here, now_s, detail.content_size.width or 60) if here else Content(""))
        self.show_keys()


_NONE_FIT = Content.assemble(
    ("No run fits.\n\n", "bold"), ("f", "bold $primary"), "  takes the next filter.\n", ("/", "bold $primary"), "  changes the search."
)  # fmt: skip
