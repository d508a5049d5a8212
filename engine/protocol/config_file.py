"""Reading and writing `sluice.toml`: all problems at once with their lines, and a file with a comment for every key.

It refuses to half-accept a file: either a whole `Config` comes back or a `ConfigError` with every problem.
"""

import difflib
import errno
import json
import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from engine.protocol.config import NAME_PATTERN, Config, Table
from engine.protocol.errors import ConfigError
from engine.protocol.gates import GATE_IDS

PATH_KEYS = (
    ("model", "path"),
    ("data", "train"),
    ("data", "held_out"),
    ("data", "qc_pilot"),
    ("data", "qc_scale"),
    ("data", "session_manifest"),
)
COMMENT_COLUMNS = 100
_KINDS: Final = {"float": "a number", "int": "a whole number", "str": "a text", "bool": "true or false", "object": "a table",
                 "array": "a list"}  # fmt: skip
REQUIRED_KEYS = (("model", "path"), ("data", "train"), ("data", "held_out"))


def load_config(path: Path, *, inputs_must_exist: bool = True) -> Config:
    """The settings in `path`, with its paths made absolute against the file's folder.

    Without `inputs_must_exist` model and datasets may be gone: a run's frozen settings are read so, as each stage looks for itself
    for what it needs.

    Raises: ConfigError with every problem: unreadable file, TOML syntax, unknown keys, wrong types or ranges, missing inputs.
    """
    source = _read(path)
    try:
        raw = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}; mend that line, or write a fresh file with `sluice init`") from None
    return checked_config(raw, path.absolute().parent, source=source, where=str(path), inputs_must_exist=inputs_must_exist)


def checked_config(
    raw: dict[str, Any], base: Path, *, source: str = "", where: str = "config", inputs_must_exist: bool = True
) -> Config:
    """A checked `Config` from parsed TOML with its paths made absolute against `base`.

    Raises: ConfigError as `load_config`.
    """
    lines = KeyLines(source)
    config, problems = _parsed(raw, lines, where)
    resolved, missing = _with_absolute_paths(config, base, lines=lines, where=where)
    problems += missing if inputs_must_exist else []
    if problems:
        raise ConfigError(*problems)
    return resolved


def parse_config(raw: dict[str, Any], *, source: str = "", where: str = "config") -> Config:
    """A checked `Config` from parsed TOML; `source` gives the lines for the messages. Paths stay as they are.

    Raises: ConfigError with every problem.
    """
    config, problems = _parsed(raw, KeyLines(source), where)
    if problems:
        raise ConfigError(*problems)
    return config


def _parsed(raw: dict[str, Any], lines: "KeyLines", where: str) -> tuple[Config, list[str]]:
    """What can be read of it, defaults in place of what cannot, and every problem in the order of the file's tables."""
    problems: list[str] = []
    tables: dict[str, Any] = {}
    known = _fields(Config)
    for name, content in raw.items():
        if name not in known:
            problems.append(f"{where}{lines.at(name)}: unknown table [{name}]{_nearest(name, list(known))}")
        elif not isinstance(content, dict):
            problems.append(f"{where}{lines.at(name)}: {name} is {content!r}; must be a table, written [{name}]")
        else:
            tables[name], found = _table(known[name], name, content, lines, where)
            problems += found
    config = Config(**tables)
    problems += [f"{where}{lines.at(f'{table}.{key}')}: {text}" for table, key, text in _cross_checks(config)]
    return config, problems


def dump_config(config: Config, *, comments: bool = True) -> str:
    """`config` as TOML that `parse_config` reads back to an equal value; with `comments`, one above every key."""
    blocks = []
    for name in _fields(Config):
        table = getattr(config, name)
        lines = [f"# {(type(table).__doc__ or '').strip()}"] if comments else []
        lines.append(f"[{name}]")
        for key, kind in _fields(type(table)).items():
            if comments:
                lines += textwrap.wrap(_description(kind), COMMENT_COLUMNS, initial_indent="# ", subsequent_indent="# ")
            lines.append(f"{key} = {_toml(getattr(table, key))}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


class Difference(msgspec.Struct, frozen=True):
    """A setting that differs, `table.key`, with both values as TOML."""

    key: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.key} was {self.before} and is {self.after}"


def differences(before: Config, after: Config) -> tuple[Difference, ...]:
    """The settings that differ, in the order of the file."""
    return tuple(
        Difference(f"{table}.{key}", _toml(old), _toml(new))
        for table in _fields(Config)
        for key in _fields(type(getattr(before, table)))
        if (old := getattr(getattr(before, table), key)) != (new := getattr(getattr(after, table), key))
    )


def known_keys() -> tuple[str, ...]:
    """`table.key` of every setting, in the order of the file."""
    return tuple(f"{table}.{key}" for table, kind in _fields(Config).items() for key in _fields(kind))


