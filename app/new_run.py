"""What the form for a new run knows of its fields: what each means, what a first look at it tells, whose problem is whose.

A look here is quick and never the last word: `sluice run` and the gates check everything. It refuses to read more than a file's beginning.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from app.engine_calls import Model
from app.figures import memory_size
from engine.protocol.config import NAME_PATTERN, Config

HEAD_BYTES = 1 << 20
MOST_FILES = 300
_NOT_DATA = frozenset({"checkpoints", "exports", "cache", "models", "themes", "node_modules"})
_DEVICES = ("/dev/nvidiactl", "/dev/kfd")


@dataclass(frozen=True, kw_only=True)
class Field:
    """One line of the form: the setting it fills, how it is called, and what belongs there."""

    key: str
    label: str
    hint: str
    stage1: bool = False

    @property
    def widget_id(self) -> str:
        """The field's id on the screen."""
        return self.key.replace(".", "-").replace("_", "-")


FIELDS = (
    Field(key="model.path", label="base model", hint="a folder, or the name of a cached model; F2 lists those of this machine"),
    Field(key="data.train", label="training file", hint=".jsonl or .parquet with instruction and response; F2 lists files"),
    Field(key="data.held_out", label="held-out file", hint=".jsonl, items with checks; F2 lists files"),
    Field(key="run.profile", label="profile", hint="stage1 or external; F2 changes it"),
    Field(key="data.qc_pilot", label="QC, pilot", hint="QC summary of the pilot, .json", stage1=True),
    Field(key="data.qc_scale", label="QC, scale", hint="QC summary of the scale run, .json", stage1=True),
    Field(key="data.session_manifest", label="manifest", hint="session manifest, .json", stage1=True),
    Field(key="run.name", label="name", hint="short; becomes part of the run's id"),
)
FILES = frozenset({"data.train", "data.held_out", "data.qc_pilot", "data.qc_scale", "data.session_manifest"})
REQUIRED = ("model.path", "data.train", "data.held_out")
PROFILES = {
    "external": "external: your own instruction/response file; manifest and QC gates only advise (RELAXED in the verdict)",
    "stage1": "stage1: data made by the documented pipeline, with QC summaries and a manifest; every gate is hard",
}


@dataclass(frozen=True)
class Finding:
    """What a look tells: a fact, or a problem."""

    text: str
    problem: bool = False


def model_finding(model: Model) -> Finding:
    """Size, base or instruct, and the first thing wrong."""
    if model.problems:
        return Finding(model.problems[0], problem=True)
    if model.tuned:
        return Finding(f"{memory_size(model.size_bytes)}, INSTRUCT: {model.tuned}; sluice trains base models", problem=True)
    return Finding(f"base model, {memory_size(model.size_bytes)} of weights")


def look(key: str, value: str) -> Finding:
    """A first look at a field's value; an empty text where there is nothing to say."""
    if key == "run.profile":
        return Finding(PROFILES[value]) if value in PROFILES else Finding("write stage1 or external", problem=True)
    if key == "run.name":
        fits = re.match(NAME_PATTERN, value)
        return Finding("") if fits else Finding("1 to 32 lower-case letters, digits, dots, dashes or underscores", problem=True)
    if not value:
        return Finding("is needed", problem=True) if key in REQUIRED else Finding("")
    return look_at_file(key, Path(value).expanduser()) if key in FILES else Finding("")


def look_at_file(key: str, path: Path) -> Finding:
    """Whether the file is there and begins like what it should be."""
    try:
        size_bytes = path.stat().st_size
        if path.is_dir():
            return Finding(f"{path} is a folder; name the file", problem=True)
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        return Finding(f"{path}: {error.strerror}", problem=True)
    size = memory_size(size_bytes)
    if not size_bytes:
        return Finding(f"{path} is empty", problem=True)
    if path.suffix == ".parquet":
        return Finding(f"{size}, Parquet") if head.startswith(b"PAR1") else Finding("is no Parquet file", problem=True)
    if key in ("data.train", "data.held_out"):
        return _first_record(key, head, size)
    return Finding(size) if head.lstrip()[:1] == b"{" else Finding("is no JSON object", problem=True)


def _first_record(key: str, head: bytes, size: str) -> Finding:
    line = head.lstrip().split(b"\n", 1)[0]
    try:
        record = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return Finding("its first line is no JSON object: one record a line is wanted", problem=True)
    named = set(record) if isinstance(record, dict) else set()
    wanted = {"instruction", "response"} if key == "data.train" else {"instruction", "checks"}
    if wanted <= named or (key == "data.held_out" and "instruction_id_list" in named):
        return Finding(f"{size}; the first record has {', '.join(sorted(named)[:6])}")
    return Finding(f"its first record lacks {', '.join(sorted(wanted - named))}", problem=True)


def found_files(key: str, root: Path, here: Path) -> list[Path]:
    """Files that may be meant for a field: below the current folder and the workspace, three levels down, runs and caches left out."""
    wanted = (".jsonl", ".parquet") if key in ("data.train", "data.held_out") else (".json",)
    seen: dict[Path, None] = {}
    for top in dict.fromkeys((here, root)):
        for place, folders, names in os.walk(top):
            depth = len(Path(place).relative_to(top).parts)
            folders[:] = sorted(name for name in folders if depth < 3 and not name.startswith(".") and name not in _NOT_DATA)
            seen |= {Path(place) / name: None for name in sorted(names) if name.endswith(wanted)}
            if len(seen) >= MOST_FILES:
                return list(seen)[:MOST_FILES]
    return list(seen)


def sort_problems(problems: Sequence[str], values: Mapping[str, str]) -> dict[str, str]:
    """Problems by the field that can mend them; those of no field under an empty key."""
    sorted_out: dict[str, list[str]] = {}
    for problem in problems:
        named = next((field.key for field in FIELDS if field.key in problem), "")
        owner = named or ("model.path" if values.get("model.path", "") and values["model.path"] in problem else "")
        text = problem.rpartition(f"{owner} ")[2] if named and f"{owner} " in problem else problem
        sorted_out.setdefault(owner, []).append(text)
    return {key: "\n".join(texts) for key, texts in sorted_out.items()}


def has_gpu(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a driver shows devices to this process; a first look, the gate `pod` asks the driver itself."""
    hidden = environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and any(Path(device).exists() for device in _DEVICES)


def free_folder(root: Path, name: str) -> Path:
    """`<workspace>/jobs/NAME`, numbered where it is taken."""
    taken = [root / "jobs" / name, *(root / "jobs" / f"{name}-{number}" for number in range(2, 1000))]
    return next(folder for folder in taken if not folder.exists())


def default_value(key: str) -> str:
    """What the field begins with."""
    return "external" if key == "run.profile" else plain_value(Config(), key)


def plain_value(config: Config, key: str) -> str:
    """The setting as a person writes it."""
    table, _, name = key.partition(".")
    return str(getattr(getattr(config, table), name))


def absolute_value(key: str, value: str) -> str:
    """Paths as they are meant here; a hub's name is none."""
    path = Path(value).expanduser()
    if not value or key not in {"model.path", *FILES} or (key == "model.path" and not path.exists()):
        return value
    return str(path.absolute())


def field_of(key: str) -> Field:
    """The field of a setting."""
    return next(field for field in FIELDS if field.key == key)


def key_of(widget_id: str | None) -> str:
    """The setting of a field on the screen; an empty text for what is none."""
    return next((field.key for field in FIELDS if field.widget_id == widget_id), "")
