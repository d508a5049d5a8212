"""The compute plan of an evaluation: as many layers mirrored as the memory allows beside keys, values and a batch's activations.

Both arms follow the plan of the base arm, so that no difference between them is one of arithmetic. It refuses to plan rows: the batches are
frozen elsewhere.
"""

import msgspec

from engine.core.planner.choice import usable_bytes
from engine.core.planner.device import DeviceFigures
from engine.core.planner.memory import BF16_BYTES, FP32_BYTES, weight_bytes
from engine.core.planner.shape import ModelShape
from engine.core.planner.spending import mirrorable, mirrored_on_host
from engine.protocol.config import Config
from engine.protocol.plans import ComputePlan, PlanEstimate

PREFILL_WIDTHS = 4
"""MLP widths alive of each prompt token while a batch's prompts go through one layer: gate, up, their product and its input."""


class DecodingWork(msgspec.Struct, frozen=True, kw_only=True):
    """The heaviest batch: rows, tokens of its longest prompt, and tokens that are generated at most."""

    rows: int
    prompt_tokens: int
    new_tokens: int


def decoding_bytes(shape: ModelShape, mirrored_layers: int, work: DecodingWork, *, element_bytes: int = BF16_BYTES) -> int:
    """Bytes allocated at most while the batch is decoded: weights, adapters, keys and values, prompts in one layer, logits."""
    room = work.prompt_tokens + work.new_tokens
    cache = work.rows * room * shape.layers * 2 * shape.kv_width * element_bytes
    prefill = work.rows * work.prompt_tokens * PREFILL_WIDTHS * shape.intermediate * element_bytes
    dequantised = shape.largest_linear * element_bytes if shape.quantized and mirrored_layers < shape.layers else 0
    logits = work.rows * shape.vocab * (element_bytes + FP32_BYTES)
    adapters = shape.adapter_parameters * (FP32_BYTES + element_bytes)
    return (
        weight_bytes(shape, mirrored_layers, element_bytes=element_bytes) + adapters + cache + max(prefill, logits) + dequantised
    )


def choose_decoding(shape: ModelShape, work: DecodingWork, device: DeviceFigures, settings: Config) -> PlanEstimate:
    """The plan of both arms: what `settings.plan` forces, else the most layers mirrored that fit. `step_s` is not predicted (0)."""
    if device.kind == "cpu" or shape.unknown:
        mirrored = mirrored_on_host(shape, device) if device.kind == "cpu" else 0
        plan = ComputePlan(row_tokens=0, mirrored_layers=mirrored)
        return PlanEstimate(name=f"mirror {mirrored}" if mirrored else "plain", plan=plan, step_s=0.0, peak_bytes=0)
    bf16 = settings.model.compute_dtype != "float32"
    width = BF16_BYTES if bf16 else FP32_BYTES
    allowed, usable = mirrorable(settings.plan, shape, bf16=bf16), usable_bytes(device, settings)
    mirrored = next(
        (count for count in reversed(allowed) if decoding_bytes(shape, count, work, element_bytes=width) <= usable), allowed[0]
    )
    fast = bf16 and device.kind == "cuda"
    plan = ComputePlan(
        row_tokens=0,
        mirrored_layers=mirrored,
        compiled=settings.plan.compile == "on" or (settings.plan.compile == "auto" and fast),
        graph=settings.plan.graph == "on" or (settings.plan.graph == "auto" and fast),
        adapter_dtype="bfloat16" if bf16 else "float32",
    )
    peak = decoding_bytes(shape, mirrored, work, element_bytes=width)
    return PlanEstimate(name=f"mirror {mirrored}/{shape.layers}", plan=plan, step_s=0.0, peak_bytes=peak)
