"""`plan.json`: the compute plan of a run, what its preflights measured, and each time that its GPU memory ran out.

A file, because it decides: the next worker plans without the plans that cannot fit. It refuses to name a cause that was not seen.
"""

import msgspec

from engine.protocol.events import Stage
from engine.protocol.plans import PlanEstimate


class Recovery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """GPU memory ran out and the run went on with less.

    `step` is the last completed one (training), `batch` the batch and `batch_items` the rows of a batch that did not fit (evaluation).
    `predicted_peak_bytes` is the failed plan's, 0 where none was predicted. `at` is UTC, ISO 8601.
    """

    stage: Stage
    at: str
    reason: str
    plan: str = ""
    predicted_peak_bytes: int = 0
    step: int | None = None
    batch: int | None = None
    batch_items: int | None = None


class Preflight(msgspec.Struct, frozen=True, kw_only=True):
    """The heaviest work of a stage, tried before it counted. Peaks are torch's, in bytes; None where the device tells none."""

    tokens: int
    predicted_peak_bytes: int | None
    measured_peak_bytes: int | None
    elapsed_s: float


class RunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of plan.json; `chosen` is the plan that training goes by, on the device named so; `preflights` are by stage."""

    chosen: PlanEstimate | None = None
    device: str = ""
    preflights: dict[Stage, Preflight] = {}
    recoveries: tuple[Recovery, ...] = ()

    def failed_peaks(self, *stages: Stage) -> tuple[int, ...]:
        """Predicted peaks of the plans that ran out of memory in any of `stages`."""
        return tuple(one.predicted_peak_bytes for one in self.recoveries if one.stage in stages and one.predicted_peak_bytes)

    @property
    def most_batch_items(self) -> int | None:
        """Rows that a batch of the evaluation may have, in both arms: half of the fewest that did not fit; None where all did."""
        failed = [one.batch_items for one in self.recoveries if one.batch_items is not None]
        return max(1, min(failed) // 2) if failed else None


def recovery_text(recovery: Recovery) -> str:
    """A sentence for reports: what ran out where, and what was done."""
    if recovery.stage == "train":
        after = "" if recovery.step is None else f" after step {recovery.step:,}"
        return f"GPU memory ran out in training{after}; a new process went on, no plan taken that needs as much, same effective batch"
    if recovery.batch_items is not None:
        return (
            f"GPU memory ran out in the {recovery.stage} arm at {recovery.batch_items} items; both arms were answered in batches of at most "
            f"{max(1, recovery.batch_items // 2)}"
        )
    return f"GPU memory ran out in stage {recovery.stage}; it was started again"
