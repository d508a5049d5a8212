"""The command `compare`: two runs side by side. It refuses to say which is better: that is for whoever knows what they are for."""

from collections.abc import Sequence

import click
from rich.table import Table

from app.commands.output import console, inert, print_json
from app.comparison import Comparison, Side, compare_runs
from app.comparison_text import figure_rows, type_rows
from engine.protocol.runs import find_run, workspace

SPARK = "▁▂▃▄▅▆▇█"
SPARK_CELLS = 48


@click.command()
@click.argument("first")
@click.argument("second")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, the loss curves included.")
def compare(first: str, second: str, as_json: bool) -> None:
    """Show two runs side by side: settings that differ, loss curves, verdicts."""
    root = workspace()
    found = compare_runs(find_run(first, root), find_run(second, root))
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: Comparison) -> None:
    out = console()
    heads = ("", found.first.run_id, found.second.run_id)
    settings = [(each.key, each.before, each.after) for each in found.settings] or [("no setting differs", "", "")]
    for title, rows in (("settings that differ", settings), ("", figure_rows(found)), ("lift by type, pp", type_rows(found))):
        if rows:
            out.print(_table(heads if not title.startswith("settings") else ("settings that differ", *heads[1:]), title, rows))
            out.print()
    low, high = _range(found)
    for side in (found.first, found.second):
        if side.curve:
            out.print(
                inert(f"{_spark(side, low, high)}  smoothed loss of {side.run_id}, {low:.2f} to {high:.2f}"), soft_wrap=True
            )
    for caution in found.cautions:
        out.print(inert(f"! {caution}", "yellow"), soft_wrap=True)


def _table(heads: Sequence[str], title: str, rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, heading in enumerate(heads):
        table.add_column(title if place == 0 else heading, overflow="fold")
    for row in rows:
        table.add_row(*(inert(cell) for cell in row))
    return table


def _range(found: Comparison) -> tuple[float, float]:
    """One scale for both curves."""
    values = [point.smooth for side in (found.first, found.second) for point in side.curve]
    return (min(values), max(values)) if values else (0.0, 0.0)


def _spark(side: Side, low: float, high: float) -> str:
    stride = max(1, -(-len(side.curve) // SPARK_CELLS))
    room = max(high - low, 1e-12)
    return "".join(SPARK[round((point.smooth - low) / room * (len(SPARK) - 1))] for point in side.curve[::stride])
