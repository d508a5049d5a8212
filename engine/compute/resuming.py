"""Which checkpoints a training may go on from, and whether it is then exact.

Settings and model decide the course; plan, versions, device and threads only its last bits. It refuses to call a resume exact where any of
those changed.
"""

from typing import Any

import msgspec
import torch

from engine.compute.checkpoint import Checkpoint
from engine.compute.libraries import versions
from engine.compute.loader import LoadedModel
from engine.protocol.config import Config
from engine.protocol.plans import ComputePlan
from engine.store.hashes import digest

_UNIMPORTANT = ("keep_checkpoints", "checkpoint_every_steps", "checkpoint_every_s")


def course_of(config: Config, loaded: LoadedModel, *, examples_sha256: str) -> dict[str, str]:
    """Hash of everything that decides the course of training, besides plan, versions, threads and the device, by what a person calls it."""
    found = loaded.provenance
    return {
        "[train]": digest(msgspec.to_builtins(config.train) | dict.fromkeys(_UNIMPORTANT, 0)),
        "run.seed": str(config.run.seed),
        "the training examples": examples_sha256,
        "the model's arithmetic": f"{found.quantization}, {found.compute_dtype}",
        "the model's end and padding tokens": f"{loaded.end_id}, {loaded.pad_id}",
        **{f"the model's {file.name}": file.sha256 for file in found.files},
    }


def conditions_now(loaded: LoadedModel) -> dict[str, str]:
    """Library versions and the device, which decide the last bits."""
    return versions() | {"device": loaded.provenance.device}


def changes_since(found: Checkpoint, plan: ComputePlan, loaded: LoadedModel) -> list[str]:
    """What changes the last bits and is not as it was when `found` was written, as `name old → new`."""
    before = _conditions(found.versions, found.threads, found.plan)
    now = _conditions(conditions_now(loaded), torch.get_num_threads(), plan)
    return [
        f"{name} {before.get(name, 'absent')} → {now.get(name, 'absent')}"
        for name in sorted(now | before)
        if now.get(name) != before.get(name)
    ]


def _conditions(libraries: dict[str, str], threads: int, plan: ComputePlan) -> dict[str, Any]:
    return {**libraries, "threads": threads} | {f"plan.{name}": value for name, value in msgspec.structs.asdict(plan).items()}
