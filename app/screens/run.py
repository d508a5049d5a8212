"""One run: four tabs, the status line that is always there, and the keys that work on the run as a whole.

A thread follows the run; one timer repaints, only the tab in sight and only where something changed. It refuses to stop or resume
anything without a person's word.
"""

import time
from collections.abc import Callable
from pathlib import PurePath
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content

from app.engine_calls import ask, resume
from app.following import RunFollower, RunView
from app.inert import inert, inert_line
from app.keys import Key, bindings
from app.screens.pane import Pane
from app.screens.panel_screen import PanelScreen
from app.state_words import RESUMABLE
from app.widgets.key_footer import KeyFooter
from app.widgets.line import ClickLine, Part, TextBlock
from app.widgets.status_line import status_line
from engine.protocol.runs import RunFolder, read_summary

SETTLE_S = 0.05
TABS = ("gates", "train", "eval", "report")
TITLES = {"gates": "Gates", "train": "Train", "eval": "Eval", "report": "Report"}
KEYS = (
    Key(keys="c", action="checkpoint", label="Checkpoint", help="Write a checkpoint now; training goes on."),
    Key(keys="s", action="stop", label="Stop…", help="Finish the step or batch, write a checkpoint and rest; asks first."),
    Key(keys="r", action="resume", label="Resume", help="Go on exactly where the run rests; gates are checked again."),
    Key(keys="l", action="launch", label="Launch", help="Go on from where it was to stop: base arm, training, SFT arm, verdict."),
    Key(
        keys="e",
        action="log",
        label="Log",
        help="Everything that happened, and the last lines of the engine's log.",
        footer=False,
    ),
    Key(keys="0,backspace,escape", action="app.runs", label="Runs", help="Back to the list of runs."),
    Key(keys="q", action="app.leave", label="Leave", help="Leave the panel; the run goes on."),
    Key(keys="1", action="tab('gates')", label="Gates", help="The gates before training, worst first.", footer=False),
    Key(keys="2", action="tab('train')", label="Train", help="Loss, speed, memory and what happened.", footer=False),
    Key(keys="3", action="tab('eval')", label="Eval", help="Both arms as they answer.", footer=False),
    Key(keys="4", action="tab('report')", label="Report", help="The verdict and its numbers.", footer=False),
)

STYLE_SHEETS: list[str | PurePath] = ["run.tcss", "gates.tcss", "train.tcss", "eval.tcss", "report.tcss"]


