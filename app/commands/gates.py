"""The command `gates`: check a dataset against the gates and show why. It refuses to start anything."""

import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import click
from rich.progress import Progress
from rich.table import Table

from app.commands.output import console, inert, print_json
from engine.protocol import events as ev
from engine.protocol.config_file import load_config
from engine.protocol.gates import Evidence, GateResult, GatesReport, worst_first

WORDS = {"pass": ("✓ PASS", "green"), "fail": ("✗ FAIL", "bold red"), "undecided": ("? UNDEC", "yellow"),
         "pending": ("… PENDING", "cyan"), "n/a": ("– n/a", "dim")}  # fmt: skip
SHOWN_EVIDENCE = 3
SHOWN_LINES = 4
SHOWN_CHARACTERS = 160


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the whole result as JSON, with all evidence.")
def gates(config: Path, as_json: bool) -> int:
    """Check the dataset of a sluice.toml against the gates, without starting a run."""
    path = config / "sluice.toml" if config.is_dir() else config
    settings = load_config(path)
    from engine.data.gates import check_gates

    with Progress(console=console(stderr=True), transient=True, disable=as_json or not sys.stderr.isatty()) as bar:
        tasks = {}

        def emit(event: ev.Event) -> None:
            if isinstance(event, ev.GateProgressed):
                if event.what not in tasks:
                    tasks[event.what] = bar.add_task(event.what, total=event.total)
                bar.update(tasks[event.what], completed=event.done)

        report = check_gates(settings, emit=emit)
    if as_json:
        print_json(report)
    else:
        print_report(report, every_reason=True)
    return 0 if report.passed else 1


def print_report(report: GatesReport, *, every_reason: bool = False) -> None:
    """The table, worst first, then the reason and some evidence of every gate that does not pass; of the others `every_reason` in a line."""
    out = console()
    ordered = worst_first(report.gates)
    out.print(_table(ordered, {override.gate for override in report.overrides}))
    for gate in ordered:
        if gate.status in ("fail", "undecided"):
            _print_reason(gate)
    out.print()
    for gate in ordered if every_reason else ():
        if gate.status in ("pass", "pending"):
            out.print(inert(f"{WORDS[gate.status][0][0]} {gate.id}: {gate.reason}", "dim"))
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in report.dataset.dropped.items())
    out.print(
        inert(f"{report.dataset.records:,} records in {report.dataset.path}" + (f"; dropped: {dropped}" if dropped else ""))
    )
    if report.relaxed:
        out.print(f"RELAXED: {', '.join(report.relaxed)}", style="yellow")
    blocking = report.blocking
    out.print(
        "gates passed" if not blocking else f"BLOCKED by {', '.join(blocking)}", style="green" if not blocking else "bold red"
    )


def _table(ordered: Sequence[GateResult], overridden: Collection[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("status", "gate", "severity", "declared", "measured", "threshold"):
        table.add_column(heading, no_wrap=heading in ("status", "gate"))
    for gate in ordered:
        word, style = WORDS[gate.status]
        if gate.severity == "advisory" and gate.status == "fail":
            word, style = "! WARN", "yellow"
        name = f"{gate.id} (overridden)" if gate.id in overridden else gate.id
        table.add_row(inert(word, style), name, gate.severity, inert(gate.declared), inert(gate.measured), inert(gate.threshold))
    return table


def _print_reason(gate: GateResult) -> None:
    out = console()
    out.print()
    title = f" ({gate.title})" if gate.title else ""
    out.print(inert(f"{gate.id}{title}: {gate.reason}"), style="bold" if gate.blocking else "")
    for evidence in gate.evidence[:SHOWN_EVIDENCE]:
        first, *more = marked_lines(evidence)
        if more:
            first, more = "", [first, *more]
        out.print(inert(f"  {evidence.record}{': ' if first else ''}{first}"))
        for line in more:
            out.print(inert(f"    {line}"))
    left = max(gate.evidence_total, len(gate.evidence)) - SHOWN_EVIDENCE
    if left > 0:
        out.print(f"  … and {left:,} more (sluice gates --json lists up to 50)", style="dim")


def marked_lines(evidence: Evidence) -> list[str]:
    """The first lines of the evidence that matter, each cut about what matters in it, which stands between « and »."""
    lines, at = [], 0
    for line in evidence.text.split("\n"):
        spans = [(max(low - at, 0), min(high - at, len(line))) for low, high in evidence.spans]
        inside = sorted((low, high) for low, high in spans if low < high)
        if inside or not evidence.spans:
            lines.append(_excerpt(line, inside))
        at += len(line) + 1
    lines = lines or [""]
    return lines[:SHOWN_LINES] + ([f"… and {len(lines) - SHOWN_LINES} more lines"] if len(lines) > SHOWN_LINES else [])


def _excerpt(line: str, spans: Sequence[tuple[int, int]]) -> str:
    start = max(0, spans[0][0] - SHOWN_CHARACTERS // 4) if spans and len(line) > SHOWN_CHARACTERS else 0
    end, at, pieces = start + SHOWN_CHARACTERS, start, ["…" if start else ""]
    for low, high in spans:
        if low < end:
            pieces += [line[at:low], "«", line[low : min(high, end)], "»"]
            at = min(high, end)
    return "".join([*pieces, line[at:end], "…" if end < len(line) else ""])
