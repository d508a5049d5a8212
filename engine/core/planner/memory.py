"""How much memory a training step takes: what torch has allocated at its peak, from the model's shape and the plan.

Every constant is named with where it comes from: a count on the engine's layers, or a measured peak of the reference model
(Qwen2.5-32B shape, LoRA r=16 on all linear layers, H200). It refuses to add a margin: that is the choice's part.
"""

from engine.core.planner.shape import ModelShape
from engine.protocol.plans import ComputePlan

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""A parameter in nf4 with double quantization: 4 bits, an 8-bit scale for 64 of them, a float for 256 scales."""

BF16_BYTES, FP32_BYTES = 2, 4

MOMENT_BYTES = {"adamw": 8, "paged_adamw_8bit": 2}
"""Both moments of one trainable parameter."""

LOGIT_BYTES = 14
"""A logit at the loss's peak: bf16 (2), float (4), log-softmax (4), gradient (4). Plain cross-entropy over 2,048 tokens: 4.1 GiB."""

# Elements kept for the backward pass by one token in one decoder layer, as multiples of the MLP's width (I), the hidden width (H) and
# the widths of queries (Q) and keys (K). Counted on the engine's own layers with saved-tensor hooks: 3 I + 4 H + 2 Q + 2 K with fused
# kernels and 4 I + 6 H + 2 Q + 2 K without, in bf16, whatever the adapters compute in (besides their inner products, of the rank's width).
COMPILED_INTERMEDIATE, COMPILED_HIDDEN, KEPT_QUERY, KEPT_KEYS = 3, 4, 2, 2
EAGER_INTERMEDIATE, EAGER_HIDDEN = 1, 2
# A masked attention keeps keys and values repeated for every head, and its output once more where it was laid out anew
MASKED_QUERY = 1

WORKING_INTERMEDIATE = 3
"""Gradients alive in one layer's backward pass, in MLP widths: of gate, up and their product (4,096 tokens, checkpointing: 24.9 GiB)."""

OUTSIDE_HIDDEN = 4
"""Hidden widths kept outside the layers: embeddings' output, last layer's output, last norm's output and its gradient."""

PASSING_HIDDEN = 6
"""Hidden widths alive in one layer of a forward pass without gradients: residual, norm, attention's in- and output, room for a cast."""

READ_LOGIT_BYTES = 10
"""A logit at the peak of a loss without gradients: bf16 (2), float (4), and what its logarithm of sums goes through (4)."""

MASK_BYTES = 3
"""An entry of the block mask: the mask itself (1) and its bf16 form inside the attention (2)."""


def static_bytes(shape: ModelShape, plan: ComputePlan, *, optimizer: str = "adamw", element_bytes: int = BF16_BYTES) -> int:
    """What stays allocated between steps: weights, embeddings, output head, adapters, their gradients and moments."""
    return weight_bytes(shape, plan.mirrored_layers, element_bytes=element_bytes) + _adapter_bytes(shape, plan, optimizer)


def weight_bytes(shape: ModelShape, mirrored_layers: int, *, element_bytes: int = BF16_BYTES) -> int:
    """The frozen model: nf4 layers, mirrored (or never quantised) layers with what stands beside the joined ones, embeddings and output head."""
    plain = mirrored_layers if shape.quantized else shape.layers
    layers = plain * element_bytes + (shape.layers - plain) * NF4_BYTES
    joined = mirrored_layers * shape.joined_parameters
    return int(shape.layer_parameters * layers) + (joined + shape.embedding_parameters) * element_bytes


def saved_bytes(shape: ModelShape, plan: ComputePlan, *, element_bytes: int = BF16_BYTES) -> int:
    """What one decoder layer that is not recomputed keeps of one token for the backward pass."""
    masked = plan.attention == "masked"
    keys, queries = (shape.query_width, KEPT_QUERY + MASKED_QUERY) if masked else (shape.kv_width, KEPT_QUERY)
    inner, hidden = COMPILED_INTERMEDIATE, COMPILED_HIDDEN
    if not plan.compiled:
        inner, hidden = inner + EAGER_INTERMEDIATE, hidden + EAGER_HIDDEN
    low_rank = len(shape.lora_targets) * shape.lora_rank
    elements = inner * shape.intermediate + hidden * shape.hidden + queries * shape.query_width + KEPT_KEYS * keys
    return element_bytes * (elements + low_rank)


def peak_of_row(
    shape: ModelShape, plan: ComputePlan, row_tokens: int, *, optimizer: str = "adamw", element_bytes: int = BF16_BYTES
) -> int:
    """Bytes allocated at most in the step of a row of `row_tokens` (padding included) under `plan`, whatever the plan's own width.

    `element_bytes` is 2 for bf16 arithmetic, 4 for fp32. 0 where the model's shape is not known.
    """
    if shape.unknown:
        return 0
    tokens, width = row_tokens, element_bytes
    layer = saved_bytes(shape, plan, element_bytes=width) * tokens
    kept = (shape.layers - plan.recomputed_layers) * layer
    kept += (plan.recomputed_layers + OUTSIDE_HIDDEN) * shape.hidden * width * tokens
    kept += MASK_BYTES * tokens**2 if plan.attention == "masked" else 0
    logits = _logits(plan, tokens) * shape.vocab * _logit_bytes(plan, LOGIT_BYTES, width)
    backward = WORKING_INTERMEDIATE * shape.intermediate * width * tokens
    backward += layer if plan.recomputed_layers else 0
    backward += shape.largest_linear * width if shape.quantized and plan.mirrored_layers < shape.layers else 0
    return static_bytes(shape, plan, optimizer=optimizer, element_bytes=width) + kept + max(logits, backward)


def peak_of_reading(
    shape: ModelShape, plan: ComputePlan, row_tokens: int, *, optimizer: str = "adamw", element_bytes: int = BF16_BYTES
) -> int:
    """Bytes allocated at most while the dev loss of a row of `row_tokens` is read between two steps; 0 as in `peak_of_row`."""
    if shape.unknown:
        return 0
    logits = _logits(plan, row_tokens) * shape.vocab * _logit_bytes(plan, READ_LOGIT_BYTES, element_bytes)
    layer = passing_bytes(shape, row_tokens, mirrored_layers=plan.mirrored_layers, element_bytes=element_bytes)
    layer += MASK_BYTES * row_tokens**2 if plan.attention == "masked" else 0
    outside = OUTSIDE_HIDDEN * shape.hidden * element_bytes * row_tokens
    return static_bytes(shape, plan, optimizer=optimizer, element_bytes=element_bytes) + outside + max(logits, layer)


def passing_bytes(shape: ModelShape, tokens: int, *, mirrored_layers: int, element_bytes: int = BF16_BYTES) -> int:
    """What so many tokens need inside one decoder layer where nothing is kept for a backward pass; its weights, where they are dequantised."""
    dequantised = shape.largest_linear if shape.quantized and mirrored_layers < shape.layers else 0
    return element_bytes * (tokens * (COMPILED_INTERMEDIATE * shape.intermediate + PASSING_HIDDEN * shape.hidden) + dequantised)


def _logits(plan: ComputePlan, tokens: int) -> int:
    """Positions whose logits there are at once."""
    return min(tokens, plan.loss_chunk_tokens or tokens)


def _logit_bytes(plan: ComputePlan, plain: int, element_bytes: int) -> int:
    """With kernels the gradient takes the place of the logits, and nothing else is ever stored."""
    return element_bytes if plan.compiled and plan.loss_chunk_tokens > 0 else plain


def _adapter_bytes(shape: ModelShape, plan: ComputePlan, optimizer: str) -> int:
    """fp32 master weights, gradients and moments; for adapters that compute in bf16 also that copy and its gradients."""
    copies = 2 * BF16_BYTES if plan.adapter_dtype == "bfloat16" else 0
    return shape.adapter_parameters * (2 * FP32_BYTES + MOMENT_BYTES[optimizer] + copies)
