"""Run folders: where they are, what is in them, how a run is named and found, and whether somebody owns it now.

Readers only: nothing here writes into a run. It refuses to guess between runs: an ambiguous prefix is an error that lists them.
"""

import contextlib
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from engine.protocol.errors import RunFolderError
from engine.protocol.events import Stage

State = Literal[
    "draft", "gating", "queued", "starting", "loading", "blocked", "running", "silent", "recovering", "disk full",
    "stopping", "stopped", "interrupted", "failed", "finished",
]  # fmt: skip
LIVE_STATES: frozenset[str] = frozenset(
    {"gating", "queued", "starting", "loading", "running", "silent", "recovering", "disk full", "stopping"}
)
OWNER_BEAT_S = 5.0
OWNER_LOST_S = 120.0
_RUN_ID = re.compile(r"^\d{4}-\d{4}-[a-z0-9._-]+-[0-9a-f]{4}$")


class RunFolder:
    """The paths of one run. The folder need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def config(self) -> Path:
        """The frozen settings."""
        return self.path / "config.toml"

    @property
    def prereg(self) -> Path:
        """What was frozen before evaluation, with its hash."""
        return self.path / "prereg.json"

    @property
    def gates(self) -> Path:
        """Results of the dataset gates."""
        return self.path / "gates.json"

    @property
    def launch(self) -> Path:
        """How the run was asked for: until which stage, from which parent, when and by whom."""
        return self.path / "launch.json"

    @property
    def overrides(self) -> Path:
        """Overrides of hard gates, given before or between starts."""
        return self.path / "overrides.json"

    @property
    def plan(self) -> Path:
        """The compute plan, what preflights measured, and when GPU memory ran out."""
        return self.path / "plan.json"

    @property
    def journal(self) -> Path:
        """The event journal."""
        return self.path / "events.jsonl"

    @property
    def engine_log(self) -> Path:
        """What the processes printed, size-capped."""
        return self.path / "engine.log"

    @property
    def state(self) -> Path:
        """The small summary that lists of runs read."""
        return self.path / "state.json"

    @property
    def owner(self) -> Path:
        """Who supervises the run now."""
        return self.path / "owner.json"

    @property
    def commands(self) -> Path:
        """Folder of command files."""
        return self.path / "commands"

    @property
    def checkpoints(self) -> Path:
        """Folder of `step-N` folders."""
        return self.path / "checkpoints"

    @property
    def adapter(self) -> Path:
        """Folder of the trained adapter."""
        return self.path / "adapter"

    @property
    def success_marker(self) -> Path:
        """Written last, once the adapter is whole."""
        return self.path / "TRAINING_SUCCESS"

    @property
    def training_manifest(self) -> Path:
        """Hyper-parameters, provenance, environment and links of the training."""
        return self.path / "training_manifest.json"

    @property
    def eval(self) -> Path:
        """Folder of both arms' records and batches."""
        return self.path / "eval"

    @property
    def evaluation(self) -> Path:
        """Statistics and verdict."""
        return self.path / "evaluation.json"

    @property
    def summary(self) -> Path:
        """Statistics and verdict as text."""
        return self.path / "summary.txt"

    @property
    def report_html(self) -> Path:
        """Statistics, verdict, charts and discordant items as one page."""
        return self.path / "report.html"

    @property
    def items(self) -> Path:
        """Every evaluated item with both answers and outcomes, one a line."""
        return self.path / "items.jsonl"

    @property
    def review(self) -> Path:
        """Answers of the blinded review of the scorer, one a line."""
        return self.path / "review.jsonl"

    @property
    def signoff(self) -> Path:
        """A person's signature under the verdict."""
        return self.path / "signoff.json"


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """owner.json: which process supervises the run. `start_ticks` (from /proc) tells a process from a later one with its pid.

    `counter` rises every 5 s while the owner lives; `released` is set when it ended in order, so that the epoch is not lost.
    """

    uuid: str
    epoch: int
    hostname: str
    boot_id: str
    pid: int
    start_ticks: int
    counter: int = 0
    worker_pid: int | None = None
    worker_start_ticks: int | None = None
    released: bool = False


class LaunchRecord(msgspec.Struct, frozen=True, kw_only=True):
    """launch.json: what was asked for when the run was made. `created_at` is UTC ISO 8601, `who` is user@host.

    `source` is the sluice.toml that was frozen, empty where the settings came from no file.
    """

    until: Stage = "report"
    parent: str | None = None
    created_at: str = ""
    who: str = ""
    source: str = ""


class RunSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """state.json: one run at a glance, rewritten every 5 s by its supervisor. Times are UTC ISO 8601; `progress` is 0..1.

    `since` is when it came into its state, `heard_at` when its worker last said something, `behind` whom it waits for on the GPU.
    """

    run_id: str
    name: str
    state: State
    stage: str
    created_at: str
    updated_at: str
    note: str = ""
    progress: float = 0.0
    eta_s: float | None = None
    decision: str | None = None
    flags: tuple[str, ...] = ()
    detail: str = ""
    step: int | None = None
    steps: int | None = None
    parent: str | None = None
    behind: str = ""
    since: str = ""
    heard_at: str = ""
    loaded_bytes: int | None = None
    load_total_bytes: int | None = None


