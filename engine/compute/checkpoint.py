"""Checkpoints: everything a resumed run needs to go on exactly as if it had not stopped.

`checkpoints/step-N/` holds the fp32 adapters, the optimizer's state, the trainer's state and, where it is another step's, the best
adapter so far, so that each checkpoint stands alone. `checkpoint.json` has every file's size and sha256, the hashes of settings and of
data, and under what plan, versions and threads it was made. It refuses a folder with a file that is not what was written, or that belongs to
other settings or data.
"""

import hashlib
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import safetensors.torch
import torch

from engine.compute.lora import ADAPTER_FILE
from engine.compute.tensor_files import save_tensors
from engine.protocol.errors import EngineError, InputError
from engine.protocol.plans import ComputePlan
from engine.store.atomic import atomic_folder, sweep
from engine.store.hashes import sha256_file

_FORMAT = 5
_NAME = re.compile(r"^step-(\d+)$")
_MANIFEST, _STATE, _BEST = "checkpoint.json", "trainer_state.json", "best_adapter.safetensors"
_OPTIMIZER, _OPTIMIZER_FORM = "optimizer.safetensors", "optimizer.json"
_DAMAGED = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, safetensors.SafetensorError, msgspec.DecodeError,
)  # fmt: skip

_GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class StepRecord(msgspec.Struct, frozen=True, array_like=True):
    """One optimizer step of the loss history."""

    step: int
    loss: float
    learning_rate: float
    grad_norm: float


class DevRecord(msgspec.Struct, frozen=True, array_like=True):
    """One dev evaluation."""

    step: int
    loss: float


class TrainerState(msgspec.Struct, kw_only=True):
    """What the loop remembers between steps. Order and randomness need no place: both follow from seed and step.

    `waited` counts dev evaluations since the best; `ended` is "" until training is over ("complete" or "early"); `exact` is False
    once a checkpoint of another plan, other versions or other threads was resumed.
    """

    step: int = 0
    losses: list[StepRecord] = msgspec.field(default_factory=list)
    dev: list[DevRecord] = msgspec.field(default_factory=list)
    best_step: int | None = None
    best_loss: float | None = None
    waited: int = 0
    ended: str = ""
    exact: bool = True

    def copy(self) -> "TrainerState":
        """A state of its own, which later steps do not change."""
        return msgspec.structs.replace(self, losses=list(self.losses), dev=list(self.dev))


class _FileEntry(msgspec.Struct, frozen=True):
    size_bytes: int
    sha256: str


class _Format(msgspec.Struct, frozen=True):
    format: int


class _Manifest(msgspec.Struct, frozen=True):
    format: int
    step: int
    course: dict[str, str]
    plan: ComputePlan
    versions: dict[str, str]
    threads: int
    files: dict[str, _FileEntry]


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint in memory, every tensor on the CPU. `best` is the best adapter where it is not this step's."""

    state: TrainerState
    adapter: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    best: dict[str, torch.Tensor] | None
    plan: ComputePlan
    versions: dict[str, str]
    threads: int


@dataclass(frozen=True)
class Written:
    """A checkpoint that is on the disk, and how many there are now."""

    path: Path
    size_bytes: int
    kept: int


