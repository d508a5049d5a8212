"""JSON lines that a person gives to `stats` and `score`: read whole, every problem told at once.

It refuses to go on with a part of a file.
"""

import contextlib
import difflib
import gc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from engine.core.text import quoted
from engine.protocol.errors import InputError

MOST_PROBLEMS = 20
_BOM = b"\xef\xbb\xbf"
T = TypeVar("T")


def read_lines(path: Path, kind: type[T], problems: list[str]) -> list[tuple[int, T]]:
    """(line number, value) of every line that is a `kind`; what is not goes to `problems`, as does a file that cannot be read or is empty."""
    try:
        data = path.read_bytes().removeprefix(_BOM)
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
        return []
    decoder: Any = msgspec.json.Decoder(kind)
    lines = data.splitlines()
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        # all at once, for a million lines; where a line is wrong or blank, one by one
        whole: list[T] = decoder.decode_lines(data)
        if len(whole) == len(lines) and whole:
            return list(enumerate(whole, start=1))
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            if line.strip():
                found.append((number, decoder.decode(line)))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            problems.append(f"{path}, line {number}: {error}")
    if not any(line.strip() for line in lines):
        problems.append(f"{path}: is empty; one JSON object a line is wanted")
    return found


def refuse(problems: Iterable[str]) -> None:
    """Raise what was found, the first `MOST_PROBLEMS` in full.

    Raises:
        InputError: there are problems.
    """
    told = list(problems)
    if told:
        more = len(told) - MOST_PROBLEMS
        raise InputError(*told[:MOST_PROBLEMS], *([f"… and {more:,} more problems"] if more > 0 else []))


def repeated(path: Path, named: Iterable[tuple[int, str]]) -> Iterator[str]:
    """A problem for every (line number, id) whose id stood in a line before."""
    first: dict[str, int] = {}
    for number, name in named:
        before = first.setdefault(name, number)
        if before != number:
            yield f"{path}, line {number}: id {quoted(name)} stands in line {before} already; each item must stand once"


def unknown_types(wanted: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    """A problem for every type that no item has, with the nearest one."""
    types = sorted(set(known))
    for name in wanted:
        if name not in types:
            close = difflib.get_close_matches(name, types, n=1)
            mend = f"did you mean {quoted(close[0])}?" if close else f"known are {', '.join(map(quoted, types[:20])) or 'none'}"
            yield f"--guard: no item has the type {quoted(name)}; {mend}"


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Hold the collector off: it would look through a million values that all stay, again and again (2.2 s instead of 0.4 s)."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
