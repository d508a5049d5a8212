"""Every setting in a table, each with its meaning; one is changed at a time, checked at once, and shown beside what it was.

The rules are those of sluice.toml. It refuses to keep a value that breaks them; whether files are there is asked at the start.
"""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input

from app.inert import inert, inert_line
from app.keys import Key, bindings
from app.screens.panel_screen import PanelScreen
from app.widgets.key_footer import KeyFooter
from app.widgets.line import TextBlock
from app.widgets.row_table import Column, Row, RowTable
from engine.protocol.config import Config
from engine.protocol.config_changes import with_changes
from engine.protocol.config_file import Difference, Setting, described, differences
from engine.protocol.errors import ConfigError

COLUMNS = (
    Column(title="setting", width=30),
    Column(title="value", width=0),
    Column(title="was", width=0, from_width=90),
    Column(title="what it means", width=0, from_width=140),
)
KEYS = (
    Key(keys="enter,o", action="edit", label="Change…", help="Change the setting under the cursor; Enter takes the value."),
    Key(keys="u", action="undo", label="Undo", help="Back to what the setting was."),
    Key(keys="slash", action="search", label="Search", help="Search in names and meanings."),
    Key(keys="b,backspace,escape,left", action="back", label="Back", help="Back without anything done."),
    Key(keys="q", action="app.leave", label="Leave", help="Leave the panel; every run goes on."),
)


class SettingsScreen(PanelScreen):
    """Settings to be changed; what becomes of them is for the screens made from this one."""

    CSS_PATH = "settings.tcss"
    KEYS: ClassVar[tuple[Key, ...]] = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(KEYS),
        Binding("up", "leave_line", show=False),
        Binding("down", "leave_line", show=False),
    ]

    def __init__(self, title: str, before: Config, now: Config | None = None) -> None:
        super().__init__()
        self._title, self._before, self.settings = title, before, now or before
        self._wanted, self._editing = "", ""

    def compose(self) -> ComposeResult:
        """Title, settings, the meaning of one, the line to write on, keys."""
        title = TextBlock(widget_id="title", classes="title")
        title.show(inert_line(self._title, 200, style="bold"))
        yield title
        yield RowTable(COLUMNS, widget_id="settings")
        yield TextBlock(widget_id="meaning")
        line = Input(id="line", compact=True)
        line.display = False
        yield line
        yield TextBlock(widget_id="problem")
        yield KeyFooter()

    def on_mount(self) -> None:
        """The table first."""
        self.show_settings()
        self.query_one(RowTable).focus()

    @property
    def changes(self) -> tuple[Difference, ...]:
        """What differs from the settings as they were."""
        return differences(self._before, self.settings)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Undo where there is something to undo; leaving the line where one is being written."""
        if action == "undo":
            return any(change.key == self._here for change in self.changes)
        if action == "leave_line":
            return isinstance(self.focused, Input)
        return True

    def on_row_table_moved(self) -> None:
        """Another setting."""
        self._show_meaning()

    def on_row_table_chosen(self) -> None:
        """Enter changes it."""
        self.action_edit()

    def on_resize(self) -> None:
        """The meaning is cut to the width."""
        self.call_after_refresh(self._show_meaning)

    def action_edit(self) -> None:
        """Write a value."""
        found = next((each for each in described(self.settings) if each.key == self._here), None)
        if found is not None:
            self._editing = found.key
            plain = found.value[1:-1] if found.value.startswith('"') and "\\" not in found.value else found.value
            self._write(plain, f"value of {found.key}; Enter takes it, ↑ leaves it")

    def action_search(self) -> None:
        """Write what to search for."""
        self._editing = ""
        self._write(self._wanted, "search in names and meanings; Enter takes it")

    def action_undo(self) -> None:
        """The value it was."""
        was = next((change.before for change in self.changes if change.key == self._here), None)
        if was is not None:
            self._change(f"{self._here}={was}")

    def action_back(self) -> None:
        """Out of the line, else away."""
        if isinstance(self.focused, Input):
            self.action_leave_line()
        else:
            self.dismiss()

    def action_leave_line(self) -> None:
        """Back to the table with nothing changed."""
        self.query_one("#line").display = False
        self.tell("")
        self.query_one(RowTable).focus()

    @on(Input.Changed, "#line")
    def search(self, event: Input.Changed) -> None:
        """Search while writing; a value is only taken when it is whole."""
        if not self._editing and event.input.display:
            self._wanted = event.value
            self.show_settings()

    @on(Input.Submitted, "#line")
    def take(self, event: Input.Submitted) -> None:
        """Take the value, or show what is wrong with it."""
        if not self._editing or self._change(f"{self._editing}={event.value}"):
            self.action_leave_line()

    def _write(self, text: str, hint: str) -> None:
        line = self.query_one("#line", Input)
        line.placeholder, line.display = hint, True
        line.value = text
        self.set_focus(line)
        line.cursor_position = len(text)
        self.tell("")

    def _change(self, assignment: str) -> bool:
        try:
            self.settings = with_changes(self.settings, [assignment])
        except ConfigError as error:
            self.tell("\n".join(problem.removeprefix("settings: ") for problem in error.problems))
            return False
        self.tell("")
        self.show_settings()
        return True

    @property
    def _here(self) -> str:
        return self.query_one(RowTable).key or ""

    def show_settings(self) -> None:
        """The settings that hold the words looked for, changed ones marked."""
        was = {change.key: change.before for change in self.changes}
        words = self._wanted.lower().split()
        shown = [each for each in described(self.settings) if all(word in f"{each.key} {each.meaning}".lower() for word in words)]
        self.query_one(RowTable).show([_row(each, was.get(each.key)) for each in shown])
        self._show_meaning()

    def _show_meaning(self) -> None:
        found = next((each for each in described(self.settings) if each.key == self._here), None)
        was = next((change.before for change in self.changes if change.key == self._here), None)
        text = Content("no setting has these words") if found is None else Content.assemble(
            (found.key, "bold"), "  ", inert(found.meaning), (inert_line(f"  was {was}", 200).plain, "$warning") if was is not None else "",
        )  # fmt: skip
        counted = f"\n{len(self.changes)} changed" if self.changes else "\nnothing changed yet"
        self.query_one("#meaning", TextBlock).show(Content.assemble(text, (counted, "$muted")))
        self.show_keys()

    def tell(self, problem: str) -> None:
        """What is wrong, below the line."""
        self.query_one("#problem", TextBlock).show(inert(problem, style="$error", limit=600))


def _row(found: Setting, was: str | None) -> Row:
    mark = Content.styled("• ", "bold $warning") if was is not None else Content("  ")
    name = Content.assemble(mark, (found.key, "bold" if was is not None else ""))
    return Row(
        found.key,
        (name, inert_line(found.value, 200), inert_line(was or "", 200), inert_line(found.meaning, 200, style="$muted")),
    )
