"""One line of JSONL as a value, or the one sentence that tells a person what is wrong with it and where.

It refuses to let anything but a `Fault` come out of a broken line: bad UTF-8, bad syntax, wrong types, repeated keys, depth.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
_AT_BYTE = re.compile(r" \(byte (\d+)\)$")
_AT_PATH = re.compile(r" - at `\$\.?(.*)`$")
_TYPE_WORDS = {"str": "a text", "int": "a number", "float": "a number", "bool": "true or false", "object": "an object",
               "array": "a list", "null": "null"}  # fmt: skip


class Fault(msgspec.Struct, frozen=True):
    """Why one line cannot be used; `column` counts characters from 1."""

    reason: str
    text: str
    column: int | None = None


class InnerKeys:
    """Keys of the objects inside a line that must not come twice in one object.

    A line has those of `one` object once, and `each` once for every key that ends in `holder`.
    """

    def __init__(self, one: Iterable[str], each: Iterable[str], holder: str) -> None:
        self._once = re.compile(rb'"(?:%s)"' % b"|".join(re.escape(key.encode()) for key in one))
        self._each, self._holder = tuple(f'"{key}"'.encode() for key in each), f'{holder}"'.encode()

    def may_repeat(self, data: bytes) -> bool:
        """True where one comes more often than that, be it as a value: then the line has to be looked at in earnest."""
        found = self._once.findall(data)
        return len(set(found)) < len(found) or max(map(data.count, self._each)) > data.count(self._holder)


def decode_line(
    data: bytes, decoder: "msgspec.json.Decoder[T]", keys: Sequence[str], *, ended: bool, inner: "InnerKeys | None" = None
) -> T | Fault:
    """One line of JSONL as a value, or why not.

    `keys` must not come twice in one object, nor those of objects `inner` to it. `ended`: a newline follows, so it is not cut off.
    """
    try:
        data.decode()
        value = decoder.decode(data)
    except UnicodeDecodeError as error:
        return _encoding_fault(data, error)
    except msgspec.ValidationError as error:
        return validation_fault(str(error), data)
    except msgspec.DecodeError as error:
        return _syntax_fault(str(error), data, ended)
    except RecursionError:
        return Fault("nested too deeply", "lists or objects are nested too deeply")
    outer = max(map(data.count, _in_quotes(tuple(keys)))) > 1
    if (outer or (inner is not None and inner.may_repeat(data))) and (repeated := repeated_key(data)):
        column = _column(data, data.rfind(b'"%s"' % repeated.encode()))
        return Fault("duplicate keys", f"the key {repeated!r} comes twice; which one is meant?", column)
    return value


def key_column(data: bytes, key: str) -> int | None:
    """Where the first key of that name stands; None where there is no line to look at."""
    return _column(data, data.find(b'"%s"' % key.encode()))


@cache
def _in_quotes(keys: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(f'"{key}"'.encode() for key in keys)


def repeated_key(data: bytes) -> str | None:
    """The first key that comes twice in one object of the JSON text `data`; None where there is none."""
    repeated: list[str] = []

    def check(pairs: list[tuple[str, Any]]) -> None:
        repeated.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)

    try:
        json.loads(data, object_pairs_hook=check)
    except (ValueError, RecursionError):
        # Numbers of thousands of digits, which only this parser refuses
        return None
    return repeated[0] if repeated else None


def _encoding_fault(data: bytes, error: UnicodeDecodeError) -> Fault:
    try:
        data.decode()
    except UnicodeDecodeError as whole:
        error = whole
    return Fault("not UTF-8", f"the byte 0x{data[error.start]:02x} is not UTF-8", len(data[: error.start].decode()) + 1)


def validation_fault(message: str, data: bytes) -> Fault:
    """The fault that a decoder's validation message tells, in words for people; `data` is the line, empty where there is none."""
    if missing := re.search(r"missing required field `(.+?)`", message):
        return Fault("missing field", f'there is no "{missing.group(1)}"', _column(data, data.find(b"{")))
    place = _AT_PATH.search(message)
    key = place.group(1) if place else ""
    words = _AT_PATH.sub("", message).replace("`", "")
    words = re.sub(r"\b(str|int|float|bool|object|array|null)\b", lambda match: _TYPE_WORDS[match.group(1)], words)
    words = re.sub(r"^Expected (.+), got (.+)$", r"is \2; expected \1", words).replace(" | ", " or ")
    at = data.find(b'"%s"' % key.split(".")[-1].encode()) if key else 0
    return Fault("wrong type", f'"{key}" {words}' if key else f"the line {words}", _column(data, at))


def _syntax_fault(message: str, data: bytes, ended: bool) -> Fault:
    if b"\x00" in data:
        return Fault(
            "NUL bytes", "the line holds a NUL byte; was the file cut off by a full disk?", _column(data, data.find(b"\0"))
        )
    if "truncated" in message and not ended:
        return Fault("truncated last line", "the last line is cut off; copy the file anew", _column(data, len(data)))
    at = _AT_BYTE.search(message)
    what = (
        _AT_BYTE.sub("", message)
        .removeprefix("JSON is malformed: ")
        .replace("Input data was truncated", "the line ends too early")
    )
    return Fault("invalid JSON", f"not valid JSON: {what}", _column(data, int(at.group(1)) if at else len(data)))


def _column(data: bytes, at_byte: int) -> int | None:
    return None if at_byte < 0 or not data else len(data[:at_byte].decode(errors="replace")) + 1
