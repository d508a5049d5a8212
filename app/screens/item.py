"""One held-out item: the instruction, both responses, and every check with its reason. Everything in it is inert text."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content

from app.copying import copy_text
from app.inert import inert, inert_line
from app.keys import Key, bindings
from app.screens.panel_screen import PanelScreen
from app.state_words import outcome_word
from app.widgets.key_footer import KeyFooter
from app.widgets.line import TextBlock
from engine.protocol.arms import AnsweredItem, ItemRecord
from engine.protocol.runs import RunFolder

KEYS = (
    Key(keys="n,right", action="step(1)", label="Next", help="The next item of the list."),
    Key(keys="p,left", action="step(-1)", label="Previous", help="The item before."),
    Key(
        keys="y",
        action="copy",
        label="Copy",
        help="The item as text to the clipboard (where the terminal takes it) and to a file.",
    ),
    Key(keys="b,backspace,escape", action="back", label="Back", help="Back to the list."),
    Key(keys="q", action="app.leave", label="Leave", help="Leave the panel; every run goes on."),
)


class ItemScreen(PanelScreen):
    """One item of a list; `on_back` is told its place when the person goes back."""

    CSS_PATH = "items.tcss"
    KEYS = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS)]

    def __init__(self, run: RunFolder, pairs: Sequence[AnsweredItem], index: int, on_back: Callable[[int], None]) -> None:
        super().__init__()
        self._run, self._pairs, self._index, self._on_back = run, pairs, index, on_back

    def compose(self) -> ComposeResult:
        """Title, instruction, responses side by side where there is room, keys."""
        yield TextBlock(widget_id="title", classes="title")
        with VerticalScroll():
            yield TextBlock(widget_id="instruction")
            with Container(id="answers"):
                yield TextBlock(widget_id="base", classes="answer")
                yield TextBlock(widget_id="sft", classes="answer")
        yield KeyFooter()

    def on_mount(self) -> None:
        """Show the item."""
        self.query_one(VerticalScroll).focus()
        self._show()
        self.show_keys()

    def action_step(self, by: int) -> None:
        """Another item, round and round."""
        self._index = (self._index + by) % len(self._pairs)
        self._show()
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def action_back(self) -> None:
        """Back to the list, at this item."""
        self._on_back(self._index)
        self.app.pop_screen()

    def action_copy(self) -> None:
        """The item as it is shown, inert."""
        blocks = [self.query_one(f"#{part}", TextBlock).text for part in ("title", "instruction", "base", "sft")]
        copy_text(self.panel, self._run, "\n".join(blocks))

    def _show(self) -> None:
        pair = self._pairs[self._index]
        place = f"{self._index + 1} of {len(self._pairs)}"
        title = Content.assemble(
            "item ", inert_line(pair.id, 40, style="bold"), f"  {place}  ", inert_line(", ".join(pair.types), 60, style="$muted")
        )
        self.query_one("#title", TextBlock).show(title)
        instruction = Content.assemble(("Instruction\n", "bold $secondary"), inert(pair.instruction), "\n")
        self.query_one("#instruction", TextBlock).show(instruction)
        self.query_one("#base", TextBlock).show(answer("base arm", pair.base))
        self.query_one("#sft", TextBlock).show(answer("SFT arm", pair.sft))


def answer(name: str, record: ItemRecord | None) -> Content:
    """Outcome, length and why it ended, the response, the checks."""
    if record is None:
        return Content.assemble(("─ ", "$panel"), (name, "bold $secondary"), ("  has not answered it yet\n", "$muted"))
    word = outcome_word(record.success)
    ended = "cut at the limit" if record.stop == "length" else "ended by itself"
    parts: list[Content | tuple[str, str] | str] = [
        ("─ ", "$panel"), (name, "bold $secondary"), " ", word.content(bold=True), (f"  {record.tokens} tokens, {ended}\n", "$muted"),
        inert(record.text) if record.text else Content.styled("(empty)", "$muted"), "\n",
    ]  # fmt: skip
    for check in record.checks:
        found = outcome_word(check.success)
        parts += [
            (f"{found.glyph} {found.word} ", found.style),
            inert_line(check.kind, 40, style="bold"),
            " ",
            inert(check.reason, style="$muted"),
            "\n",
        ]
    return Content.assemble(*parts)
