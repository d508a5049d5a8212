"""A run folder whose settings are whole, and a real supervisor process on it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.protocol.commands import Command, send_command
from engine.protocol.config import Config, DataTable, EngineTable, ModelTable
from engine.protocol.events import Event
from engine.protocol.journal_tail import JournalTail
from engine.protocol.runs import RunFolder, read_owner, start_ticks
from engine.store.create_run import create_run

from .fake_worker import finish

DRIVE = Path(__file__).parent / "drive.py"
ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0


def until_true(what: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Look again and again until `what` gives something true, and return that."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"did not come true within {patience_s} s: {what}")


class Driven:
    """One run and the supervisor processes that a test starts on it."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.processes: list[subprocess.Popen[str]] = []

    def script(self, **stages: list[list[list[object]]]) -> None:
        (self.run.path / "fake.json").write_text(json.dumps(stages))

    def complete(self, *stages: str) -> None:
        """As if these stages had been run before."""
        for stage in stages:
            finish(self.run.path, stage)

    def start(self, until: str = "train") -> "subprocess.Popen[str]":
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, str(DRIVE), str(self.run.path), until],
            env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def finish(self, until: str = "train") -> int:
        return self.start(until).wait(PATIENCE_S)

    def events(self) -> list[Event]:
        return [event for _, event in JournalTail(self.run.journal).poll_all()]

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events()]

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events() if type(event) is kind]

    def await_worker(self, stage: str, but_not: int | None = None) -> int:
        """The pid of the worker that waits in `stage`."""
        marker = self.run.path / f"waiting-{stage}"

        def pid() -> int | None:
            text = marker.read_text() if marker.exists() else ""
            return int(text) if text and int(text) != but_not else None

        return int(until_true(pid))

    def command(self, name: str) -> Command:
        return send_command(self.run, name, "ada@lab")  # type: ignore[arg-type]


@pytest.fixture
def fresh(driven: Driven) -> Driven:
    """A run that has done nothing yet."""
    for path in (driven.run.gates, driven.run.prereg, driven.run.eval / "base.jsonl"):
        path.unlink()
    return driven


@pytest.fixture
def driven(tmp_path: Path) -> Iterator[Driven]:
    """A run that stands before its training; a supervisor goes up to `train` unless told."""
    yield from _driven(tmp_path)


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Driven]:
    """A second run beside the first."""
    yield from _driven(tmp_path)


def _driven(tmp_path: Path) -> Iterator[Driven]:
    for name in ("train.jsonl", "held.jsonl"):
        (tmp_path / name).write_text("")
    config = Config(
        model=ModelTable(path=str(tmp_path)),
        data=DataTable(train=str(tmp_path / "train.jsonl"), held_out=str(tmp_path / "held.jsonl")),
        engine=EngineTable(device="cpu", max_restarts=2),
    )
    made = Driven(create_run(config, tmp_path / "workspace"))
    made.script()
    made.complete("gates", "base")
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()
    _end_worker(made.run)
    orphan = made.run.path / "orphan"
    if orphan.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(orphan.read_text()), signal.SIGKILL)


def _end_worker(run: RunFolder) -> None:
    owner = read_owner(run)
    if owner and owner.worker_pid and start_ticks(owner.worker_pid) == owner.worker_start_ticks:
        with contextlib.suppress(ProcessLookupError):
            os.kill(owner.worker_pid, signal.SIGKILL)
