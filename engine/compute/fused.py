"""The small kernels between the matrix products, fused by torch's compiler: normalisation, rotary embedding, gated activation.

Only these functions are compiled, not whole layers: they are the same for every layer and every width, so there are three of them to
compile, in seconds. It refuses models whose modules it does not know by their form.
"""

import sys
from collections.abc import Callable
from typing import Any

import torch


def fuse(model: Any) -> None:
    """Compile the small functions of the model's decoder, try each of them, and put them in place.

    Raises: whatever the compiler raises; ValueError where the model's modules are not of a known form. The model is untouched then.
    """
    normalise, rotate, gate = (torch.compile(function, dynamic=True) for function in (_normalise, _rotate, _gate))
    _try(normalise, rotate, gate, model.device, model.dtype)
    found = 0
    for module in model.modules():
        kind = type(module).__name__
        if kind.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            module.forward = _normalised(module, normalise)
            found += 1
        elif all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")) and _is_silu(module.act_fn):
            module.forward = _gated(module, gate)
            found += 1
        elif kind.endswith("Attention") and hasattr(module, "q_proj"):
            home = vars(sys.modules[type(module).__module__])
            if "apply_rotary_pos_emb" in home:
                home["apply_rotary_pos_emb"] = rotate
    if not found:
        raise ValueError("the model has no RMSNorm and no gated layer of a known form")


def _try(
    normalise: Callable[..., Any], rotate: Callable[..., Any], gate: Callable[..., Any], device: torch.device, dtype: torch.dtype
) -> None:
    """Forward and backward of each function on small tensors of the forms that a decoder gives it."""

    def some(*shape: int) -> torch.Tensor:
        return torch.ones(shape, device=device, dtype=dtype, requires_grad=True)

    normalise(some(1, 8, 64), some(64).detach(), 1e-6).sum().backward()
    gate(some(1, 8, 64), some(1, 8, 64)).sum().backward()
    angle = some(1, 8, 16).detach()
    query, key = rotate(some(1, 4, 8, 16), some(1, 2, 8, 16), angle, angle)
    (query.sum() + key.sum()).backward()


def _is_silu(function: Any) -> bool:
    return "silu" in type(function).__name__.lower() or "silu" in getattr(function, "__name__", "").lower()


def _normalised(module: Any, normalise: Callable[..., torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: normalise(x, module.weight, module.variance_epsilon)


def _gated(module: Any, gate: Callable[..., torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: module.down_proj(gate(module.gate_proj(x), module.up_proj(x)))


def _normalise(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)).to(x.dtype)


def _gate(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.silu(gate) * up


def _rotate(
    query: torch.Tensor, key: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, unsqueeze_dim: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return query * cos + _half_turned(query) * sin, key * cos + _half_turned(key) * sin


def _half_turned(x: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), dim=-1)
