"""The quantised weights of a base model, kept in the workspace so that the next start reads 18 GB instead of quantising 65.

The key is every byte that decides them: the hashes of the model's files, how they are quantised, and the libraries' versions. What is read
back are the same quantised weights to the bit: the copy has a list of its files' hashes, which the loader holds against what it read. It refuses
to be needed: without room, or with a damaged copy, the model's own files are read.
"""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import torch

from engine.compute.libraries import versions
from engine.core.planner import COPY_ROOM
from engine.protocol.errors import DiskFullError
from engine.protocol.provenance import FileHash
from engine.protocol.runs import workspace
from engine.store.atomic import atomic_folder
from engine.store.hashes import digest, sha256_file

LEAST_BYTES = 1 << 30
"""Smaller models are quantised faster than their copy is looked for."""
_LIST = "copy.json"
_LEFT_S = 600.0
"""A copy that nobody wrote on for so long has lost its writer."""
_READERS = 4


def has_copies() -> bool:
    """Whether there is a quantised copy of any model."""
    folder = _folder()
    return folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir())


def cached_weights(files: tuple[FileHash, ...], dtype: torch.dtype) -> Path:
    """The folder of the quantised copy of the model with these files, whether it is there or not."""
    decides = {
        "files": {file.name: file.sha256 for file in files}, "quantization": "nf4, double", "dtype": str(dtype),
        "versions": {name: versions()[name] for name in ("bitsandbytes", "transformers")},
    }  # fmt: skip
    return _folder() / digest(decides)[:32]


def copied_files(copy: Path) -> tuple[Path, ...]:
    """The files of a copy, without the list of their hashes."""
    return tuple(sorted(path for path in copy.iterdir() if path.name != _LIST))


def damage(copy: Path, found: tuple[FileHash, ...]) -> str:
    """What of the copy's files is not as it was written; "" where all of it is."""
    try:
        written = msgspec.json.decode((copy / _LIST).read_bytes(), type=tuple[FileHash, ...])
    except (OSError, msgspec.DecodeError):
        return f"{_LIST} cannot be read"
    wrong = {file.name for file in {*written} ^ {*found}}
    return f"not as written: {', '.join(sorted(wrong))}" if wrong else ""


def keep_quantized(model: Any, path: Path, *, leave_bytes: int) -> str:
    """Write the quantised model as a checkpoint of its own where `leave_bytes` stay free besides; returns why it was not kept, "" where it was."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(path.parent)
        if path.is_dir():
            # another run has made it meanwhile
            return ""
        free = shutil.disk_usage(path.parent).free
        if free < (wanted := COPY_ROOM * size + leave_bytes):
            return f"{free / 2**30:.1f} GiB are free and {wanted / 2**30:.1f} wanted, checkpoints and records included"
        with atomic_folder(path) as folder:
            model.save_pretrained(folder, max_shard_size="4GB")
            with ThreadPoolExecutor(_READERS) as readers:
                hashes = tuple(readers.map(_hash, copied_files(folder)))
            (folder / _LIST).write_bytes(msgspec.json.encode(hashes))
    except (DiskFullError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        return (str(error).splitlines() or [type(error).__name__])[0][:200]
    return ""


def _hash(path: Path) -> FileHash:
    return FileHash(name=path.name, size_bytes=path.stat().st_size, sha256=sha256_file(path))


def _sweep(folder: Path) -> None:
    """Remove what killed writers left; a copy that another run is writing stays."""
    for entry in folder.glob(".*"):
        touched_s = max((path.stat().st_mtime for path in (entry, *entry.glob("*"))), default=0.0)
        if time.time() - touched_s > _LEFT_S:
            shutil.rmtree(entry, ignore_errors=True)


def _folder() -> Path:
    return workspace() / "cache" / "nf4"
