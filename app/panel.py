"""The panel: the App with its screens, themes and the keys that work everywhere; `run_panel` opens it and says how to come back.

It holds no logic of a run and reads run folders only. It refuses to end, pause or hurry anything: leaving it changes nothing.
"""

import gc
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

from msgspec.structs import replace
from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.filter import LineFilter
from textual.screen import Screen

from app.glyphs import AsciiFilter, ColourlessFilter, started_environ, tmux_client_utf8, wants_ascii
from app.keys import Key, bindings
from app.messages import Answered, Open, Told
from app.panel_settings import PanelSettings, load_settings, save_settings, with_tab
from app.themes import DEFAULT, load_palettes, shipped_folder
from engine.protocol.errors import SluiceError
from engine.protocol.runs import RunFolder

KEYS = (
    Key(keys="q", action="leave", label="Leave", help="Leave the panel; every run goes on."),
    Key(keys="question_mark,f1", action="app.keys", label="Keys", help="Show all keys of this screen.", footer=False),
    Key(
        keys="t",
        action="app.next_theme",
        label="Theme",
        help="Next colour theme; it is remembered in the workspace.",
        footer=False,
    ),
    Key(
        keys="y",
        action="app.copy",
        label="Copy",
        help="Copy the text of this screen: clipboard (OSC 52), and always a file.",
        footer=False,
    ),
    Key(keys="ctrl+p,colon", action="app.command_palette", label="Palette", help="Find any action by name.", footer=False),
)

Answer = TypeVar("Answer")
BREAKPOINTS: list[tuple[int, str]] = [(0, "-narrow"), (100, "-wide"), (150, "-very-wide")]