class RunScreen(PanelScreen):
    """One run, live or at rest."""

    CSS_PATH = STYLE_SHEETS
    KEYS = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS)]

    def __init__(self, run: RunFolder, *, tab: str | None = None, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self.follower = RunFollower(run, clock)
        self.tab = tab if tab in TABS else ""
        self._painted: tuple[int, str, int, tuple[tuple[int, int], ...]] | None = None
        self._panes: dict[str, Pane] = {}

    def compose(self) -> ComposeResult:
        """Tabs, the pane in sight, status, keys. One look before the first paint shows a small run at once."""
        self.follower.look_once()
        self.tab = self.tab or first_tab(self.follower.view)
        self._panes[self.tab] = make_pane(self.tab)
        yield ClickLine(widget_id="tabs")
        yield Container(self._panes[self.tab], id="panes")
        yield TextBlock(widget_id="problems")
        yield TextBlock(widget_id="status")
        yield KeyFooter()

    async def on_mount(self) -> None:
        """The thread goes on from the first look."""
        await self._show_tab(self.tab, remember=False)
        self.run_worker(self.follower.follow, thread=True, group="follow")
        self.set_interval(self.panel.repaint_s, self.tick)

    def on_unmount(self) -> None:
        """End the thread."""
        self.follower.stop()

    @property
    def view(self) -> RunView:
        """The latest of the run."""
        return self.follower.view

    @property
    def painted_room(self) -> tuple[tuple[int, int], ...] | None:
        """The room that the last paint knew; once it is the pane's own, the screen has settled."""
        return self._painted[3] if self._painted else None

    @property
    def goes_on(self) -> str | None:
        """The run, while a supervisor works on it."""
        return self.view.name if self.view.going_on else None

    @property
    def pane(self) -> Pane | None:
        """The tab in sight; None until it is composed, and once the panel is being taken down, which begins at its widgets."""
        pane = self._panes.get(self.tab)
        return pane if pane is not None and pane.ready and pane.is_attached and self.app.is_running else None

    def all_keys(self) -> list[Key]:
        """The pane's keys before those of the run."""
        return [*(self.pane.KEYS if self.pane else ()), *self.KEYS]

    def action_target(self, action: str) -> object:
        """The pane, where it has the action."""
        name = action.partition("(")[0]
        return self.pane if self.pane is not None and hasattr(self.pane, f"action_{name}") else self

    def tick(self) -> None:
        """Repaint what changed; ages in the status line change by themselves."""
        if not (self.is_current and self.is_mounted):
            return
        with self.follower.lock:
            view = self.view
            now = (view.version, self.tab, self.size.width, self.pane.room if self.pane else ())
            if now != self._painted and self.pane is not None:
                self._painted = now
                self.pane.paint(view)
                self._show_tabs(view)
            status = status_line(view, max(20, self.size.width - 2))
            problems = list(view.problems.values())
        self.query_one("#status", TextBlock).show(status)
        shown = self.query_one("#problems", TextBlock)
        shown.display = bool(problems)
        shown.show(Content("\n").join(inert(problem, limit=400) for problem in problems))
        self.show_keys()

    def on_resize(self, event: events.Resize) -> None:
        """Texts are cut to the width: paint anew."""
        self.paint_again()

    def paint_again(self) -> None:
        """Paint everything at the next refresh, whether it changed or not."""
        self._painted = None
        self.call_after_refresh(self.tick)

    async def action_tab(self, tab: str) -> None:
        """Show a tab."""
        await self._show_tab(tab)

    async def _show_tab(self, tab: str, *, remember: bool = True) -> None:
        self.tab = tab
        if tab not in self._panes:
            self._panes[tab] = make_pane(tab)
            await self.query_one("#panes", Container).mount(self._panes[tab])
        for name, pane in self._panes.items():
            pane.display = name == tab
        self.tick()
        # children get their sizes one layout later than the pane
        self.set_timer(SETTLE_S, self.tick)
        # another screen may have taken its place meanwhile
        if self.pane is not None and self.is_current:
            self.pane.focus_target().focus()
        if remember:
            self.panel.remember_tab(self.view.name, tab)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what the run's state allows."""
        state = self.view.state
        if action == "stop":
            return self.view.going_on and state.state != "stopping"
        if action == "checkpoint":
            return self.view.going_on and state.stage == "train" and state.state == "running"
        if action == "resume":
            return self.view.shown_state in RESUMABLE
        if action == "launch":
            return self.view.partial
        return True

    def action_checkpoint(self) -> None:
        """Ask the supervisor for a checkpoint."""
        run = self.view.run
        self.panel.ask_engine(lambda: ask(run, "checkpoint"))

    def action_stop(self) -> None:
        """Ask the person, then the supervisor."""
        from app.screens.dialogs import Confirm

        run = self.view.run
        self.app.push_screen(
            Confirm(
                f"Stop {run.run_id}?", "It finishes its step, writes a checkpoint and rests. Resume goes on from there.", "Stop"
            ),
            lambda yes: self.panel.ask_engine(lambda: ask(run, "stop")) if yes else None,
        )

    def action_log(self) -> None:
        """What happened, at length."""
        from app.screens.log import LogScreen

        with self.follower.lock:
            lines = list(self.view.state.log)
        self.app.push_screen(LogScreen(self.view.run, lines))

    def action_resume(self) -> None:
        """Go on where the run rests."""
        run = self.view.run
        self.panel.ask_engine(lambda: resume(run))

    def action_launch(self) -> None:
        """Go on to the verdict."""
        self.action_resume()

    def _show_tabs(self, view: RunView) -> None:
        wide = self.size.width >= 100
        room = max(8, self.size.width - 2 - (9 if wide else 2) - 4 * 12)
        name = inert_line(view.name, room)
        parts = (
            [Part("sluice", "bold $primary", "app.runs"), Part(" › ", "$muted")]
            if wide
            else [Part("‹ ", "bold $primary", "app.runs")]
        )
        parts += [Part(name.plain, "bold"), Part(" " * (room - name.cell_length))]
        for number, tab in enumerate(TABS, start=1):
            mark = tab_mark(tab, view)
            text = f" {number} {TITLES[tab]}{' ' + mark if mark else ''}".ljust(11)
            style = "bold reverse" if tab == self.tab else "$foreground" if mark else "$muted"
            parts += [Part(text, style, f"tab('{tab}')"), Part(" ")]
        self.query_one("#tabs", ClickLine).show_parts(parts)


def make_pane(tab: str) -> Pane:
    """The pane of a tab, imported when it is first shown."""
    if tab == "gates":
        from app.screens.gates import GatesPane

        return GatesPane(widget_id=tab)
    if tab == "train":
        from app.screens.train import TrainPane

        return TrainPane(id=tab)
    if tab == "eval":
        from app.screens.eval import EvalPane

        return EvalPane(id=tab)
    from app.screens.report import ReportPane

    return ReportPane(widget_id="report")


def first_tab(view: RunView) -> str:
    """Where the run is; of a journal not yet read to its end, state.json tells."""
    summary = None if view.caught_up else read_summary(view.run)
    stage = summary.stage if summary else view.state.stage
    if view.evaluation is not None:
        return "report"
    return {"gates": "gates", "base": "eval", "train": "train", "sft": "eval"}.get(stage, "report")


def tab_mark(tab: str, view: RunView) -> str:
    """`✓` for a part that is done, `▶` for the one at work, the number of blocking gates."""
    state = view.state
    if tab == "gates" and view.gates is not None and view.gates.blocking:
        return f"✗{len(view.gates.blocking)}"
    if tab == "report":
        return "✓" if view.evaluation is not None else ""
    stages = {"gates": ("gates",), "train": ("train",), "eval": ("base", "sft")}[tab]
    if all(stage in state.stages_done for stage in stages):
        return "✓"
    return "▶" if state.stage in stages and view.going_on else ""
