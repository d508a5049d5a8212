"""Whole run folders: how much room they take, and their removal.

It refuses to remove a run that somebody supervises: whoever removes owns it first, so that nobody can start it meanwhile.
"""

import os
import secrets
import shutil
from pathlib import Path

import msgspec

from engine.protocol.errors import RunFolderError
from engine.protocol.runs import RunFolder
from engine.store.ownership import claim


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that the parts of a run folder take."""

    checkpoints: int
    adapter: int
    evaluation: int
    rest: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.checkpoints + self.adapter + self.evaluation + self.rest


def run_sizes(run: RunFolder) -> Sizes:
    """What is there now, in bytes of the files."""
    parts = [_size_bytes(part) for part in (run.checkpoints, run.adapter, run.eval)]
    return Sizes(checkpoints=parts[0], adapter=parts[1], evaluation=parts[2], rest=_size_bytes(run.path) - sum(parts))


def remove_run(run: RunFolder) -> int:
    """Remove the folder with everything in it; the bytes that were freed.

    Raises: RunBusyError where it has a live owner; RunFolderError where it cannot be removed.
    """
    try:
        ownership = claim(run)
    except OSError as error:
        raise RunFolderError(f"{run.path}: cannot be removed: {error.strerror}; the folder must be writable") from None
    freed_bytes = run_sizes(run).total
    # no run any more from here on, whatever becomes of the removal
    hidden = run.path.with_name(f".{run.run_id}.{secrets.token_hex(4)}.removed")
    try:
        run.path.rename(hidden)
    except OSError as error:
        ownership.release()
        raise RunFolderError(f"{run.path}: cannot be removed: {error.strerror}; its folder must be writable") from None
    try:
        shutil.rmtree(hidden)
    except OSError as error:
        raise RunFolderError(
            f"{hidden}: run {run.run_id} is gone from the list, but {error.filename or hidden} cannot be removed: {error.strerror}; "
            "remove that folder by hand"
        ) from None
    return freed_bytes


def _size_bytes(folder: Path) -> int:
    return sum(_file_bytes(Path(place) / name) for place, _, names in os.walk(folder) for name in names)


def _file_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
