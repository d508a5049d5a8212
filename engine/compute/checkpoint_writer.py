"""When a checkpoint is due, and its writing beside the training: one thread, one checkpoint at a time.

What is written is a copy on the CPU, taken before the thread starts, so the training may go on at once. It refuses to lose a failure:
that becomes an event, or an exception where it is a bug.
"""

import threading
import time
from collections.abc import Iterator

from engine.compute.checkpoint import Checkpoint, CheckpointFolder, TrainerState
from engine.protocol.config import TrainTable
from engine.protocol.errors import DiskFullError
from engine.protocol.events import CheckpointFailed, CheckpointWritten, Event

_EXPECTED = (DiskFullError, OSError, MemoryError)


class CheckpointWriter:
    """Writes the checkpoints of one training; used from its loop alone."""

    def __init__(self, folder: CheckpointFolder, settings: TrainTable) -> None:
        self._folder, self._settings = folder, settings
        self._kept: tuple[int, str] | None = (0, "")
        self._at_s = time.monotonic()
        self._thread: threading.Thread | None = None
        self._outcome: Event | BaseException | None = None

    def due(self, state: TrainerState) -> bool:
        """True where the steps or the clock ask for a checkpoint, or training has ended."""
        every, every_s = self._settings.checkpoint_every_steps, self._settings.checkpoint_every_s
        by_steps = every > 0 and state.step % every == 0
        return by_steps or (every_s > 0 and time.monotonic() - self._at_s >= every_s) or bool(state.ended)

    def has(self, state: TrainerState) -> bool:
        """True where the checkpoint of that state is on the disk or on its way there."""
        return self._kept == (state.step, state.ended)

    def resumed(self, state: TrainerState) -> None:
        """The checkpoint of `state` is the one that training goes on from."""
        self._kept, self._at_s = (state.step, state.ended), time.monotonic()

    def start(self, checkpoint: Checkpoint) -> Iterator[Event]:
        """Begin to write, once the one before is done; yields what became of that one."""
        yield from self.settle()
        state = checkpoint.state
        self._kept, self._at_s = (state.step, state.ended), time.monotonic()
        # not a daemon: an interpreter that ends in order waits for it. Its own threads could not be started then, so training joins it in any case
        self._thread = threading.Thread(target=self._write, args=(checkpoint,), name="checkpoint", daemon=False)
        self._thread.start()

    def finished(self) -> Iterator[Event]:
        """What became of a write that has ended since the last look; never waits."""
        if self._thread is not None and not self._thread.is_alive():
            yield from self.settle()

    def settle(self) -> Iterator[Event]:
        """Wait for the write that is under way, if any, and say what became of it."""
        self.join()
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, CheckpointFailed):
            self._kept = None
            yield outcome
        elif isinstance(outcome, BaseException):
            raise outcome
        elif outcome is not None:
            yield outcome

    def join(self) -> None:
        """Wait for the write that is under way; its outcome is kept."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _write(self, checkpoint: Checkpoint) -> None:
        began_s, step = time.monotonic(), checkpoint.state.step
        try:
            written = self._folder.write(checkpoint)
        except _EXPECTED as error:
            self._outcome = CheckpointFailed(step=step, reason=str(error) or type(error).__name__)
        except BaseException as error:
            self._outcome = error
        else:
            self._outcome = CheckpointWritten(
                step=step, path=str(written.path), size_bytes=written.size_bytes,
                elapsed_s=round(time.monotonic() - began_s, 4), kept=written.kept,
            )  # fmt: skip
