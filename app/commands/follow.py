"""Following a run from the command line: rich progress on a terminal, plain lines elsewhere, until the run comes to rest.

It refuses to be part of the run: Ctrl-C leaves it going, and says so.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from app.commands.output import console, say
from engine.protocol import events as ev
from engine.protocol.evaluation import decode_evaluation
from engine.protocol.evaluation import exit_status as verdict_exit_status
from engine.protocol.event_texts import duration, gib, log_line
from engine.protocol.journal_tail import JournalTail
from engine.protocol.run_fold import apply
from engine.protocol.run_state import RunState
from engine.protocol.runs import OwnerWatch, RunFolder

LOOK_EVERY_S = 0.25
REST_GRACE_S = 2.0
RESTING = ("finished", "failed", "blocked", "stopped")
PLAIN_STEPS = 20


def follow(run: RunFolder, *, quiet: bool = False) -> RunState:
    """Show a run until it rests; the state it then has (`interrupted` where its engine is gone).

    Raises: click.exceptions.Exit(130) when the person leaves with Ctrl-C; the run goes on.
    """
    state = RunState()
    shown = _Silent() if quiet else _Bars() if sys.stderr.isatty() else _Lines()
    try:
        with shown:
            for event in _until_rest(run, state):
                shown.show(event, state)
    except KeyboardInterrupt:
        say(f"\nThe run goes on: sluice watch {run.run_id} follows it, sluice stop {run.run_id} ends it.", err=True)
        raise click.exceptions.Exit(130) from None
    return state


def exit_status(run: RunFolder, state: RunState) -> int:
    """The process status of SPEC §9 for a run at rest."""
    if state.state == "finished":
        return verdict_status(run)
    if state.state == "failed":
        return state.failed_status
    return {"blocked": 1, "stopped": 130}.get(state.state, 4)


def verdict_status(run: RunFolder) -> int:
    """0 for GO or no verdict asked for, 1 for NO-GO, 3 for INCONCLUSIVE or a GO that wants a signature."""
    if not run.evaluation.exists():
        return 0
    return verdict_exit_status(decode_evaluation(run.evaluation.read_bytes(), str(run.evaluation)).verdict)


def _until_rest(run: RunFolder, state: RunState) -> Iterator[ev.Event]:
    tail, watch = JournalTail(run.journal), OwnerWatch(run)
    deadline = time.monotonic() + REST_GRACE_S
    while True:
        alive = watch.alive()
        for stamp, event in tail.poll_all():
            apply(state, event, stamp)
            yield event
        if not alive:
            # the owner is gone, so the journal is complete: what it says last is how the run rests
            if state.state in RESTING:
                return
            if time.monotonic() > deadline:
                state.state = "interrupted"
                return
        else:
            deadline = time.monotonic() + REST_GRACE_S
        time.sleep(LOOK_EVERY_S)


class _Silent(AbstractContextManager["_Silent"]):
    """Nothing at all: a program reads the JSON at the end."""

    def show(self, event: ev.Event, state: RunState) -> None:
        """Show one event that was just folded into `state`."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


class _Lines(_Silent):
    """Plain lines for a log file or a pipe: one per event that has a sentence, a few for steps and batches."""

    def __init__(self) -> None:
        self._next_share = 0.0
        self._stage = ""

    def show(self, event: ev.Event, state: RunState) -> None:
        """Print the event's line, if it has one."""
        line = log_line(event)
        if line is not None:
            level, text = line[1], line[0]
            say(f"{state.last_t[11:19]}  {'' if level == 'info' else level + ': '}{text}", err=True)
        elif isinstance(event, ev.StepTrained | ev.BatchEvaluated):
            self._progress(state)

    def _progress(self, state: RunState) -> None:
        if state.stage != self._stage:
            self._stage, self._next_share = state.stage, 0.0
        if state.progress >= self._next_share:
            self._next_share += 1 / PLAIN_STEPS
            say(f"{state.last_t[11:19]}  {_progress_text(state)}", err=True)


class _Bars(_Silent):
    """One rich progress line for the present stage below the log's lines."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:<6}"), BarColumn(), TextColumn("{task.fields[text]}"), console=self._console
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def show(self, event: ev.Event, state: RunState) -> None:
        """Print the event's line above the bars and move the stage's bar."""
        line = log_line(event)
        if line is not None:
            text, level = line
            style = {"warning": "yellow", "error": "bold red"}.get(level, "dim")
            self._console.print(f"{state.last_t[11:19]}  {text}", style=style)
        if state.stage not in self._tasks:
            self._tasks[state.stage] = self._progress.add_task(state.stage, total=1.0, text="")
        done = 1.0 if state.stage in state.stages_done else state.progress
        self._progress.update(self._tasks[state.stage], completed=done, text=_progress_text(state))


def _progress_text(state: RunState) -> str:
    parts = []
    if state.stage == "train" and state.last_step is not None:
        step = state.last_step
        parts += [
            f"step {step.step}/{step.steps}",
            f"loss {state.points[-1].smooth:.3f}",
            f"{step.tokens / max(step.elapsed_s, 1e-9):,.0f} tok/s",
        ]
    elif state.stage in ("base", "sft"):
        arm = state.arms[state.stage]
        successes = sum(outcome.success is True for outcome in arm.outcomes.values())
        parts += [f"{state.stage} arm {arm.done_items}/{arm.items} items", f"{successes} succeed"]
    if state.memory is not None:
        memory = state.memory
        parts.append(
            f"GPU {gib(memory.allocated_bytes)}" if memory.allocated_bytes is not None else f"{gib(memory.rss_bytes)} RSS"
        )
    if state.eta_s is not None:
        parts.append(f"ETA {duration(state.eta_s)}")
    return " · ".join(parts)
