"""What the driver says of the GPUs, through nvidia-smi: no GPU library is loaded and no context is made.

It refuses to guess: what cannot be asked is no GPU.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass

_QUERY = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
_TIMEOUT_S = 20


@dataclass(frozen=True)
class DriverGpu:
    """A GPU by its driver; memory in bytes, 0 where the driver does not tell it."""

    name: str
    total_bytes: int
    free_bytes: int


def driver_gpus() -> list[DriverGpu]:
    """The GPUs that the driver shows to this process, in its order; empty where there is none."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or shutil.which(_QUERY[0]) is None:
        return []
    try:
        shown = subprocess.run(_QUERY, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [_gpu(line) for line in shown.stdout.splitlines() if line.strip()] if shown.returncode == 0 else []


def _gpu(line: str) -> DriverGpu:
    name, *numbers = (part.strip() for part in line.split(","))
    total, free = (int(number) << 20 if number.isdecimal() else 0 for number in (*numbers, "", "")[:2])
    return DriverGpu(name, total, free)
