"""One worker process as its supervisor sees it: started with its pipes, signalled, and its end told apart.

Its end is learnt from `wait`, never from the end of a pipe that a child of the worker may hold open. It must be started from the main
thread: Linux ties the worker's parent-death signal to the thread that started it. It refuses to read what the worker says.
"""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from engine.protocol.errors import EngineError
from engine.supervisor.drain import Drain, EventLines, Take
from engine.supervisor.kernel_oom import oom_kills

OOM_SCORE = 800
_FIXED_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
    # so that the first GPU that nvidia-smi lists is the first that CUDA sees
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
}


class WorkerEnd(NamedTuple):
    """How a worker ended: exactly one of `exit_status` and `signal` is set."""

    exit_status: int | None
    signal: str | None
    kernel_oom: bool

    @property
    def text(self) -> str:
        """As a sentence's end: `killed by SIGKILL (the kernel was out of memory)`."""
        how = f"killed by {self.signal}" if self.signal else f"exit status {self.exit_status}"
        return how + (" (the kernel was out of memory)" if self.kernel_oom else "")


class Worker:
    """A running worker. `on_start` is called with its pid before anything that it says is read, `on_end` from a thread once it has
    ended; `reap` then gives how."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        lines: EventLines,
        output: Take,
        on_start: Callable[[int], None],
        on_end: Callable[[], None],
        inherited: Sequence[int] = (),
    ) -> None:
        self._lines = lines
        self._ooms_before = oom_kills()
        events_read, events_write = os.pipe()
        try:
            self._process = _spawn(command, folder, environment, events_write, inherited)
        except OSError as error:
            os.close(events_read)
            raise EngineError(f"the worker could not be started: {error.strerror}: {command[0]}") from None
        finally:
            os.close(events_write)
        _offer_to_the_oom_killer(self._process.pid)
        on_start(self._process.pid)
        self._drains = (Drain(events_read, lines.take, "events"), Drain(_stdout_of(self._process), output, "output"))
        self._ended = threading.Event()
        threading.Thread(target=self._watch, args=(on_end,), name="worker-end", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id, which stays its own until `reap`."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """True once it has ended, and not been reaped yet."""
        return self._ended.is_set()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended gets none."""
        if not self._ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def reap(self) -> WorkerEnd:
        """Wait for the end, take what is left in its pipes and end the processes it left behind."""
        self._ended.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # while it is a zombie, its process group can be nobody else's
            os.killpg(self.pid, signal.SIGKILL)
        status = self._process.wait()
        for drain in self._drains:
            drain.finish()
        self._lines.end()
        if status >= 0:
            return WorkerEnd(status, None, kernel_oom=False)
        return WorkerEnd(None, _name_of(-status), kernel_oom=-status == signal.SIGKILL and self._memory_kills_rose())

    def _memory_kills_rose(self) -> bool:
        now = oom_kills()
        return now is not None and self._ooms_before is not None and now > self._ooms_before

    def _watch(self, on_end: Callable[[], None]) -> None:
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self._ended.set()
        on_end()


def worker_environment(base: Mapping[str, str], **own: str) -> dict[str, str]:
    """`base` with what every worker needs: no network, no telemetry, one hash seed, unbuffered output; `own` comes last."""
    return {**base, **_FIXED_ENVIRONMENT, **own}


def _spawn(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], events: int, inherited: Sequence[int]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**environment, "SLUICE_EVENTS_FD": str(events), "SLUICE_SUPERVISOR_PID": str(os.getpid())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        pass_fds=(events, *inherited),
        process_group=0,
    )


def _stdout_of(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    # the drain closes its descriptor itself
    descriptor = os.dup(process.stdout.fileno())
    process.stdout.close()
    return descriptor


def _offer_to_the_oom_killer(pid: int) -> None:
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OOM_SCORE))


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
