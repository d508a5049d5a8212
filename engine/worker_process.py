"""The worker's side of its supervisor: events down the pipe, signals as flags, and never outliving it for long.

It refuses to touch the terminal or torch, and to interrupt a stage: a stage asks `stop_requested` where it can stop and then raises
`StopRequested`.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import msgspec

from engine.core.out_of_memory import is_out_of_memory
from engine.protocol import events as ev
from engine.protocol.codec import encode_event
from engine.protocol.config import Config
from engine.protocol.config_file import load_config
from engine.protocol.errors import MemoryRanOutError, SluiceError, StopRequested
from engine.protocol.events import Stage
from engine.protocol.runs import RunFolder
from engine.store.engine_log import inert
from engine.store.ownership import displaced, is_owner

COMPLETE, FAILED, STOPPED = 0, 4, 75
_PR_SET_PDEATHSIG = 1
_OOM_SCORE = "800"
_LONGEST_PROBLEM = 500


class WorkerContext:
    """What a stage works with: the run, its frozen settings, and the two ways to talk with the supervisor."""

    def __init__(self, run: RunFolder, config: Config, stage: Stage, link: "SupervisorLink") -> None:
        self.run, self.config, self.stage = run, config, stage
        self._link = link

    def emit(self, event: ev.Event) -> None:
        """Send one event, as one line at once; safe from any thread. A broken pipe asks for a stop."""
        self._link.emit(event)

    def stop_requested(self) -> bool:
        """True once the worker should save and end: SIGTERM, a broken pipe, or a supervisor that is gone."""
        return self._link.stop_requested()

    def take_checkpoint_request(self) -> bool:
        """True once for each SIGUSR1 (several before the look are one)."""
        return self._link.take_checkpoint_request()

    def check_ownership(self) -> None:
        """To be called before each checkpoint and marker. Raises: DisplacedError where another supervisor owns the run by now."""
        if self._link.owner_uuid is not None and not is_owner(self.run, self._link.owner_uuid):
            raise displaced(self.run)


class SupervisorLink:
    """The pipe, the flags and the supervisor's identity, as the environment gave them; without one events go nowhere."""

    def __init__(self, environ: dict[str, str]) -> None:
        descriptor, parent = environ.get("SLUICE_EVENTS_FD"), environ.get("SLUICE_SUPERVISOR_PID")
        self.descriptor = int(descriptor) if descriptor else None
        self.parent_pid = int(parent) if parent else None
        self.owner_uuid = environ.get("SLUICE_OWNER")
        self._stop = self._checkpoint = False
        self._lock = threading.Lock()

    def install(self) -> None:
        """Take over the signals of this process (main thread only) and tie its life to the supervisor's."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGUSR1, self._on_checkpoint)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self.descriptor is not None:
            os.set_inheritable(self.descriptor, False)
        if self.parent_pid is not None:
            _die_with_parent()

    def emit(self, event: ev.Event) -> None:
        """See WorkerContext.emit."""
        if self.descriptor is None:
            return
        with self._lock:
            try:
                _write_whole(self.descriptor, _line(event))
            except BrokenPipeError:
                self.descriptor = None
                self._stop = True

    def stop_requested(self) -> bool:
        """See WorkerContext.stop_requested."""
        # the parent-death signal can be lost in the moment before it is set
        if self.parent_pid is not None and os.getppid() != self.parent_pid:
            self._stop = True
        return self._stop

    def take_checkpoint_request(self) -> bool:
        """See WorkerContext.take_checkpoint_request."""
        asked, self._checkpoint = self._checkpoint, False
        return asked

    def _on_stop(self, _: int, __: FrameType | None) -> None:
        self._stop = True

    def _on_checkpoint(self, _: int, __: FrameType | None) -> None:
        self._checkpoint = True


def worker_context(run_path: Path, stage: Stage) -> WorkerContext:
    """Make this process the worker of `stage`: signals, parent-death signal, first in line for the kernel's OOM killer.

    Raises: SystemExit with the worker's status where the frozen settings or their inputs have problems (told to the supervisor
        first) or the supervisor is gone already.
    """
    link = SupervisorLink(dict(os.environ))
    link.install()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    if link.stop_requested():
        raise SystemExit(STOPPED)
    link.emit(ev.WorkerStarting(stage=stage))
    run = RunFolder(run_path.absolute())
    try:
        config = load_config(run.config, inputs_must_exist=False)
    except SluiceError as error:
        link.emit(ev.WorkerFailed(stage=stage, problems=tuple(error.problems), exit_status=error.exit_status))
        raise SystemExit(error.exit_status) from None
    return WorkerContext(run, config, stage, link)


def run_stage(context: WorkerContext, stage_function: Callable[[WorkerContext], None]) -> int:
    """Run the stage and return the worker's exit status; whatever ends it early is told to the supervisor first."""
    try:
        stage_function(context)
    except StopRequested as stopped:
        context.emit(ev.WorkerStopped(stage=context.stage, step=stopped.step))
        return STOPPED
    except MemoryRanOutError as error:
        return _failed(context, tuple(error.problems), FAILED, retry=True, out_of_memory=True)
    except SluiceError as error:
        # the event may be shown cut; the log, which takes this, has every problem
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        return _failed(context, tuple(error.problems), error.exit_status)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        if isinstance(error, MemoryError):
            return _failed(context, ("the host has no memory left for the worker",), FAILED, retry=True)
        if is_out_of_memory(error):
            return _failed(context, (f"out of GPU memory: {_first_line(error)}",), FAILED, retry=True, out_of_memory=True)
        return _failed(context, (f"bug: {type(error).__name__}: {_first_line(error)} (engine.log has the traceback)",), FAILED)
    return COMPLETE


def _failed(
    context: WorkerContext, problems: tuple[str, ...], status: int, *, retry: bool = False, out_of_memory: bool = False
) -> int:
    context.emit(
        ev.WorkerFailed(stage=context.stage, problems=problems, exit_status=status, retry=retry, out_of_memory=out_of_memory)
    )
    return status


def _first_line(error: Exception) -> str:
    return inert(str(error).partition("\n")[0])[:_LONGEST_PROBLEM]


def _line(event: ev.Event) -> bytes:
    try:
        return encode_event(event) + b"\n"
    except (UnicodeEncodeError, msgspec.EncodeError) as error:
        return encode_event(ev.Warned(text=f"an event {type(event).__name__} could not be sent: {str(error)!a}")) + b"\n"


def _write_whole(descriptor: int, line: bytes) -> None:
    view = memoryview(line)
    while view:
        view = view[os.write(descriptor, view) :]


def _die_with_parent() -> None:
    """Ask Linux for SIGTERM when the supervisor's main thread ends; elsewhere `stop_requested` alone has to do."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