class Panel(App[None]):
    """The app. `clock` gives seconds since 1970; `repaint_s` is the pause between repaints."""

    TITLE = "sluice"
    ENABLE_COMMAND_PALETTE = True
    HORIZONTAL_BREAKPOINTS = BREAKPOINTS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS)]
    repaint_s = 0.5

    def __init__(
        self, root: Path, run: RunFolder | None = None, *, ascii_only: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        # Textual reads the style sheets of screens that are pushed, but not those of the first one
        super().__init__(css_path=["panel.tcss", *first_style_sheets(run is not None)])
        self.root, self.first_run, self.clock = root, run, clock
        self.settings = load_settings(root)
        self.goes_on: str | None = None
        self.palettes, self.theme_problems = load_palettes(shipped_folder(), root / "themes")
        for palette in self.palettes:
            self.register_theme(palette.theme())
        names = [palette.name for palette in self.palettes]
        self.theme = self.settings.theme if self.settings.theme in names else DEFAULT
        self.animation_level = "none"
        self._extra_filters: list[LineFilter] = [AsciiFilter()] if ascii_only else []

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Values of the panel's own variables before a theme of its own is set."""
        return {"muted": "#a9b2bc", "cursor": "#3a4049"}

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Without colours under NO_COLOR (Textual itself would still send greys); in ASCII where asked for."""
        filters = [ColourlessFilter()] if self.no_color else list(super().get_line_filters())
        return [*filters, *self._extra_filters]

    def get_default_screen(self) -> Screen[None]:
        """The run that was asked for, else the list of runs; nothing below it, so that only one screen is built at the start."""
        return self.run_screen(self.first_run) if self.first_run else self.runs_screen()

    def on_ready(self) -> None:
        """Tell of themes that could not be used; collect garbage again, where that waited for the first paint."""
        if not gc.isenabled():
            gc.freeze()
            gc.enable()
        for problem in self.theme_problems:
            self.on_told(Told(f"theme {problem}", "warning"))

    def run_screen(self, run: RunFolder) -> Screen[None]:
        """A screen on one run, on the tab it was left on."""
        from app.screens.run import RunScreen

        return RunScreen(run, tab=self.settings.tabs.get(run.run_id), clock=self.clock)

    def runs_screen(self) -> Screen[None]:
        """The list of runs."""
        from app.screens.runs import RunsScreen

        return RunsScreen(self.root, clock=self.clock)

    def open_run(self, run: RunFolder) -> None:
        """Show a run; the first screen stays below, since Textual cannot replace it."""
        if len(self.screen_stack) > 1:
            self.switch_screen(self.run_screen(run))
        else:
            self.push_screen(self.run_screen(run))

    def action_runs(self) -> None:
        """Back to the list of runs."""
        if len(self.screen_stack) == 1:
            self.push_screen(self.runs_screen())
        elif self.first_run is None:
            self.pop_screen()
        else:
            self.switch_screen(self.runs_screen())

    def remember_tab(self, run_id: str, tab: str) -> None:
        """Save the tab a run was left on."""
        self.remember(with_tab(self.settings, run_id, tab))

    def action_next_theme(self) -> None:
        """The next theme, remembered."""
        names = [palette.name for palette in self.palettes] or [self.theme]
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]
        self._remember_theme()
        self.notify(f"theme {self.theme}", timeout=2, markup=False)

    def use_theme(self, name: str) -> None:
        """One theme by name, remembered."""
        self.theme = name
        self._remember_theme()

    def _remember_theme(self) -> None:
        self.remember(replace(self.settings, theme=self.theme))

    def remember(self, settings: PanelSettings) -> None:
        """Take over and save settings that changed."""
        if settings == self.settings:
            return
        self.settings = settings
        problem = save_settings(self.root, settings)
        if problem:
            self.on_told(Told(f"not remembered: {problem}", "warning"))

    def ask_engine(self, call: Callable[[], str | Open], then: Callable[[], None] | None = None) -> None:
        """Run a blocking call in a thread and tell its sentence, open the run it made, or tell its problems; `then` follows a success."""

        def take(answer: str | Open) -> None:
            self.post_message(Told(answer) if isinstance(answer, str) else answer)
            if then is not None:
                then()

        self.ask_for(call, take)

    def ask_for(
        self, call: Callable[[], Answer], take: Callable[[Answer], None], failed: Callable[[str], None] | None = None
    ) -> None:
        """Run a blocking call in a thread and hand its answer over; its problems go to `failed`, or are told as a notice."""

        def body() -> None:
            try:
                self.post_message(Answered(partial(take, call())))
            except SluiceError as error:
                self.post_message(Answered(partial(failed, str(error))) if failed else Told(str(error), "error"))

        self.run_worker(body, thread=True, group="engine")

    def on_answered(self, message: Answered) -> None:
        """Take an answer over, on the panel's own thread."""
        message.take()

    def on_open(self, message: Open) -> None:
        """Show the run that was made; not over a dialog or another run that the person went to meanwhile."""
        if getattr(self.screen, "opens_new_runs", False):
            self.open_run(message.run)
        else:
            self.on_told(Told(f"run {message.run.run_id} goes on"))

    def on_told(self, message: Told) -> None:
        """Show a sentence as a notice."""
        self.notify(message.text, severity=message.severity, timeout=12 if message.severity == "error" else 5, markup=False)

    def action_keys(self) -> None:
        """All keys of the present screen."""
        from app.screens.help import HelpScreen, keys_of

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(keys_of(self.screen)))

    def action_copy(self) -> None:
        """The present screen's text to the clipboard and into a file of the workspace."""
        from app.copying import copy_into, screen_text

        copy_into(self, self.root / "exports", screen_text(self.screen))

    def action_leave(self) -> None:
        """Leave; runs go on."""
        told = (getattr(screen, "goes_on", None) for screen in reversed(self.screen_stack))
        self.goes_on = next((run_id for run_id in told if run_id), None)
        self.exit()

    def action_help_quit(self) -> None:
        """Ctrl-C is for copying in most terminals: say which key leaves."""
        self.notify("press q to leave; every run goes on", timeout=4, markup=False)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action of the screen's tables that works now, and each theme by name."""
        from app.screens.help import keys_of

        for key in keys_of(screen):
            if key.action != "app.command_palette":
                yield SystemCommand(key.label, key.help, self._runner(screen, key.action))
        for palette in self.palettes:
            yield SystemCommand(f"Theme {palette.name}", "Use this colour theme", self._theme_setter(palette.name))

    def _runner(self, screen: Screen[object], action: str) -> Callable[[], object]:
        async def run() -> None:
            await self.run_action(action, default_namespace=getattr(screen, "action_target", lambda _: screen)(action))

        return run

    def _theme_setter(self, name: str) -> Callable[[], None]:
        return lambda: self.use_theme(name)


def first_style_sheets(one_run: bool) -> list[str]:
    """Style sheets of the first screen, relative to this file."""
    names = ("run", "gates", "train", "eval", "report") if one_run else ("runs",)
    return [f"screens/{name}.tcss" for name in names]


def run_panel(root: Path, run: RunFolder | None = None, *, ascii_only: bool = False) -> None:
    """Show the panel on a workspace, or on one run, until it is left; then say whether a run goes on."""
    # The kernel's own way to end a process, even under nohup. A handler in Python needs the main thread, which a stalled terminal holds
    # in a full queue: closing one then left the panel alive and busy. Nothing needs saving, as settings are saved on change.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    panel = Panel(root, run, ascii_only=ascii_only or wants_ascii(started_environ(), tmux_client_utf8()))
    panel.run()
    if panel.goes_on:
        sys.stdout.write(f"run {panel.goes_on} goes on; sluice open {panel.goes_on} shows it again\n")
