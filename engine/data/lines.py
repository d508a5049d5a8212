"""Reading a file of lines as a stream, whole or in parts: its sha256 in the same pass, bounded memory, an error for what is no plain file.

It refuses folders, devices, pipes, symlink loops, and a file that changes while it is read. A line longer than `MAX_LINE_BYTES` is
passed over and reported as such, never held in memory.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from engine.protocol.errors import InputError

MAX_LINE_BYTES = 16 * 2**20
BLOCK_BYTES = 2**20

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""


def no_progress(done_bytes: int, total_bytes: int) -> None:
    """For callers that do not watch."""


def open_regular(path: Path) -> BinaryIO:
    """`path` opened for reading.

    Raises: InputError where it is missing, a folder, a device, a pipe, a loop of symbolic links, empty or not readable.
    """
    try:
        if stat.S_ISDIR(mode := path.stat().st_mode):
            raise InputError(f"{path}: is a folder; name the file inside it")
        if not stat.S_ISREG(mode):
            raise InputError(f"{path}: is a device or a pipe; name a plain file")
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: {_why(error)}") from None
    if os.fstat(file.fileno()).st_size == 0:
        file.close()
        raise InputError(f"{path}: is empty; expected one JSON object a line")
    return file


class FileIdentity(msgspec.Struct, frozen=True):
    """What tells that a file is still the one it was."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileIdentity":
        """Of an open or a named file."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Whole lines of a file: the bytes from `start` to before `end`, the first of them line `first_line`."""

    start: int
    end: int
    first_line: int
    file: FileIdentity


class Parts:
    """A file cut at line ends into parts of about `part_bytes`, once. After the iteration `sha256` is the digest of the whole file.

    A part begins only at a line end, so that a longer line makes a longer part.
    """

    def __init__(self, path: Path, part_bytes: int) -> None:
        self.path, self._part_bytes = path, part_bytes
        self.sha256 = ""

    def __iter__(self) -> Iterator[Part]:
        """Raises: InputError where the file cannot be read or changed meanwhile."""
        digest = hashlib.sha256()
        with open_regular(self.path) as file:
            before = os.fstat(file.fileno())
            start = read = 0
            first_line = line = 1
            for block in _blocks(self.path, file):
                digest.update(block)
                if read + len(block) - start >= self._part_bytes and (cut := block.rfind(b"\n") + 1):
                    last_line = line + block.count(b"\n")
                    yield Part(start=start, end=read + cut, first_line=first_line, file=FileIdentity.of(before))
                    start, first_line = read + cut, last_line
                line += block.count(b"\n")
                read += len(block)
            if start < read:
                yield Part(start=start, end=read, first_line=first_line, file=FileIdentity.of(before))
            check_unchanged(self.path, file, FileIdentity.of(before))
        self.sha256 = digest.hexdigest()


class LineReader:
    """The lines of a file, or of one part of it, once. After the iteration `sha256` is the digest of the whole file (empty for a part)."""

    def __init__(self, path: Path, progress: Progress = no_progress, part: Part | None = None) -> None:
        self.path, self._progress, self._part = path, progress, part
        self._digest = hashlib.sha256()
        self.sha256 = ""

    def __iter__(self) -> Iterator[tuple[int, bytes | None, bool]]:
        """(line number from 1, its bytes without the newline or None where it is too long, whether a newline ended it).

        Raises: InputError where the file cannot be read or changed meanwhile.
        """
        with open_regular(self.path) as file:
            before = self._part.file if self._part else FileIdentity.of(os.fstat(file.fileno()))
            number, rest, too_long = self._part.first_line if self._part else 1, b"", False
            for block in self._blocks(file, before.size_bytes):
                first, *others = block.split(b"\n")
                rest = b"" if too_long else rest + first
                too_long = too_long or len(rest) > MAX_LINE_BYTES
                if not others:
                    continue
                yield number, None if too_long else rest, True
                for line in others[:-1]:
                    number += 1
                    yield number, line, True
                number, rest, too_long = number + 1, others[-1], False
            if rest or too_long:
                yield number, None if too_long else rest, False
            check_unchanged(self.path, file, before)
        self.sha256 = "" if self._part else self._digest.hexdigest()

    def _blocks(self, file: BinaryIO, total_bytes: int) -> Iterator[bytes]:
        done_bytes, end = (self._part.start, self._part.end) if self._part else (0, None)
        file.seek(done_bytes)
        for block in _blocks(self.path, file, end):
            if self._part is None:
                self._digest.update(block)
            done_bytes += len(block)
            yield block
            self._progress(done_bytes, max(total_bytes, done_bytes))


def check_unchanged(path: Path, file: BinaryIO, before: FileIdentity) -> None:
    """Raises: InputError where the open file, or the one of that name, is not what it was."""
    try:
        named = FileIdentity.of(path.stat())
    except OSError:
        named = None
    if named != before or FileIdentity.of(os.fstat(file.fileno())) != before:
        raise changed(path)


def changed(path: Path) -> InputError:
    """For a file that is not what it was when reading it began."""
    return InputError(f"{path}: changed while it was read; wait until nothing writes to it, then check again")


def sha256_of(path: Path) -> str:
    """The digest of the file as it is now. Raises: InputError as `open_regular`, or where it cannot be read."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        for block in _blocks(path, file):
            digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path, file: BinaryIO, end: int | None = None) -> Iterator[bytes]:
    done_bytes = file.tell()
    while end is None or done_bytes < end:
        try:
            block = file.read(BLOCK_BYTES if end is None else min(BLOCK_BYTES, end - done_bytes))
        except OSError as error:
            raise InputError(f"{path}: {_why(error)} after {done_bytes} bytes; copy the file anew") from None
        if not block:
            break
        done_bytes += len(block)
        yield block


def _why(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "there is no such file"
    if error.errno == errno.ELOOP:
        return "is a loop of symbolic links; name the file itself"
    if error.errno == errno.EACCES:
        return "may not be read by this user; change its permissions"
    return f"cannot be read ({error.strerror or error})"
