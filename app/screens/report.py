"""The tab of the report: the verdict with its reasons, the table of types with a forest plot, and the figures of the type chosen.

Before there is a verdict it says when one will come. It refuses to compute: what is not in evaluation.json is not shown.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from msgspec.structs import replace
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widget import Widget

from app.engine_calls import sign
from app.figures import NONE, clock_duration, p_value, percent, percent_interval, points
from app.following import RunView
from app.inert import inert, inert_line
from app.keys import Key, bindings
from app.report_text import before_signing, differing_items, head_lines, second_readings, try_next, type_detail, whole_verdict
from app.screens.pane import EXPORT, Pane
from app.state_words import STATES
from app.widgets.forest import Scale, axis, forest_row, shared_scale
from app.widgets.line import TextBlock, rule
from app.widgets.row_table import Column, Row, RowTable
from engine.protocol.arms import AnsweredItem, answered_items, arm_file
from engine.protocol.evaluation import Evaluation, Outcome, TypeOutcome

OVERALL = ""
"""Key of the row of all items: no type has an empty name."""
KEYS = (
    Key(keys="i,enter", action="items", label="Items", help="The items of the type under the cursor with both responses."),
    Key(keys="slash", action="search", label="Search", help="Search in the items of the type under the cursor.", footer=False),
    Key(
        keys="f",
        action="lost",
        label="Lost",
        help="The items of the type under the cursor that only the base passes.",
        footer=False,
    ),
    Key(
        keys="v",
        action="verdict",
        label="Verdict",
        help="The whole verdict: every reason, what to try next, second readings.",
        footer=False,
    ),
    Key(keys="w", action="what_if", label="What if", help="Try other thresholds: exploratory, and the recorded verdict stays."),
    Key(keys="S", action="sign", label="Sign off…", help="Sign the verdict with your name and a note; it stays what it is."),
    Key(
        keys="b",
        action="review",
        label="Review",
        help="Judge a blinded sample of the responses: does a person agree with the scorer?",
    ),
    Key(keys="O", action="order", label="Order", help="Next order of the types: name, lift, p; it is remembered.", footer=False),
    EXPORT,
)
ORDERS: dict[str, Callable[[tuple[str, TypeOutcome]], tuple[Any, ...]]] = {
    "name": lambda typed: (typed[0],),
    "lift": lambda typed: (typed[1].lift is None, typed[1].lift, typed[0]),
    "p": lambda typed: (typed[1].p_adjusted is None, typed[1].p_adjusted, typed[0]),
}
"""Keys to sort the types by, the worst lift and the smallest p first; the row of all items stays above them."""
GUARD_MARKS = {"regressed": "✗ ", "suspect": "? ", "weak": "! "}
_HEAD_LINES = 6
_MOST_HEAD_LINES = 18
_DETAIL_LINES = 10
_WIDE = 100
_VERY_WIDE = 132


class ReportPane(Pane):
    """Verdict and numbers."""

    KEYS = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS)]

    def __init__(self, *, widget_id: str) -> None:
        super().__init__(id=widget_id)
        self._evaluation: Evaluation | None = None
        self._pairs: list[AnsweredItem] | None = None

    def compose(self) -> ComposeResult:
        """Verdict, table, detail; or when it will come."""
        yield TextBlock(widget_id="report-empty")
        yield TextBlock(widget_id="report-head")
        with Container(id="report-split"):
            with Container(id="report-left"):
                yield RowTable(columns(16, ""), widget_id="report-types")
                yield TextBlock(widget_id="report-differ")
            with VerticalScroll(id="report-side", can_focus=False):
                yield TextBlock(widget_id="report-text")

    def focus_target(self) -> Widget:
        """The table, where there is one."""
        return self.query_one(RowTable) if self._evaluation is not None else self

    def paint(self, view: RunView) -> None:
        """The report, or when there will be one."""
        evaluation = view.evaluation
        came = evaluation is not None and self._evaluation is None
        self._evaluation = evaluation
        self.query_one("#report-empty").display = evaluation is None
        for part in ("#report-head", "#report-split"):
            self.query_one(part).display = evaluation is not None
        if evaluation is None:
            self.query_one("#report-empty", TextBlock).show(when(view))
            return
        self.query_one("#report-head", TextBlock).show(head_lines(evaluation, self.text_width, self._head_room(evaluation)))
        self._show_table(evaluation)
        self._show_detail()
        if came:
            self.panel.ask_for(lambda: answered_items(view.run), self._take_pairs, lambda problem: None)
        if came and self.has_focus:
            self.query_one(RowTable).focus()

    def _take_pairs(self, pairs: list[AnsweredItem]) -> None:
        """The items, for the room below the table of a wide screen."""
        self._pairs = pairs
        if self.is_attached:
            self._show_differing()

    def _head_room(self, evaluation: Evaluation) -> int:
        """Lines for the verdict and its reasons: what the table and the figures of one type leave."""
        beside = len(evaluation.by_type) + 2 + _DETAIL_LINES
        return max(_HEAD_LINES, min(_MOST_HEAD_LINES, self.size.height - beside))

    def on_row_table_moved(self) -> None:
        """Another type."""
        self._show_detail()

    def on_row_table_chosen(self) -> None:
        """Enter opens the items."""
        if self.check_action("items", ()):
            self.action_items()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what is there."""
        if action == "sign":
            return self._evaluation is not None and self._evaluation.verdict is not None
        if action == "what_if":
            return self._evaluation is not None and bool(self.view.frozen)
        if action in ("verdict", "export", "order"):
            return self._evaluation is not None
        if action in ("items", "search", "lost", "review"):
            return self._evaluation is not None and arm_file(self.view.run, "sft").is_file()
        return True

    def action_items(self) -> None:
        """The items of the type under the cursor."""
        self._open("")

    def action_search(self) -> None:
        """The same, with the search open."""
        self._open("all", search=True)

    def action_lost(self) -> None:
        """The lost ones of them."""
        self._open("lost")

    def action_order(self) -> None:
        """The next order of the types, remembered."""
        names, settings = list(ORDERS), self.panel.settings
        order = names[(names.index(settings.types_order) + 1) % len(names)] if settings.types_order in names else names[0]
        self.panel.remember(replace(settings, types_order=order))
        self.panel.notify(f"types by {order}", timeout=2, markup=False)
        self.repaint()

    def _open(self, filter_name: str, *, search: bool = False) -> None:
        from app.screens.items import ItemsScreen

        of_type = self.query_one(RowTable).key or None
        self.app.push_screen(ItemsScreen(self.view.run, of_type=of_type, filter_name=filter_name, search=search))

    def action_verdict(self) -> None:
        """The whole verdict on a screen of its own."""
        from app.screens.reading import ReadingScreen

        if self._evaluation is not None:
            self.app.push_screen(ReadingScreen(f"{self.view.name} › verdict", whole_verdict(self._evaluation)))

    def action_review(self) -> None:
        """The blinded review of the scorer."""
        from app.screens.review import ReviewScreen

        self.app.push_screen(ReviewScreen(self.view.run))

    def action_what_if(self) -> None:
        """Other thresholds, on a screen of their own."""
        from app.screens.what_if import WhatIfScreen

        if self._evaluation is not None:
            self.app.push_screen(WhatIfScreen(self.view.run, self._evaluation, self.view.frozen))

    def action_sign(self) -> None:
        """Ask for name and note, then sign in another process."""
        from app.screens.dialogs import SignOff

        run, verdict = self.view.run, self._evaluation.verdict if self._evaluation else None
        if verdict is None:
            return

        def take(given: tuple[str, str] | None) -> None:
            if given is not None:
                self.panel.ask_engine(lambda: sign(run, *given))

        self.app.push_screen(SignOff(before_signing(verdict)), take)

    def _show_table(self, evaluation: Evaluation) -> None:
        table = self.query_one(RowTable)
        width = table.scrollable_content_region.width or self.text_width
        order = ORDERS.get(self.panel.settings.types_order, ORDERS["name"])
        types = sorted(evaluation.by_type.items(), key=order)
        groups: dict[str, Outcome] = {OVERALL: evaluation.overall, **dict(types)}
        scale = shared_scale((group.lift_ci for group in groups.values()), forest_room(width))
        table.columns = columns(scale.width, axis(scale), evaluation.metadata.confidence_level)
        table.show([_row(name, group, scale) for name, group in groups.items()])

    def _show_detail(self) -> None:
        evaluation = self._evaluation
        key = self.query_one(RowTable).key
        if evaluation is None or key is None:
            return
        outcome = evaluation.overall if key == OVERALL else evaluation.by_type.get(key)
        text = self.query_one("#report-text", TextBlock)
        width = self.width_of(text)
        name = key or "overall"
        lines = [rule(name, width, "Enter opens its items"), *type_detail(name, outcome, width)] if outcome is not None else []
        verdict = evaluation.verdict
        if verdict is not None and verdict.try_next:
            lines += [rule("try next", width), *try_next(verdict)]
        lines += [rule("second readings", width), *second_readings(evaluation.secondary)]
        text.show(Content("\n").join(lines))
        self._show_differing()

    def _show_differing(self) -> None:
        """Where there is room: the items of this type that only one arm passes, the lost ones first."""
        block, key = self.query_one("#report-differ", TextBlock), self.query_one(RowTable).key
        if self._pairs is not None and key is not None and block.content_size.width:
            block.show(differing_items(self._pairs, key or None, block.content_size.width, block.size.height))


