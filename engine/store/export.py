"""A run packed to be carried away: one archive without checkpoints, with the sha256 of every file in it and of itself.

A live run is packed as it is at that moment. It refuses to pack what only this machine can use: checkpoints, ownership, commands.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from engine.protocol.errors import RunFolderError
from engine.protocol.runs import RunFolder, workspace_of
from engine.store.atomic import atomic_folder
from engine.store.hashes import sha256_file

LEFT_OUT = frozenset({"checkpoints", "commands", "owner.json", "owner.lock"})
SUMS = "SHA256SUMS"
_COMPRESSION = 1


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: `files` are in the archive besides its SHA256SUMS."""

    archive: str
    sha256: str
    size_bytes: int
    files: int


def export_run(run: RunFolder, folder: Path | None = None) -> Packed:
    """Write `<folder>/<run id>.tar.gz` and SHA256SUMS beside it; by default into `<workspace>/exports/<run id>`, replaced each time.

    Raises: DiskFullError; RunFolderError where a file cannot be read or the archive cannot be written.
    """
    place = (folder or workspace_of(run) / "exports") / run.run_id
    name = f"{run.run_id}.tar.gz"
    # whatever else lies there is somebody's, and an export replaces the folder
    if place.exists() and not {path.name for path in place.iterdir()} <= {name, SUMS}:
        raise RunFolderError(f"{place}: is there and holds other files than an export; name another place with --out")
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_folder(place) as hidden:
            files = _write_archive(run, hidden / name)
            digest = sha256_file(hidden / name)
            (hidden / SUMS).write_text(f"{digest}  {name}\n", encoding="utf-8")
    except OSError as error:
        raise RunFolderError(
            f"{error.filename or place}: cannot be packed: {error.strerror}; name another place with --out"
        ) from None
    archive = place / name
    return Packed(archive=str(archive), sha256=digest, size_bytes=archive.stat().st_size, files=files)


def _write_archive(run: RunFolder, path: Path) -> int:
    sums: list[str] = []
    with tarfile.open(path, "w:gz", compresslevel=_COMPRESSION) as archive:
        for file in _files(run):
            name = file.relative_to(run.path).as_posix()
            with file.open("rb") as stream:
                digesting = _Digesting(stream)
                archive.addfile(_entry(archive, run, name, stream), digesting)
            sums.append(f"{digesting.sha256}  {name}\n")
        data = "".join(sums).encode()
        entry = tarfile.TarInfo(f"{run.run_id}/{SUMS}")
        entry.size, entry.mode = len(data), 0o600
        archive.addfile(entry, io.BytesIO(data))
    return len(sums)


def _entry(archive: tarfile.TarFile, run: RunFolder, name: str, stream: IO[bytes]) -> tarfile.TarInfo:
    """Size and time as of now, without this machine's users."""
    entry = archive.gettarinfo(arcname=f"{run.run_id}/{name}", fileobj=stream)
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.type = tarfile.REGTYPE
    return entry


def _files(run: RunFolder) -> Iterator[Path]:
    """Regular files in the order of their names; hidden ones are somebody's unfinished work."""
    for path in sorted(run.path.rglob("*")):
        parts = path.relative_to(run.path).parts
        if (
            parts[0] not in LEFT_OUT
            and not any(part.startswith(".") for part in parts)
            and path.is_file()
            and not path.is_symlink()
        ):
            yield path


class _Digesting:
    """A stream that is hashed while it is read, so that the sum is that of the bytes in the archive."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._digest = stream, hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of everything read so far."""
        return self._digest.hexdigest()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._stream.read(size)
        self._digest.update(data)
        return data
