"""Questions before something that cannot be undone: yes or no, a reason in a person's words, a signature.

What does no harm has the focus first, or Escape. They refuse to take an empty reason and an empty name.
"""

from typing import ClassVar, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input

from app.inert import inert
from app.widgets.line import TextBlock

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer]):
    """A box in the middle of the screen; `problem` stands next to the fields."""

    CSS_PATH = "dialogs.tcss"

    def question(self, title: str, text: str | Content) -> TextBlock:
        """Title and text."""
        block = TextBlock()
        block.show(Content.assemble((title, "bold"), "\n\n", text))
        return block

    def tell(self, problem: str) -> None:
        """Show what is wrong next to the fields."""
        self.query_one("#problem", TextBlock).show(inert(problem))


class Confirm(Dialog[bool]):
    """Yes or no; `y` and `n` answer too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # at once, before the next key: one that is typed ahead goes to the screen below, not into a dialog that is closing
        Binding("y", "answer(True)", show=False, priority=True),
        Binding("n,q,escape,backspace", "answer(False)", show=False, priority=True),
        Binding("left,right", "app.focus_next", show=False),
    ]

    def __init__(self, title: str, text: str | Content, yes: str) -> None:
        super().__init__()
        self._title, self._text, self._yes = title, text, yes

    def compose(self) -> ComposeResult:
        """The question and its answers."""
        with Vertical():
            yield self.question(self._title, self._text)
            with Horizontal(id="answers"):
                yield Button(Content("n  No, leave it"), id="no")
                yield Button(Content(f"y  {self._yes}"), id="yes", variant="error")

    def on_mount(self) -> None:
        """The harmless answer first."""
        self.query_one("#no").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        """Answer by key."""
        self.dismiss(yes)


class AskReason(Dialog[str | None]):
    """A reason, or None; Enter in the field goes on, Tab reaches Cancel."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", show=False)]

    def __init__(self, title: str, text: str, yes: str) -> None:
        super().__init__()
        self._title, self._text, self._yes = title, text, yes

    def compose(self) -> ComposeResult:
        """What it means, the field, the answers."""
        with Vertical():
            yield self.question(self._title, self._text)
            yield Input(placeholder="the reason, for everyone who reads the verdict", max_length=500)
            yield TextBlock(widget_id="problem")
            with Horizontal(id="answers"):
                yield Button(Content("Cancel"), id="no")
                yield Button(Content(self._yes), id="yes", variant="error")

    def on_mount(self) -> None:
        """Write at once."""
        self.query_one(Input).focus()

    @on(Input.Submitted)
    @on(Button.Pressed, "#yes")
    def accept(self) -> None:
        """Take the reason, or say that it is missing."""
        reason = self.query_one(Input).value.strip()
        if reason:
            self.dismiss(reason)
        else:
            self.tell("a reason is needed: it stands in the verdict")
            self.query_one(Input).focus()

    @on(Button.Pressed, "#no")
    def action_cancel(self) -> None:
        """Nothing happens."""
        self.dismiss(None)


class SignOff(Dialog[tuple[str, str] | None]):
    """Name and note of who signs, or None; Enter goes from the name to the note, and from the note on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", show=False),
        # before the next key is handed on: of a chunk of keys the note would else be signed as part of the name
        Binding("enter,tab", "to_note", show=False, priority=True),
    ]

    def __init__(self, text: str | Content) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """What is signed, the fields, the answers."""
        with Vertical():
            yield self.question("Sign the verdict", self._text)
            yield Input(placeholder="your name", max_length=100, id="name")
            yield Input(placeholder="a note that is kept with it (may stay empty)", max_length=500, id="note")
            yield TextBlock(widget_id="problem")
            with Horizontal(id="answers"):
                yield Button(Content("Cancel"), id="no")
                yield Button(Content("Sign"), id="yes", variant="primary")

    def on_mount(self) -> None:
        """Write at once."""
        self.query_one("#name").focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The way to the note starts at the name."""
        return action != "to_note" or (self.focused is not None and self.focused.id == "name")

    def action_to_note(self) -> None:
        """From the name to the note, at once."""
        self.set_focus(self.query_one("#note"))

    @on(Input.Submitted, "#note")
    @on(Button.Pressed, "#yes")
    def accept(self) -> None:
        """Take the signature, or say that the name is missing."""
        name, note = (self.query_one(field, Input).value.strip() for field in ("#name", "#note"))
        if name:
            self.dismiss((name, note))
        else:
            self.tell("a name is needed: it stands under the verdict")
            self.query_one("#name").focus()

    @on(Button.Pressed, "#no")
    def action_cancel(self) -> None:
        """Nothing happens."""
        self.dismiss(None)