class Setting(msgspec.Struct, frozen=True):
    """One setting: `table.key`, its value as TOML, and what it means."""

    key: str
    value: str
    meaning: str


def described(config: Config) -> tuple[Setting, ...]:
    """Every setting, in the order of the file."""
    return tuple(
        Setting(f"{table}.{key}", _toml(getattr(getattr(config, table), key)), _description(kind))
        for table, fields in _fields(Config).items()
        for key, kind in _fields(fields).items()
    )


def loosened(config: Config) -> tuple[str, ...]:
    """`table.key` of the settings that are looser than the defaults: RELAXED in the verdict, name by name."""
    default = Config()
    names = []
    looser_when_higher = {
        "verdict": ("alpha", "fdr", "margin", "max_unscored", "max_arm_width", "max_lift_width"),
        "gates": ("max_runaway", "max_token_limit", "max_median_tokens", "max_median_share", "max_delimiters", "token_tolerance",
                  "max_leaked_items", "leak_containment",
                  "max_duplicate_share", "max_truncated"),
    }  # fmt: skip
    looser_when_lower = {
        "verdict": ("confidence_level", "min_lift", "min_items", "guard_alpha"),
        "gates": ("min_provenance", "min_acceptance", "min_held_out", "min_guarded_items"),
    }
    for sign, keys in ((1, looser_when_higher), (-1, looser_when_lower)):
        for table, names_of in keys.items():
            for key in names_of:
                if sign * (getattr(getattr(config, table), key) - getattr(getattr(default, table), key)) > 0:
                    names.append(f"{table}.{key}")
    names += [f"gates.severity.{gate}" for gate, severity in config.gates.severity.items() if severity == "advisory"]
    if config.run.profile == "external":
        names.append("run.profile")
    if config.model.allow_instruction_tuned:
        names.append("model.allow_instruction_tuned")
    guarded = set(config.verdict.guarded)
    if not any(guarded >= default_types for default_types in ({"auto"}, {"safety", "format"}, {"detectable_format"})):
        names.append("verdict.guarded")
    return tuple(sorted(names))


class KeyLines:
    """Where each key stands in a TOML source; a scan that is good enough for messages and never fails."""

    _header = re.compile(r"^\s*\[([A-Za-z0-9_.\-\"' ]+)\]")
    _key = re.compile(r"^\s*([A-Za-z0-9_\-\"']+)\s*(?:=|\.)")

    def __init__(self, source: str) -> None:
        self._lines: dict[str, int] = {}
        table = ""
        for number, line in enumerate(source.splitlines(), start=1):
            if header := self._header.match(line):
                table = header.group(1).strip()
                self._lines.setdefault(table, number)
            elif key := self._key.match(line):
                name = key.group(1).strip("\"'")
                self._lines.setdefault(f"{table}.{name}" if table else name, number)

    def at(self, key: str) -> str:
        """`, line 14` for a known `table.key`, else an empty text."""
        line = self._lines.get(key)
        return "" if line is None else f", line {line}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; `sluice init {path.parent}` writes a commented one") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; name the file, for example {path / 'sluice.toml'}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _fields(struct: type[msgspec.Struct]) -> dict[str, Any]:
    hints = get_type_hints(struct, include_extras=True)
    return {field.name: hints[field.name] for field in msgspec.structs.fields(struct)}


def _metas(kind: Any) -> Iterator[Meta]:
    for part in get_args(kind):
        if isinstance(part, Meta):
            yield part


def _description(kind: Any) -> str:
    return next((meta.description for meta in _metas(kind) if meta.description), "")


def _table(kind: type[Table], table: str, content: dict[str, Any], lines: KeyLines, where: str) -> tuple[Table, list[str]]:
    problems, values = [], {}
    known = _fields(kind)
    for key, value in content.items():
        place = f"{where}{lines.at(f'{table}.{key}')}"
        if key not in known:
            problems.append(f"{place}: unknown key {table}.{key}{_nearest(key, list(known))}")
            continue
        try:
            values[key] = msgspec.convert(value, known[key])
        except msgspec.ValidationError as error:
            example = msgspec.to_builtins(getattr(kind(), key))
            shown = f", for example {_toml(example)}" if example not in ({}, []) else ""
            problems.append(f"{place}: {table}.{key} is {value!r}; {_expected(str(error), known[key])}{shown}")
    return kind(**values), problems


