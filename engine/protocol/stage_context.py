"""What a stage is given by the process that runs it: the run, its frozen settings, and the ways to talk with its supervisor.

An interface only; `engine.worker_process.WorkerContext` is the real one. It refuses to know how any of it is done.
"""

from collections.abc import Callable
from typing import Protocol

from engine.protocol.config import Config
from engine.protocol.events import Event
from engine.protocol.runs import RunFolder


class StageContext(Protocol):
    """A worker as its stage sees it."""

    @property
    def run(self) -> RunFolder:
        """The run's folder."""

    @property
    def config(self) -> Config:
        """The frozen settings."""

    @property
    def emit(self) -> Callable[[Event], None]:
        """Sends an event to the supervisor."""

    def stop_requested(self) -> bool:
        """True once the stage should save and end."""

    def take_checkpoint_request(self) -> bool:
        """True once for each request to write a checkpoint now."""

    def check_ownership(self) -> None:
        """Called before each checkpoint and marker. Raises: DisplacedError where another supervisor owns the run by now."""
