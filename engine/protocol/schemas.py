"""The public files and streams of a run as JSON Schema (draft 2020-12), made from the structures that read and write them.

It refuses to describe anything by hand: a field that is added to a structure is in its schema. What msgspec checks besides the schema
(constraints between fields) is not in it.
"""

import difflib
import functools
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from engine.protocol import evaluation, prereg
from engine.protocol.codec import Stamp
from engine.protocol.config import Config
from engine.protocol.errors import InputError
from engine.protocol.events import EVENTS
from engine.protocol.gates import GatesReport
from engine.protocol.review import ReviewLine

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_COMPONENTS: Final = "#/$defs/{name}"


def _of(kind: Any) -> dict[str, Any]:
    (schema,), components = msgspec.json.schema_components([kind], ref_template=_COMPONENTS)
    return {**schema, "$defs": components}


def _events() -> dict[str, Any]:
    """One line of events.jsonl: the fields of the stamp, then those of one event."""
    schema = _of(functools.reduce(operator.or_, EVENTS))
    stamp = _of(Stamp)["$defs"]["Stamp"]
    for kind in EVENTS:
        event = schema["$defs"][kind.__name__]
        event["properties"] = {**stamp["properties"], **event["properties"]}
        event["required"] = [*stamp["required"], *event.get("required", [])]
    return schema


SCHEMAS: Final[Mapping[str, tuple[str, Callable[[], dict[str, Any]]]]] = MappingProxyType(
    {
        "config": ("sluice.toml as a JSON value", lambda: _of(Config)),
        "evaluation": ("evaluation.json", lambda: _of(evaluation.Evaluation)),
        "events": ("one line of events.jsonl", _events),
        "gates": ("gates.json", lambda: _of(GatesReport)),
        "review": ("one line of review.jsonl", lambda: _of(ReviewLine)),
        "prereg": ("prereg.json", lambda: _of(prereg.Preregistration)),
    }
)


def json_schema(name: str) -> dict[str, Any]:
    """The schema of what `name` stands for, one of `SCHEMAS`.

    Raises:
        InputError: there is none of this name; the nearest one is named.
    """
    if name not in SCHEMAS:
        (close,) = difflib.get_close_matches(name.lower(), SCHEMAS, n=1, cutoff=0.0)
        raise InputError(f'schema {name!r}: there is none; the nearest is "{close}" (known: {", ".join(SCHEMAS)})')
    title, made = SCHEMAS[name]
    # Through JSON, as defaults may be tuples.
    schema: dict[str, Any] = msgspec.json.decode(msgspec.json.encode({"$schema": _DIALECT, "title": title, **made()}))
    return schema


def schema_text(name: str) -> str:
    """The schema as indented JSON with a newline at the end; the same version gives the same text.

    Raises:
        InputError: as `json_schema`.
    """
    return msgspec.json.format(msgspec.json.encode(json_schema(name)), indent=2).decode() + "\n"
