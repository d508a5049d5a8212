"""The quantised weights of a base model, kept in the workspace so that the next start reads 18 GB instead of quantising 65.

The key is every byte that decides them: the hashes of the model's files, how they are quantised, and bitsandbytes' version. What is read
back are the same quantised weights to the bit. It refuses to be needed: without room, or with a damaged copy, the model's own files are read.
"""

import shutil
from pathlib import Path
from typing import Any

import torch

from engine.compute.libraries import versions
from engine.core.planner import COPY_ROOM
from engine.protocol.errors import DiskFullError
from engine.protocol.provenance import FileHash
from engine.protocol.runs import workspace
from engine.store.atomic import atomic_folder
from engine.store.hashes import digest

LEAST_BYTES = 1 << 30
"""Smaller models are quantised faster than their copy is looked for."""


def has_copies() -> bool:
    """Whether there is a quantised copy of any model."""
    folder = _folder()
    return folder.is_dir() and any(folder.iterdir())


def cached_weights(files: tuple[FileHash, ...], dtype: torch.dtype) -> Path:
    """The folder of the quantised copy of the model with these files, whether it is there or not."""
    decides = {
        "files": {file.name: file.sha256 for file in files}, "quantization": "nf4, double", "dtype": str(dtype),
        "bitsandbytes": versions()["bitsandbytes"],
    }  # fmt: skip
    return _folder() / digest(decides)[:32]


def keep_quantized(model: Any, path: Path, *, leave_bytes: int) -> str:
    """Write the quantised model as a checkpoint of its own where `leave_bytes` stay free besides; returns why it was not kept, "" where it was."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(path.parent).free
        if free < (wanted := COPY_ROOM * size + leave_bytes):
            return f"{free / 2**30:.1f} GiB are free and {wanted / 2**30:.1f} wanted, checkpoints and records included"
        with atomic_folder(path) as folder:
            model.save_pretrained(folder, max_shard_size="4GB")
    except (DiskFullError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        return (str(error).splitlines() or [type(error).__name__])[0][:200]
    return ""


def _folder() -> Path:
    return workspace() / "cache" / "nf4"
