"""Reading and adding to `plan.json`: the worker writes before it ends, the supervisor where the worker could not, never both at once.

It refuses to let a damaged file stop a run: what it knew is lost, which costs another try at most.
"""

import contextlib
from typing import Any

import msgspec

from engine.protocol.errors import DiskFullError
from engine.protocol.events import Stage
from engine.protocol.plans import PlanEstimate
from engine.protocol.recoveries import Preflight, Recovery, RunPlan
from engine.protocol.runs import RunFolder
from engine.store.atomic import atomic_write


def read_run_plan(run: RunFolder) -> RunPlan:
    """What the run's workers planned and what failed; nothing where the file is missing or damaged."""
    try:
        return msgspec.json.decode(run.plan.read_bytes(), type=RunPlan)
    except (OSError, ValueError):
        return RunPlan()


def note_chosen(run: RunFolder, chosen: PlanEstimate, device: str) -> None:
    """The plan that training goes by from now on, and the device's name; on a full disk it is told by its event alone."""
    with contextlib.suppress(DiskFullError, OSError):
        _change(run, chosen=chosen, device=device)


def note_preflight(run: RunFolder, stage: Stage, measured: Preflight) -> None:
    """What the preflight of `stage` measured, in place of an earlier one; on a full disk it is told by its event alone."""
    with contextlib.suppress(DiskFullError, OSError):
        _change(run, preflights=read_run_plan(run).preflights | {stage: measured})


def note_recovery(run: RunFolder, recovery: Recovery) -> None:
    """One more time that memory ran out, which the next plan must know. Raises: DiskFullError, OSError."""
    _change(run, recoveries=(*read_run_plan(run).recoveries, recovery))


def _change(run: RunFolder, **fields: Any) -> None:
    changed = msgspec.structs.replace(read_run_plan(run), **fields)
    atomic_write(run.plan, msgspec.json.format(msgspec.json.encode(changed), indent=2) + b"\n")
