"""What the panel asks of the engine: files for a live supervisor, the command line for everything else.

Each call blocks and belongs into a thread; it returns a sentence for the person, or the run it made. It refuses to compute: torch,
gates and plans stay in other processes.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from engine.protocol.commands import CommandName, send_command, who
from engine.protocol.errors import EngineError
from engine.protocol.runs import RunFolder

if TYPE_CHECKING:
    from engine.protocol.evaluation import Evaluation
    from engine.protocol.review import ReviewSheet

PATIENCE_S = 120
Answer = TypeVar("Answer")
# a signed NO-GO or INCONCLUSIVE keeps its own exit status: the call worked all the same
VERDICT_STATUSES = (0, 1, 3)


def ask(run: RunFolder, command: CommandName) -> str:
    """Leave a command for the run's supervisor.

    Raises: EngineError where the run folder cannot be written.
    """
    try:
        send_command(run, command, who())
    except OSError as error:
        raise EngineError(f"{run.commands}: {error.strerror}; the command was not given") from None
    return f"{command} asked for; the event log says when it is taken up"


def resume(run: RunFolder) -> str:
    """Start a supervisor that goes on with the run.

    Raises: EngineError with what the command said.
    """
    _sluice("resume", str(run.path), "--detach")
    return f"run {run.run_id} goes on"


def override(run: RunFolder, gate: str, reason: str) -> str:
    """Override one hard gate and go on.

    Raises: EngineError with what the command said.
    """
    _sluice("resume", str(run.path), "--override", gate, "--reason", reason, "--detach")
    return f"gate {gate} overridden; run {run.run_id} goes on, GO is no longer possible"


def start_demo(root: Path) -> RunFolder:
    """Start the demo in the workspace.

    Raises: EngineError with what the command said.
    """
    return _made(_sluice("demo", "--out", str(root), "--detach", "--json"))


def start_run(config: Path, root: Path, *, gates_only: bool = False) -> RunFolder:
    """Start the run of a sluice.toml, or of the folder that holds one, in the workspace; `gates_only` lets it rest after its gates.

    Raises: EngineError with every problem the command found, one each.
    """
    until = ("--until", "gates") if gates_only else ()
    return _made(_sluice("run", str(config.expanduser().absolute()), *until, "--detach", "--json", root=root))


def write_settings(folder: Path, assignments: Sequence[str]) -> Path:
    """Write a commented sluice.toml with `table.key=value` taken over into a new folder; the file.

    Raises: EngineError with every problem the command found, one each.
    """
    _sluice("init", str(folder), "--", *assignments)
    return folder / "sluice.toml"


def plan_text(assignments: Sequence[str]) -> str:
    """What a run of these settings will be: tokens, steps, time, memory and power, as `sluice plan` prints it.

    Raises: EngineError with every problem the command found, one each.
    """
    with tempfile.TemporaryDirectory(prefix="sluice-plan-") as folder:
        return _sluice("plan", str(write_settings(Path(folder) / "plan", assignments)))


def rerun(run: RunFolder, assignments: Sequence[str]) -> RunFolder:
    """Start a new run with the settings of `run`, some changed.

    Raises: EngineError with every problem the command found, one each.
    """
    return _made(_sluice("rerun", "--detach", "--json", "--", str(run.path), *assignments))


def rename(run: RunFolder, name: str) -> str:
    """Call the run something else.

    Raises: EngineError with what the command said.
    """
    return _sluice("rename", "--", str(run.path), name).strip()


def note(run: RunFolder, text: str) -> str:
    """Keep a line about the run.

    Raises: EngineError with what the command said.
    """
    return _sluice("note", "--", str(run.path), *([text] if text else [])).strip()


class Sizes(msgspec.Struct, frozen=True):
    """What a removal frees, in bytes, and whether it takes a signature away."""

    total: int
    checkpoints: int
    adapter: int
    evaluation: int
    signed: bool


def sizes(run: RunFolder) -> Sizes:
    """How much the run takes.

    Raises: EngineError with what the command said.
    """
    return _decoded(_sluice("rm", str(run.path), "--sizes", "--json"), Sizes)


def remove(run: RunFolder) -> str:
    """Remove the run for ever.

    Raises: EngineError with what the command said.
    """
    return _sluice("rm", str(run.path), "--yes").strip()


class Packed(msgspec.Struct, frozen=True):
    """An archive, its sum, and the line that copies it off this machine."""

    archive: str
    sha256: str
    size_bytes: int
    files: int
    copy: str


def pack(run: RunFolder) -> Packed:
    """Pack the run without its checkpoints.

    Raises: EngineError with what the command said.
    """
    return _decoded(_sluice("export", str(run.path), "--json"), Packed)


class Model(msgspec.Struct, frozen=True):
    """A model of this machine; `tuned` says why it looks instruction-tuned, `problems` why it cannot be used."""

    value: str
    name: str
    path: str
    size_bytes: int
    tuned: str
    problems: tuple[str, ...]


def models(root: Path, *named: str) -> list[Model]:
    """The models of the workspace and of the hub cache; with names, those only.

    Raises: EngineError with what the command said.
    """
    return _decoded(_sluice("models", "--json", "--", *named, root=root), list[Model])


def sign(run: RunFolder, name: str, note: str) -> str:
    """Sign the run's verdict.

    Raises: EngineError with what the command said.
    """
    _sluice("signoff", str(run.path), f"--name={name}", f"--note={note}", "--json", accepted=VERDICT_STATUSES)
    return f"signed by {name}"


def review_sheet(run: RunFolder) -> "ReviewSheet":
    """The responses that a person is to judge, and how the review stands.

    Raises: EngineError with what the command said.
    """
    from engine.protocol.review import ReviewSheet

    printed = _sluice("review", str(run.path), "--json")
    try:
        return msgspec.json.decode(printed, type=ReviewSheet)
    except msgspec.DecodeError as error:
        raise EngineError(f"sluice review printed what is no sample: {error}") from None


def rebuild_report(run: RunFolder) -> None:
    """Write the run's report anew from its records.

    Raises: EngineError with what the command said.
    """
    _sluice("report", str(run.path), "--json", accepted=VERDICT_STATUSES)


def _decoded(printed: str, kind: type[Answer]) -> Answer:
    try:
        return msgspec.json.decode(printed, type=kind)
    except msgspec.DecodeError:
        raise EngineError(f"the answer cannot be read: {printed.strip()[:200]}") from None


def what_if(run: RunFolder, changes: Sequence[str]) -> "Evaluation":
    """What other [verdict] settings (KEY=VALUE, as in sluice.toml) would have given; the run stays as it is.

    Raises: EngineError with every problem of the settings.
    """
    from engine.protocol.evaluation import decode_evaluation

    tried = [f"--what-if={change}" for change in changes]
    printed = _sluice("report", str(run.path), *tried, "--json", accepted=VERDICT_STATUSES)
    return decode_evaluation(printed.encode(), "sluice report --what-if")


class _Made(msgspec.Struct, frozen=True):
    """What a command that made a run prints with --json."""

    path: str


def _made(printed: str) -> RunFolder:
    try:
        return RunFolder(Path(msgspec.json.decode(printed, type=_Made).path))
    except msgspec.DecodeError:
        raise EngineError(f"the run was started, but where it is cannot be read from: {printed.strip()[:200]}") from None


def _sluice(*arguments: str, root: Path | None = None, accepted: tuple[int, ...] = (0,)) -> str:
    """What a sub-command printed; `root` is the workspace it shall use.

    Raises: EngineError with each line that it complained with.
    """
    command = [sys.executable, "-P", "-m", "app.cli", *arguments]
    environ = {**os.environ, "SLUICE_WORKSPACE": str(root)} if root else None
    try:
        # in a session of its own: what a person asked for is carried out although the terminal goes away meanwhile
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=environ,
            start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"sluice {arguments[0]} could not be run: {error}") from None
    if done.returncode not in accepted:
        said = (done.stderr or done.stdout).strip() or f"sluice {arguments[0]}: exit status {done.returncode}"
        raise EngineError(*(line.removeprefix("sluice: ") for line in said.splitlines()))
    return done.stdout