class CheckpointFolder:
    """The checkpoints of one run: at most `keep` newest besides the one with the best dev loss.

    `course` has the hash of everything that decides the course of training, by what a person calls it.
    """

    def __init__(self, folder: Path, *, course: dict[str, str], keep: int) -> None:
        self.folder, self._course, self._keep = folder, course, keep

    def steps(self) -> list[int]:
        """Steps that have a folder, newest first."""
        if not self.folder.is_dir():
            return []
        return sorted((int(match[1]) for path in self.folder.iterdir() if (match := _NAME.match(path.name))), reverse=True)

    def path(self, step: int) -> Path:
        """Where the checkpoint of `step` is or would be."""
        return self.folder / f"step-{step}"

    def write(self, checkpoint: Checkpoint) -> Written:
        """Write one checkpoint atomically, then remove those that are no longer kept.

        Raises: DiskFullError, or OSError for any other failure; the others are untouched then.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.path(checkpoint.state.step)
        with atomic_folder(path) as folder:
            files = _fill(folder, checkpoint)
            manifest = _Manifest(
                _FORMAT, checkpoint.state.step, self._course, checkpoint.plan, checkpoint.versions, checkpoint.threads, files
            )
            (folder / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest, order="sorted")))
        self._prune(checkpoint.state)
        return Written(path, sum(file.size_bytes for file in files.values()), len(self.steps()))

    def newest(self, warnings: list[str], fits: Callable[[Checkpoint], object] = lambda _: None) -> Checkpoint | None:
        """The newest whole checkpoint, or None. Damaged ones are removed, as newer ones are void once training has gone back.

        Says in `warnings` what was wrong with each one that was passed over. `fits` raises ValueError for content that cannot be taken up.
        Raises: InputError, with nothing removed, where they belong to another course or version; EngineError where the disk cannot be read.
        """
        if self.folder.is_dir():
            sweep(self.folder)
        for step in self.steps():
            path = self.path(step)
            try:
                found = self.read(step)
                fits(found)
                return found
            except _DAMAGED as error:
                if isinstance(error, OSError) and not isinstance(error, _GONE):
                    raise EngineError(
                        f"{path}: cannot be read ({_short(error)}); look at the disk, then resume: nothing was removed"
                    ) from error
                warnings.append(
                    f"{path}: cannot be used ({_short(error)}) and is removed; training goes on from the newest whole one before it, "
                    "or from the start where there is none"
                )
            shutil.rmtree(path, ignore_errors=True)
        return None

    def read(self, step: int) -> Checkpoint:
        """The checkpoint of `step`, every byte verified.

        Raises: InputError where it belongs to another course or version; ValueError where it is damaged; OSError or what the readers raise.
        """
        path = self.path(step)
        manifest = _read_manifest(path / _MANIFEST)
        self._check(path, manifest)
        data = {name: _verified(path / name, entry) for name, entry in manifest.files.items()}
        state = msgspec.json.decode(data[_STATE], type=TrainerState)
        if not step == manifest.step == state.step:
            raise ValueError(f"its folder is of step {step}, its manifest of {manifest.step}, its state of {state.step}")
        return Checkpoint(
            state=state,
            adapter=safetensors.torch.load(data[ADAPTER_FILE]),
            optimizer=_optimizer(data),
            best=safetensors.torch.load(data[_BEST]) if _BEST in data else None,
            plan=manifest.plan,
            versions=manifest.versions,
            threads=manifest.threads,
        )

    def _check(self, path: Path, manifest: _Manifest) -> None:
        known, now = manifest.course, self._course
        changed = sorted(name for name in known.keys() | now.keys() if known.get(name) != now.get(name))
        if changed:
            raise InputError(
                f"{path}: was written before these changed: {', '.join(changed)}; put them back and resume, or begin anew with sluice rerun: "
                "nothing was removed"
            )

    def _prune(self, state: TrainerState) -> None:
        kept = {*self.steps()[: self._keep], state.best_step}
        for step in self.steps():
            if step not in kept:
                shutil.rmtree(self.path(step), ignore_errors=True)


def _fill(folder: Path, checkpoint: Checkpoint) -> dict[str, _FileEntry]:
    """Write and hash the files, each in a thread, by calls that let other threads run: to make the bytes first would keep training waiting for
    seconds a gigabyte."""
    tensors: dict[str, torch.Tensor] = {}
    form, best = _taken_apart(checkpoint.optimizer, "", tensors), checkpoint.best
    writers: dict[str, Callable[[Path], object]] = {
        ADAPTER_FILE: partial(save_tensors, checkpoint.adapter),
        _OPTIMIZER: partial(save_tensors, tensors),
        _OPTIMIZER_FORM: lambda path: path.write_bytes(msgspec.json.encode(form)),
        _STATE: lambda path: path.write_bytes(msgspec.json.encode(checkpoint.state)),
    }
    if best is not None:
        writers[_BEST] = partial(save_tensors, best)

    def written(name: str) -> _FileEntry:
        writers[name](folder / name)
        return _FileEntry((folder / name).stat().st_size, sha256_file(folder / name))

    with ThreadPoolExecutor(len(writers)) as threads:
        return dict(zip(writers, threads.map(written, writers), strict=True))


def _taken_apart(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """An optimizer's state as JSON that names its tensors, which go into `tensors`. Each part says what it is, as keys may be numbers."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _taken_apart(child, f"{name}.{key}", tensors)] for key, child in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_taken_apart(child, f"{name}.{place}", tensors) for place, child in enumerate(value)]}
    return {"value": value}


def _optimizer(data: dict[str, bytes]) -> dict[str, Any]:
    """The optimizer's state from its two files. Raises: ValueError where it is none; what the readers raise."""
    found = _put_together(msgspec.json.decode(data[_OPTIMIZER_FORM]), safetensors.torch.load(data[_OPTIMIZER]))
    if not isinstance(found, dict) or not {"state", "param_groups"} <= found.keys():
        raise ValueError(f"{_OPTIMIZER_FORM} holds no state of an optimizer")
    return found


def _put_together(form: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """What `_taken_apart` made; tuples come back as lists."""
    ((kind, content),) = form.items()
    if kind == "dict":
        return {key: _put_together(child, tensors) for key, child in content}
    if kind == "list":
        return [_put_together(child, tensors) for child in content]
    return tensors[content] if kind == "tensor" else content


def _read_manifest(path: Path) -> _Manifest:
    data = path.read_bytes()
    if (found := msgspec.json.decode(data, type=_Format).format) != _FORMAT:
        raise InputError(
            f"{path.parent}: another version of sluice wrote it (format {found}, expected {_FORMAT}); resume with that version, or begin anew "
            "with sluice rerun: nothing was removed"
        )
    return msgspec.json.decode(data, type=_Manifest)


def _verified(path: Path, entry: _FileEntry) -> bytes:
    data = path.read_bytes()
    if len(data) != entry.size_bytes:
        raise ValueError(f"{path.name} has {len(data)} bytes, expected {entry.size_bytes}")
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ValueError(f"{path.name} is not what was written")
    return data


def _short(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{Path(error.filename).name}: {error.strerror}" if error.filename else error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
