"""The worker's side: the pipe, the flags, and what becomes of each way to end."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.protocol import events as ev
from engine.protocol.codec import decode_event
from engine.protocol.config import Config
from engine.protocol.errors import DiskFullError, DisplacedError, GateBlockedError, InputError, StopRequested
from engine.protocol.runs import RunFolder
from engine.store.ownership import claim
from engine.worker_process import SupervisorLink, WorkerContext, run_stage

from .conftest import Driven


class Piped:
    """A context whose pipe ends here."""

    def __init__(self, run: RunFolder, **environ: str) -> None:
        self.read_end, write_end = os.pipe()
        self.link = SupervisorLink({"SLUICE_EVENTS_FD": str(write_end), **environ})
        self.context = WorkerContext(run, Config(), "train", self.link)
        self._write_end = write_end

    def sent(self) -> list[ev.Event]:
        os.close(self._write_end)
        with os.fdopen(self.read_end, "rb") as pipe:
            return [decode_event(line) for line in pipe]


@pytest.fixture
def piped(tmp_path: Path) -> Piped:
    return Piped(RunFolder(tmp_path))


def raising(error: BaseException) -> Callable[[WorkerContext], None]:
    def stage(_: WorkerContext) -> None:
        raise error

    return stage


class TorchLikeOutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (StopRequested(step=7), 75, ev.WorkerStopped(stage="train", step=7)),
        (InputError("a", "b"), 2, ev.WorkerFailed(stage="train", problems=("a", "b"), exit_status=2)),
        (GateBlockedError("a"), 1, ev.WorkerFailed(stage="train", problems=("a",), exit_status=1)),
        (DiskFullError("a"), 4, ev.WorkerFailed(stage="train", problems=("a",), exit_status=4)),
        (
            TorchLikeOutOfMemoryError("CUDA out of memory.\nTried"),
            4,
            ev.WorkerFailed(
                stage="train", problems=("out of GPU memory: CUDA out of memory.",), exit_status=4, retry=True, out_of_memory=True
            ),
        ),
        (
            MemoryError(),
            4,
            ev.WorkerFailed(stage="train", problems=("the host has no memory left for the worker",), exit_status=4, retry=True),
        ),
        (
            ZeroDivisionError("x\x1b[2J"),
            4,
            ev.WorkerFailed(
                stage="train", problems=("bug: ZeroDivisionError: x␛[2J (engine.log has the traceback)",), exit_status=4
            ),
        ),
    ],
)  # fmt: skip
def test_each_end_is_told_and_has_its_status(piped: Piped, error: BaseException, status: int, told: ev.Event):
    assert run_stage(piped.context, raising(error)) == status
    assert piped.sent() == [told]


def test_a_stage_that_returns_is_complete(piped: Piped):
    assert run_stage(piped.context, lambda _: None) == 0
    assert piped.sent() == []


def test_the_log_takes_a_bugs_traceback_and_every_problem_of_a_person(piped: Piped, capsys: pytest.CaptureFixture[str]):
    run_stage(piped.context, raising(InputError("a", "b")))
    assert capsys.readouterr().err == "a\nb\n"
    run_stage(piped.context, raising(ZeroDivisionError()))
    assert "Traceback" in capsys.readouterr().err


def test_it_leaves_at_once_with_its_status_and_with_all_it_has_said():
    script = "import atexit; from engine.work import leave; atexit.register(print, 'late'); print('said', end=''); leave(75)"
    ended = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stdout) == (75, "said")


def test_a_stop_passes_through_a_library_that_catches_exceptions():
    with pytest.raises(StopRequested):
        try:
            raise StopRequested
        except Exception:
            raise AssertionError("caught") from None


def test_lines_of_many_threads_do_not_mix(piped: Piped):
    collected: list[ev.Event] = []
    reader = threading.Thread(target=lambda: collected.extend(piped_events(piped)))
    reader.start()
    text = "x" * 100_000
    threads = [threading.Thread(target=piped.context.emit, args=(ev.Warned(text=text),)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(piped._write_end)
    reader.join()
    assert collected == [ev.Warned(text=text)] * 16


def piped_events(piped: Piped) -> Iterator[ev.Event]:
    with os.fdopen(piped.read_end, "rb") as pipe:
        for line in pipe:
            yield decode_event(line)


def test_a_broken_pipe_asks_for_a_stop_once_and_quietly(piped: Piped):
    os.close(piped.read_end)
    assert not piped.context.stop_requested()
    piped.context.emit(ev.Warned(text="a"))
    assert piped.context.stop_requested()
    piped.context.emit(ev.Warned(text="b"))
    os.close(piped._write_end)


def test_a_supervisor_that_is_gone_asks_for_a_stop(tmp_path: Path):
    assert not Piped(RunFolder(tmp_path), SLUICE_SUPERVISOR_PID=str(os.getppid())).context.stop_requested()
    assert Piped(RunFolder(tmp_path), SLUICE_SUPERVISOR_PID="999999").context.stop_requested()


def test_a_checkpoint_request_is_taken_once(piped: Piped):
    assert not piped.context.take_checkpoint_request()
    piped.link._on_checkpoint(10, None)
    piped.link._on_checkpoint(10, None)
    assert piped.context.take_checkpoint_request()
    assert not piped.context.take_checkpoint_request()


def test_without_a_supervisor_events_go_nowhere(tmp_path: Path):
    context = WorkerContext(RunFolder(tmp_path), Config(), "train", SupervisorLink({}))
    context.emit(ev.Warned(text="a"))
    context.check_ownership()
    assert not context.stop_requested()


def test_an_event_that_is_no_text_becomes_a_warning(piped: Piped):
    piped.context.emit(ev.Warned(text="\ud800"))
    assert "could not be sent" in piped.sent()[0].text  # type: ignore[attr-defined]


def test_ownership_is_checked_before_what_is_kept(tmp_path: Path):
    run = RunFolder(tmp_path)
    mine = claim(run)
    context = Piped(run, SLUICE_OWNER=mine.owner.uuid).context
    context.check_ownership()
    run.owner.write_text(run.owner.read_text().replace(mine.owner.uuid, "another"))
    with pytest.raises(DisplacedError):
        context.check_ownership()


def test_settings_that_cannot_be_read_are_the_workers_word_too(driven: Driven):
    driven.script(train=[[["break-config"], ["kill", "SIGKILL"]]])
    assert driven.finish() == 2
    failed = driven.of(ev.WorkerFailed)[-1]
    assert failed.exit_status == 2
    assert "config.toml" in failed.problems[0]


def test_a_worker_is_first_in_line_for_the_kernel_and_hears_of_no_terminal(driven: Driven):
    driven.script(train=[[["wait"]]])
    driven.start()
    worker = driven.await_worker("train")
    assert Path(f"/proc/{worker}/oom_score_adj").read_text().strip() == "800"
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines() if ":\t" in line)
    ignored = int(status["SigIgn"], 16)
    assert ignored & 1 << 0, "SIGHUP"
    assert ignored & 1 << 1, "SIGINT"
    environment = Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")
    for wanted in (b"HF_HUB_OFFLINE=1", b"TRANSFORMERS_OFFLINE=1", b"PYTHONHASHSEED=0", b"TOKENIZERS_PARALLELISM=false"):
        assert wanted in environment
    assert os.getsid(worker) != os.getsid(0)
    assert Path(f"/proc/{worker}/fd/0").readlink() == Path("/dev/null")