def workspace(environ: dict[str, str] | None = None) -> Path:
    """`$SLUICE_WORKSPACE`, else /workspace where it exists, else ./workspace; absolute."""
    named = (os.environ if environ is None else environ).get("SLUICE_WORKSPACE")
    if named:
        return Path(named).expanduser().absolute()
    durable = Path("/workspace")
    return durable if durable.is_dir() else Path("workspace").absolute()


def workspace_of(run: "RunFolder") -> Path:
    """The workspace that a run is in; for a run elsewhere, the folder it lies in."""
    parent = run.path.absolute().parent
    root = parent.parent.parent
    return root if parent == runs_folder(root) else parent


def runs_folder(root: Path) -> Path:
    """Where the runs of a workspace are."""
    return root / "checkpoints" / "stage1_sft"


def new_run_id(name: str, now: time.struct_time, entropy: bytes) -> str:
    """`MMDD-HHMM-name-xxxx`; `entropy` gives the last four hexadecimal digits."""
    return f"{time.strftime('%m%d-%H%M', now)}-{name}-{entropy[:2].hex()}"


def name_in_id(run_id: str) -> str:
    """The name that a run id carries."""
    return run_id.split("-", 2)[-1].rpartition("-")[0]


def is_run_folder(path: Path) -> bool:
    """True where the folder holds a run: its frozen settings and its journal's place."""
    return (path / "config.toml").is_file() and _RUN_ID.match(path.name) is not None


def list_runs(root: Path) -> list[RunFolder]:
    """Every run of the workspace, newest first by the time its settings were frozen; an unreadable folder is left out."""
    found = []
    try:
        for path in runs_folder(root).iterdir():
            # a run may be removed between two looks at it
            with contextlib.suppress(OSError):
                if is_run_folder(path):
                    found.append(((path / "config.toml").stat().st_mtime_ns, path))
    except OSError:
        return []
    return [RunFolder(path) for _, path in sorted(found, key=lambda each: each[0], reverse=True)]


def find_run(name: str, root: Path) -> RunFolder:
    """The run that `name` means: a path, `last`, a run id or a unique prefix of one.

    Raises: RunFolderError that lists what there is.
    """
    if os.sep in name or name in (".", ".."):
        path = Path(name).expanduser().absolute()
        if not is_run_folder(path):
            raise RunFolderError(f"{path}: is not a run folder (no config.toml under a run's name); `sluice runs` lists the runs")
        return RunFolder(path)
    runs = list_runs(root)
    if name == "last" and runs:
        return runs[0]
    exact = [run for run in runs if run.run_id == name]
    matches = exact or [run for run in runs if any(known.startswith(name) for known in (run.run_id, *_names(run)))]
    if len(matches) == 1:
        return matches[0]
    known = ", ".join(run.run_id for run in (matches or runs)[:8])
    if matches:
        raise RunFolderError(f"run {name!r}: fits {len(matches)} runs: {known}; write more of the id")
    raise RunFolderError(
        f"run {name!r}: there is none in {runs_folder(root)}; {f'known are {known}' if known else 'no run was made yet'}"
    )


def _names(run: RunFolder) -> tuple[str, ...]:
    """What people may call it: the name in its id, and the one it was given since."""
    summary = read_summary(run)
    return (name_in_id(run.run_id), *((summary.name,) if summary else ()))


def read_summary(run: RunFolder) -> RunSummary | None:
    """state.json, or None where it is not there or not whole."""
    try:
        return msgspec.json.decode(run.state.read_bytes(), type=RunSummary)
    except (OSError, ValueError):
        return None


def read_launch(run: RunFolder) -> LaunchRecord:
    """launch.json, or the defaults where it is not there or not whole."""
    try:
        return msgspec.json.decode(run.launch.read_bytes(), type=LaunchRecord)
    except (OSError, ValueError):
        return LaunchRecord()


def read_owner(run: RunFolder) -> Owner | None:
    """owner.json, or None where nobody ever owned the run or it is not whole."""
    try:
        return msgspec.json.decode(run.owner.read_bytes(), type=Owner)
    except (OSError, ValueError):
        return None


def boot_id() -> str:
    """The kernel's boot id; an empty text where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """Clock ticks after boot at which the process started; None where it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def is_local(owner: Owner) -> bool:
    """True where the owner is a process of this very boot of this host, so that /proc decides about it."""
    return owner.hostname == socket.gethostname() and owner.boot_id == boot_id()


class OwnerWatch:
    """Whether a run's owner lives: on this host by /proc, elsewhere by its counter not standing still for 120 s here."""

    def __init__(self, run: RunFolder, clock: Callable[[], float] = time.monotonic, *, lost_s: float = OWNER_LOST_S) -> None:
        self._run, self._clock, self._lost_s = run, clock, lost_s
        self._seen: tuple[str, int] | None = None
        self._since_s = 0.0

    def alive(self) -> bool:
        """True while somebody supervises the run; a remote owner is believed until its counter stood still long enough."""
        owner = read_owner(self._run)
        if owner is None or owner.released:
            return False
        if is_local(owner):
            return start_ticks(owner.pid) == owner.start_ticks
        beat = (owner.uuid, owner.counter)
        if beat != self._seen:
            self._seen, self._since_s = beat, self._clock()
        return self._clock() - self._since_s < self._lost_s
