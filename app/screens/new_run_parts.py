"""Parts of the form for a new run: a line with its field, and the rows of what can be picked. Pure."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from app.engine_calls import Model
from app.inert import inert_line
from app.new_run import model_finding
from app.widgets.line import TextBlock
from app.widgets.row_table import Column, Row

MODEL_COLUMNS = (
    Column(title="model", width=0),
    Column(title="GiB", width=6, right=True),
    Column(title="kind", width=10),
    Column(title="place, or what is wrong", width=0),
)
FILE_COLUMNS = (Column(title="file", width=0),)
NO_MODELS = (
    "There is none in the workspace's models folder nor in the hub cache. Put one there (config.json, *.safetensors, tokenizer), or write "
    "the path of its folder into the field. q goes back."
)
NO_FILES = "There is no .jsonl, .parquet or .json file here or in the workspace. Write the path into the field. q goes back."


def form_line(widget_id: str, label: str, hint: str, value: str = "") -> ComposeResult:
    """A label with its field, and below what is known of the value."""
    with Horizontal(id=f"{widget_id}-line", classes="line"):
        yield Static(Content(label), classes="label")
        yield Input(value=value, placeholder=hint, id=widget_id, compact=True, max_length=1000)
    found = TextBlock(widget_id=f"{widget_id}-found", classes="found")
    found.display = False
    yield found


def model_row(model: Model) -> Row:
    """A model with size, kind, and what is wrong with it."""
    finding = model_finding(model)
    kind = Content.styled("✗ unusable" if model.problems else "! instruct", "$error" if model.problems else "$warning")
    cells = (
        inert_line(model.name, 60),
        f"{model.size_bytes / 2**30:.1f}",
        kind if finding.problem else Content.styled("✓ base", "$success"),
    )
    return Row(model.value, (*cells, inert_line(finding.text if finding.problem else model.path, 200, style="$muted")))
