"""Thinning of step events for the journal: fewer than two a second, the last before anything else kept, the left-out counted.

It refuses to touch any other event, and to reorder: a held step always comes before the event that follows it.
"""

from typing import NamedTuple

from engine.protocol import events as ev

LEAST_S = 0.55
"""Seconds between two steps that are kept: a day of them, 630 bytes each on a GPU, is 99 MB."""

_TELLING = (ev.WorkerExited, ev.StageFinished, ev.CheckpointWritten)


class Timed(NamedTuple):
    """An event with its time (UTC ISO 8601) and monotonic clock, not yet numbered."""

    t: str
    mono_s: float
    event: ev.Event


class StepThinning:
    """Decides event by event what goes into the journal now."""

    def __init__(self) -> None:
        self._held: Timed | None = None
        self._kept_s = float("-inf")
        self._left_out = self._told = 0

    @property
    def holding(self) -> bool:
        """True while a step waits for the next event to decide about it."""
        return self._held is not None

    def sift(self, timed: Timed) -> list[Timed]:
        """What to write now that `timed` came; the last step of a stage is always among it in the end."""
        if not isinstance(timed.event, ev.StepTrained):
            return [*self.release(), *self._count_for(timed), timed]
        if self._held is not None:
            self._left_out += 1
            self._held = None
        if timed.mono_s - self._kept_s < LEAST_S:
            self._held = timed
            return []
        self._kept_s = timed.mono_s
        return [timed]

    def release(self) -> list[Timed]:
        """The held step, if there is one, to be written after all."""
        held, self._held = self._held, None
        if held is None:
            return []
        self._kept_s = held.mono_s
        return [held]

    def _count_for(self, timed: Timed) -> list[Timed]:
        if isinstance(timed.event, ev.StageStarted):
            self._left_out = self._told = 0
        if not isinstance(timed.event, _TELLING) or self._left_out == self._told:
            return []
        self._told = self._left_out
        return [Timed(timed.t, timed.mono_s, ev.StepsThinned(steps=self._left_out))]
