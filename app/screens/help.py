"""The help: every key of the present screen with its sentence, from the tables that the handlers are made of."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen

from app.keys import Key
from app.panel import KEYS
from app.widgets.line import TextBlock

_MOST_CELLS, _AROUND, _BEFORE = 90, 8, 24


def keys_of(screen: Screen[object]) -> list[Key]:
    """The keys that work now on a screen, those of the whole panel last, each once."""
    working = getattr(screen, "working_keys", None)
    own: list[Key] = working() if working else []
    seen = {key.shown for key in own}
    return [*own, *(key for key in KEYS if key.shown not in seen)]


class HelpScreen(ModalScreen[None]):
    """Keys and what they do."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark,f1,q,b,enter,escape,backspace", "close", show=False)]

    def __init__(self, keys: list[Key]) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        """One entry a key; a sentence that takes several lines stays in its column."""
        lines = [Content.styled("Keys that work now\n", "bold")]
        room = max(24, min(_MOST_CELLS, int(self.app.size.width * 0.96)) - _AROUND - _BEFORE)
        for key in self._keys:
            first, *more = Content.styled(key.help, "$muted").wrap(room)
            lines.append(Content.assemble((key.shown.rjust(5), "bold $primary"), "  ", key.label.ljust(16), " ", first))
            lines += [Content.assemble(" " * _BEFORE, line) for line in more]
        lines.append(Content.assemble("\n", ("↑ ↓ PgUp PgDn Home End", "bold $primary"), "  move in lists; the mouse works too"))
        lines.append(Content.styled("q or ? closes this", "$muted"))
        with VerticalScroll():
            text = TextBlock()
            text.show(Content("\n").join(lines))
            yield text

    def action_close(self) -> None:
        """Back."""
        self.dismiss()
