"""Hashes of files and of values: sha256 in one pass, remembered by what the file system says, and canonical JSON for content keys.

It refuses to trust a remembered hash unless path, size, modification time (ns) and inode are all as they were.
"""

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

BLOCK_BYTES = 2**20


def sha256_bytes(data: bytes) -> str:
    """Hexadecimal sha256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path, on_progress: Callable[[int], None] | None = None) -> str:
    """Hexadecimal sha256 of the file; `on_progress` is called with the bytes done after every block, and what it raises ends the reading.

    Raises: OSError where it cannot be read.
    """
    digest, done_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            done_bytes += len(block)
            if on_progress is not None:
                on_progress(done_bytes)
    return digest.hexdigest()


def canonical_json(value: Any) -> bytes:
    """`value` (msgspec structs and builtins) as JSON that does not depend on the order of keys or sets.

    Raises: TypeError for what JSON cannot say; ValueError for NaN and infinities, which would silently become null.
    """
    _refuse_non_finite(value)
    return msgspec.json.encode(value, order="sorted")


def digest(value: Any) -> str:
    """Hexadecimal sha256 of the canonical JSON of `value`: its content hash."""
    return sha256_bytes(canonical_json(value))


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """What was known of a file when it was hashed."""

    size_bytes: int
    mtime_ns: int
    inode: int
    sha256: str


class RememberedHashes:
    """File hashes kept in `cache_file` (0600), so that large files are not read at every start.

    A cache that cannot be read is begun anew; one that cannot be written is done without. Several threads may hash files at once.
    """

    def __init__(self, cache_file: Path) -> None:
        self._cache_file = cache_file
        self._known = _read(cache_file)
        self._writing = threading.Lock()

    def sha256(self, path: Path, on_progress: Callable[[int], None] | None = None) -> str:
        """Hash of the file, remembered where nothing about it changed; a file that changes while it is hashed is not remembered.

        Raises: OSError where it cannot be read.
        """
        key, before = str(path.absolute()), path.stat()
        known = self._known.get(key)
        if known is not None and _describes(known, before):
            return known.sha256
        found = sha256_file(path, on_progress)
        entry = Remembered(size_bytes=before.st_size, mtime_ns=before.st_mtime_ns, inode=before.st_ino, sha256=found)
        if _describes(entry, path.stat()):
            with self._writing:
                self._known[key] = entry
                self._write()
        return found

    def _write(self) -> None:
        # Another process may have learnt other hashes meanwhile
        self._known = _read(self._cache_file) | self._known
        partial = self._cache_file.with_name(f"{self._cache_file.name}.{os.getpid()}.partial")
        try:
            self._cache_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(canonical_json(self._known))
            partial.replace(self._cache_file)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()


def _describes(known: Remembered, status: os.stat_result) -> bool:
    return (known.size_bytes, known.mtime_ns, known.inode) == (status.st_size, status.st_mtime_ns, status.st_ino)


def _read(cache_file: Path) -> dict[str, Remembered]:
    try:
        return msgspec.json.decode(cache_file.read_bytes(), type=dict[str, Remembered])
    except (OSError, msgspec.DecodeError):
        return {}


def _refuse_non_finite(value: Any) -> None:
    if isinstance(value, float) and value - value != 0:
        raise ValueError(f"{value} has no place in a content hash")
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        for part in value:
            _refuse_non_finite(part)
