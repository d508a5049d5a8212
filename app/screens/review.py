"""The blinded review of the scorer: one response after the other, pass or fail by key, arms hidden and shuffled.

Every answer is on the disk before the next response is shown. It refuses to compute: sample and agreement come from the command line, and the
agreement is told only after the last answer.
"""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message

from app.engine_calls import rebuild_report, review_sheet
from app.inert import inert, inert_line
from app.keys import Key, bindings
from app.messages import Told
from app.report_text import agreement_lines
from app.screens.panel_screen import PanelScreen
from app.widgets.key_footer import KeyFooter
from app.widgets.line import TextBlock
from engine.protocol.errors import SluiceError
from engine.protocol.evaluation import decode_evaluation
from engine.protocol.review import Label, Review, ReviewSheet, ReviewTask, Validation
from engine.protocol.runs import RunFolder

KEYS = (
    Key(keys="p", action="answer('pass')", label="Pass", help="The response does what the instruction asks."),
    Key(keys="f", action="answer('fail')", label="Fail", help="It does not."),
    Key(keys="s", action="answer('skip')", label="Skip", help="Leave it out: you cannot tell."),
    Key(keys="u", action="undo", label="Undo", help="Take the last answer back; its response is shown again."),
    Key(
        keys="c", action="checks", label="Checks", help="What the checks ask for, never what they found; that you looked is kept."
    ),
    Key(keys="enter", action="finish", label="End", help="End the review: the report is written anew with the agreement."),
    Key(keys="b,backspace,escape,left", action="back", label="Back", help="Back to the report; every answer is kept."),
    Key(keys="q", action="app.leave", label="Leave", help="Leave the panel; every answer is kept."),
)


class SheetRead(Message):
    """The sampled responses, or why there are none."""

    def __init__(self, sheet: ReviewSheet | None, problem: str = "") -> None:
        self.sheet, self.problem = sheet, problem
        super().__init__()


class Concluded(Message):
    """What came of the review, or why that cannot be told."""

    def __init__(self, validation: Validation | None, problem: str = "") -> None:
        self.validation, self.problem = validation, problem
        super().__init__()


class ReviewScreen(PanelScreen):
    """A review of one run."""

    CSS_PATH = "review.tcss"
    KEYS = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS)]

    def __init__(self, run: RunFolder) -> None:
        super().__init__()
        self._run = run
        self._review: Review | None = None
        self._saw_checks = False
        self._concluded = False
        self._text = Content("The sample is drawn from the records of both arms …")

    def compose(self) -> ComposeResult:
        """Title, the response, keys."""
        yield TextBlock(widget_id="title", classes="title")
        with VerticalScroll():
            yield TextBlock(widget_id="text")
        yield KeyFooter()

    def on_mount(self) -> None:
        """Draw the sample in another process."""
        self.query_one(VerticalScroll).focus()
        self.run_worker(self._read, thread=True, group="review")
        self._show()

    def _read(self) -> None:
        try:
            self.post_message(SheetRead(review_sheet(self._run)))
        except SluiceError as error:
            self.post_message(SheetRead(None, str(error)))

    def on_sheet_read(self, message: SheetRead) -> None:
        """Go on where the review rests; one that has all its answers is told."""
        try:
            self._review = None if message.sheet is None else Review(self._run.review, message.sheet)
        except SluiceError as error:
            message = SheetRead(None, str(error))
        if message.problem:
            self._text = inert(message.problem, style="$error")
        if message.sheet is not None and self._review is not None and self._waiting is None:
            self._concluded = True
            self._text = Content("\n").join(agreement_lines(message.sheet.validation))
        self._show()

    @property
    def _waiting(self) -> ReviewTask | None:
        return None if self._review is None else self._review.next

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what is possible now."""
        if action in ("answer", "checks"):
            return self._waiting is not None
        if action == "undo":
            return self._review is not None and self._review.done > 0 and not self._concluded
        if action == "finish":
            return self._review is not None and self._waiting is None and not self._concluded
        return True

    def action_answer(self, label: Label) -> None:
        """Keep the answer and show the next response."""
        review, task = self._review, self._waiting
        if review is not None and task is not None:
            self._keep(lambda: review.answer(task, label, saw_checks=self._saw_checks))

    def action_undo(self) -> None:
        """Show the last answered response again."""
        review = self._review
        if review is not None:
            self._keep(review.undo)

    def action_checks(self) -> None:
        """Show what the checks ask for."""
        self._saw_checks = True
        self._show()

    def action_finish(self) -> None:
        """Have the report written anew, in another process."""
        self._concluded = True
        self._text = Content("All answered. The report is written anew …")
        self._show()
        self.run_worker(self._conclude, thread=True, group="review")

    def action_back(self) -> None:
        """Back."""
        self.app.pop_screen()

    def _keep(self, change: Callable[[], object]) -> None:
        try:
            change()
        except SluiceError as error:
            self.app.post_message(Told(str(error), "error"))
            return
        self._saw_checks = False
        self.query_one(VerticalScroll).scroll_home(animate=False)
        self._show()

    def _conclude(self) -> None:
        try:
            rebuild_report(self._run)
            evaluation = decode_evaluation(self._run.evaluation.read_bytes(), str(self._run.evaluation))
            self.post_message(Concluded(evaluation.validation))
        except (SluiceError, OSError) as error:
            self.post_message(Concluded(None, str(error)))

    def on_concluded(self, message: Concluded) -> None:
        """Tell the agreement."""
        problem = [inert(message.problem, style="$error")] if message.problem else []
        self._text = Content("\n").join([*agreement_lines(message.validation), *problem])
        self._show()

    def _show(self) -> None:
        review, task = self._review, self._waiting
        place = "" if review is None else f"  {min(review.done + 1, len(review.sheet.tasks))} of {len(review.sheet.tasks)}"
        title = Content.assemble(inert_line(self._run.run_id, 40, style="bold"), " › review", (place if task else "", "$muted"))
        self.query_one("#title", TextBlock).show(title)
        if task is not None:
            text = task_content(task, with_checks=self._saw_checks)
        elif self._concluded or review is None:
            text = self._text
        else:
            text = Content("That was the last one. Enter ends the review and tells the agreement; u takes the last answer back.")
        self.query_one("#text", TextBlock).show(text)
        self.show_keys()


def task_content(task: ReviewTask, *, with_checks: bool) -> Content:
    """Instruction, reference and response; with what the checks ask for, where that was wished."""
    parts: list[Content | tuple[str, str] | str] = [("Instruction\n", "bold $secondary"), inert(task.instruction), "\n"]
    if task.reference is not None:
        parts += [("\nReference\n", "bold $secondary"), inert(task.reference), "\n"]
    parts += [
        ("\nResponse\n", "bold $secondary"),
        inert(task.response) if task.response else Content.styled("(empty)", "$muted"),
        "\n",
    ]
    if with_checks:
        parts.append(("\nWhat the checks ask for\n", "bold $secondary"))
        parts += [Content.assemble(inert_line(words, 400, style="$muted"), "\n") for words in map(_written, task.checks)]
    parts.append(("\nDoes the response do what the instruction asks?", "bold"))
    return Content.assemble(*parts)


def _written(check: dict[str, object]) -> str:
    return ", ".join(f"{key} {value!r}" for key, value in check.items())