def _expected(message: str, kind: Any) -> str:
    text = message.split(" - at ")[0].replace("`", "")
    text = text.replace(f"str matching regex '{NAME_PATTERN}'", "1 to 32 lower-case letters, digits, dots, dashes or underscores")
    if text.startswith("Invalid enum value"):
        return f"must be one of {', '.join(map(str, _choices(kind)))}"
    text = re.sub(r"\b(float|int|str|bool|object|array)\b", lambda match: _KINDS[match.group()], text)
    text = re.sub(r"^Expected ", "must be ", text)
    text = re.sub(r", got (.+)$", r" (found \1)", text)
    return text[0].lower() + text[1:]


def _choices(kind: Any) -> tuple[Any, ...]:
    """What a Literal in `kind`, however deep, allows."""
    parts = get_args(kind)
    return parts if get_origin(kind) is Literal else next((found for part in parts if (found := _choices(part))), ())


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"


def _cross_checks(config: Config) -> Iterator[tuple[str, str, str]]:
    train, subset = config.train, config.eval.subset
    for gate in config.gates.severity:
        if gate not in GATE_IDS:
            yield "gates", "severity", f"gates.severity names {gate!r}, which is no gate{_nearest(gate, list(GATE_IDS))}"
    if 0 < train.row_tokens < train.max_seq_len:
        yield (
            "train",
            "row_tokens",
            f"train.row_tokens is {train.row_tokens}; must be 0 or at least max_seq_len ({train.max_seq_len})",
        )
    if 0 < subset < 300:
        yield "eval", "subset", f"eval.subset is {subset}; must be 0 (all items) or at least 300, else no verdict is possible"
    if "auto" in config.verdict.guarded and len(config.verdict.guarded) > 1:
        yield "verdict", "guarded", 'verdict.guarded mixes "auto" with names; write "auto" alone, or every guarded type by name'
    if train.optimizer == "paged_adamw_8bit" and config.engine.device == "cpu":
        yield "train", "optimizer", 'train.optimizer is "paged_adamw_8bit" with engine.device "cpu"; it needs a GPU, take "adamw"'
    yield from (("plan", key, text) for key, text in _plan_checks(config))


def _plan_checks(config: Config) -> Iterator[tuple[str, str]]:
    """Forced fast paths that nothing on the chosen device or in the chosen arithmetic can carry out."""
    plain = {"checkpointing": "none", "mirror": "none", "compile": "off", "graph": "off", "attention": "masked",
             "adapters": "float32"}  # fmt: skip
    forced = {key: value for key, only in plain.items() if (value := getattr(config.plan, key)) not in ("auto", only, 0)}
    needs_bf16 = ("mirror", "graph", "adapters")
    for key, value in forced.items():
        said = f"plan.{key} is {_toml(value)}"
        if key == "mirror" and config.model.quantization == "none":
            yield key, f'{said} with model.quantization "none": there is nothing to mirror; take "auto" or "none"'
        elif config.engine.device == "cpu":
            if key != "mirror":  # a CPU mirrors in its own arithmetic
                yield key, f'{said} with engine.device "cpu", which has the plain plan only; take "auto" or {_toml(plain[key])}'
        elif key in needs_bf16 and config.model.compute_dtype == "float32":
            yield key, f'{said} with model.compute_dtype "float32"; it needs bfloat16, take "auto" or {_toml(plain[key])}'


def _with_absolute_paths(config: Config, base: Path, *, lines: KeyLines, where: str) -> tuple[Config, list[str]]:
    """The settings with absolute paths, and a problem for each input that is not there."""
    problems = []
    changed: dict[str, dict[str, str]] = {}
    for table, key in PATH_KEYS:
        value: str = getattr(getattr(config, table), key)
        place = f"{where}{lines.at(f'{table}.{key}')}"
        if not value:
            if (table, key) in REQUIRED_KEYS:
                kind = "a folder" if key == "path" else "a file"
                problems.append(f"{place}: {table}.{key} is missing; name {kind}, relative to this file")
            continue
        found = (base / Path(value).expanduser()).absolute()
        if not found.exists():
            if (table, key) == ("model", "path") and re.fullmatch(r"[\w.-]+/[\w.-]+", value):
                # a hub name, which the loader looks up in the local cache
                continue
            problems.append(f"{place}: {table}.{key} is {value!r}; {_why_missing(found)}")
        changed.setdefault(table, {})[key] = str(found)
    tables = {name: msgspec.structs.replace(getattr(config, name), **values) for name, values in changed.items()}
    return msgspec.structs.replace(config, **tables), problems


def _why_missing(path: Path) -> str:
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return f"{path} is a loop of symbolic links; name the file itself"
        if error.errno == errno.EACCES:
            return f"{path} lies in a folder that this user may not enter"
    if path.is_symlink():
        return f"{path} is a symbolic link to {path.readlink()}, which is not there"
    return f"there is no {path}"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    # JSON strings are TOML basic strings, but for DEL, which TOML wants escaped
    return json.dumps(value).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)
