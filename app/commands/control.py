"""Commands on runs that exist: runs, watch, stop, checkpoint, logs, open.

It refuses to signal processes: a command reaches the supervisor as a file, wherever it runs.
"""

import sys
import time
from pathlib import Path
from typing import Literal

import click
import msgspec
from rich.table import Table

from app.commands.follow import LOOK_EVERY_S, exit_status, follow
from app.commands.output import console, inert, print_json, say
from app.listing_text import given_name, what
from engine.protocol.commands import CommandName, send_command, who
from engine.protocol.durability import warning
from engine.protocol.errors import RunBusyError, RunFolderError
from engine.protocol.event_texts import duration
from engine.protocol.journal_tail import JournalTail
from engine.protocol.listing import Listed, RunsReader
from engine.protocol.runs import (
    LIVE_STATES,
    OwnerWatch,
    RunFolder,
    find_run,
    read_summary,
    workspace,
)

STOP_PATIENCE_S = 600.0


def summaries(root: Path) -> list[Listed]:
    """Every run, newest first, in the state it is truly in."""
    return RunsReader(root).read()


def print_runs(root: Path) -> None:
    """The table of runs, or what to do where there is none; the workspace, and whether it goes with the pod."""
    out = console()
    found = summaries(root)
    if found:
        out.print(_runs_table(found))
        out.print(inert(f"workspace {root}", "dim"), soft_wrap=True)
    else:
        out.print(f"No runs in {root} yet. `sluice demo` shows the whole job; `sluice init DIR` begins your own.")
    if lost := warning(root):
        out.print(inert(f"! the workspace is {lost}", "yellow"), soft_wrap=True)


def _runs_table(found: list[Listed]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    for heading in ("run", "state", "stage", "done", "ETA", "verdict"):
        # only the last column gives way, so that ids and states stay whole
        justify: Literal["left", "right"] = "right" if heading in ("done", "ETA") else "left"
        table.add_column(heading, justify=justify, no_wrap=True, overflow="ellipsis", ratio=1 if heading == "verdict" else None)
    for listed in found:
        summary = listed.summary
        done = f"{summary.progress:.0%}" if listed.live else ""
        eta = duration(summary.eta_s) if summary.eta_s is not None and listed.live else ""
        said = [given_name(listed), summary.decision or "", summary.note, what(listed, time.time())]
        last = inert(" · ".join(text for text in said if text))
        table.add_row(listed.run.run_id, listed.state, summary.stage, done, eta, last)
    return table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def runs(as_json: bool) -> None:
    """List the runs of the workspace."""
    root = workspace()
    if as_json:
        print_json(
            [{"path": str(each.run.path), **msgspec.to_builtins(each.summary), "state": each.state} for each in summaries(root)]
        )
    else:
        print_runs(root)


@click.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print the run's journal events as they come, one JSON line each.")
def watch(run: str, as_json: bool) -> int:
    """Follow a run until it rests. Ctrl-C leaves it going."""
    found = find_run(run, workspace())
    if as_json:
        _print_events(found)
        return 0
    state = follow(found)
    say(f"run {found.run_id}: {state.state}{': ' + state.detail if state.detail else ''}", err=True)
    return exit_status(found, state)


@click.command()
@click.argument("run")
def stop(run: str) -> int:
    """Stop a run where a resume goes on: it finishes its step, writes a checkpoint and ends."""
    found = find_run(run, workspace())
    _command(found, "stop")
    state = follow(found, quiet=True)
    if state.state == "stopped":
        say(f"run {found.run_id} stopped: {state.detail}; sluice resume {found.run_id} goes on")
        return 0
    say(f"run {found.run_id} is {state.state}{': ' + state.detail if state.detail else ''}")
    return exit_status(found, state)


@click.command()
@click.argument("run")
def checkpoint(run: str) -> None:
    """Write a checkpoint now; training goes on."""
    found = find_run(run, workspace())
    _command(found, "checkpoint")
    say(f"run {found.run_id}: checkpoint asked for; sluice watch {found.run_id} shows when it is written")


@click.command()
@click.argument("run")
@click.option("-n", "--lines", default=50, show_default=True, type=click.IntRange(1), help="Lines from the end.")
def logs(run: str, lines: int) -> None:
    """Show the end of what the engine's processes printed."""
    found = find_run(run, workspace())
    try:
        text = found.engine_log.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise RunFolderError(f"{found.engine_log}: cannot be read: {error.strerror}") from None
    out = console()
    for line in text.splitlines()[-lines:]:
        out.print(inert(line), soft_wrap=True)


@click.command("open")
@click.argument("run")
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw with ASCII characters only.")
def open_run(run: str, ascii_only: bool) -> int:
    """Open the panel on one run, live or finished."""
    found = find_run(run, workspace())
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        say("sluice: open needs a terminal; without one, sluice watch follows a run", err=True)
        return 2
    from app.opening import open_panel

    open_panel(workspace(), found, ascii_only=ascii_only)
    return 0


def _command(run: RunFolder, command: CommandName) -> None:
    if not OwnerWatch(run).alive():
        summary = read_summary(run)
        state = "interrupted" if summary and summary.state in LIVE_STATES else summary.state if summary else "not started"
        raise RunBusyError(f"run {run.run_id}: is {state}, so there is nothing to {command}; sluice resume {run.run_id} goes on")
    send_command(run, command, who())


def _print_events(run: RunFolder) -> None:
    tail, owner = JournalTail(run.journal), OwnerWatch(run)
    while True:
        alive = owner.alive()
        for stamp, event in tail.poll_all():
            line = {**msgspec.to_builtins(stamp), **msgspec.to_builtins(event)}
            sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        sys.stdout.flush()
        if not alive:
            return
        time.sleep(LOOK_EVERY_S)
