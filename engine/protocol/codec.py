"""Events as lines of JSON: bare on the worker's pipe, stamped in the journal.

A stamped line is `{"seq":…,"t":…,"mono_s":…,"type":…,…}`: the stamp's fields before the event's own. It refuses unknown tags: an
event of a newer version is an error that says so, never skipped silently.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from engine.protocol.errors import UnknownEventError
from engine.protocol.events import EVENTS, Event


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """When an event was journalled: `seq` from 0 without gaps, `t` UTC ISO 8601, `mono_s` the supervisor's monotonic clock."""

    seq: int
    t: str
    mono_s: float


class SkimmedStep(msgspec.Struct, frozen=True):
    """What a curve needs of a journalled `StepTrained`: a third of the time to decode, for the many before the newest."""

    t: str
    mono_s: float
    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    elapsed_s: float


_encoder = msgspec.json.Encoder()
_STEP = b'"type":"StepTrained"'
# the stamp before the tag is shorter than this
_TAG_WITHIN = 120
_union: Any = functools.reduce(operator.or_, EVENTS)
_event_decoder = msgspec.json.Decoder(_union)
_stamp_decoder = msgspec.json.Decoder(Stamp)
_skim_decoder = msgspec.json.Decoder(SkimmedStep)


def encode_event(event: Event) -> bytes:
    """One line without its newline."""
    return _encoder.encode(event)


def encode_stamped(stamp: Stamp, event: Event) -> bytes:
    """One journal line without its newline."""
    return _encoder.encode(stamp)[:-1] + b"," + _encoder.encode(event)[1:]


def decode_event(line: bytes) -> Event:
    """The event of a bare or stamped line.

    Raises: UnknownEventError for an unknown tag or a shape this version does not know; it says which side to upgrade.
    """
    try:
        event: Event = _event_decoder.decode(line)
    except msgspec.ValidationError as error:
        shown = line[:120].decode("utf-8", "replace")
        raise UnknownEventError(
            f"event {shown!r} is not known to this version of sluice ({error}); open the run with the version that wrote it, or upgrade"
        ) from None
    return event


def decode_stamped(line: bytes) -> tuple[Stamp, Event]:
    """Stamp and event of a journal line.

    Raises: UnknownEventError as `decode_event`; msgspec.DecodeError where the line is no JSON (torn).
    """
    return _stamp_decoder.decode(line), decode_event(line)


def steps_among(lines: Sequence[bytes]) -> list[bool]:
    """Which journal lines are a `StepTrained`."""
    return [line.find(_STEP, 0, _TAG_WITHIN) > 0 for line in lines]


decode_skimmed: Callable[[bytes], SkimmedStep] = _skim_decoder.decode
"""A journalled step without what only the newest one is asked for; msgspec.DecodeError where the line is no such JSON."""
