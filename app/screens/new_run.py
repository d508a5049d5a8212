"""The form for a new run and what it starts: the plan, the gates, or the whole job.

The command line checks settings and inputs in another process, and what it finds goes to the field that can mend it. It refuses to train
anything before the gates are decided.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Button, Input

from app.engine_calls import plan_text, start_run, write_settings
from app.inert import inert
from app.keys import Key, bindings
from app.messages import Told
from app.new_run import FIELDS, FILES, Finding, free_folder, look, plain_value, sort_problems
from app.screens.new_run_form import NewRunForm
from app.screens.settings import SettingsScreen
from app.widgets.line import TextBlock
from engine.protocol.config import Config
from engine.protocol.config_file import differences
from engine.protocol.errors import ConfigError, SluiceError
from engine.protocol.runs import RunFolder

KEYS = (
    Key(keys="f2", action="pick", label="Pick…", help="Choose the field's value from what is on this machine."),
    Key(keys="f3", action="more", label="Settings…", help="Every setting with its meaning, to be changed before the start."),
    Key(keys="f4", action="plan", label="Plan", help="Tokens, steps, time, memory and power of this run; starts nothing."),
    Key(
        keys="f5",
        action="check_gates",
        label="Gates",
        help="Check settings, inputs and gates; nothing is trained before you launch.",
    ),
    Key(
        keys="f6",
        action="whole_job",
        label="Whole job",
        help="Gates, base arm, training, SFT arm, verdict; it only stops at a gate.",
    ),
    Key(keys="f9,escape", action="back", label="Back", help="Back to the list of runs; nothing is started."),
)


class Started(Message):
    """The command has answered: the run it started, or its problems."""

    def __init__(self, run: RunFolder | None, problems: Sequence[str] = ()) -> None:
        self.run, self.problems = run, problems
        super().__init__()


class NewRunScreen(NewRunForm):
    """The form with its keys."""

    KEYS = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS)]

    def __init__(self, root: Path, live: Sequence[str] = ()) -> None:
        super().__init__(root, live)
        self._busy = False

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Picking where there is a choice; nothing while the command is at work."""
        if action == "pick":
            return self._key_here() in ("model.path", "run.profile", *FILES)
        return not self._busy if action in ("check_gates", "whole_job", "more", "plan") else True

    @on(Button.Pressed, "#check")
    def action_check_gates(self) -> None:
        """Start a run that rests after its gates."""
        self._start(gates_only=True)

    @on(Button.Pressed, "#whole")
    def action_whole_job(self) -> None:
        """Start a run that goes on to the verdict."""
        self._start(gates_only=False)

    @on(Button.Pressed, "#more")
    def action_more(self) -> None:
        """Every setting."""
        try:
            now = self._config()
        except ConfigError as error:
            self._show_problems(error.problems)
            return
        self.app.push_screen(_MoreSettings("sluice › New run › all settings", Config(), now))

    @on(Button.Pressed, "#back")
    def action_back(self) -> None:
        """Away; a run that is being started already comes into the list."""
        self.dismiss()

    def take_settings(self, settings: Config) -> None:
        """Settings as they were left on their own screen."""
        self._more = settings
        for field in FIELDS:
            self._field(field.key).value = plain_value(settings, field.key)
        self._show_about()

    def action_plan(self) -> None:
        """What this run will be."""
        given = self._given()
        if given is None:
            return
        self._tell("the plan is being made …", style="$muted")

        def show(text: str) -> None:
            from app.screens.reading import ReadingScreen

            self._tell("")
            self.app.push_screen(ReadingScreen("sluice › New run › plan", inert(text)))

        self.panel.ask_for(lambda: plan_text(given), show, lambda problems: self._show_problems(problems.splitlines()))

    def _start(self, *, gates_only: bool) -> None:
        given = None if self._busy else self._given()
        if given is None:
            return
        name = self._value("run.name")
        source = self._file if self._file is not None and self._config() == self._file_config else None

        def body() -> None:
            try:
                path = source or write_settings(free_folder(self._root, name), given)
                self.post_message(Started(start_run(path, self._root, gates_only=gates_only)))
            except SluiceError as error:
                self.post_message(Started(None, error.problems))

        self._wait(True)
        self.run_worker(body, thread=True, group="start")

    def _given(self) -> list[str] | None:
        """The form as `table.key=value`; None where something has to be mended first, which is told at its field."""
        wrong = [field.key for field in FIELDS if self._shown(field) and look(field.key, self._value(field.key)).problem]
        for key in wrong:
            self._found(key, look(key, self._value(key)))
        if wrong:
            self._field(wrong[0]).focus()
            self._tell("✗ what is marked below its field has to be mended first")
            return None
        try:
            return [f"{change.key}={change.after}" for change in differences(Config(), self._config())]
        except ConfigError as error:
            self._show_problems(error.problems)
            return None

    def on_started(self, message: Started) -> None:
        """Open the run, or show what is wrong where it can be mended."""
        self._wait(False)
        if message.run is None:
            self._show_problems(message.problems)
            return
        panel, run = self.panel, message.run
        if self.is_current:
            self.dismiss()
            panel.call_later(panel.open_run, run)
        else:
            panel.on_told(Told(f"run {run.run_id} goes on"))

    def _show_problems(self, problems: Sequence[str]) -> None:
        found = sort_problems(problems, {field.key: self._value(field.key) for field in FIELDS})
        self._tell(f"✗ {found.pop('')}" if "" in found else "✗ what is marked below its field has to be mended first")
        for key, text in found.items():
            self._found(key, Finding(text, problem=True))
        if found:
            self._field(next(iter(found))).focus()

    def _wait(self, waiting: bool) -> None:
        self._busy = waiting
        for button in ("#check", "#whole", "#more"):
            self.query_one(button, Button).disabled = waiting
        self._tell("settings and inputs are being checked …" if waiting else "", style="$muted")
        self.show_keys()

    def _tell(self, text: str, *, style: str = "$error") -> None:
        self.query_one("#problem", TextBlock).show(inert(text, style=style, limit=1200))


class _MoreSettings(SettingsScreen):
    """All settings, handed back to the form below when they are left."""

    def action_back(self) -> None:
        """Hand over."""
        below = self.app.screen_stack[-2] if not isinstance(self.focused, Input) else None
        super().action_back()
        if isinstance(below, NewRunScreen):
            below.take_settings(self.settings)
