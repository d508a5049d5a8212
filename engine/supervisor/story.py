"""What the supervisor tells the world: every event goes through `Story.record` into the journal and into state.json.

A heartbeat thread beats owner.json and rewrites state.json every 5 s and at once when the state changes. It refuses to block whoever
records: only its own threads touch the disk.
"""

import contextlib
import threading
import time
from collections.abc import Callable

import msgspec

from engine.protocol import events as ev
from engine.protocol.codec import Stamp
from engine.protocol.commands import utc_now
from engine.protocol.errors import DiskFullError, DisplacedError
from engine.protocol.journal_tail import JournalTail
from engine.protocol.labels import read_labels
from engine.protocol.run_fold import apply
from engine.protocol.run_state import RunState
from engine.protocol.runs import OWNER_BEAT_S, RunFolder, RunSummary, name_in_id, read_summary
from engine.store.atomic import atomic_write
from engine.store.journal import JournalWriter
from engine.store.ownership import Ownership

FLUSH_S = 60.0


class Story:
    """Journal, folded state and heartbeat of one run, from claim to release. `on_displaced` is called from a thread."""

    def __init__(self, run: RunFolder, ownership: Ownership, on_displaced: Callable[[], None]) -> None:
        self._run, self._ownership, self._on_displaced = run, ownership, on_displaced
        self._state = _replayed(run)
        self._journal = JournalWriter(run.journal, still_mine=ownership.still_mine, on_displaced=on_displaced)
        self._lock = threading.Lock()
        self._news, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)
        self._thread.start()

    @property
    def created(self) -> bool:
        """True once the run was announced."""
        return self._state.created is not None

    def record(self, event: ev.Event) -> None:
        """Journal the event and fold it; never blocks on the disk. Safe from any thread."""
        with self._lock:
            t, mono_s = utc_now(), time.monotonic()
            self._journal.put(event, t, mono_s)
            before = (self._state.state, self._state.stage)
            self._fold(event, Stamp(seq=0, t=t, mono_s=mono_s))
            changed = before != (self._state.state, self._state.stage)
        if changed:
            self._news.set()

    def close(self, *, displaced: bool) -> None:
        """Bring journal and state.json to the disk and give the run back; a displaced supervisor writes nothing."""
        self._closing.set()
        self._news.set()
        self._thread.join(OWNER_BEAT_S)
        if displaced:
            return
        self._journal.close(FLUSH_S)
        self._write_state()
        self._ownership.release()

    def _fold(self, event: ev.Event, stamp: Stamp) -> None:
        try:
            apply(self._state, event, stamp)
        except Exception as error:
            # what only shows must not end the thread that drains a worker
            self._journal.put(ev.Warned(text=f"bug in the state of the run: {type(event).__name__}: {error!r}"))

    def _beat_on(self) -> None:
        beaten_s = float("-inf")
        while not self._closing.is_set():
            self._news.clear()
            if time.monotonic() - beaten_s >= OWNER_BEAT_S:
                beaten_s = time.monotonic()
                self._beat()
            self._write_state()
            self._news.wait(max(0.0, beaten_s + OWNER_BEAT_S - time.monotonic()))

    def _beat(self) -> None:
        try:
            self._ownership.beat()
        except DisplacedError:
            self._on_displaced()
            self._closing.set()
        except OSError:
            # a volume that fails for a moment: the next beat tells
            return

    def _write_state(self) -> None:
        if not self._ownership.still_mine():
            return
        data = msgspec.json.encode(self._summary())
        try:
            atomic_write(self._run.state, data)
        except DiskFullError:
            # its blocks are there already, and that the disk is full is just what a list of runs must be able to say
            with contextlib.suppress(OSError), self._run.state.open("r+b") as file:
                file.write(data)
                file.truncate()
        except (OSError, ValueError):
            return

    def _summary(self) -> RunSummary:
        # note and name belong to people, who may change them while the run lives
        given = read_labels(self._run) or read_summary(self._run)
        with self._lock:
            made = summary_of(self._state, self._run.run_id)
        return made if given is None else msgspec.structs.replace(made, note=given.note, name=given.name or made.name)


def summary_of(state: RunState, run_id: str) -> RunSummary:
    """What lists of runs show of `state`."""
    step, verdict = state.last_step, state.verdict
    load = state.load_progress if state.state == "loading" else None
    return RunSummary(
        run_id=run_id,
        name=state.created.name if state.created else name_in_id(run_id),
        state=state.state,
        stage=state.stage,
        created_at=state.created_at,
        updated_at=utc_now(),
        progress=state.progress,
        eta_s=state.eta_s,
        decision=state.decision,
        flags=verdict.flags if verdict and state.decision else (),
        detail=state.detail,
        step=step.step if step else None,
        steps=step.steps if step else None,
        parent=state.created.parent if state.created else None,
        behind=state.behind if state.state == "queued" else "",
        since=state.state_since,
        heard_at=state.worker_heard_at,
        loaded_bytes=load.done_bytes if load else None,
        load_total_bytes=load.total_bytes if load else None,
    )


def _replayed(run: RunFolder) -> RunState:
    state, tail = RunState(), JournalTail(run.journal)
    for chunk in tail.chunks():
        for stamp, event in chunk:
            apply(state, event, stamp)
    return state
