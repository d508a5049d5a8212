"""`KEY=VALUE` settings of the [verdict] table, the value written as in sluice.toml; a bare word is a text.

It refuses to guess: an unknown key and a wrong value are problems, all of them told at once.
"""

import tomllib
from collections.abc import Sequence
from typing import Any

import msgspec

from engine.protocol.config import Config, VerdictTable
from engine.protocol.config_file import parse_config
from engine.protocol.errors import ConfigError

WHERE = "what if"


def with_verdict_settings(config: Config, changes: Sequence[str]) -> VerdictTable:
    """The config's [verdict] table with the changes taken over; `verdict.` before a key may be left out.

    Raises: ConfigError with every problem.
    """
    table: dict[str, Any] = msgspec.to_builtins(config.verdict)
    problems = [f"{WHERE}: {change!r} must be KEY=VALUE, for example alpha=0.05" for change in changes if "=" not in change]
    if problems:
        raise ConfigError(*problems)
    for change in changes:
        name, _, text = change.partition("=")
        table[name.strip().removeprefix("verdict.")] = _value(text.strip())
    return parse_config({"verdict": table}, where=WHERE).verdict


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
