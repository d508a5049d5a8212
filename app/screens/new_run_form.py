"""The fields of the form for a new run: base model, training and held-out files, profile, name; or a sluice.toml that is there already.

What a first look tells stands under its field, and F2 lists what a field can be. It refuses to start anything: that is the screen's.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input

from app.engine_calls import Model, models
from app.inert import inert, inert_line
from app.new_run import (
    FIELDS,
    FILES,
    PROFILES,
    Field,
    Finding,
    absolute_value,
    default_value,
    field_of,
    found_files,
    has_gpu,
    key_of,
    look,
    model_finding,
    plain_value,
)
from app.screens.new_run_parts import FILE_COLUMNS, MODEL_COLUMNS, NO_FILES, NO_MODELS, form_line, model_row
from app.screens.panel_screen import PanelScreen
from app.screens.picker import Picker
from app.widgets.key_footer import KeyFooter
from app.widgets.line import TextBlock
from app.widgets.row_table import Row
from engine.protocol.config import Config
from engine.protocol.config_changes import with_changes
from engine.protocol.config_file import differences, load_config
from engine.protocol.errors import SluiceError

_FILE = "settings-file"


class NewRunForm(PanelScreen):
    """A line for each field."""

    CSS_PATH = "new_run.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]

    def __init__(self, root: Path, live: Sequence[str] = ()) -> None:
        super().__init__()
        self._root, self._live = root, live
        self._more = Config()
        self._file: Path | None = None
        self._file_config: Config | None = None
        self._models: list[Model] = []

    def compose(self) -> ComposeResult:
        """A line to start from a file, a line for each field, what is known of it below, the answers."""
        title = TextBlock(widget_id="title", classes="title")
        title.show(
            Content.assemble(("sluice", "bold $primary"), " › ", ("New run", "bold"), ("   ↑ ↓ or Tab between fields", "$muted"))
        )
        yield title
        with VerticalScroll(id="form", can_focus=False):
            yield from form_line(_FILE, "sluice.toml", "path of a sluice.toml, where you have one; Enter fills in what it says")
            for field in FIELDS:
                yield from form_line(field.widget_id, field.label, field.hint, default_value(field.key))
            yield TextBlock(widget_id="about")
            with Horizontal(id="answers"):
                yield Button(Content("Check the gates"), id="check", variant="primary", compact=True)
                yield Button(Content("Whole job"), id="whole", compact=True)
                yield Button(Content("All settings…"), id="more", compact=True)
                yield Button(Content("Back"), id="back", compact=True)
        yield TextBlock(widget_id="problem")
        yield KeyFooter()

    def on_mount(self) -> None:
        """The model first; what models there are is asked for meanwhile."""
        self._show_profile()
        self._show_about()
        self._field("model.path").focus()
        self.panel.ask_for(lambda: models(self._root), self._take_models)
        self.show_keys()

    @on(Input.Blurred)
    def look_here(self, event: Input.Blurred) -> None:
        """A first look at what was written, once the field is left."""
        key = key_of(event.input.id)
        if key and event.value.strip():
            self._look(key)

    @on(Input.Submitted)
    def go_on(self, event: Input.Submitted) -> None:
        """Enter: take the file, or look at the field and go to the next."""
        if event.input.id == _FILE:
            self._take_file(event.value.strip())
            return
        self._look(key_of(event.input.id))
        self.focus_next()

    @on(Input.Changed, "#run-profile")
    def _show_profile(self) -> None:
        """The fields that only `stage1` wants."""
        stage1 = self._value("run.profile") == "stage1"
        for field in FIELDS:
            if field.stage1:
                self.query_one(f"#{field.widget_id}-line").display = stage1
                self.query_one(f"#{field.widget_id}-found").display = stage1
        self._look("run.profile")

    def action_pick(self) -> None:
        """A list of what there is for the field in focus."""
        key = self._key_here()
        if key == "run.profile":
            names = list(PROFILES)
            now = self._value(key)
            self._field(key).value = names[(names.index(now) + 1) % len(names)] if now in names else names[0]
        elif key == "model.path":
            self.app.push_screen(
                Picker("Base models on this machine", MODEL_COLUMNS, [model_row(m) for m in self._models], NO_MODELS),
                self._picked(key),
            )
        elif key in FILES:
            files = found_files(key, self._root, Path.cwd())
            rows = [Row(str(path), (inert_line(str(path), 200),)) for path in files]
            self.app.push_screen(Picker("Files here and in the workspace", FILE_COLUMNS, rows, NO_FILES), self._picked(key))

    def _picked(self, key: str) -> Callable[[str | None], None]:
        def take(value: str | None) -> None:
            if value is not None:
                self._field(key).value = value
                self._look(key)
                self.focus_next()

        return take

    def _take_models(self, found: list[Model]) -> None:
        self._models = found
        usable = [model for model in found if not model.problems and not model.tuned]
        if self._there and not self._value("model.path") and usable:
            self._found(
                "model.path", Finding(f"{len(found)} on this machine, {len(usable)} of them usable base models: F2 lists them")
            )

    def _take_file(self, written: str) -> None:
        if not written:
            self.focus_next()
            return
        path = Path(written).expanduser().absolute()
        path = path / "sluice.toml" if path.is_dir() else path
        try:
            config = load_config(path)
        except SluiceError as error:
            self._file = self._file_config = None
            self._found(
                _FILE,
                Finding("\n".join(problem.removeprefix(str(path)).lstrip(", :") for problem in error.problems), problem=True),
            )
            return
        self._file, self._more = path, config
        for field in FIELDS:
            self._field(field.key).value = plain_value(config, field.key)
        self._file_config = self._config()
        for field in FIELDS:
            self._look(field.key)
        # the focus stays, as the buttons may be so far below that going there would scroll this answer away
        self._found(_FILE, Finding("filled in below; F5 checks its gates, F6 does the whole job"))

    def _look(self, key: str) -> None:
        value = self._value(key)
        finding = look(key, value)
        self._found(key, finding)
        if key == "model.path" and value and not finding.problem:
            known = next((model for model in self._models if value in (model.value, model.path)), None)
            if known is not None:
                self._found(key, model_finding(known))
            else:
                self.panel.ask_for(lambda: models(self._root, value), lambda found: self._model_looked_at(value, found))

    def _model_looked_at(self, value: str, found: list[Model]) -> None:
        if self._there and found and self._value("model.path") == value:
            self._found("model.path", model_finding(found[0]))

    def _found(self, key: str, finding: Finding) -> None:
        widget_id = key if key == _FILE else field_of(key).widget_id
        block = self.query_one(f"#{widget_id}-found", TextBlock)
        mark = "✗ " if finding.problem else ""
        block.show(
            inert(f"{mark}{finding.text}" if finding.text else "", style="$error" if finding.problem else "$muted", limit=1200)
        )
        profile_only = key != _FILE and field_of(key).stage1 and self._value("run.profile") != "stage1"
        block.display = bool(finding.text) and not profile_only

    def _config(self) -> Config:
        """The form's values over everything else that was set; paths absolute, as the file is written elsewhere."""
        given = []
        for field in FIELDS:
            value = self._value(field.key) if self._shown(field) else ""
            given.append(f"{field.key}={absolute_value(field.key, value)}")
        return with_changes(self._more, given)

    def _show_about(self) -> None:
        lines = []
        if not has_gpu():
            lines.append("No GPU is visible: gates, small models and the demo work on the CPU; a large model needs one.")
        if self._live:
            lines.append(f"{self._live[0]} goes on: where both need the same GPU, this run queues behind it.")
        named = {field.key for field in FIELDS}
        others = [str(change.key) for change in differences(Config(), self._more) if change.key not in named]
        if others:
            lines.append(f"also set: {', '.join(others)}")
        self.query_one("#about", TextBlock).show(inert("\n".join(lines), style="$muted"))

    @property
    def _there(self) -> bool:
        """Whether an answer still finds the form."""
        return bool(self.query("#model-path"))

    def _shown(self, field: Field) -> bool:
        return not field.stage1 or self._value("run.profile") == "stage1"

    def _field(self, key: str) -> Input:
        return self.query_one(f"#{field_of(key).widget_id}", Input)

    def _value(self, key: str) -> str:
        return self._field(key).value.strip()

    def _key_here(self) -> str:
        return key_of(self.focused.id) if isinstance(self.focused, Input) else ""
