"""Settings changed from a command line: `table.key=value`, the value written as in sluice.toml; a bare word is a text.

It refuses to guess: an unknown key, an ambiguous short one and a wrong value are problems, all of them told at once.
"""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.protocol.config import Config
from engine.protocol.config_file import checked_config, dump_config, known_keys, parse_config
from engine.protocol.errors import ConfigError


def with_changes(config: Config, assignments: Sequence[str], base: Path | None = None) -> Config:
    """`config` with every `table.key=value` taken over; `key=value` will do where one table only has the key.

    Paths among the values are relative to `base` and must exist; without a base they stay as they are.

    Raises: ConfigError with every problem, those of the changed settings included.
    """
    raw = tomllib.loads(dump_config(config, comments=False))
    problems = []
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        key, problem = _whole_key(name.strip())
        if not equals:
            problems.append(f"{assignment!r}: must be table.key=value, for example train.lr=1e-4")
        elif problem:
            problems.append(problem)
        else:
            table, _, field = key.partition(".")
            raw[table][field] = _value(text.strip(), getattr(getattr(config, table), field))
    if problems:
        raise ConfigError(*problems)
    return parse_config(raw, where="settings") if base is None else checked_config(raw, base, where="settings")


def _whole_key(name: str) -> tuple[str, str]:
    """`table.key` that is meant, and what is wrong where none is."""
    known = known_keys()
    if name in known:
        return name, ""
    fits = [key for key in known if key.partition(".")[2] == name]
    if len(fits) == 1:
        return fits[0], ""
    if fits:
        return "", f"{name}: is in several tables; write {' or '.join(fits)}"
    field = name.rpartition(".")[2]
    close = difflib.get_close_matches(name, known, n=1) or [
        key for key in known if difflib.get_close_matches(field, [key.partition(".")[2]])
    ]
    hint = f"; did you mean {close[0]}?" if close else "; `sluice init DIR` writes a file that explains them all"
    return "", f"{name}: there is no such setting{hint}"


def _value(text: str, before: Any) -> Any:
    """The value that a person wrote; for a text setting always a text, quoted or not."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return text if isinstance(before, str) and not isinstance(value, str) else value
