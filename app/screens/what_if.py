"""What if: other thresholds for the verdict of a finished run, worked out by the engine in a process of its own.

It says EXPLORATORY and shows the recorded verdict, which stays. It refuses to compute and to write anything.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Label

from app.engine_calls import what_if
from app.inert import inert
from app.keys import Key, bindings
from app.screens.panel_screen import PanelScreen
from app.what_if_text import SETTINGS, banner, before_trying, changes, found, shown
from app.widgets.key_footer import KeyFooter
from app.widgets.line import TextBlock
from engine.protocol.errors import SluiceError
from engine.protocol.evaluation import Evaluation
from engine.protocol.runs import RunFolder

KEYS = (
    Key(keys="enter", action="try", label="Try", help="Work out what the records say under these settings; nothing is written."),
    Key(keys="tab", action="app.focus_next", label="Next", help="To the next field, at last to what was found."),
    Key(keys="f2,ctrl+r", action="restore", label="Recorded", help="Put the recorded settings back."),
    Key(keys="f3,escape", action="away", label="Back", help="Back to the report, from a field."),
    Key(keys="b,backspace,left", action="back", label="Back", help="Back to the report."),
    Key(keys="q", action="app.leave", label="Leave", help="Leave the panel; every run goes on."),
)


class Tried(Message):
    """What the engine found, or every problem of the settings."""

    def __init__(self, evaluation: Evaluation | None, problems: Sequence[str] = ()) -> None:
        self.evaluation, self.problems = evaluation, problems
        super().__init__()


class WhatIfScreen(PanelScreen):
    """Settings, and what follows from them."""

    CSS_PATH = "what_if.tcss"
    KEYS = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(KEYS),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]

    def __init__(self, run: RunFolder, recorded: Evaluation, frozen: Mapping[str, Any]) -> None:
        super().__init__()
        self._run, self._recorded = run, recorded
        self._frozen = {key: frozen[key] for key in SETTINGS if key in frozen}
        self._tried: Evaluation | None = None
        self._at_work = False

    def compose(self) -> ComposeResult:
        """Banner, fields, problems, what was found."""
        title, word = TextBlock(classes="title"), TextBlock(widget_id="banner")
        title.show(Content.assemble((self._run.run_id, "bold"), " › what if"))
        word.show(banner(self._recorded))
        yield title
        yield word
        with Container(id="form"):
            for key, value in self._frozen.items():
                yield Label(Content(key))
                yield Input(shown(value), id=key, max_length=200, select_on_focus=True)
        yield TextBlock(widget_id="problem")
        with VerticalScroll(id="found"):
            yield TextBlock(widget_id="answer")
        yield KeyFooter()

    def on_mount(self) -> None:
        """Write at once."""
        self.query_one("#answer", TextBlock).show(before_trying())
        self._show_problems(())
        self.query(Input).first().focus()
        self.show_keys()

    @on(Input.Submitted)
    def action_try(self) -> None:
        """Ask the engine, unless it is at work on the last question."""
        if self._at_work:
            return
        written = {field.id or "": field.value for field in self.query(Input)}
        run, asked = self._run, changes(written, self._frozen)
        if not asked:
            self.query_one("#answer", TextBlock).show(Content("These are the recorded settings: change one first."))
            return
        self._at_work = True
        self._show_problems(())
        self.query_one("#answer", TextBlock).show(Content.styled("the engine works it out …", "$muted"))

        def body() -> None:
            try:
                self.post_message(Tried(what_if(run, asked)))
            except SluiceError as error:
                self.post_message(Tried(None, error.problems))

        self.run_worker(body, thread=True, group="engine")

    def on_tried(self, message: Tried) -> None:
        """Show it and let it be read; a problem leads back to its field."""
        self._at_work, self._tried = False, message.evaluation
        self._show_problems(message.problems)
        if message.evaluation is None:
            self.query_one("#answer", TextBlock).show(before_trying())
            named = [
                field for field in self.query(Input) if any(f"verdict.{field.id}" in problem for problem in message.problems)
            ]
            (named[0] if named else self.query(Input).first()).focus()
            return
        self._show_found()
        self.query_one("#found").focus()
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def on_descendant_focus(self) -> None:
        """In a field letters are text: other keys work there."""
        self.show_keys()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The way back that works where the focus is."""
        if action in ("away", "back"):
            return isinstance(self.focused, Input) == (action == "away")
        return True

    def action_away(self) -> None:
        """Back to the report, although a field has the focus."""
        self.app.pop_screen()

    def on_resize(self) -> None:
        """Sentences are broken to the width."""
        self._show_found()

    def action_restore(self) -> None:
        """The recorded settings."""
        for field in self.query(Input):
            field.value = shown(self._frozen[field.id or ""])
        self.query(Input).first().focus()

    def action_back(self) -> None:
        """Back to the report."""
        self.app.pop_screen()

    def _show_found(self) -> None:
        if self._tried is None:
            return
        width = max(20, self.size.width - 4)
        self.query_one("#answer", TextBlock).show(found(self._tried, self._recorded, width))

    def _show_problems(self, problems: Sequence[str]) -> None:
        block = self.query_one("#problem", TextBlock)
        block.display = bool(problems)
        block.show(Content("\n").join(inert(f"✗ {problem}", limit=300) for problem in problems))
