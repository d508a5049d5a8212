"""How long a training step takes, from the model's shape, the plan and the widths of its rows.

Constants are fitted to the reference model on an H200 (64 layers, 31.98 G linear parameters, 791 TFLOP/s, 4.3 TB/s); the figure each
comes from stands beside it. It refuses to predict an unknown shape.
"""

from engine.core.planner.device import DeviceFigures
from engine.core.planner.memory import BF16_BYTES, NF4_BYTES, weight_bytes
from engine.core.planner.shape import ModelShape
from engine.protocol.plans import ComputePlan

FORWARD_FLOPS, BACKWARD_FLOPS = 2, 2
"""FLOPs a frozen weight costs a token: no gradient of the weight itself is made."""

EFFICIENCY, HALF_TOKENS = 0.7555, 86
"""Share of the matrix rate that a graph of fused kernels reaches, 0.7555·T/(T+86): 0.66 at 576 tokens, 0.74 at 4,096."""

DROPOUT_TIME = 0.05
"""What LoRA dropout adds: 0.1494 s where it is 0.1430 without, 0.1482 where it is 0.1405."""

FLOAT32_ADAPTER_SHARE = 0.017
"""Share of the matrix rate that fp32 adapters reach: 0.66 s at 2,048 tokens where bf16 adapters in a graph took 0.532."""

DEQUANTISATION_SHARE = 0.48
"""Share of the memory traffic that dequantising reaches: 0.214 s at 576 tokens with 16 of 64 layers mirrored where all of them took 0.157."""

EAGER_LAYER_S = 0.00058
"""What kernels that are not fused cost a layer, forward and backward: a graph of them took 0.191 s, a compiled one 0.154."""

LAUNCH_COMPILED_S, LAUNCH_EAGER_S = 0.0054, 0.0081
"""Least time of a layer, forward and backward, where the host launches each kernel: 0.355 s and 0.53 s at 576 tokens."""

OPTIMIZER_BYTES, OPTIMIZER_LAUNCH_S = 40, 0.001
"""Traffic of an optimizer step for a trainable parameter (weight, gradient, moments, norm, bf16 copy), and its launches."""

STEP_S_UNKNOWN = 0.0


def row_seconds(shape: ModelShape, plan: ComputePlan, row_tokens: int, device: DeviceFigures) -> float:
    """Forward and backward over one row of `row_tokens` (padding included); 0 where the model's shape is not known."""
    if shape.unknown:
        return STEP_S_UNKNOWN
    on_cpu = device.kind == "cpu"
    recomputed = plan.recomputed_layers / shape.layers
    passes = 2 + recomputed
    rate = device.matrix_tflops * 1e12 * (1.0 if on_cpu else EFFICIENCY * row_tokens / (row_tokens + HALF_TOKENS))
    traffic = device.bandwidth_gb_s * 1e9
    flops = row_tokens * shape.linear_parameters * (FORWARD_FLOPS * (1 + recomputed) + BACKWARD_FLOPS)
    # However few the tokens, every weight is read once a pass
    seconds = max(flops / rate, passes * weight_bytes(shape, shape.layers) / traffic)
    if on_cpu:
        return seconds
    seconds *= 1 + (DROPOUT_TIME if shape.dropout else 0.0)
    if shape.quantized:
        moved = (shape.layers - plan.mirrored_layers) * shape.layer_parameters * (NF4_BYTES + BF16_BYTES)
        seconds += passes * moved / (traffic * DEQUANTISATION_SHARE)
    if plan.adapter_dtype == "float32":
        adapters = row_tokens * shape.adapter_parameters * 2 * (3 + recomputed)
        seconds += adapters / (device.matrix_tflops * 1e12 * FLOAT32_ADAPTER_SHARE)
    if not plan.compiled:
        seconds += shape.layers * EAGER_LAYER_S * passes / 2
    launches = LAUNCH_COMPILED_S if plan.compiled else LAUNCH_EAGER_S
    return seconds if plan.graph else max(seconds, shape.layers * launches * passes / 2)


def optimizer_seconds(shape: ModelShape, device: DeviceFigures) -> float:
    """Clipping, the optimizer and the copy to bf16."""
    if shape.unknown:
        return STEP_S_UNKNOWN
    launch = 0.0 if device.kind == "cpu" else OPTIMIZER_LAUNCH_S
    return shape.adapter_parameters * OPTIMIZER_BYTES / (device.bandwidth_gb_s * 1e9) + launch
