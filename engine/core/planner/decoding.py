"""How much memory the paired evaluation takes: its largest batch decoded on a static cache, and the layers that can be mirrored for it.

Computed from shapes. It refuses to change the batches: both arms have one plan, that of the base arm.
"""

from collections.abc import Sequence

import msgspec

from engine.core.planner.device import GIB, DeviceFigures
from engine.core.planner.memory import BF16_BYTES, FP32_BYTES, passing_bytes, weight_bytes
from engine.core.planner.shape import ModelShape
from engine.core.planner.spending import element_bytes
from engine.protocol.config import Config
from engine.protocol.plans import ComputePlan

CACHE_STEP = 64
"""Columns of the buffers of keys and values are a multiple of this, so that batches of like widths share a captured step."""


def cache_columns(tokens: int) -> int:
    """Columns of a buffer that must hold so many tokens."""
    return -(-tokens // CACHE_STEP) * CACHE_STEP


class DecodingEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """The decoding of the heaviest batch: `rows` items of `tokens` (widest prompt and longest answer), with so many layers mirrored.

    `peak_bytes` is 0 where the model's shape is not known; `refused` says why it does not fit.
    """

    rows: int
    tokens: int
    mirrored_layers: int
    peak_bytes: int
    refused: str = ""


def decoding_peak(
    shape: ModelShape, mirrored_layers: int, *, rows: int, prompt_tokens: int, new_tokens: int, element_size: int = BF16_BYTES
) -> int:
    """Bytes allocated at most while `rows` prompts padded to `prompt_tokens` are answered with up to `new_tokens`."""
    if shape.unknown:
        return 0
    weights = weight_bytes(shape, mirrored_layers, element_bytes=element_size)
    adapters = shape.adapter_parameters * (FP32_BYTES + element_size)
    cache = rows * cache_columns(prompt_tokens + new_tokens) * 2 * shape.kv_width * shape.layers * element_size
    layer = passing_bytes(shape, rows * prompt_tokens, mirrored_layers=mirrored_layers, element_bytes=element_size)
    mask = rows * prompt_tokens * (prompt_tokens + new_tokens) * element_size
    logits = rows * shape.vocab * (element_size + FP32_BYTES)
    return weights + adapters + cache + max(layer + mask, logits)


def decoding_estimate(
    shape: ModelShape, batches: Sequence[tuple[int, int]], device: DeviceFigures, *, usable_bytes: int, new_tokens: int,
    mirrorable: range, element_size: int = BF16_BYTES,
) -> DecodingEstimate:  # fmt: skip
    """The heaviest of `batches` (rows, tokens of the widest prompt) with as many mirrored layers as fit.

    On a CPU, and for an unknown shape, nothing is refused.
    """
    plain = device.kind == "cpu" or bool(shape.unknown)

    def peak(batch: tuple[int, int], mirrored: int) -> int:
        return decoding_peak(
            shape, mirrored, rows=batch[0], prompt_tokens=batch[1], new_tokens=new_tokens, element_size=element_size
        )

    heaviest = max(batches, key=lambda batch: (peak(batch, 0), batch), default=(0, 0))
    fitting = [number for number in mirrorable if peak(heaviest, number) <= usable_bytes]
    mirrored = mirrorable[-1] if plain else max(fitting, default=mirrorable[0])
    needed = peak(heaviest, mirrored)
    smaller = "; lower eval.batch_items" if peak((1, heaviest[1]), mirrored) <= usable_bytes else ""
    refused = f"needs {needed / GIB:.1f} GiB and {max(0, usable_bytes) / GIB:.1f} GiB may be used{smaller}"
    refused = "" if plain or needed <= usable_bytes else refused
    return DecodingEstimate(
        rows=heaviest[0], tokens=heaviest[1] + new_tokens, mirrored_layers=mirrored, peak_bytes=needed, refused=refused
    )


def decoding_plan(mirrored_layers: int, device: DeviceFigures, settings: Config, shape: ModelShape) -> ComputePlan:
    """The plan of both arms with so many layers mirrored; the rest as the settings force it, else the fast path where there is one."""
    if device.kind == "cpu" or shape.unknown:
        return ComputePlan(row_tokens=0, mirrored_layers=mirrored_layers)
    bf16 = element_bytes(settings, device) == BF16_BYTES
    fast = bf16 and device.kind == "cuda"
    return ComputePlan(
        row_tokens=0,
        mirrored_layers=mirrored_layers,
        compiled=settings.plan.compile == "on" or (settings.plan.compile == "auto" and fast),
        graph=settings.plan.graph == "on" or (settings.plan.graph == "auto" and fast),
        adapter_dtype="bfloat16" if bf16 else "float32",
    )
