"""The functions between the matrix products, each in two forms: plain, step by step in torch, and as one kernel.

Both take and give the same, so that one can stand in for the other and be tried against it. None is differentiable by itself: gradients are functions
here too. They refuse nothing that has dense rows.

Shapes, as suffixes: n rows (tokens), h hidden, w hidden with room behind it, a heads, d of a head, i of the gate, k learnt positions, v vocabulary;
of one decoded token's attention b rows, q key heads, g query heads of each, s keys.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from engine.compute.device import unsorted

kernels: Any
try:
    from engine.compute import kernels
except ImportError:
    kernels = None

_COLUMNS = 1024
"""Elements of a row that one program of an elementwise kernel takes."""

_WIDEST_ROW = 16_384
"""Keys of one decoded token that one program weighs; beyond it the plain form is taken."""


class SmallFunctions(NamedTuple):
    """All of them, in one of the two forms. Their plain forms say what they do."""

    normalise: Callable[..., tuple[torch.Tensor, torch.Tensor]]
    normalise_backward: Callable[..., torch.Tensor]
    rotate: Callable[..., torch.Tensor]
    gate: Callable[..., torch.Tensor]
    gate_backward: Callable[..., None]
    log_norms: Callable[..., torch.Tensor]
    logit_gradients: Callable[..., torch.Tensor]
    weigh: Callable[..., torch.Tensor]


def kernels_available(device: torch.device) -> bool:
    """True where there are kernels: a GPU, and Triton to write them in."""
    return device.type == "cuda" and kernels is not None


def normalise(
    x_nh: torch.Tensor, more_nh: torch.Tensor | None, weight_h: torch.Tensor, epsilon: float, columns: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """x + more (or x itself), and weight · that / its rms, whose rows are `columns` ≥ h apart."""
    total_nh = x_nh if more_nh is None else x_nh + more_nh
    wide_nh, out_nh = total_nh.float(), with_room(x_nh, columns)
    out_nh.copy_(weight_h * (wide_nh * torch.rsqrt(wide_nh.square().mean(-1, keepdim=True) + epsilon)).to(x_nh.dtype))
    return total_nh, out_nh


def normalise_backward(
    grad_nh: torch.Tensor, also_nh: torch.Tensor | None, x_nh: torch.Tensor, weight_h: torch.Tensor, epsilon: float
) -> torch.Tensor:
    """The gradient of what was normalised, x, plus `also`."""
    wide_nh = x_nh.float()
    inverse_n1 = torch.rsqrt(wide_nh.square().mean(-1, keepdim=True) + epsilon)
    weighed_nh, unit_nh = grad_nh.float() * weight_h.float(), wide_nh * inverse_n1
    into_nh = inverse_n1 * (weighed_nh - unit_nh * (weighed_nh * unit_nh).mean(-1, keepdim=True))
    return (into_nh if also_nh is None else into_nh + also_nh.float()).to(x_nh.dtype)


def rotate(x_nad: torch.Tensor, cos_nd: torch.Tensor, sin_nd: torch.Tensor, sign: float) -> torch.Tensor:
    """The rotary embedding; with `sign` −1 its gradient, as the halves of cos and of sin are alike."""
    half = x_nad.shape[-1] // 2
    turned_nad = torch.cat((-x_nad[..., half:], x_nad[..., :half]), dim=-1)
    return x_nad * cos_nd.unsqueeze(1) + turned_nad * (sin_nd * sign).unsqueeze(1)


def gate(gate_ni: torch.Tensor, up_ni: torch.Tensor) -> torch.Tensor:
    """silu(gate) · up."""
    return functional.silu(gate_ni) * up_ni


def gate_backward(
    grad_ni: torch.Tensor, gate_ni: torch.Tensor, up_ni: torch.Tensor, into_gate_ni: torch.Tensor, into_up_ni: torch.Tensor
) -> None:
    """The gradients of gate and up, into tensors laid out as these are."""
    gated_ni, grad_wide_ni = gate_ni.float(), grad_ni.float()
    share_ni = gated_ni.sigmoid()
    into_gate_ni.copy_(grad_wide_ni * up_ni.float() * share_ni * (1 + gated_ni * (1 - share_ni)))
    into_up_ni.copy_(grad_wide_ni * gated_ni * share_ni)


def log_norms(logits_kv: torch.Tensor) -> torch.Tensor:
    """log Σ exp of each row (k, 1), fp32."""
    return logits_kv.float().logsumexp(dim=-1, keepdim=True)


def logit_gradients(
    logits_kv: torch.Tensor, norms_k1: torch.Tensor, places_k1: torch.Tensor, counts_k1: torch.Tensor
) -> torch.Tensor:
    """(softmax − 1 at the row's place) · counts, in the dtype of the logits and perhaps in their memory."""
    soft_kv = logits_kv.float().sub_(norms_k1).exp_()
    with unsorted():
        soft_kv.scatter_add_(1, places_k1, soft_kv.new_full(places_k1.shape, -1.0))
    return soft_kv.mul_(counts_k1).to(logits_kv.dtype)


def weigh(scores_bqgs: torch.Tensor, visible_b11s: torch.Tensor, scaling: float) -> torch.Tensor:
    """softmax over what may be seen, in fp32, back in the dtype of the scores."""
    return (scores_bqgs.float() * scaling).masked_fill(~visible_b11s, float("-inf")).softmax(dim=-1).to(scores_bqgs.dtype)


PLAIN = SmallFunctions(normalise, normalise_backward, rotate, gate, gate_backward, log_norms, logit_gradients, weigh)


def with_room(like_nh: torch.Tensor, columns: int) -> torch.Tensor:
    """An empty tensor like that one, contiguous but for its rows being `columns` apart."""
    if columns == like_nh.shape[-1]:
        return torch.empty_like(like_nh, memory_format=torch.contiguous_format)
    wide_nw = like_nh.new_empty(len(like_nh), columns)
    return over_storage(wide_nw, (len(like_nh), like_nh.shape[-1]), (columns, 1))


def over_storage(tensor: torch.Tensor, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> torch.Tensor:
    """Another tensor over the same storage, `offset` elements further, that autograd does not know to be one: it refuses views of what is written
    to afterwards, also where that is beside them."""
    return tensor.new_empty(0).set_(tensor.untyped_storage(), tensor.storage_offset() + offset, shape, strides)


def _normalise_kernel(
    x_nh: torch.Tensor, more_nh: torch.Tensor | None, weight_h: torch.Tensor, epsilon: float, columns: int
) -> tuple[torch.Tensor, torch.Tensor]:
    if more_nh is not None:
        x_nh, more_nh = x_nh.contiguous(), more_nh.contiguous()
    (rows, width), out_nh = x_nh.shape, with_room(x_nh, columns)
    total_nh = x_nh if more_nh is None else torch.empty_like(x_nh)
    more_nh = x_nh if more_nh is None else more_nh
    kernels.normalise[(rows,)](
        x_nh,
        x_nh.stride(0),
        more_nh,
        total_nh,
        weight_h,
        out_nh,
        columns,
        width,
        epsilon,
        adds=more_nh is not x_nh,
        **_whole(width),
    )
    return total_nh, out_nh


def _normalise_backward_kernel(
    grad_nh: torch.Tensor, also_nh: torch.Tensor | None, x_nh: torch.Tensor, weight_h: torch.Tensor, epsilon: float
) -> torch.Tensor:
    rows, width = x_nh.shape
    into_nh = x_nh.new_empty(rows, width)
    also = into_nh if also_nh is None else also_nh.contiguous()
    kernels.normalise_backward[(rows,)](
        grad_nh,
        grad_nh.stride(0),
        also,
        x_nh,
        x_nh.stride(0),
        weight_h,
        into_nh,
        width,
        epsilon,
        adds=also_nh is not None,
        **_whole(width),
    )
    return into_nh


def _rotate_kernel(x_nad: torch.Tensor, cos_nd: torch.Tensor, sin_nd: torch.Tensor, sign: float) -> torch.Tensor:
    (rows, heads, width), together = x_nad.shape, 8
    if x_nad.stride()[1:] != (width, 1):
        # a masked attention gives its gradients with the heads before the tokens
        x_nad = x_nad.contiguous()
    out_nad, half = x_nad.new_empty(x_nad.shape), width // 2
    kernels.rotate[rows, -(-heads // together)](
        x_nad, x_nad.stride(0), cos_nd.contiguous(), sin_nd.contiguous(), out_nad, heads, sign, half=half, half_block=_power(half),
        head_block=together,
    )  # fmt: skip
    return out_nad


def _gate_kernel(gate_ni: torch.Tensor, up_ni: torch.Tensor) -> torch.Tensor:
    (rows, width), out_ni = gate_ni.shape, gate_ni.new_empty(gate_ni.shape)
    assert gate_ni.stride() == up_ni.stride()
    kernels.gate[_grid(rows, width)](gate_ni, up_ni, gate_ni.stride(0), out_ni, width, block=_COLUMNS)
    return out_ni


def _gate_backward_kernel(
    grad_ni: torch.Tensor, gate_ni: torch.Tensor, up_ni: torch.Tensor, into_gate_ni: torch.Tensor, into_up_ni: torch.Tensor
) -> None:
    rows, width = gate_ni.shape
    assert gate_ni.stride() == up_ni.stride() == into_gate_ni.stride() == into_up_ni.stride()
    kernels.gate_backward[_grid(rows, width)](
        grad_ni.contiguous(), gate_ni, up_ni, into_gate_ni, into_up_ni, gate_ni.stride(0), width, block=_COLUMNS
    )


def _log_norms_kernel(logits_kv: torch.Tensor) -> torch.Tensor:
    norms_k1 = torch.empty(len(logits_kv), 1, dtype=torch.float32, device=logits_kv.device)
    kernels.log_norm[(len(logits_kv),)](logits_kv, norms_k1, logits_kv.shape[1], block=4096, num_warps=8)
    return norms_k1


def _logit_gradients_kernel(
    logits_kv: torch.Tensor, norms_k1: torch.Tensor, places_k1: torch.Tensor, counts_k1: torch.Tensor
) -> torch.Tensor:
    rows, width = logits_kv.shape
    kernels.logit_gradient[_grid(rows, width)](logits_kv, norms_k1, places_k1, counts_k1, width, block=_COLUMNS)
    return logits_kv


def _weigh_kernel(scores_bqgs: torch.Tensor, visible_b11s: torch.Tensor, scaling: float) -> torch.Tensor:
    width = scores_bqgs.shape[-1]
    if width > _WIDEST_ROW:
        return weigh(scores_bqgs, visible_b11s, scaling)
    scores, visible, rows = scores_bqgs.contiguous(), visible_b11s.view(torch.uint8), math.prod(scores_bqgs.shape[:-1])
    out = torch.empty_like(scores)
    kernels.weigh[(rows,)](scores, visible, visible.stride(0), out, width, scaling, rows // len(visible), **_whole(width))
    return out


KERNELS = SmallFunctions(
    _normalise_kernel, _normalise_backward_kernel, _rotate_kernel, _gate_kernel, _gate_backward_kernel, _log_norms_kernel,
    _logit_gradients_kernel, _weigh_kernel,
)  # fmt: skip


def _grid(rows: int, width: int) -> tuple[int, int]:
    return rows, -(-width // _COLUMNS)


def _whole(width: int) -> dict[str, int]:
    """For a kernel one program of which takes a whole row."""
    block = _power(width)
    return {"block": block, "num_warps": 4 if block < 4096 else 8 if block <= 8192 else 16}


def _power(width: int) -> int:
    return 1 << (width - 1).bit_length()
