"""The models of this machine that `model.path` could mean: folders in `<workspace>/models` and snapshots in the local hub cache.

Each is looked at as a run would look at it: size, base or instruction-tuned, what is missing or was never fetched. It refuses to download.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from engine.data.model_folder import examine_model_folder, resolve_model
from engine.protocol.errors import ModelError

Source = Literal["models", "cache", "named"]


class ListedModel(msgspec.Struct, frozen=True, kw_only=True):
    """`value` is what to write as `model.path`; `tuned` says why it looks instruction-tuned, empty for a base model."""

    value: str
    name: str
    path: str
    source: Source
    size_bytes: int
    tuned: str
    problems: tuple[str, ...]


def list_models(root: Path, environ: Mapping[str, str] = os.environ) -> tuple[ListedModel, ...]:
    """Usable base models first, then by name."""
    found = [*_of_workspace(root / "models"), *_of_cache(hub_cache(environ))]
    return tuple(sorted(found, key=lambda model: (bool(model.problems), bool(model.tuned), model.name.lower())))


def look_at(name: str) -> ListedModel:
    """The model that `model.path` = `name` means, usable or not."""
    try:
        path = resolve_model(name)
    except ModelError as error:
        return ListedModel(value=name, name=name, path="", source="named", size_bytes=0, tuned="", problems=tuple(error.problems))
    return _listed(path, value=name, name=name, source="named")


def hub_cache(environ: Mapping[str, str]) -> Path:
    """Where the hub's client keeps its snapshots."""
    named = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    if named:
        return Path(named).expanduser()
    home = environ.get("HF_HOME") or f"{environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return Path(home).expanduser() / "hub"


def _of_workspace(folder: Path) -> Iterator[ListedModel]:
    """Folders with a config.json, one or two levels down (`models/name`, `models/org/name`)."""
    for place in _folders(folder):
        below = [place] if (place / "config.json").exists() else list(_folders(place))
        for path in below:
            if (path / "config.json").exists() or any(path.glob("*.safetensors*")):
                yield _listed(path, value=str(path), name=path.relative_to(folder).as_posix(), source="models")


def _of_cache(folder: Path) -> Iterator[ListedModel]:
    """The snapshot of each cached model that its `main` names."""
    for place in _folders(folder):
        kind, _, name = place.name.partition("--")
        snapshot = _snapshot(place)
        if kind == "models" and snapshot is not None and (snapshot / "config.json").exists():
            name = name.replace("--", "/")
            yield _listed(snapshot, value=name, name=name, source="cache")


def _snapshot(place: Path) -> Path | None:
    try:
        revision = (place / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    found = place / "snapshots" / revision
    return found if revision and found.is_dir() else None


def _listed(path: Path, *, value: str, name: str, source: Source) -> ListedModel:
    found, problems = examine_model_folder(path, name)
    return ListedModel(
        value=value, name=name, path=str(path), source=source, size_bytes=found.weight_bytes, tuned=found.instruction_tuned,
        problems=tuple(problems),
    )  # fmt: skip


def _folders(place: Path) -> list[Path]:
    try:
        return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []
