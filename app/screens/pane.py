"""What the four tabs share: a table of keys, the view they paint, and the panel they stand in."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual.containers import Vertical
from textual.widget import Widget

from app.following import RunView
from app.keys import Key
from app.widgets.line import TextBlock
from app.widgets.row_table import RowTable

EXPORT = Key(
    keys="x", action="export", label="Export", help="This table as CSV and Markdown into the run's exports folder.", footer=False
)

if TYPE_CHECKING:
    from app.panel import Panel
    from app.screens.run import RunScreen


class Pane(Vertical, can_focus=True):
    """One tab of a run. `paint` is called with the follower's lock held: it only makes text."""

    KEYS: ClassVar[tuple[Key, ...]] = ()
    DEFAULT_CSS = "Pane { height: 1fr; }"

    ready = False

    def on_mount(self) -> None:
        """From here on every widget of the pane is there to be painted."""
        self.ready = True

    @property
    def panel(self) -> "Panel":
        """The app, by its own type."""
        return cast("Panel", self.app)

    @property
    def run_screen(self) -> "RunScreen":
        """The screen, by its own type."""
        return cast("RunScreen", self.screen)

    @property
    def view(self) -> RunView:
        """The latest of the run."""
        return self.run_screen.follower.view

    @property
    def text_width(self) -> int:
        """Cells of a line of this pane."""
        return max(20, (self.size.width or self.app.size.width) - 2)

    @property
    def room(self) -> tuple[tuple[int, int], ...]:
        """Sizes of the pane's texts and tables; where they change, texts are cut anew."""
        return tuple((widget.size.width, widget.size.height) for widget in self.query(".cut, RowTable"))

    def width_of(self, block: TextBlock) -> int:
        """Cells of a line of a block; before the first layout those of the pane."""
        return block.content_size.width or self.text_width

    def paint(self, view: RunView) -> None:
        """Bring the widgets up to date."""

    def focus_target(self) -> Widget:
        """What gets the focus when the tab is shown."""
        return self

    def on_resize(self) -> None:
        """Texts are cut to the room there is: paint once more when it is known."""
        self.run_screen.paint_again()

    def action_export(self) -> None:
        """The table of this tab as files."""
        from app.exporting import export_table

        run, name, table = self.view.run, self.id or "table", self.query_one(RowTable).texts()
        self.panel.ask_engine(lambda: export_table(run, name, table))

    def repaint(self) -> None:
        """Paint now instead of at the next tick, after a key."""
        with self.run_screen.follower.lock:
            self.paint(self.view)
        self.run_screen.show_keys()