def columns(forest_width: int, head: str, level: float = 0.95) -> list[Column]:
    """The table's columns, intervals at `level`; arm intervals, raw p and h come where there is room."""
    interval = f"[{100 * level:g} % CI]"
    return [
        Column(title="type †guarded", width=14),
        Column(title="n", width=5, right=True),
        Column(title="base %", width=6, right=True),
        Column(title=interval, exported=f"base {interval}", width=13, from_width=_VERY_WIDE),
        Column(title="SFT %", width=5, right=True),
        Column(title=interval, exported=f"SFT {interval}", width=13, from_width=_VERY_WIDE),
        Column(title=f"lift pp {interval}", width=21),
        Column(title="p", width=7, right=True, from_width=_WIDE),
        Column(title="p adj", width=7, right=True),
        Column(title="h", width=5, right=True, from_width=_WIDE),
        Column(title=head, exported=None, width=forest_width),
    ]


def forest_room(width: int) -> int:
    """Cells that the other columns leave to the forest plot in a table of `width` cells, within what reads well."""
    taken = sum(column.width + 1 for column in columns(0, "")[:-1] if column.from_width <= width)
    return max(12, min(60, width - taken - 2))


def _row(name: str, outcome: Outcome, scale: Scale) -> Row:
    typed = outcome if isinstance(outcome, TypeOutcome) else None
    regressed = typed is not None and typed.guard is not None and typed.guard.status == "regressed"
    style = "$error" if regressed or (outcome.lift_ci is not None and outcome.lift_ci[1] < 0) else "$primary"
    mark = GUARD_MARKS.get(typed.guard.status, "") if typed is not None and typed.guard is not None else ""
    title = f"{mark}{name or 'overall'}{' †' if typed is not None and typed.guard is not None else ''}"
    lift = f"{points(outcome.lift):>6} {percent_interval(outcome.lift_ci)}"
    h = NONE if outcome.cohens_h is None else f"{outcome.cohens_h:+.2f}"
    return Row(
        name,
        (
            inert_line(title, 14, style="bold" if typed is None else "$error" if regressed else ""),
            str(outcome.n),
            percent(outcome.base_rate),
            percent_interval(outcome.base_ci),
            percent(outcome.sft_rate),
            percent_interval(outcome.sft_ci),
            Content.styled(lift, style if regressed else ""),
            p_value(outcome.mcnemar.primary.p),
            p_value(typed.p_adjusted) if typed is not None else NONE,
            h,
            forest_row(scale, outcome.lift_ci, outcome.lift, style),
        ),
    )


