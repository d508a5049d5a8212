"""Following a run's journal from an offset: whole lines only, cheap to poll, never writing.

It refuses to wait: the caller polls (2 to 4 times a second are enough).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from engine.protocol.codec import SkimmedStep, Stamp, decode_skimmed, decode_stamped, steps_among
from engine.protocol.errors import UnknownEventError
from engine.protocol.events import Event

CHUNK_BYTES = 4 << 20
Decoded = TypeVar("Decoded")


class JournalTail:
    """Reads what was appended since the last look. `torn_lines` counts lines that were cut by a crash and skipped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""
        self._unread: list[bytes] = []
        self.torn_lines = 0

    def poll(self, limit_bytes: int = CHUNK_BYTES) -> list[tuple[Stamp, Event]]:
        """New events, oldest first, from at most `limit_bytes` of the file; an empty list where there is nothing new.

        Raises: UnknownEventError for an event of a newer version, once every event before it was given; it stays the next event.
        """
        lines = self._unread or self._new_lines(limit_bytes)
        return self._decoded(lines, [decode_stamped] * len(lines))

    def skim(self, limit_bytes: int = CHUNK_BYTES) -> list[tuple[Stamp, Event] | SkimmedStep]:
        """As `poll`, but of a step with another one directly behind it only what a curve needs.

        Raises: as `poll`.
        """
        lines = self._unread or self._new_lines(limit_bytes)
        steps = [*steps_among(lines), False]
        decoders: list[Callable[[bytes], tuple[Stamp, Event] | SkimmedStep]] = [
            decode_skimmed if here and behind else decode_stamped for here, behind in pairwise(steps)
        ]
        return self._decoded(lines, decoders)

    def _decoded(self, lines: list[bytes], decoders: Sequence[Callable[[bytes], Decoded]]) -> list[Decoded]:
        """The lines that can be decoded; a torn one is counted, what comes from an unknown event on is kept for the next look."""
        found: list[Decoded] = []
        for position, (line, decode) in enumerate(zip(lines, decoders, strict=True)):
            try:
                found.append(decode(line))
            except UnknownEventError:
                self._unread = lines[position:]
                if found:
                    return found
                raise
            except ValueError:
                # no JSON, no UTF-8, or a JSON value without a stamp: only a torn line can look like this
                self.torn_lines += 1
        self._unread = []
        return found

    def _new_lines(self, limit_bytes: int) -> list[bytes]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(limit_bytes)
        except FileNotFoundError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line for line in lines if line]

    def poll_all(self) -> list[tuple[Stamp, Event]]:
        """Everything up to the end of the file as it is now."""
        return [pair for chunk in self.chunks() for pair in chunk]

    def chunks(self) -> Iterator[list[tuple[Stamp, Event]]]:
        """As `poll_all`, piece by piece, so that a journal of any size needs little memory."""
        before = -1
        while self._offset != before:
            before = self._offset
            yield self.poll()
