"""Where the loader and the files that it read come from.

It refuses to leave a hash out: every file of the model that can change an answer is hashed, remembered by size, mtime and inode.
"""

import errno
import hashlib
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from engine.protocol.errors import ModelError
from engine.protocol.provenance import FileHash
from engine.protocol.runs import workspace
from engine.store.hashes import RememberedHashes

_LOADER_MODULES = (
    "compute/loader.py", "compute/provenance.py", "compute/quantized_cache.py", "data/model_folder.py", "compute/sentinels.py",
    "compute/device.py", "core/prompt.py",
)  # fmt: skip
_ENGINE = Path(__file__).resolve().parent.parent
_READERS = 4
"""Threads that hash: each takes 1 to 2 GB/s, and a disk or a network volume gives its best to a few readers at once."""


def source_sha256() -> str:
    """sha256 over the names and bytes of the loader's own modules."""
    digest = hashlib.sha256()
    for name in _LOADER_MODULES:
        digest.update(name.encode() + b"\0" + (_ENGINE / name).read_bytes() + b"\0")
    return digest.hexdigest()


def git_sha() -> str:
    """The commit of the checkout that this code runs from; empty where it is an installed package."""
    if not (_ENGINE.parent / ".git").exists():
        return ""
    try:
        found = subprocess.run(
            ["git", "-C", str(_ENGINE.parent), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


class HashesUnderWay:
    """Name, size and sha256 of files, as threads find them while the loader reads the same files.

    Whoever is ahead brings the bytes into memory for the other, so that both together take what the disk takes. It refuses to tell hashes of
    files that changed meanwhile: what was loaded might be neither.
    """

    def __init__(self, paths: Sequence[Path], readers: ThreadPoolExecutor) -> None:
        self._remembered = RememberedHashes(workspace() / "cache" / "file_hashes.json")
        self._left = False
        self._begun_as = {path: _state(path) for path in paths}
        self._found = [readers.submit(self._hash, path) for path in paths]

    def result(self) -> tuple[FileHash, ...]:
        """All of them, as soon as they are known; ask once more after the files were used.

        Raises: ModelError with every file that cannot be read or changed since the beginning.
        """
        problems = [str(error) for future in self._found if (error := future.exception())]
        problems += [
            f"{path}: changed while it was loaded; wait until the model is copied completely, then start again"
            for path, before in self._begun_as.items()
            if _state(path) != before
        ]
        if problems:
            raise ModelError(*problems)
        return tuple(future.result() for future in self._found)

    def leave(self) -> None:
        """Nobody waits for them any more."""
        self._left = True

    def _hash(self, path: Path) -> FileHash:
        try:
            return FileHash(name=path.name, size_bytes=path.stat().st_size, sha256=self._remembered.sha256(path, self._go_on))
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror}); look at the disk, or copy the file again") from error

    def _go_on(self, _: int) -> None:
        if self._left:
            raise InterruptedError(errno.EINTR, "the model is not wanted any more")


@contextmanager
def hashing(paths: Sequence[Path]) -> Iterator[HashesUnderWay]:
    """Hash files beside what is done meanwhile; where that fails, hashing ends too."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="hash") as readers:
        hashes = HashesUnderWay(paths, readers)
        try:
            yield hashes
        except BaseException:
            hashes.leave()
            raise


def _state(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file's content; None where it is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino
