"""A rerun: the frozen settings of a run, to be changed, and the start of a new run with them.

It refuses to start before it has shown what differs.
"""

from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content

from app.engine_calls import rerun
from app.inert import inert_line
from app.keys import Key, bindings
from app.messages import Told
from app.screens.dialogs import Confirm
from app.screens.settings import KEYS as SETTINGS_KEYS
from app.screens.settings import SettingsScreen
from engine.protocol.config import Config
from engine.protocol.config_file import load_config
from engine.protocol.errors import SluiceError
from engine.protocol.runs import RunFolder

KEYS = (
    SETTINGS_KEYS[0],
    Key(keys="l", action="launch", label="Launch…", help="Show what differs, and start the new run."),
    *SETTINGS_KEYS[1:],
)
_SHOWN = 10


class RerunScreen(SettingsScreen):
    """The settings of a run for another one."""

    KEYS = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS[1:2])]

    def __init__(self, run: RunFolder) -> None:
        self._run, self._unreadable = run, ""
        try:
            before = load_config(run.config, inputs_must_exist=False)
        except SluiceError as error:
            before, self._unreadable = Config(), str(error)
        super().__init__(f"sluice › rerun of {run.run_id}", before)

    def on_mount(self) -> None:
        """Settings that cannot be read are told, and lead back."""
        if self._unreadable:
            self.panel.on_told(Told(self._unreadable, "error"))
            self.call_later(self.dismiss)
            return
        super().on_mount()

    def action_launch(self) -> None:
        """Show the difference, ask, start."""
        run, changes = self._run, self.changes
        given = [f"{change.key}={change.after}" for change in changes]

        def take(sure: bool | None) -> None:
            if sure:
                self.tell("")
                self.panel.ask_for(lambda: rerun(run, given), self._opened, self.tell)

        lines = [inert_line(f"{change.key}  {change.before} → {change.after}", 200) for change in changes[:_SHOWN]]
        if len(changes) > _SHOWN:
            lines.append(Content.styled(f"and {len(changes) - _SHOWN} more", "$muted"))
        same = Content.styled("No setting differs: the same job once more, as another attempt on its held-out set.", "$warning")
        self.app.push_screen(Confirm(f"Rerun {run.run_id}?", Content("\n").join(lines or [same]), "Launch"), take)

    def _opened(self, made: RunFolder) -> None:
        panel = self.panel
        if self.is_current:
            self.dismiss()
            panel.call_later(panel.open_run, made)
        else:
            panel.on_told(Told(f"run {made.run_id} goes on"))
