"""What the driver says of the GPUs, through nvidia-smi or, for a torch that was built for ROCm, through amdgpu's files: no GPU library is
loaded and no context is made.

It refuses to guess: what cannot be asked is no GPU, and what the driver does not tell is not known.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from engine.core.planner.device import DeviceKind

_PROGRAM: Final = "nvidia-smi"
_FACTS: Final = ("name,memory.total,memory.free,index,uuid,compute_cap", "name,memory.total,memory.free,index,uuid")
"""What is asked for; a driver too old for the first list refuses it whole, so the second follows."""
_TIMEOUT_S: Final = 20
_AMD_CARDS: Final = Path("/sys/class/drm")
_AMD_VENDOR: Final = "0x1002"
_LEAST_BF16: Final = 8.0
"""The compute capability from which on a card has bfloat16 (Ampere)."""


@dataclass(frozen=True)
class DriverGpu:
    """A GPU by its driver; memory in bytes, 0 where the driver does not tell it; `compute_capability` None where it does not."""

    name: str
    total_bytes: int
    free_bytes: int
    index: str = ""
    uuid: str = ""
    compute_capability: float | None = None
    kind: DeviceKind = "cuda"

    @property
    def bf16(self) -> bool | None:
        """Whether it calculates in bfloat16; None where the driver does not tell."""
        return None if self.compute_capability is None else self.compute_capability >= _LEAST_BF16


def driver_gpus() -> list[DriverGpu]:
    """The GPUs that this process may use by CUDA_VISIBLE_DEVICES (or HIP_VISIBLE_DEVICES), in that order; empty where there is none."""
    rocm = _torch_is_for_rocm()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    named = os.environ.get("HIP_VISIBLE_DEVICES", named) if rocm else named
    if named in ("", "-1"):
        return []
    gpus = _amd_gpus() if rocm else [_gpu(line) for line in _asked().splitlines() if line.strip()]
    return gpus if named is None else _chosen(gpus, named.split(","))


def _torch_is_for_rocm() -> bool:
    """By its version alone: another torch would not use an AMD card that is there."""
    try:
        return "+rocm" in version("torch")
    except PackageNotFoundError:
        return False


def _amd_gpus() -> list[DriverGpu]:
    """The cards of the amdgpu driver, in the order of their numbers."""
    found: list[DriverGpu] = []
    for card in sorted(_AMD_CARDS.glob("card*"), key=lambda path: (len(path.name), path.name)):
        if re.fullmatch(r"card\d+", card.name) and _read(card, "vendor") == _AMD_VENDOR:
            total, used = (_bytes(_read(card, f"mem_info_vram_{what}")) for what in ("total", "used"))
            name = _read(card, "product_name") or "AMD GPU"
            found.append(DriverGpu(name, total, max(0, total - used), str(len(found)), kind="rocm"))
    return found


def _read(card: Path, name: str) -> str:
    try:
        return (card / "device" / name).read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""


def _asked() -> str:
    if shutil.which(_PROGRAM) is None:
        return ""
    for facts in _FACTS:
        command = [_PROGRAM, f"--query-gpu={facts}", "--format=csv,noheader,nounits"]
        try:
            shown = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        if shown.returncode == 0:
            return shown.stdout
    return ""


def _chosen(gpus: Sequence[DriverGpu], names: Sequence[str]) -> list[DriverGpu]:
    """Those named, by index or by the beginning of the uuid; CUDA stops at the first name that fits none. nvidia-smi does not know
    the slices of a card (MIG): where one is named, all cards are shown."""
    chosen: list[DriverGpu] = []
    for name in map(str.strip, names):
        if name.startswith("MIG-"):
            return list(gpus)
        found = [gpu for gpu in gpus if gpu.index == name or (name.startswith("GPU-") and gpu.uuid.startswith(name))]
        if len(found) != 1:
            break
        chosen += found
    return chosen


def _gpu(line: str) -> DriverGpu:
    name, *facts = (part.strip() for part in line.split(","))
    total, free, index, uuid, capability = (*facts, "", "", "", "", "")[:5]
    return DriverGpu(name, _mebibytes(total), _mebibytes(free), index, uuid, _number(capability))


def _mebibytes(text: str) -> int:
    return _bytes(text) << 20


def _bytes(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
