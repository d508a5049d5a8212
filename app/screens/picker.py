"""A list to choose one thing from. It refuses nothing: what cannot be used says so in its row, and is told again where it was chosen."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from app.screens.dialogs import Dialog
from app.widgets.row_table import Column, Row, RowTable


class Picker(Dialog[str | None]):
    """The key of the row that was chosen, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,b,backspace,escape,f9", "cancel", show=False)]

    def __init__(self, title: str, columns: Sequence[Column], rows: Sequence[Row], empty: str) -> None:
        super().__init__()
        self._title, self._columns, self._rows, self._empty = title, columns, rows, empty

    def compose(self) -> ComposeResult:
        """Title and rows, or why there are none."""
        with Vertical(id="picker"):
            yield self.question(self._title, "Enter takes it, q goes back." if self._rows else self._empty)
            yield RowTable(self._columns, widget_id="choices")

    def on_mount(self) -> None:
        """Choose at once."""
        table = self.query_one(RowTable)
        table.show(self._rows)
        table.display = bool(self._rows)
        (table if self._rows else self).focus()

    def on_row_table_chosen(self, event: RowTable.Chosen) -> None:
        """Take it."""
        self.dismiss(event.key)

    def action_cancel(self) -> None:
        """Nothing is chosen."""
        self.dismiss(None)
