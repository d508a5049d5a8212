"""Held-out items with both responses: filtered by outcome, searched, ordered, and one by one. Filter and order are remembered.

The records are read by a thread: once where both arms are complete, else again and again, the newest first. It refuses to judge: outcomes
and reasons are those that were recorded.
"""

import threading
from collections.abc import Sequence
from typing import ClassVar

from msgspec.structs import replace
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Input

from app.exporting import Table, export_table
from app.inert import inert, inert_line
from app.item_filters import FILTERS, ORDERS, chosen, counts
from app.keys import Key, bindings
from app.screens.panel_screen import PanelScreen
from app.state_words import NOT_YET, Word, outcome_word
from app.widgets.key_footer import KeyFooter
from app.widgets.line import ClickLine, Part, TextBlock
from app.widgets.row_table import Column, Row, RowTable
from engine.protocol.arms import AnsweredItem, ItemRecord, answered_items, arm_file
from engine.protocol.errors import SluiceError
from engine.protocol.runs import RunFolder

KEYS = (
    Key(keys="enter,o", action="open", label="Open", help="Instruction, both responses and every check of the item."),
    Key(keys="f", action="filter", label="Filter", help="Next filter by outcome."),
    Key(
        keys="O",
        action="order",
        label="Order",
        help="Next order: as asked, id, type, longest response; it is remembered.",
        footer=False,
    ),
    Key(keys="slash", action="search", label="Search", help="Search in ids, instructions and responses; Enter takes it."),
    Key(keys="b,backspace,escape,left", action="back", label="Back", help="Back to the run."),
    Key(
        keys="x",
        action="export",
        label="Export",
        help="These items as CSV and Markdown into the run's exports folder.",
        footer=False,
    ),
    Key(keys="q", action="app.leave", label="Leave", help="Leave the panel; every run goes on."),
    Key(keys="a", action="use('all')", label="All", help="All items.", footer=False),
    Key(keys="l", action="use('lost')", label="Lost", help="Items that only the base passes.", footer=False),
    Key(keys="w", action="use('won')", label="Won", help="Items that only the SFT arm passes.", footer=False),
    Key(keys="n", action="use('neither')", label="Both fail", help="Items that neither arm passes.", footer=False),
    Key(keys="u", action="use('unscored')", label="Unscored", help="Items that could not be scored in an arm.", footer=False),
)
COLUMNS = (
    Column(title="item", width=18),
    Column(title="base", width=8),
    Column(title="SFT", width=8),
    Column(title="instruction", width=0),
    Column(title="SFT response", width=0, from_width=110),
)

LOOK_S = 3.0
MOST_ROWS = 2_000
_LETTERS = {"all": "a ", "lost": "l ", "won": "w ", "neither": "n ", "unscored": "u "}
_WORDS = {"neither": "both fail", "both": "both pass"}


class ItemsRead(Message):
    """The records are there, or why they are not."""

    def __init__(self, pairs: list[AnsweredItem], problem: str = "") -> None:
        self.pairs, self.problem = pairs, problem
        super().__init__()


