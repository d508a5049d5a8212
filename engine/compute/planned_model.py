"""A loaded model made to run as its compute plan says: mirrored weights, attention by segments, fused kernels, recomputed layers.

Each fast path is tried before it is relied on; one that cannot be taken here is told as an event and the plain way is gone instead. It refuses to
change what the model computes: the same numbers but for rounding.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import torch
from torch.utils.checkpoint import checkpoint

from engine.compute.attention import head_width, segments_work, use_sluice_attention
from engine.compute.dropout import draws_again
from engine.compute.fused import fuse
from engine.compute.linears import Switches
from engine.compute.planned_linears import frozen_linears, install_linears, mirror_layers
from engine.compute.small_functions import KERNELS, PLAIN, SmallFunctions, kernels_available
from engine.core.out_of_memory import is_out_of_memory
from engine.protocol.events import Event, FastPathFellBack
from engine.protocol.plans import ComputePlan

Emit = Callable[[Event], None]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class PlannedModel:
    """A model under its plan, `plan` with the fast paths that were taken.

    `own_attention`: it attends through sluice; `segments`: by segments' lengths; `graph`: its rows may be captured; `chunk_tokens` of its
    loss, `functions` between its products.
    """

    model: Any
    plan: ComputePlan
    switches: Switches
    adapter_dtype: torch.dtype
    own_attention: bool
    segments: bool
    graph: bool
    chunk_tokens: int
    functions: SmallFunctions


def carry_out(plan: ComputePlan, model: Any, *, compute_dtype: torch.dtype, emit: Emit) -> PlannedModel:
    """Change `model` (a base model, or a PeftModel around one) in place as `plan` says."""
    adapter_dtype = _DTYPES[plan.adapter_dtype]
    switches = install_linears(model, compute_dtype=compute_dtype, adapter_dtype=adapter_dtype)
    # a quantised weight and the layer it came from refer to each other: without this both would outlive their mirror
    gc.collect()
    mirror_layers(model, plan.mirrored_layers)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    own = model.device.type == "cuda" and use_sluice_attention(base)
    compiled = plan.compiled and _fused(base, emit)
    _recompute(base, plan.recomputed_layers)
    segments = plan.attention == "varlen" and _by_segments(base, own, compute_dtype, emit)
    graph = plan.graph and _by_graphs(model, emit)
    taken = msgspec.structs.replace(plan, compiled=compiled, graph=graph, attention="varlen" if segments else "masked")
    chunk_tokens = plan.loss_chunk_tokens if own else 0
    return PlannedModel(model, taken, switches, adapter_dtype, own, segments, graph, chunk_tokens, KERNELS if compiled else PLAIN)


def _by_graphs(model: Any, emit: Emit) -> bool:
    """False where a graph would repeat the dropout mask that was drawn at its capture."""
    drops = any(layer.adapter is not None and layer.adapter.dropout for layer in frozen_linears(model).values())
    if not drops or draws_again(model.device):
        return True
    reason = "its dropout needs a kernel that does not run here (Triton)"
    emit(FastPathFellBack(path="CUDA graph", reason=reason, instead="kernels are launched one by one"))
    return False


def _by_segments(base: Any, own: bool, dtype: torch.dtype, emit: Emit) -> bool:
    config = base.config
    problem = (
        segments_work(
            base.device, dtype, heads=config.num_attention_heads, key_heads=config.num_key_value_heads, width=head_width(config)
        )
        if own
        else f"not known for models of type {config.model_type}"
    )
    if problem:
        emit(FastPathFellBack(path="attention by segments", reason=problem, instead="a mask keeps the examples apart"))
    return not problem


def _fused(base: Any, emit: Emit) -> bool:
    """Fuse the small functions where there are kernels and they work."""
    reason = "" if kernels_available(base.device) else "they need Triton, which is not installed"
    try:
        if not reason:
            fuse(base)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    if reason:
        emit(FastPathFellBack(path="fused kernels", reason=reason, instead="torch's own are launched one by one"))
    return not reason


def _recompute(base: Any, count: int) -> None:
    """Let the first `count` decoder layers forget their activations; their dropout follows from its seed, so no state is kept."""
    for layer in base.get_decoder().layers[:count]:
        layer.forward = _recomputed(layer.forward)


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def again(*arguments: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*arguments, **named)
        return checkpoint(forward, *arguments, use_reentrant=False, preserve_rng_state=False, **named)

    return again
