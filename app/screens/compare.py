"""Two runs side by side: their figures and verdicts, both loss curves on one scale, the settings that differ.

Both are read by a thread, journals included. It refuses to call one of them better.
"""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content

from app.comparison import Comparison, compare_runs
from app.comparison_text import figure_rows, type_rows
from app.exporting import Table, export_into
from app.inert import inert, inert_line
from app.keys import Key, bindings
from app.screens.panel_screen import PanelScreen
from app.widgets.key_footer import KeyFooter
from app.widgets.line import TextBlock, rule
from engine.protocol.runs import RunFolder, workspace_of

KEYS = (
    Key(keys="b,backspace,escape,left", action="back", label="Back", help="Back to the list of runs."),
    Key(keys="x", action="export", label="Export", help="This comparison as CSV and Markdown into the workspace."),
    Key(keys="q", action="app.leave", label="Leave", help="Leave the panel; every run goes on."),
)
_NAME_CELLS = 26


class CompareScreen(PanelScreen):
    """The two runs."""

    CSS_PATH = "compare.tcss"
    KEYS = KEYS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS)]

    def __init__(self, first: RunFolder, second: RunFolder) -> None:
        super().__init__()
        self._runs = (first, second)
        self._found: Comparison | None = None

    def compose(self) -> ComposeResult:
        """Title, figures beside or above the curves, keys."""
        title = TextBlock(widget_id="title", classes="title")
        title.show(Content.assemble(("sluice", "bold $primary"), " › compare"))
        yield title
        with Container(id="compare-split"):
            with VerticalScroll(id="compare-side"):
                text = TextBlock(widget_id="compare-text")
                text.show(Content.styled("reading both runs …", "$muted"))
                yield text
            yield Container(id="compare-chart")
        yield KeyFooter()

    def on_mount(self) -> None:
        """Read in a thread."""
        self.query_one("#compare-chart").display = False
        self.query_one("#compare-side").focus()
        self.panel.ask_for(lambda: compare_runs(*self._runs), self._show, self._tell)
        self.show_keys()

    def on_resize(self) -> None:
        """Columns follow the width."""
        self.call_after_refresh(self._paint)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """An export of something."""
        return self._found is not None if action == "export" else True

    def action_back(self) -> None:
        """Back."""
        self.dismiss()

    def action_export(self) -> None:
        """The figures and settings as files."""
        found = self._found
        if found is not None:
            folder = workspace_of(self._runs[0]) / "exports"
            name = f"compare {found.first.run_id} {found.second.run_id}"
            self.panel.ask_engine(lambda: export_into(folder, name, comparison_table(found)))

    def _show(self, found: Comparison) -> None:
        from app.widgets.loss_curves import LossCurves

        if not self.query("#compare-chart"):
            return
        self._found = found
        if found.first.curve or found.second.curve:
            place = self.query_one("#compare-chart", Container)
            place.display = True
            place.mount(LossCurves((found.first.curve, found.second.curve)))
        self._paint()
        self.show_keys()

    def _tell(self, problems: str) -> None:
        for text in self.query("#compare-text").results(TextBlock):
            text.show(inert(problems, style="$error"))

    def _paint(self) -> None:
        if self._found is not None:
            text = self.query_one("#compare-text", TextBlock)
            text.show(comparison_content(self._found, text.content_size.width or 78))


def comparison_content(found: Comparison, width: int) -> Content:
    """Cautions, figures, lifts by type and settings, a column for each run."""
    room = max(12, (width - _NAME_CELLS - 2) // 2)
    heads = ("", found.first.run_id, found.second.run_id)
    lines = [inert(f"! {caution}", style="$warning") for caution in found.cautions]
    lines.append(_line(heads, room, "bold"))
    lines.append(_line(("curve", "a line", "dots •"), room, "$muted"))
    lines += [_line(row, room) for row in figure_rows(found)]
    # why the figures differ comes before how they do by type: on a small screen the rest has to be scrolled to
    lines.append(rule(f"settings that differ: {len(found.settings)}", width))
    lines += [_line((each.key, each.before, each.after), room) for each in found.settings]
    types = type_rows(found)
    if types:
        lines += [rule("lift by type, pp [95 % CI]", width), *(_line(row, room) for row in types)]
    return Content("\n").join(lines)


def _line(cells: Sequence[str], room: int, style: str = "") -> Content:
    parts: list[Content | str] = []
    for cell, width in zip(cells, (_NAME_CELLS, room, room), strict=True):
        content = inert_line(cell, width, style=style or ("$muted" if not parts else ""))
        parts += [content, " " * (width - content.cell_length + 1)]
    return Content.assemble(*parts)


def comparison_table(found: Comparison) -> Table:
    """For an export."""
    rows = [*figure_rows(found), *((f"lift of {name}", *cells) for name, *cells in type_rows(found))]
    rows += [(each.key, each.before, each.after) for each in found.settings]
    return ("what", found.first.run_id, found.second.run_id), rows
