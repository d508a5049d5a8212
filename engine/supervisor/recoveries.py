"""What the supervisor adds to plan.json: a worker that ran out of GPU memory and could not write it down itself.

It refuses to write while a worker lives, and to count what the worker has written already.
"""

from collections.abc import Iterator

from engine.protocol import events as ev
from engine.protocol.commands import utc_now
from engine.protocol.errors import DiskFullError
from engine.protocol.plans import PlanEstimate
from engine.protocol.recoveries import Recovery
from engine.protocol.runs import RunFolder
from engine.store.run_plan import note_recovery, read_run_plan


class Recoveries:
    """Follows one worker after another; `see` may be called from any thread."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self.worker_starts()

    def worker_starts(self) -> None:
        """What is known before a worker starts."""
        self._known = len(read_run_plan(self._run).recoveries)
        self._chosen: PlanEstimate | None = None
        self._step: int | None = None
        self._told = False

    def see(self, event: ev.Event) -> None:
        """Note what the worker says of its plan, its steps and its memory."""
        match event:
            case ev.PlanChosen(chosen=chosen):
                self._chosen = chosen
            case ev.StepTrained(step=step):
                self._step = step
            case ev.MemoryRanOut():
                self._told = True

    def settle(self, stage: ev.Stage, reason: str) -> Iterator[ev.Event]:
        """The worker ended for want of GPU memory: write it down and tell it, as far as the worker did not."""
        chosen = self._chosen
        if len(read_run_plan(self._run).recoveries) == self._known:
            recovery = Recovery(
                stage=stage, at=utc_now(), reason=reason, step=self._step, plan=chosen.name if chosen else "",
                predicted_peak_bytes=chosen.peak_bytes if chosen else 0,
            )  # fmt: skip
            try:
                note_recovery(self._run, recovery)
            except (DiskFullError, OSError) as error:
                yield ev.Warned(text=f"plan.json could not be written ({error}): the next worker may take the same plan")
        if not self._told:
            peak = chosen.peak_bytes if chosen and chosen.peak_bytes else None
            yield ev.MemoryRanOut(stage=stage, step=self._step, predicted_peak_bytes=peak, reason=reason)


def out_of_memory_mend(stage: ev.Stage) -> str:
    """Which settings to change where a stage runs out of GPU memory again and again."""
    if stage == "train":
        keys = "train.row_tokens and train.max_seq_len, then train.lora_rank or fewer train.lora_targets"
    else:
        keys = "eval.batch_items and eval.max_new_tokens"
    return f"end other processes on the GPU or take one with more memory, and resume; or start a new run with lower {keys}"
