"""Everything that happened in a run, oldest first, and the last lines that its processes printed; it opens at the end.

It shows the moment it was opened at, and refuses to show more of the engine's log than its last `TAIL_BYTES`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message

from app.inert import inert, inert_line
from app.keys import Key, bindings
from app.screens.panel_screen import PanelScreen
from app.widgets.event_log import log_row
from app.widgets.key_footer import KeyFooter
from app.widgets.line import TextBlock, rule
from engine.protocol.run_state import LogLine
from engine.protocol.runs import RunFolder

TAIL_BYTES = 64 << 10
_LINE_CHARS = 1_000
_EVENT_CELLS = 400
KEYS = (
    Key(keys="b,e,backspace,escape,left", action="back", label="Back", help="Back to the run."),
    Key(keys="end,G", action="edge(1)", label="Newest", help="To the newest lines."),
    Key(keys="home,g", action="edge(-1)", label="Oldest", help="To the oldest lines."),
    Key(keys="q", action="app.leave", label="Leave", help="Leave the panel; every run goes on."),
)


class LogRead(Message):
    """The last lines of the engine's log, or why there are none."""

    def __init__(self, lines: Sequence[str], problem: str = "") -> None:
        self.lines, self.problem = lines, problem
        super().__init__()


class LogScreen(PanelScreen):
    """Events and log."""

    CSS_PATH = "reading.tcss"
    KEYS = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS)]

    def __init__(self, run: RunFolder, events: Sequence[LogLine]) -> None:
        super().__init__()
        self._run, self._events = run, events

    def compose(self) -> ComposeResult:
        """Title, events, log, keys."""
        title, happened = TextBlock(classes="title"), TextBlock()
        title.show(Content.assemble((self._run.run_id, "bold"), " › what happened (UTC)"))
        rows = [log_row(line, _EVENT_CELLS) for line in self._events]
        happened.show(Content("\n").join(rows) if rows else Content.styled("nothing yet", "$muted"))
        yield title
        with VerticalScroll():
            yield happened
            yield TextBlock(widget_id="engine-log")
        yield KeyFooter()

    def on_mount(self) -> None:
        """Read in a thread; scroll at once."""
        self.query_one(VerticalScroll).focus()
        self.show_keys()
        run = self._run
        self.run_worker(lambda: self.post_message(read_tail(run.engine_log)), thread=True, group="log")

    def on_log_read(self, message: LogRead) -> None:
        """Show the log, and its end."""
        width = max(20, self.size.width - 3)
        text = inert_line(message.problem, width, style="$muted") if message.problem else Content("\n").join(
            inert(line, limit=_LINE_CHARS) for line in message.lines
        )  # fmt: skip
        block = self.query_one("#engine-log", TextBlock)
        block.show(Content("\n").join([rule("engine.log, its last lines", width), text]))
        self.call_after_refresh(self.action_edge, 1)

    def action_edge(self, way: int) -> None:
        """To the newest or the oldest line."""
        scroll = self.query_one(VerticalScroll)
        if way > 0:
            scroll.scroll_end(animate=False)
        else:
            scroll.scroll_home(animate=False)

    def action_back(self) -> None:
        """Back."""
        self.app.pop_screen()


def read_tail(path: Path) -> LogRead:
    """The last whole lines within `TAIL_BYTES`; bytes that are no UTF-8 are shown as such."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            data = file.read()
    except OSError as error:
        return LogRead((), f"{path.name}: {error.strerror}")
    lines = data.decode("utf-8", "backslashreplace").splitlines()
    return LogRead(lines[1:] if size > TAIL_BYTES and len(lines) > 1 else lines, "" if lines else f"{path.name} is empty")
