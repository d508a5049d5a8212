"""The supervisor's parts where a whole process would show too little."""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.protocol import events as ev
from engine.protocol.errors import EngineError
from engine.protocol.journal_tail import JournalTail
from engine.protocol.runs import RunFolder, read_summary, start_ticks
from engine.store.ownership import claim
from engine.supervisor import drain as drain_module
from engine.supervisor import story as story_module
from engine.supervisor import worker as worker_module
from engine.supervisor.drain import Drain, EventLines
from engine.supervisor.kernel_oom import oom_kills
from engine.supervisor.requests import Requests
from engine.supervisor.restarts import Restarts
from engine.supervisor.story import Story
from engine.supervisor.worker import Worker, WorkerEnd

from .conftest import PATIENCE_S, Driven, until_true
from .fake_worker import step_event


def batch(arm: ev.Arm, done: int) -> ev.BatchEvaluated:
    return ev.BatchEvaluated(arm=arm, batch=0, done_items=done, items=9, tokens=1, elapsed_s=1.0, outcomes=())


def test_lines_may_come_in_any_pieces():
    told: list[ev.Event] = []
    lines = EventLines(told.append)
    for byte in b'{"type":"Warned","text":"a"}\n\n{"type":"Rewound","step":2}\n':
        lines.take(bytes([byte]))
    lines.end()
    assert told == [ev.Warned(text="a"), ev.Rewound(step=2)]


def test_an_overlong_line_is_left_out_and_the_next_one_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drain_module, "LONGEST_LINE_BYTES", 100)
    told: list[ev.Event] = []
    lines = EventLines(told.append)
    for piece in (b"x" * 150, b"y" * 150, b'z\n{"type":"Rewound","step":2}\n'):
        lines.take(piece)
    assert told[-1] == ev.Rewound(step=2)
    assert all(isinstance(event, ev.Warned) for event in told[:-1])


def test_a_worker_may_wait_for_the_disk_but_not_speak_for_the_supervisor():
    told: list[ev.Event] = []
    lines = EventLines(told.append)
    lines.take(b'{"type":"DiskFilled","path":"adapter","consequence":"waiting"}\n{"type":"RunFinished"}\n')
    assert told[0] == ev.DiskFilled(path="adapter", consequence="waiting")
    assert isinstance(told[1], ev.Warned)


def test_a_drain_takes_what_is_there_though_the_pipe_stays_open():
    read_end, write_end = os.pipe()
    taken: list[bytes] = []
    drain = Drain(read_end, taken.append, "test")
    os.write(write_end, b"last words")
    drain.finish()
    assert b"".join(taken) == b"last words"
    with pytest.raises(BrokenPipeError):
        os.write(write_end, b"x")
    os.close(write_end)


def test_a_drain_ends_with_its_pipe():
    read_end, write_end = os.pipe()
    drain = Drain(read_end, lambda _: None, "test")
    os.close(write_end)
    drain._thread.join(10)
    assert not drain._thread.is_alive()
    drain.finish()


@pytest.mark.parametrize(
    ("cgroup", "file", "content", "kills"),
    [
        ("0::/pod/a\n", "pod/a/memory.events", "oom 3\noom_kill 2\noom_group_kill 0\n", 2),
        ("0::/pod/a\n", "memory.events", "oom_kill 1\n", 1),
        ("4:memory:/pod/a\n0::/\n", "memory/pod/a/memory.oom_control", "under_oom 0\noom_kill 5\n", 5),
        ("4:cpu,memory:/x\n", "memory/memory.oom_control", "oom_kill 6\n", 6),
        ("0::/\n", "elsewhere", "oom_kill 9\n", 7),
    ],
)
def test_kills_for_memory_are_counted_where_the_kernel_says(tmp_path: Path, cgroup: str, file: str, content: str, kills: int):
    (tmp_path / "own").write_text(cgroup)
    (tmp_path / "vmstat").write_text("pgfault 1\noom_kill 7\n")
    path = tmp_path / "cgroups" / file
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert oom_kills(tmp_path / "own", tmp_path / "cgroups", tmp_path / "vmstat") == kills


def test_where_nothing_counts_nothing_is_claimed(tmp_path: Path):
    assert oom_kills(tmp_path / "own", tmp_path / "cgroups", tmp_path / "vmstat") is None


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    """A story whose heart beats once and then not for a long time."""
    monkeypatch.setattr(story_module, "OWNER_BEAT_S", 1000.0)
    run = RunFolder(tmp_path)
    made = Story(run, claim(run), lambda: None)
    yield made
    made.close(displaced=False)


def test_the_summary_follows_a_new_state_at_once(story: Story, tmp_path: Path):
    for event, state in ((ev.RunStopping(reason="r"), "stopping"), (ev.RunStopped(reason="r"), "stopped")):
        story.record(event)
        until_true(lambda state=state: (summary := read_summary(RunFolder(tmp_path))) and summary.state == state)


