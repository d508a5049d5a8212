"""Every run of a workspace at a glance: its small state.json, and the state it is truly in by who is there.

It refuses to read journals, and to call a run alive that has no owner.
"""

import datetime
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from engine.protocol.runs import (
    LIVE_STATES,
    OwnerWatch,
    RunFolder,
    RunSummary,
    State,
    list_runs,
    name_in_id,
    read_launch,
    read_summary,
)

SILENT_AFTER_S = 180.0


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A run of the list; `state` is the one it is really in, which `summary.state` may not know."""

    run: RunFolder
    summary: RunSummary
    state: State

    @property
    def live(self) -> bool:
        """True while a supervisor works on it."""
        return self.state in LIVE_STATES

    @property
    def partial(self) -> bool:
        """Finished as far as it was asked to go, with stages left."""
        return self.state == "finished" and self.summary.stage != "report"


class RunsReader:
    """Reads the list again and again; owners on other hosts are believed as long as their counters move between the looks."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self._root, self._clock = root, clock
        self._watches: dict[Path, OwnerWatch] = {}

    def read(self) -> list[Listed]:
        """Every run, newest first."""
        return [self._listed(run) for run in list_runs(self._root)]

    def _listed(self, run: RunFolder) -> Listed:
        summary = read_summary(run) or draft_summary(run)
        live = summary.state in LIVE_STATES
        owned = live and self._watches.setdefault(run.path, OwnerWatch(run)).alive()
        quiet_s = self._clock() - utc_seconds(summary.heard_at) if summary.heard_at else None
        return Listed(run=run, summary=summary, state=shown_state(summary.state, live=live, owned=owned, quiet_s=quiet_s))


def draft_summary(run: RunFolder) -> RunSummary:
    """What lists show of a run that no supervisor ever had."""
    launched = read_launch(run)
    return RunSummary(
        run_id=run.run_id, name=name_in_id(run.run_id), state="draft", stage="gates", created_at=launched.created_at,
        updated_at=launched.created_at, since=launched.created_at, parent=launched.parent,
    )  # fmt: skip


def shown_state(state: State, *, live: bool, owned: bool, quiet_s: float | None) -> State:
    """What to call a run: a live state without an owner is `interrupted`, a running one without events is `silent`."""
    if live and not owned:
        return "interrupted"
    if state in ("running", "gating") and quiet_s is not None and quiet_s > SILENT_AFTER_S:
        return "silent"
    return state


def utc_seconds(stamp: str) -> float:
    """A UTC ISO 8601 time as seconds since 1970; 0 where it is none."""
    try:
        parsed = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)).timestamp()
