"""Following one run: its journal, gates, evaluation and owner, read by a thread into one slot that the screens paint from.

The thread folds events under `lock`; a screen holds the lock while it builds its text. It refuses to write anything and to touch
widgets.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from engine.protocol.errors import SluiceError
from engine.protocol.gates import GatesReport
from engine.protocol.journal_tail import CHUNK_BYTES, JournalTail
from engine.protocol.listing import shown_state, utc_seconds
from engine.protocol.prereg import Preregistration
from engine.protocol.run_fold import apply_all
from engine.protocol.run_state import RunState
from engine.protocol.runs import OwnerWatch, RunFolder, State

if TYPE_CHECKING:
    from engine.protocol.evaluation import Evaluation

POLL_S = 0.35
_EVENTS_A_LOCK = 2_000
FIRST_LOOK_BYTES = 512 << 10
Read = TypeVar("Read")


class RunView:
    """The latest of everything a run's screens show. `version` rises when something besides the ages changed.

    `frozen` are the [verdict] settings as they were frozen before the evaluation, empty before that; `report_bytes` is the size of the
    report to be read in a browser, None before there is one.
    """

    def __init__(self, run: RunFolder, clock: Callable[[], float] = time.time) -> None:
        self.run, self.clock = run, clock
        self.state = RunState()
        self.gates: GatesReport | None = None
        self.evaluation: Evaluation | None = None
        self.guarded: frozenset[str] = frozenset()
        self.frozen: dict[str, Any] = {}
        self.report_bytes: int | None = None
        self.problems: dict[str, str] = {}
        self.owned = False
        self.beat_at_s: float | None = None
        self.caught_up = False
        self.version = 0

    @property
    def name(self) -> str:
        """The run's id."""
        return self.run.run_id

    @property
    def worker_age_s(self) -> float | None:
        """Seconds since the worker's last event, by the journal's two clocks and this one; None before the first."""
        state = self.state
        if state.worker_event_mono_s is None or not state.last_t:
            return None
        return max(0.0, self.clock() - utc_seconds(state.last_t) + state.last_mono_s - state.worker_event_mono_s)

    @property
    def engine_age_s(self) -> float | None:
        """Seconds since the owner's last heartbeat."""
        return None if self.beat_at_s is None else max(0.0, self.clock() - self.beat_at_s)

    @property
    def shown_state(self) -> State:
        """The state of the journal, corrected by who is really there: interrupted without an owner, silent without events."""
        return shown_state(self.state.state, live=self.state.live, owned=self.owned, quiet_s=self.worker_age_s)

    @property
    def partial(self) -> bool:
        """True where the run is finished as far as it was asked to go, with stages left."""
        return self.shown_state == "finished" and "report" not in self.state.stages_done and self.evaluation is None

    @property
    def going_on(self) -> bool:
        """True while a supervisor works on the run."""
        return self.state.live and self.owned


class RunFollower:
    """Keeps a `RunView` up to date. `run` is the body of a thread; `stop` ends it at once."""

    def __init__(self, run: RunFolder, clock: Callable[[], float] = time.time) -> None:
        self.view = RunView(run, clock)
        self.lock = threading.Lock()
        self._tail = JournalTail(run.journal)
        self._watch = OwnerWatch(run)
        self._stamps: dict[Path, tuple[int, int] | None] = {}
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the thread; it does not wait out its pause."""
        self._stopped.set()

    def follow(self) -> None:
        """Look again and again until stopped."""
        while not self._stopped.is_set():
            self.look()
            self._stopped.wait(POLL_S)

    def look_once(self) -> None:
        """A first look that takes milliseconds: a small run is whole after it, of a long one it shows the beginning."""
        self._read_files()
        self._read_owner()
        self._fold_next(FIRST_LOOK_BYTES)
        self.view.caught_up = _size(self.view.run.journal) <= FIRST_LOOK_BYTES

    def look(self) -> None:
        """Read what is new: files and owner first, so that a state is never newer than what explains it."""
        self._read_files()
        self._read_owner()
        while not self._stopped.is_set() and self._fold_next():
            pass
        if not self.view.caught_up:
            with self.lock:
                self.view.caught_up = True
                self.view.version += 1

    def _fold_next(self, limit_bytes: int = CHUNK_BYTES) -> bool:
        """Fold the next piece of the journal; False where there was nothing new."""
        try:
            events = self._tail.skim(limit_bytes)
        except (SluiceError, OSError) as error:
            self._problem("journal", str(error))
            return False
        for start in range(0, len(events), _EVENTS_A_LOCK):
            with self.lock:
                apply_all(self.view.state, events[start : start + _EVENTS_A_LOCK])
                self.view.version += 1
        return bool(events)

    def _read_owner(self) -> None:
        owned = self._watch.alive()
        stamp = _stamp(self.view.run.owner)
        with self.lock:
            self.view.version += owned != self.view.owned
            self.view.owned = owned
            self.view.beat_at_s = stamp[0] / 1e9 if stamp and owned else None

    def _read_files(self) -> None:
        run = self.view.run
        gates, changed = self._changed(run.gates, lambda data: msgspec.json.decode(data, type=GatesReport))
        if changed:
            self.view.gates = gates
        evaluation, changed = self._changed(run.evaluation, lambda data: decoded_evaluation(data, run.evaluation))
        if changed:
            self.view.evaluation = evaluation
        report = _stamp(run.report_html)
        self.view.report_bytes = report[1] if report else None
        frozen, changed = self._changed(run.prereg, lambda data: msgspec.json.decode(data, type=Preregistration))
        if changed and frozen is not None:
            self.view.frozen = frozen.frozen.verdict
            self.view.guarded = frozenset(self.view.frozen.get("guarded", ()))

    def _changed(self, path: Path, decode: Callable[[bytes], Read]) -> tuple[Read | None, bool]:
        """The decoded file and True where it changed since the last look; a file that cannot be read becomes a problem."""
        stamp = _stamp(path)
        if stamp == self._stamps.get(path):
            return None, False
        self._stamps[path] = stamp
        if stamp is None:
            return None, True
        try:
            value = decode(path.read_bytes())
        except (OSError, SluiceError, msgspec.DecodeError) as error:
            self._problem(path.name, f"{path.name} cannot be read: {error}")
            return None, True
        self._problem(path.name, "")
        return value, True

    def _problem(self, about: str, text: str) -> None:
        with self.lock:
            self.view.version += 1
            self.view.problems.pop(about, None)
            if text:
                self.view.problems[about] = text


def decoded_evaluation(data: bytes, path: Path) -> "Evaluation":
    """As `decode_evaluation`, whose structures are only loaded once there is something to decode.

    Raises: InputError.
    """
    from engine.protocol.evaluation import decode_evaluation

    return decode_evaluation(data, str(path))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _size(path: Path) -> int:
    found = _stamp(path)
    return 0 if found is None else found[1]
