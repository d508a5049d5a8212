"""The gate on the machine: a writable output folder with room on its disk, and on GPU runs a GPU that the driver shows.

It refuses to load a GPU library: the memory plan and bf16 are looked at where the model is loaded.
"""

import os
import shutil
import tempfile
from pathlib import Path

from engine.core.planner import ModelShape
from engine.data.driver import driver_gpus
from engine.data.inputs import Inputs
from engine.data.model_folder import read_model_config
from engine.protocol.errors import ModelError
from engine.protocol.gates import GateResult
from engine.protocol.runs import workspace

_SPARE_BYTES = 2**30
_BYTES_PER_TRAINED_PARAMETER = 12
"""Adapter weights and both Adam moments, each in fp32."""


def pod(inputs: Inputs) -> GateResult:
    """Where the run will write, and on what it will run."""
    root, gpus = workspace(), visible_gpus()
    device = inputs.config.engine.device
    on_gpu = device == "cuda" or (device == "auto" and bool(gpus))
    needed = needed_bytes(inputs)
    free, faults = _free_bytes(root), []
    if fault := _write_fault(root):
        faults.append(fault)
    if free is not None and free < needed:
        faults.append(f"{root} has {free / 2**30:.1f} GiB free, checkpoints and records may take {needed / 2**30:.1f} GiB")
    if device == "cuda" and not gpus:
        faults.append('engine.device is "cuda" but the driver shows no GPU; see nvidia-smi')
    place = ", ".join(gpus) if on_gpu else "CPU"
    return inputs.draft.result(
        "pod", "hard" if on_gpu else "advisory", "fail" if faults else "pass",
        "; ".join(faults) or f"output goes to {root}, which is writable and has room",
        measured=f"{place or 'no GPU'}, {'?' if free is None else f'{free / 2**30:.1f}'} GiB free",
        threshold=f"≥ {needed / 2**30:.1f} GiB free, writable",
    )  # fmt: skip


def needed_bytes(inputs: Inputs) -> int:
    """Disk that the checkpoints kept, the one being written and the adapter take, by the shapes in the model's config.json."""
    try:
        parameters = ModelShape.of_run(read_model_config(inputs.config.model.path), inputs.config).adapter_parameters
    except ModelError:
        parameters = 0
    return _SPARE_BYTES + _BYTES_PER_TRAINED_PARAMETER * parameters * (inputs.config.train.keep_checkpoints + 2)


def visible_gpus() -> list[str]:
    """The names of the GPUs that the driver shows to this process; empty where there is none."""
    return [gpu.name for gpu in driver_gpus()]


def _free_bytes(root: Path) -> int | None:
    try:
        return shutil.disk_usage(_existing(root)).free
    except OSError:
        return None


def _write_fault(root: Path) -> str | None:
    """Why nothing can be written at `root`; a folder that is not there yet is judged by the permissions of the nearest one."""
    folder = _existing(root)
    if folder != root:
        return None if os.access(folder, os.W_OK | os.X_OK) else f"{root} cannot be made: {folder} is not writable"
    try:
        with tempfile.TemporaryFile(dir=root) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return f"{root} cannot be written: {error.strerror}"
    return None


def _existing(path: Path) -> Path:
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path
