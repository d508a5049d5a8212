"""How much room a run takes on the disk of its workspace, from the model's shape.

It refuses to look at a disk.
"""

from engine.core.planner.memory import FP32_BYTES, MOMENT_BYTES, weight_bytes
from engine.core.planner.shape import ModelShape

_RECORDS_BYTES = 2**30
"""Journal, answers of both arms, report and adapter: generous, as a full disk ends a run."""

COPY_ROOM = 1.2
"""A quantised copy is kept where this times its size is free besides what the run needs."""


def run_bytes(shape: ModelShape, *, keep_checkpoints: int) -> int:
    """Records, the checkpoints that are kept, the one with the best dev loss and the one being written: adapter and moments in fp32."""
    checkpoint = (FP32_BYTES + MOMENT_BYTES["adamw"]) * shape.adapter_parameters
    return _RECORDS_BYTES + checkpoint * (keep_checkpoints + 2)


def quantised_copy_bytes(shape: ModelShape) -> int:
    """The model's weights in nf4, embeddings and output head in bf16."""
    return weight_bytes(shape, 0)
