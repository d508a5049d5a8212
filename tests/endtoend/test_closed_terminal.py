"""A run that was started from the panel goes on when the terminal is closed or stalls, and ends with the same bytes."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.protocol import events as ev
from engine.protocol.journal_tail import JournalTail
from engine.protocol.runs import RunFolder, list_runs, read_owner
from tests.endtoend.job import Watcher, await_rest, in_sft_arm, in_training, outcome
from tests.terminal import Terminal

# several workers that import torch, each in up to half a minute on a loaded machine
pytestmark = [pytest.mark.xdist_group("endtoend"), pytest.mark.timeout(900)]
STALL_KEYS = "t1t2t3t4" * 20
STALLED_STEPS = 8
UP, F6 = "\x1b[A", "\x1b[17~"


@pytest.fixture
def panel(job: Path) -> Iterator[Callable[..., Terminal]]:
    """Opens the panel on the job's workspace in a terminal of its own."""
    opened: list[Terminal] = []

    def launch(*arguments: str) -> Terminal:
        command = [sys.executable, "-m", "app.cli", *arguments]
        opened.append(Terminal(command, SLUICE_WORKSPACE=str(job / "workspace"), OMP_NUM_THREADS="1"))
        return opened[-1]

    yield launch
    for each in opened:
        each.clear_away()


def start_in_panel(terminal: Terminal, job: Path) -> RunFolder:
    """Start the job by the keys of the Runs screen; the run that came of it."""
    workspace = job / "workspace"
    before = {run.run_id for run in list_runs(workspace)}
    terminal.until("n New")
    terminal.press("n")
    terminal.until("F2 Pick")
    terminal.press(UP)
    # the line of the file has nothing to pick
    terminal.until("\n F3 Settings")
    terminal.press(f"{job}\r")
    terminal.until("filled in below")
    terminal.press(F6)
    terminal.until("1 Gates")
    (made,) = (run for run in list_runs(workspace) if run.run_id not in before)
    return made


def told(run: RunFolder, *kinds: type[ev.Event]) -> list[ev.Event]:
    return [event for _, event in JournalTail(run.journal).poll_all() if isinstance(event, kinds)]


def assert_undisturbed(run: RunFolder, undisturbed: RunFolder) -> None:
    ours, theirs = outcome(run), outcome(undisturbed)
    assert [name for name in theirs if ours[name] != theirs[name]] == []
    # nothing was begun anew either: one supervisor, a worker for each stage, no step trained twice
    assert len(told(run, ev.SupervisorStarted)) == 1
    assert len(told(run, ev.WorkerStarted)) == len(told(undisturbed, ev.WorkerStarted))
    assert not told(run, ev.Rewound, ev.WorkerRestarted, ev.RunStopping)


def test_stalled_and_closed_terminals_change_nothing_and_the_panel_comes_back(panel, job, undisturbed) -> None:
    first = panel()
    run = start_in_panel(first, job)
    watcher = Watcher(run)
    begun = watcher.until(in_training)
    owner = read_owner(run)
    # nothing is read any more, and the keys make the panel write far more than a terminal holds
    first.press(STALL_KEYS)
    watcher.until(lambda event: in_training(event) and event.step >= begun.step + STALLED_STEPS)
    assert first.process.poll() is None
    assert first.close() == -signal.SIGHUP
    watcher.until(in_training)
    again = panel("open", run.run_id)
    again.until("SFT ARM")
    again.press("2")
    again.until("smooth")
    watcher.until(in_sft_arm)
    assert again.close() == -signal.SIGHUP
    assert isinstance(await_rest(run), ev.RunFinished)
    last = read_owner(run)
    assert owner is not None and last is not None and (last.pid, last.epoch) == (owner.pid, owner.epoch)
    assert_undisturbed(run, undisturbed)
    third = panel("open", run.run_id)
    third.until("✓ finished")
    third.press("q")
    assert third.end() == 0
