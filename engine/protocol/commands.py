"""Commands to a run's supervisor, as files: the panel and the command line write them, the supervisor takes them up.

It refuses to signal processes: the sender may be on another host.
"""

import getpass
import os
import socket
import time
import uuid
from pathlib import Path
from typing import Literal

import msgspec

from engine.protocol.runs import RunFolder

CommandName = Literal["stop", "checkpoint"]


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command: what, who asked (user@host), when (UTC ISO 8601)."""

    uuid: str
    command: CommandName
    who: str
    asked_at: str


def send_command(run: RunFolder, command: CommandName, who: str) -> Command:
    """Leave a command for the supervisor; it is acknowledged by a `CommandReceived` event with the same uuid.

    On a full disk it is an empty file whose name says it all, as that still has room where a byte has none.

    Raises: OSError, with the path, where the run folder cannot be written.
    """
    made = Command(uuid=uuid.uuid4().hex, command=command, who=who, asked_at=utc_now())
    run.commands.mkdir(mode=0o700, exist_ok=True)
    hidden, path = run.commands / f".{made.uuid}.tmp", run.commands / f"{made.uuid}.json"
    try:
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(made))
        hidden.rename(path)
    except OSError as error:
        hidden.unlink(missing_ok=True)
        try:
            os.close(os.open(path.with_suffix(f".{command}"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError:
            raise OSError(error.errno, error.strerror, str(path)) from None
    return made


def waiting_commands(run: RunFolder) -> list[tuple[Path, Command]]:
    """Command files not yet taken up, oldest first; a file that is no command is ignored."""
    try:
        paths = [path for path in run.commands.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
    found = [(path, command) for path in paths if (command := _read(path)) is not None]
    return sorted(found, key=lambda pair: (pair[1].asked_at, pair[1].uuid))


def _read(path: Path) -> Command | None:
    try:
        if path.suffix == ".json":
            return msgspec.json.decode(path.read_bytes(), type=Command)
        status = path.stat()
        bare = {"uuid": path.stem, "command": path.suffix[1:], "who": f"user {status.st_uid}", "asked_at": utc(status.st_mtime)}
        return msgspec.convert(bare, Command)
    except (OSError, ValueError):
        return None


def who() -> str:
    """user@host of whoever runs this process, for the record of who asked."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def utc_now() -> str:
    """The present as UTC ISO 8601 with milliseconds."""
    return utc(time.time())


def utc(seconds: float) -> str:
    """Seconds since the epoch as UTC ISO 8601 with milliseconds."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1000):03d}Z"
