"""Starting a supervisor that outlives the process, the terminal and the session that started it.

It refuses to supervise anything itself, and to start a second supervisor where the first lives.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from engine.protocol.errors import EngineError, RunBusyError
from engine.protocol.events import Stage
from engine.protocol.runs import OWNER_BEAT_S, Owner, OwnerWatch, RunFolder, is_local, read_owner, read_summary, start_ticks

START_PATIENCE_S = 30.0
LOOK_EVERY_S = 0.02


def start_supervisor(run: RunFolder, until: Stage | None = None) -> None:
    """Start `engine.supervise` for `run` in a session of its own, its parent long gone (double fork).

    Without `until` it goes on to the stage it was launched for, and to the report where that is done. Returns once it has taken the run, so that what is read of the run from then on is its own; where the owner before was another
    host's, it may have to watch that one first, and this returns at once.

    Raises: RunBusyError where the run has a live owner; EngineError where no process could be started or it ended at once.
    """
    if OwnerWatch(run).alive() and _beats_lately(run):
        raise RunBusyError(f"run {run.run_id}: another supervisor owns it; `sluice watch {run.run_id}` follows it")
    before = read_owner(run)
    command = [sys.executable, "-P", "-m", "engine.supervise", str(run.path)]
    summary = read_summary(run)
    if until is None and summary is not None and summary.state == "finished":
        until = "report"
    command += ["--until", until] if until is not None else []
    # the first child only starts the second and ends, so the supervisor becomes an orphan that nobody waits for
    first = [sys.executable, "-P", "-c", _DETACH, *command]
    try:
        with run.engine_log.open("ab") as log:
            run.engine_log.chmod(0o600)
            done = subprocess.run(
                first,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                cwd=run.path,
                env=_environment(),
                check=False,
            )
    except OSError as error:
        raise EngineError(f"the supervisor could not be started: {error.strerror}: {error.filename}") from None
    if done.returncode != 0:
        raise EngineError(f"the supervisor could not be started (status {done.returncode}); {run.engine_log} has the reason")
    if before is None or is_local(before):
        _await_taken(run, before, pid=int(done.stdout))


def _environment() -> dict[str, str]:
    """This process's own, with places of modules that mean the same from another folder."""
    places = os.environ.get("PYTHONPATH")
    absolute = os.pathsep.join(str(Path(place).absolute()) for place in places.split(os.pathsep)) if places else ""
    return {**os.environ, **({"PYTHONPATH": absolute} if absolute else {})}


def _await_taken(run: RunFolder, before: Owner | None, *, pid: int) -> None:
    began_ticks, deadline = start_ticks(pid), time.monotonic() + START_PATIENCE_S
    while time.monotonic() < deadline:
        gone = began_ticks is None or start_ticks(pid) != began_ticks
        owner = read_owner(run)
        if owner is not None and (before is None or owner.uuid != before.uuid):
            return
        if gone:
            break
        time.sleep(LOOK_EVERY_S)
    raise EngineError(f"the supervisor did not take run {run.run_id}; the end of {run.engine_log} says why")


def _beats_lately(run: RunFolder) -> bool:
    """Whether owner.json was rewritten a few beats ago at most, by the clock of its own volume.

    A supervisor that is started although another host's may live watches that one's counter for itself, which takes its time.
    """
    owner = read_owner(run)
    if owner is None or is_local(owner):
        return owner is not None
    probe = run.path / f".probe.{os.getpid()}"
    try:
        probe.touch(mode=0o600)
        return probe.stat().st_mtime - run.owner.stat().st_mtime < 3 * OWNER_BEAT_S
    except OSError:
        return True
    finally:
        probe.unlink(missing_ok=True)


_DETACH = """
import subprocess, sys
out = open(2, "wb", closefd=False)
print(subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True).pid)
"""