def test_an_event_that_the_state_cannot_take_is_a_warning(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("no step")

    monkeypatch.setattr(story_module, "apply", broken)
    story.record(ev.Rewound(step=1))
    monkeypatch.undo()
    tail, found = JournalTail(tmp_path / "events.jsonl"), []
    until_true(lambda: found.extend(event for _, event in tail.poll()) or len(found) == 2)
    assert found == [ev.Rewound(step=1), ev.Warned(text="bug in the state of the run: Rewound: ZeroDivisionError('no step')")]


def worker(folder: Path, *command: str) -> Worker:
    return Worker(
        command,
        folder=folder,
        environment=os.environ,
        lines=EventLines(lambda _: None),
        output=lambda _: None,
        on_start=lambda _: None,
        on_end=lambda: None,
    )


def test_that_a_worker_started_is_told_before_what_it_says(tmp_path: Path):
    told: list[object] = []

    def started(pid: int) -> None:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        told.append("started")

    code = 'import os; os.write(int(os.environ[\'SLUICE_EVENTS_FD\']), b\'{"type": "Rewound", "step": 3}\\n\')'
    Worker(
        (sys.executable, "-c", code), folder=tmp_path, environment=os.environ, lines=EventLines(told.append), output=lambda _: None,
        on_start=started, on_end=lambda: None,
    ).reap()  # fmt: skip
    assert told == ["started", ev.Rewound(step=3)]


@pytest.mark.parametrize(
    ("number", "counts", "kernel"), [(9, (1, 2), True), (9, (1, 1), False), (9, (None, 2), False), (11, (1, 2), False)]
)
def test_a_kill_for_memory_is_told_from_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, counts: tuple[int | None, int], kernel: bool
):
    answers = iter(counts)
    monkeypatch.setattr(worker_module, "oom_kills", lambda: next(answers))
    end = worker(tmp_path, sys.executable, "-c", f"import os; os.kill(os.getpid(), {number})").reap()
    assert end == WorkerEnd(None, "SIGKILL" if number == 9 else "SIGSEGV", kernel)
    assert ("out of memory" in end.text) == kernel


def test_children_that_a_worker_leaves_behind_end_with_it(tmp_path: Path):
    code = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, file=open('child', 'w'))"
    assert worker(tmp_path, sys.executable, "-c", code).reap() == WorkerEnd(0, None, False)
    child = int((tmp_path / "child").read_text())
    until_true(lambda: start_ticks(child) is None)


def test_a_worker_that_cannot_be_started_is_one_clear_message(tmp_path: Path):
    with pytest.raises(EngineError, match="could not be started: No such file or directory: /nowhere/python"):
        worker(tmp_path, "/nowhere/python")


def test_restarts_without_progress_are_limited():
    restarts = Restarts(2)
    assert [restarts.another() for _ in range(4)] == [True, True, False, False]
    assert not Restarts(0).another()


def test_only_what_was_never_reached_before_is_progress():
    restarts = Restarts(2)
    restarts.see(step_event(5))
    assert restarts.another()
    assert restarts.without_progress == 1
    for step in (3, 4, 5):
        restarts.see(step_event(step))
    assert restarts.another()
    assert restarts.without_progress == 2
    assert not restarts.another()
    restarts.see(step_event(6))
    assert restarts.another()
    assert restarts.without_progress == 1


def test_batches_of_each_arm_and_whole_stages_are_progress():
    restarts = Restarts(1)
    for event in (batch("base", 8), batch("sft", 4), batch("sft", 5)):
        restarts.see(event)
        assert restarts.another()
    restarts.see(batch("base", 8))
    assert not restarts.another()
    restarts.stage_done()
    assert restarts.another()


def test_a_wake_from_another_thread_ends_the_wait():
    requests = Requests()
    threading.Timer(0.01, requests.wake).start()
    requests.wait(60.0)
    for _ in range(100_000):
        requests.wake()
    requests.wait(60.0)


def with_fake_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\necho GPU-fake-1\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "runtime"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def on_gpu(driven: Driven, *, share: bool = False) -> None:
    text = driven.run.config.read_text().replace('device = "cpu"', 'device = "auto"')
    driven.run.config.write_text(text.replace("share_gpu = false", f"share_gpu = {str(share).lower()}"))


def test_a_second_run_queues_behind_the_first_and_follows_it(
    driven: Driven, another: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with_fake_gpu(tmp_path, monkeypatch)
    for each in (driven, another):
        on_gpu(each)
    driven.script(train=[[["wait"]]])
    first = driven.start()
    driven.await_worker("train")
    second = another.start()
    until_true(lambda: another.of(ev.RunQueued))
    assert another.of(ev.RunQueued) == [ev.RunQueued(behind=driven.run.run_id)]
    assert another.of(ev.WorkerStarted) == []
    driven.command("stop")
    assert (first.wait(PATIENCE_S), second.wait(PATIENCE_S)) == (0, 0)
    assert another.names()[-1] == "RunFinished"
    assert len(another.of(ev.RunQueued)) == 1


def test_a_queued_run_can_be_stopped_and_a_sharing_one_does_not_queue(
    driven: Driven, another: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with_fake_gpu(tmp_path, monkeypatch)
    for each in (driven, another):
        on_gpu(each)
    driven.script(train=[[["wait"]]])
    driven.start()
    driven.await_worker("train")
    queued = another.start()
    until_true(lambda: another.of(ev.RunQueued))
    another.command("stop")
    assert queued.wait(PATIENCE_S) == 0
    assert another.names()[-1] == "RunStopped"
    on_gpu(another, share=True)
    assert another.finish() == 0
