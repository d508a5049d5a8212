import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.protocol import events as ev
from engine.protocol.journal_tail import JournalTail
from engine.store import journal as journal_module
from engine.store.journal import JournalWriter
from engine.store.journal_end import find_end
from engine.store.step_thinning import StepThinning, Timed

PATIENCE_S = 10.0


def step(number: int) -> ev.StepTrained:
    return ev.StepTrained(
        step=number, steps=9999, epoch=0.1, loss=1.0, learning_rate=1e-3, grad_norm=1.0, tokens=1, response_tokens=1,
        micro_steps=1, elapsed_s=0.1, memory=ev.Memory(rss_bytes=1),
    )  # fmt: skip


def told(path: Path) -> list[ev.Event]:
    return [event for _, event in JournalTail(path).poll_all()]


def numbers(path: Path) -> list[int]:
    return [stamp.seq for stamp, _ in JournalTail(path).poll_all()]


class Gate:
    """A write that fails or hangs until it is told to go on."""

    def __init__(self) -> None:
        self.error: int | None = None
        self.entered, self.open = threading.Event(), threading.Event()
        self.open.set()
        self.short = False

    def write(self, descriptor: int, data: Any) -> int:
        self.entered.set()
        self.open.wait(PATIENCE_S)
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        return os.write(descriptor, data[: max(1, len(data) // 3)] if self.short else data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def written(path: Path, *events: ev.Event, **options: Any) -> JournalWriter:
    writer = JournalWriter(path, **options)
    for event in events:
        writer.put(event)
    return writer


def test_events_are_numbered_stamped_and_continued(path: Path):
    assert written(path, ev.Warned(text="a"), ev.Warned(text="b")).close()
    writer = JournalWriter(path)
    assert not writer.is_new
    writer.put(ev.Warned(text="c"), "2026-01-01T00:00:00.000Z", 12.3456)
    assert writer.close()
    assert numbers(path) == [0, 1, 2]
    assert [event.text for event in told(path) if isinstance(event, ev.Warned)] == ["a", "b", "c"]
    last = json.loads(path.read_bytes().splitlines()[-1])
    assert (last["t"], last["mono_s"], last["type"]) == ("2026-01-01T00:00:00.000Z", 12.346, "Warned")
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_empty_journal_is_new(path: Path):
    writer = JournalWriter(path)
    assert writer.is_new
    assert writer.close()


@pytest.mark.parametrize("torn", [b'{"seq":1,"t":"2026', b"\x00\x00\x00", b'{"seq":1,"text":"\xc3', b"1"])
def test_a_torn_line_is_ended_and_told(path: Path, torn: bytes):
    written(path, ev.Warned(text="a")).close()
    with path.open("ab") as file:
        file.write(torn)
    writer = written(path, ev.Warned(text="b"))
    assert writer.flush()
    writer.put(ev.Warned(text="c"))
    assert writer.close()
    assert told(path) == [
        ev.Warned(text="a"), ev.JournalRepaired(torn_bytes=len(torn)), ev.Warned(text="b"), ev.Warned(text="c")
    ]  # fmt: skip
    assert b"\n\n" not in path.read_bytes()
    assert numbers(path) == [0, 1, 2, 3]
    assert torn + b"\n" in path.read_bytes()


def test_a_line_that_only_lacks_its_newline_is_whole(path: Path):
    written(path, ev.Warned(text="a")).close()
    path.write_bytes(path.read_bytes()[:-1])
    written(path, ev.Warned(text="b")).close()
    assert told(path) == [ev.Warned(text="a"), ev.Warned(text="b")]


def test_the_last_number_is_found_behind_long_lines_and_torn_ones(path: Path):
    long = ev.Warned(text="x" * 300_000)
    written(path, ev.Warned(text="a"), long).close()
    assert find_end(path).next_seq == 2
    with path.open("ab") as file:
        file.write(b"torn\n" + b"y" * 500_000)
    assert find_end(path)[:2] == (2, 500_000)


def test_a_journal_of_nothing_but_a_torn_line(path: Path):
    path.write_bytes(b"{")
    written(path, ev.Warned(text="a")).close()
    assert told(path) == [ev.JournalRepaired(torn_bytes=1), ev.Warned(text="a")]
    assert numbers(path) == [0, 1]


def test_a_stalled_disk_never_blocks_and_costs_only_steps(path: Path):
    gate = Gate()
    gate.open.clear()
    writer = JournalWriter(path, write=gate.write, capacity=10)
    writer.put(ev.Warned(text="first"))
    assert gate.entered.wait(PATIENCE_S)
    for number in range(50):
        writer.put(step(number), mono_s=float(number))
        writer.put(ev.Warned(text=str(number)))
    assert not writer.flush(0.01)
    gate.open.set()
    assert writer.close()
    events = told(path)
    dropped = [event for event in events if isinstance(event, ev.EventsDropped)]
    assert sum(event.steps for event in dropped) + sum(isinstance(event, ev.StepTrained) for event in events) == 50
    assert dropped[0].steps > 0
    assert [event.text for event in events if isinstance(event, ev.Warned)] == ["first", *map(str, range(50))]
    assert numbers(path) == list(range(len(events)))


def test_a_full_disk_is_waited_for_and_told_afterwards(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(journal_module, "RETRY_S", 0.01)
    gate = Gate()
    gate.error, gate.short = errno.ENOSPC, True
    writer = written(path, ev.Warned(text="a"), ev.Warned(text="b"), write=gate.write)
    assert gate.entered.wait(PATIENCE_S)
    assert not writer.flush(0.05)
    gate.error = None
    assert writer.close()
    events = told(path)
    assert [event for event in events if isinstance(event, ev.Warned)] == [ev.Warned(text="a"), ev.Warned(text="b")]
    # where the writer took the first alone, the second comes after the disk was free again
    (filled,) = [event for event in events if isinstance(event, ev.DiskFilled)]
    assert (filled.path, filled.consequence) == ("events.jsonl", "events wait in memory")
    assert events[events.index(filled) + 1] == ev.DiskFreed(path="events.jsonl")
    assert numbers(path) == [0, 1, 2, 3]


def test_a_disk_that_fills_in_the_middle_of_a_line_leaves_it_whole(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(journal_module, "RETRY_S", 0.01)
    calls = []

    def write(descriptor: int, data: Any) -> int:
        calls.append(len(data))
        if len(calls) % 2 == 0:
            raise OSError(errno.EDQUOT, "quota")
        return os.write(descriptor, data[:7])

    assert written(path, ev.Warned(text="a" * 50), write=write).flush()
    assert told(path)[0] == ev.Warned(text="a" * 50)


def test_giving_up_on_a_full_disk_ends_in_time(path: Path):
    gate = Gate()
    gate.error = errno.ENOSPC
    writer = written(path, ev.Warned(text="a"), write=gate.write)
    assert not writer.close(0.05)
    assert told(path) == []


def test_a_displaced_writer_writes_nothing_more(path: Path):
    mine, noticed = [True], threading.Event()
    writer = written(path, ev.Warned(text="a"), still_mine=lambda: mine[0], on_displaced=noticed.set)
    assert writer.flush()
    mine[0] = False
    writer.put(ev.Warned(text="b"))
    assert noticed.wait(PATIENCE_S)
    writer.put(ev.Warned(text="c"))
    assert not writer.flush(1.0)
    assert told(path) == [ev.Warned(text="a")]


def test_syncs_are_rare_in_a_flood_and_forced_by_flush(path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[int] = []
    real = os.fsync

    def counted(descriptor: int) -> None:
        synced.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", counted)
    monkeypatch.setattr(journal_module, "SYNC_S", 1000.0)
    monkeypatch.setattr(journal_module.time, "monotonic", lambda: 5000.0)
    writer = JournalWriter(path)
    for number in range(200):
        writer.put(ev.Warned(text=str(number)))
    assert writer.flush()
    first = len(synced)
    assert first <= 2
    writer.put(ev.Warned(text="x"))
    assert writer.flush()
    assert len(synced) == first + 1
    writer.close()


def test_an_event_that_is_no_text_becomes_a_warning(path: Path):
    assert written(path, ev.Warned(text="\ud800")).close()
    assert "could not be written" in told(path)[0].text  # type: ignore[attr-defined]


def sifted(*timed: tuple[float, ev.Event]) -> list[ev.Event]:
    thinning = StepThinning()
    return [ready.event for at, event in timed for ready in thinning.sift(Timed("t", at, event))]


def test_steps_faster_than_twice_a_second_are_thinned_in_order():
    exited = ev.WorkerExited(pid=1, stage="train", exit_status=0)
    kept = sifted(*((number / 10, step(number)) for number in range(20)), (2.0, ev.Warned(text="w")), (2.1, exited))
    steps = [event.step for event in kept if isinstance(event, ev.StepTrained)]
    assert steps == [0, 6, 12, 18, 19]
    assert kept[-3:] == [ev.Warned(text="w"), ev.StepsThinned(steps=15), exited]


def test_slow_steps_are_all_kept_and_nothing_is_counted():
    done = ev.StageFinished(stage="train", elapsed_s=1.0)
    kept = sifted(*((number * 0.56, step(number)) for number in range(5)), (9.0, done))
    assert [type(event) for event in kept] == [ev.StepTrained] * 5 + [ev.StageFinished]


def test_the_count_begins_anew_with_a_stage():
    done = ev.StageFinished(stage="train", elapsed_s=1.0)
    fast = [(number / 100, step(number)) for number in range(5)]
    later = [(100 + at, event) for at, event in fast]
    kept = sifted(*fast, (1.0, done), (2.0, ev.StageStarted(stage="train")), *later, (101.0, done))
    assert [event.steps for event in kept if isinstance(event, ev.StepsThinned)] == [3, 3]


def test_a_held_step_is_written_when_nothing_follows(path: Path):
    writer = JournalWriter(path)
    writer.put(step(1), mono_s=1.0)
    writer.put(step(2), mono_s=1.1)
    wait_until(lambda: len(told(path)) == 2)
    writer.close()


def wait_until(what: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(1000):
        if what():
            return
        waiting.wait(0.01)
    raise AssertionError("did not come true")
