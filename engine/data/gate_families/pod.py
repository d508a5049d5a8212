"""The gate on the machine: a writable output folder with room on its disk, and on GPU runs a GPU that has bf16 and the memory to go on.

All of it by the driver and by the planner's arithmetic. It refuses to load a GPU library; what the driver does not tell, and models
whose shape the planner does not know, are said to be so and left to the preflight, where the model is loaded.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.core.planner import COPY_ROOM, ModelShape, quantised_copy_bytes, refuse_impossible, run_bytes
from engine.data.driver import DriverGpu, driver_gpus
from engine.data.inputs import Inputs
from engine.data.model_folder import read_model_config
from engine.data.run_plan import RunPlan, device_of_run, plan_texts
from engine.protocol.durability import warning
from engine.protocol.errors import ConfigError, InputError, ModelError
from engine.protocol.gates import GateResult, Status
from engine.protocol.runs import workspace


@dataclass
class _Looked:
    """What was found: `faults` fail, `unknown` leaves the gate undecided, `notes` a person should know."""

    faults: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> Status:
        return "fail" if self.faults else "undecided" if self.unknown else "pass"


def pod(inputs: Inputs) -> GateResult:
    """Where the run will write, and on what it will run."""
    root, looked = workspace(), _Looked()
    device, gpus = inputs.config.engine.device, driver_gpus() if inputs.config.engine.device != "cpu" else []
    on_gpu = device == "cuda" or (device == "auto" and bool(gpus))
    disk = _look_at_disk(inputs, root, looked, on_gpu=on_gpu)
    place, threshold = "CPU" if not on_gpu else "no GPU", ""
    if gpus:
        place, threshold = _look_at_gpu(inputs, gpus[0], looked)
    elif on_gpu:
        looked.faults.append('engine.device is "cuda" but the driver shows no GPU; see nvidia-smi and CUDA_VISIBLE_DEVICES')
    impossible = [] if on_gpu else _impossible_on_cpu(inputs)
    looked.faults += impossible
    if on_gpu and (lost := warning(root)):  # quantised weights and compiled kernels are kept below it too
        looked.notes.append(f"{root} is {lost}")
    well = [] if looked.faults or looked.unknown else [f"output and caches go to {root}, which is writable and has room"]
    return inputs.draft.result(
        "pod", "hard" if on_gpu or impossible else "advisory", looked.status, "; ".join([*looked.faults, *looked.unknown, *well, *looked.notes]),
        measured=f"{place}, disk {disk} free", threshold=f"{threshold}disk ≥ {_gib(needed_bytes(inputs))}, writable",
    )  # fmt: skip


def _look_at_disk(inputs: Inputs, root: Path, looked: _Looked, *, on_gpu: bool) -> str:
    """Room and permission below `root`; what is free, for people."""
    free, needed = _free_bytes(root), needed_bytes(inputs)
    if fault := _write_fault(root):
        looked.faults.append(fault)
    if free is None:
        looked.unknown.append(f"what is free at {root} cannot be asked")
        return "?"
    if free < needed:
        looked.faults.append(f"{root} has {_gib(free)} free, checkpoints and records may take {_gib(needed)}; free some")
    elif on_gpu and (copy := _copy_bytes(inputs)) and free < needed + COPY_ROOM * copy:
        looked.notes.append(
            f"the quantised weights ({_gib(copy)}) have no room there besides: unless they are kept already, each start makes them anew"
        )
    return _gib(free)


def _look_at_gpu(inputs: Inputs, gpu: DriverGpu, looked: _Looked) -> tuple[str, str]:
    """The GPU of the run, for people, and what is asked of it."""
    wants_bf16 = inputs.config.model.compute_dtype != "float32"
    if wants_bf16 and gpu.bf16 is False:
        looked.faults.append(
            f"{gpu.name} has no bf16 (compute capability {gpu.compute_capability}, 8.0 is needed); take a newer card, or set "
            'model.compute_dtype = "float32"'
        )
    elif wants_bf16 and gpu.bf16 is None:
        looked.notes.append("whether the card has bf16 the driver does not tell; it shows when the model is loaded")
    word = {True: ", bf16", False: ", no bf16", None: ""}[gpu.bf16]
    if not gpu.total_bytes:
        looked.notes.append("the card's memory the driver does not tell; the preflight looks when the model is loaded")
        return f"{gpu.name}{word}", "bf16, " if wants_bf16 else ""
    asked = _look_at_memory(inputs, looked)
    return f"{gpu.name}{word}, {_gib(gpu.free_bytes)} of {_gib(gpu.total_bytes)} free", ("bf16, " if wants_bf16 else "") + asked


def _look_at_memory(inputs: Inputs, looked: _Looked) -> str:
    """The memory plan against what is free; the memory that training and evaluation need, for people."""
    if inputs.tokenizer is None:
        looked.unknown.append(f"the memory plan needs token counts: {inputs.no_tokenizer}")
        return ""
    try:
        plan = plan_texts(
            inputs.config, device_of_run(inputs.config), inputs.tokenizer, inputs.observed.tokens, inputs.held_out.items
        )
    except ConfigError as error:
        looked.faults += error.problems
        return ""
    except InputError as error:
        looked.unknown.append(f"there is no memory plan: {error}")
        return ""
    if plan.shape.unknown:
        looked.notes.append(f"{plan.shape.unknown}: the memory cannot be predicted; the preflight looks when the model is loaded")
        return ""
    looked.faults += _shortages(plan)
    least = min(estimate.peak_bytes for estimate in plan.plans)
    return f"GPU memory ≥ {_gib(max(least, plan.evaluation.decoding.peak_bytes))}, "


def _impossible_on_cpu(inputs: Inputs) -> list[str]:
    """Settings that would fail when training begins, after the base arm."""
    try:
        refuse_impossible(ModelShape.of_run(read_model_config(inputs.config.model.path), inputs.config), "cpu", inputs.config)
    except ConfigError as error:
        return list(error.problems)
    except ModelError:
        # the model's own gate tells it
        return []
    return []


def _shortages(plan: RunPlan) -> Iterator[str]:
    if plan.chosen is None:
        least = min(plan.plans, key=lambda estimate: estimate.peak_bytes)
        yield (
            f"training does not fit the GPU: the plan that needs least ({least.name}) {least.refused}; end what else is on the card, "
            "leave [plan] to auto, lower train.max_seq_len or train.lora_rank, or take a card with more memory"
        )
    if plan.evaluation.decoding.refused:
        yield f"the evaluation does not fit the GPU: its largest batch {plan.evaluation.decoding.refused}"


def needed_bytes(inputs: Inputs) -> int:
    """Disk that the run takes, by the shapes in the model's config.json."""
    try:
        shape = ModelShape.of_run(read_model_config(inputs.config.model.path), inputs.config)
    except ModelError:
        shape = ModelShape()
    return run_bytes(shape, keep_checkpoints=inputs.config.train.keep_checkpoints)


def _copy_bytes(inputs: Inputs) -> int:
    """What a quantised copy of the model would take in the workspace; 0 where none is made."""
    model = inputs.config.model
    if model.quantization != "nf4" or not model.cache_quantized:
        return 0
    try:
        config = read_model_config(model.path)
    except ModelError:
        return 0
    shape = ModelShape.of_run(config, inputs.config)
    return 0 if config.get("quantization_config") or shape.unknown else quantised_copy_bytes(shape)


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def _free_bytes(root: Path) -> int | None:
    try:
        return shutil.disk_usage(_existing(root)).free
    except OSError:
        return None


def _write_fault(root: Path) -> str | None:
    """Why nothing can be written at `root`; a folder that is not there yet is judged by the permissions of the nearest one."""
    folder = _existing(root)
    below = next((place for place in (root, *root.parents) if os.path.lexists(place)), root)
    if below != folder:
        return f"{root} cannot be made: {below} is not a folder; set SLUICE_WORKSPACE to a folder you may write in"
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
