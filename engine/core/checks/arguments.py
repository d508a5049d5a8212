"""Every problem of the arguments that a person gave to a check: unknown ones, missing ones, wrong types, contradictions.

Nothing is coerced: `"5"` is not a number. It knows no check kind by name; the struct of arguments says what is wanted.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec

from engine.core.checks.finding import Arguments
from engine.core.checks.naming import nearest, shown


def argument_problems(kind: type[Arguments], given: Mapping[str, Any]) -> Iterator[str]:
    """Unknown, missing and mistyped arguments; where there is none of these, what the arguments find wrong with each other."""
    fields = _fields(kind)
    single = [f"unknown argument {shown(name)}{nearest(str(name), fields)}" for name in given if name not in fields]
    for name, field in fields.items():
        if name in given:
            single += _type_problem(name, given[name], field.type)
        elif field.required:
            single.append(f'lacks "{name}"; expected {_expected(field.type)}')
    yield from single
    if not single:
        yield from msgspec.convert(dict(given), kind).problems()


@cache
def _fields(kind: type[Arguments]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _type_problem(name: str, value: Any, wanted: Any) -> list[str]:
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        return [f'"{name}" is {shown(value)}; expected {_expected(wanted)}']
    return []


def _expected(wanted: Any) -> str:
    """The type of an argument in words."""
    info = msgspec.inspect.type_info(wanted)
    options = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    described = [_described(option) for option in options if not isinstance(option, msgspec.inspect.NoneType)]
    return " or ".join(dict.fromkeys(described))


def _described(info: msgspec.inspect.Type) -> str:
    match info:
        case msgspec.inspect.LiteralType(values=values):
            return f"one of {', '.join(map(str, values))}"
        case msgspec.inspect.IntType(ge=bound):
            return "an integer" if bound is None else f"an integer ≥ {bound}"
        case msgspec.inspect.VarTupleType(item_type=item):
            return f"a list of {_described(item).removeprefix('a ')}s"
        case msgspec.inspect.StrType():
            return "a text"
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.FloatType():
            return "a number"
        case _:
            return "an object"
