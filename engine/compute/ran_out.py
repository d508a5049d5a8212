"""What a worker does once the GPU's memory has run out: write it down for the next plan, tell it, and ask to be started again.

It refuses to try again in the same process, whose context may hold what ran out.
"""

from collections.abc import Iterator
from typing import Any

from engine.protocol.commands import utc_now
from engine.protocol.errors import DiskFullError, MemoryRanOutError
from engine.protocol.events import Event, MemoryRanOut, Stage, Warned
from engine.protocol.recoveries import Recovery
from engine.protocol.runs import RunFolder
from engine.store.engine_log import inert
from engine.store.run_plan import note_recovery

_LONGEST_REASON = 300


def shortened(reason: str) -> str:
    """The first line of a device's message, inert and of bounded length."""
    return inert(reason.partition("\n")[0])[:_LONGEST_REASON]


def told_and_kept(run: RunFolder, *, stage: Stage, reason: str, **fields: Any) -> Iterator[Event]:
    """Yield what is to be told and keep it in plan.json; `fields` are those of `Recovery`.

    Raises: MemoryRanOutError, always, at the end.
    """
    said = shortened(reason)
    recovery = Recovery(stage=stage, at=utc_now(), reason=said, **fields)
    try:
        note_recovery(run, recovery)
    except (DiskFullError, OSError) as error:
        yield Warned(text=f"plan.json could not be written ({error}); the supervisor tries again")
    yield MemoryRanOut(
        stage=stage,
        step=recovery.step,
        batch=recovery.batch,
        predicted_peak_bytes=recovery.predicted_peak_bytes or None,
        reason=said,
    )
    raise MemoryRanOutError(f"out of GPU memory: {said}")
