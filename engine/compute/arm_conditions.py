"""Under which conditions an arm is decoded: model and adapter files, arithmetic, decoding, libraries, device, code.

Two arms are comparable where these are equal but for the adapter. It refuses to leave out what changes an answer; host names and times
are not among it.
"""

import hashlib
from pathlib import Path

import msgspec
import torch

from engine.compute.loader import LoadedModel
from engine.protocol.arms import WEIGHTS_FILE, Conditions
from engine.protocol.config import Config
from engine.protocol.plans import ComputePlan
from engine.store.hashes import sha256_file
from engine.store.preregistration import decoding_of, scorer_version

_DECODING_SOURCES = (
    "decode.py",
    "arm_decoder.py",
    "linears.py",
    "joined_linears.py",
    "planned_linears.py",
    "attention.py",
    "fused.py",
    "small_functions.py",
    "kernels.py",
    "planned_model.py",
)


def conditions_of(
    loaded: LoadedModel, config: Config, *, batch_items: int, plan_digest: str, compute_plan: ComputePlan, adapter: Path | None
) -> Conditions:
    """The conditions of an arm of this process; `adapter` is the adapter's folder, None for the base arm."""
    found = loaded.provenance
    return Conditions(
        model_files={file.name: file.sha256 for file in found.files},
        quantization=found.quantization,
        compute_dtype=found.compute_dtype,
        adapter_files={}
        if adapter is None
        else {name: sha256_file(adapter / name) for name in (WEIGHTS_FILE, "adapter_config.json")},
        decoding={**decoding_of(config), "end_id": loaded.end_id, "pad_id": loaded.pad_id},
        batch_items=batch_items,
        plan=plan_digest,
        device=found.device,
        threads=torch.get_num_threads() if loaded.device.type == "cpu" else 0,
        versions=found.versions,
        loader_version=f"{found.package_version}+{found.source_sha256[:16]}",
        git_sha=found.git_sha,
        source_sha256=_source_sha256(),
        scorer_version=scorer_version(),
        compute_plan=compute_plan,
    )


def as_base(conditions: Conditions) -> Conditions:
    """The same conditions without an adapter."""
    return msgspec.structs.replace(conditions, adapter_files={})


def _source_sha256() -> str:
    hashed = hashlib.sha256()
    for name in _DECODING_SOURCES:
        hashed.update(Path(__file__).with_name(name).read_bytes() + b"\0")
    return hashed.hexdigest()