class ItemsScreen(PanelScreen):
    """Items of one type, or of all; without `filter_name` those that were looked at last time."""

    CSS_PATH = "items.tcss"
    KEYS = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS)]

    def __init__(self, run: RunFolder, *, of_type: str | None = None, filter_name: str = "", search: bool = False) -> None:
        super().__init__()
        self._run, self._type, self._filter, self._wanted = run, of_type, filter_name, ""
        self._order, self._search_first = next(iter(ORDERS)), search
        self._pairs: list[AnsweredItem] = []
        self._shown: list[AnsweredItem] = []
        self._stopped = threading.Event()
        self._read_once, self._problem = False, ""

    def compose(self) -> ComposeResult:
        """Title, filters, items, search."""
        title = TextBlock(classes="title")
        title.show(Content.assemble((self._run.run_id, "bold"), " › items › ", inert_line(self._type or "all types", 40)))
        yield title
        yield ClickLine(widget_id="filters")
        yield RowTable(COLUMNS, widget_id="items")
        yield TextBlock(widget_id="problem")
        search = Input(placeholder="search in ids, instructions and responses", id="search")
        search.display = False
        yield search
        yield KeyFooter()

    def on_mount(self) -> None:
        """Read in a thread."""
        settings = self.panel.settings
        self._order = settings.items_order if settings.items_order in ORDERS else next(iter(ORDERS))
        if self._filter not in FILTERS:
            self._filter = settings.items_filter if settings.items_filter in FILTERS else next(iter(FILTERS))
        self.run_worker(self._read, thread=True, group="items")
        self._show()
        if self._search_first:
            self.action_search()
        else:
            self.query_one(RowTable).focus()

    def on_unmount(self) -> None:
        """End the thread."""
        self._stopped.set()

    def _read(self) -> None:
        while True:
            complete = all(arm_file(self._run, arm).is_file() for arm in ("base", "sft"))
            try:
                self.post_message(ItemsRead(answered_items(self._run)))
            except SluiceError as error:
                self.post_message(ItemsRead([], str(error)))
            if complete or self._stopped.wait(LOOK_S):
                return

    def on_items_read(self, message: ItemsRead) -> None:
        """Show them."""
        self._pairs, self._read_once, self._problem = message.pairs, True, message.problem
        self._show()

    def _show_word(self) -> None:
        """Why the list is empty, where it is."""
        if self._problem:
            word = inert(self._problem, style="$error", limit=2_000)
        elif self._read_once and not self._pairs:
            word = Content.styled("No item has been answered yet; the answers come batch by batch.", "$muted")
        elif self._read_once and not self._shown:
            word = Content.assemble("No item passes this filter and search; ", ("a", "bold $primary"), " shows all.")
        else:
            word = Content("")
        block = self.query_one("#problem", TextBlock)
        block.display = bool(word)
        block.show(word)

    def on_row_table_chosen(self) -> None:
        """Enter opens."""
        self.action_open()

    def action_open(self) -> None:
        """The item under the cursor."""
        from app.screens.item import ItemScreen

        if self._shown:
            self.app.push_screen(ItemScreen(self._run, self._shown, self.query_one(RowTable).cursor, self._come_back))

    def _come_back(self, index: int) -> None:
        self.query_one(RowTable).cursor = index

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """An export of something."""
        return bool(self._shown) if action == "export" else True

    def action_use(self, name: str) -> None:
        """One filter by name, remembered."""
        self._filter = name
        self.panel.remember(replace(self.panel.settings, items_filter=name))
        self._show()

    def action_order(self) -> None:
        """The next order, remembered."""
        names = list(ORDERS)
        self._order = names[(names.index(self._order) + 1) % len(names)]
        self.panel.remember(replace(self.panel.settings, items_order=self._order))
        self._show()

    def action_filter(self) -> None:
        """The next filter."""
        names = list(FILTERS)
        self.action_use(names[(names.index(self._filter) + 1) % len(names)])

    def action_search(self) -> None:
        """Write what to search for."""
        search = self.query_one("#search", Input)
        search.display = True
        # at once, so that what is typed ahead is written there
        self.set_focus(search)

    @on(Input.Changed)
    def take_search(self, event: Input.Changed) -> None:
        """Search while writing."""
        self._wanted = event.value
        self._show()

    @on(Input.Submitted)
    def leave_search(self) -> None:
        """Back to the list; an empty search goes away."""
        self.query_one("#search", Input).display = bool(self._wanted)
        self.query_one(RowTable).focus()

    def action_export(self) -> None:
        """The items of the list as files, instruction and both responses at length."""
        run, name = self._run, f"items {self._type or 'all'} {self._filter}"
        table = items_table(self._shown)
        self.panel.ask_engine(lambda: export_table(run, name, table))

    def action_back(self) -> None:
        """Out of the search, else back to the run."""
        if isinstance(self.focused, Input):
            self.leave_search()
        else:
            self.app.pop_screen()

    def _show(self) -> None:
        self._shown = chosen(self._pairs, of_type=self._type, name=self._filter, wanted=self._wanted, order=self._order)
        # ids are unique: an item's id is its row's key
        self.query_one(RowTable).show([_row(pair) for pair in self._shown[:MOST_ROWS]])
        parts: list[Part] = []
        for name, number in counts(self._pairs, self._type).items():
            style = "bold reverse" if name == self._filter else ""
            parts += [
                Part(_LETTERS.get(name, ""), "bold $primary"),
                Part(f"{_WORDS.get(name, name)} {number:,}", style, f"use('{name}')"),
                Part("  "),
            ]
        if self._order != next(iter(ORDERS)):
            parts += [Part("O ", "bold $primary", "order"), Part(f"{self._order}  ", "$muted", "order")]
        if self._wanted:
            parts.append(Part(f"{len(self._shown):,} found", "bold"))
        if len(self._shown) > MOST_ROWS:
            parts.append(Part(f" the first {MOST_ROWS:,}: search for the others", "$warning"))
        self.query_one("#filters", ClickLine).show_parts(parts)
        self._show_word()
        self.show_keys()


def items_table(pairs: Sequence[AnsweredItem]) -> Table:
    """Items for an export: the table's columns with whole texts, and the base's response too."""
    headings = ("item", "types", "base", "SFT", "instruction", "base response", "SFT response")
    return headings, [
        (pair.id, ", ".join(pair.types), outcome_of(pair.base).word, outcome_of(pair.sft).word, pair.instruction,
         "" if pair.base is None else pair.base.text, "" if pair.sft is None else pair.sft.text)
        for pair in pairs
    ]  # fmt: skip


def outcome_of(record: ItemRecord | None) -> Word:
    """Pass, fail, unscored; or not answered yet."""
    return NOT_YET if record is None else outcome_word(record.success)


def _row(pair: AnsweredItem) -> Row:
    base, sft = outcome_of(pair.base), outcome_of(pair.sft)
    answer = pair.sft or pair.base
    text = inert_line(answer.text if answer else "", 160)
    cells = (base.content(), sft.content(), inert_line(pair.instruction, 160), text)
    return Row(pair.id, (inert_line(pair.id, 40, style="$secondary"), *cells))
