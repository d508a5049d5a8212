"""A dialog with one line to fill in, whose answer is tried at once: what is wrong with it stands beside the field, which keeps it.

It refuses to close on a problem, and to block: the call runs in a thread.
"""

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Input

from app.screens.dialogs import Dialog
from app.widgets.line import TextBlock
from engine.protocol.errors import SluiceError


class Tried(Message):
    """What the call said, or its problems."""

    def __init__(self, said: str | None, problems: str = "") -> None:
        self.said, self.problems = said, problems
        super().__init__()


class Ask(Dialog[str | None]):
    """What the call said of the line that was written; None where the person left."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", show=False)]

    def __init__(self, title: str, text: str | Content, yes: str, call: Callable[[str], str], value: str = "") -> None:
        super().__init__()
        self._title, self._text, self._yes, self._call, self._value = title, text, yes, call, value

    def compose(self) -> ComposeResult:
        """What it means, the field, the answers."""
        with Vertical():
            yield self.question(self._title, self._text)
            yield Input(value=self._value, max_length=500)
            yield TextBlock(widget_id="problem")
            with Horizontal(id="answers"):
                yield Button(Content(self._yes), id="yes", variant="primary")
                yield Button(Content("Cancel"), id="no")

    def on_mount(self) -> None:
        """Write at once."""
        self.query_one(Input).focus()

    @on(Input.Submitted)
    @on(Button.Pressed, "#yes")
    def accept(self) -> None:
        """Try the line."""
        line = self.query_one(Input).value.strip()

        def body() -> None:
            try:
                self.post_message(Tried(self._call(line)))
            except SluiceError as error:
                self.post_message(Tried(None, str(error)))

        self.query_one(Input).disabled = self.query_one("#yes").disabled = True
        self.run_worker(body, thread=True, group="ask")

    def on_tried(self, message: Tried) -> None:
        """Close, or show what is wrong."""
        if message.said is not None:
            self.dismiss(message.said)
            return
        self.query_one(Input).disabled = self.query_one("#yes").disabled = False
        self.tell(message.problems)
        self.query_one(Input).focus()

    @on(Button.Pressed, "#no")
    def action_cancel(self) -> None:
        """Nothing happens."""
        self.dismiss(None)