def when(view: RunView) -> Content:
    """Why there is no verdict, and when it will come."""
    state, shown = view.state, view.shown_state
    problem = view.problems.get("evaluation.json")
    if problem:
        return inert(problem, style="$error")
    head = Content.styled("No verdict yet.\n\n", "bold")
    if view.going_on:
        eta = (
            f"about {clock_duration(state.eta_s)} from now"
            if state.eta_s is not None
            else "not known yet; it is when the base arm is done"
        )
        return Content.assemble(
            head,
            "The verdict comes when both arms have answered every held-out item: ",
            (eta, "bold $primary"),
            ".\n\nNo p-value is shown before, because looking early and stopping when it suits gives false GOs.\n"
            "The growing 2×2 table is in Eval (3).",
        )
    reason = Content.assemble(
        "The run rests: ", STATES[shown].content(bold=True), inert_line(f" {state.detail}" if state.detail else "", 300), "\n\n"
    )
    mend = {
        "blocked": "Gates (1) shows what blocks it and how to go on.",
        "failed": "r resumes from the last checkpoint once the cause is mended.",
        "draft": "r starts it.",
    }.get(shown, "r resumes it exactly where it rests; the verdict comes when both arms are complete.")
    tail = (
        Content.assemble("\n\n", ("last lines of the engine's log\n", "$muted"), inert("\n".join(state.log_tail[-8:])))
        if state.log_tail
        else ""
    )
    return Content.assemble(head, reason, mend, tail)
