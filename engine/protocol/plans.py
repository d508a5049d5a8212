"""Compute plans: how a run spends the memory of its device to be fast, and what a plan is predicted to need.

A plan changes speed, memory and rounding, never what is learnt: the effective batch, its order and its randomness are the same under
every plan. `engine.core.planner` predicts and chooses, `engine.compute` carries out. It refuses to hold anything measured: that is an
event's part.
"""

from typing import Literal

import msgspec


class ComputePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One way to carry out training and decoding.

    `row_tokens` is the width of the widest packed row; `buckets` are the widths that rows are padded to, ascending, the last of them
    `row_tokens`; empty means the next multiple of 8. `recomputed_layers` decoder layers forget their activations and compute them
    again in the backward pass (gradient checkpointing: 0 is none, all layers is full, between is selective). `mirrored_layers`
    decoder layers hold their frozen weights as bf16, dequantised once, in place of nf4. `compiled` fuses the small kernels between
    the matrix products; `graph` captures forward and backward as one CUDA graph a bucket. `attention` is varlen (segments by their
    lengths, one kernel) or masked (a 4-D block mask). `adapter_dtype` is what adapters compute in; their master copy is fp32 always.
    `loss_chunk_tokens` positions have their logits at once (0: all of them).
    """

    row_tokens: int
    buckets: tuple[int, ...] = ()
    recomputed_layers: int = 0
    mirrored_layers: int = 0
    compiled: bool = False
    graph: bool = False
    attention: Literal["masked", "varlen"] = "masked"
    adapter_dtype: Literal["float32", "bfloat16"] = "float32"
    loss_chunk_tokens: int = 0


class PlanEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """A plan with its predictions. `step_s` is the mean optimizer step; `peak_bytes` what torch will have allocated at most;
    both are 0 where nothing can be predicted, because the model's shape is not known.

    `refused` says why the plan may not be taken: it does not fit, or one that needed as much has run out of memory; "" where it may.
    """

    name: str
    plan: ComputePlan
    step_s: float
    peak_bytes: int
    refused: str = ""
