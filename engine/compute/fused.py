"""The small kernels between the matrix products, fused by torch's compiler: normalisation, rotary embedding, gated activation and the
weights of one decoded token's attention.

Only these functions are compiled, not whole layers: they are the same for every layer and every width, so there are a handful of them to
compile, in seconds. It refuses models whose modules it does not know by their form.
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from engine.compute.attention import WEIGH, attention_weights


class _Small(NamedTuple):
    """The compiled functions, in the order of `_FUNCTIONS`."""

    normalise: Callable[..., Any]
    add_and_normalise: Callable[..., Any]
    rotate: Callable[..., Any]
    gate: Callable[..., Any]
    gate_joined: Callable[..., Any]
    weigh: Callable[..., Any]


def fuse(model: Any) -> None:
    """Compile the small functions of the model's decoder, try each of them, and put them in place.

    Raises: whatever the compiler raises; ValueError where the model's modules are not of a known form. The model is untouched then.
    """
    small = _Small(*(torch.compile(function, dynamic=True) for function in _FUNCTIONS))
    _try(small, model.device, model.dtype)
    found = 0
    for module in model.modules():
        kind = type(module).__name__
        if _is_norm(module):
            module.forward = _normalised(module, small)
            found += 1
        elif all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")) and _is_silu(module.act_fn):
            module.forward = _gated(module, small)
            found += 1
        elif kind.endswith("DecoderLayer") and _is_norm(getattr(module, "post_attention_layernorm", None)):
            module.forward = _layered(module, small)
        elif kind.endswith("Attention") and hasattr(module, "q_proj"):
            home = vars(sys.modules[type(module).__module__])
            if "apply_rotary_pos_emb" in home:
                home["apply_rotary_pos_emb"] = small.rotate
            setattr(module, WEIGH, small.weigh)
    if not found:
        raise ValueError("the model has no RMSNorm and no gated layer of a known form")


def _try(small: _Small, device: torch.device, dtype: torch.dtype) -> None:
    """Forward and backward of each function on small tensors of the forms that a decoder gives it."""

    def some(*shape: int) -> torch.Tensor:
        return torch.ones(shape, device=device, dtype=dtype, requires_grad=True)

    small.normalise(some(1, 8, 64), some(64).detach(), 1e-6).sum().backward()
    total, normed = small.add_and_normalise(some(1, 8, 64), some(1, 8, 64), some(64).detach(), 1e-6)
    (total.sum() + normed.sum()).backward()
    small.gate(some(1, 8, 64), some(1, 8, 64)).sum().backward()
    small.gate_joined(some(1, 8, 128)).sum().backward()
    angle = some(1, 8, 16).detach()
    query, key = small.rotate(some(1, 4, 8, 16), some(1, 2, 8, 16), angle, angle)
    (query.sum() + key.sum()).backward()
    with torch.inference_mode():
        small.weigh(some(2, 2, 4, 8), torch.ones(2, 1, 1, 8, dtype=torch.bool, device=device), 0.125)


def _is_norm(module: Any) -> bool:
    return type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon")


def _is_silu(function: Any) -> bool:
    return "silu" in type(function).__name__.lower() or "silu" in getattr(function, "__name__", "").lower()


def _normalised(module: Any, small: _Small) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: small.normalise(x, module.weight, module.variance_epsilon)


def _gated(module: Any, small: _Small) -> Callable[[torch.Tensor], torch.Tensor]:
    def forward(x: torch.Tensor) -> torch.Tensor:
        joined = getattr(module.gate_proj, "joined", None)
        if joined is None:
            hidden = small.gate(module.gate_proj(x), module.up_proj(x))
        else:
            hidden = small.gate_joined(joined.together(x))
        out: torch.Tensor = module.down_proj(hidden)
        return out

    return forward


def _layered(module: Any, small: _Small) -> Callable[..., torch.Tensor]:
    """A decoder layer of the form that all known families share: normalise, attend, add, normalise, gate, add."""
    norm = module.post_attention_layernorm

    def forward(hidden_states: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        attended, _ = module.self_attn(module.input_layernorm(hidden_states), *arguments, **named)
        total, normed = small.add_and_normalise(hidden_states, attended, norm.weight, norm.variance_epsilon)
        out: torch.Tensor = total + module.mlp(normed)
        return out

    return forward


def _normalise(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)).to(x.dtype)


def _add_and_normalise(
    x: torch.Tensor, more: torch.Tensor, weight: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    total = x + more
    return total, _normalise(total, weight, epsilon)


def _gate(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.silu(gate) * up


def _gate_joined(gate_and_up: torch.Tensor) -> torch.Tensor:
    gate, up = gate_and_up.chunk(2, dim=-1)
    return _gate(gate, up)


def _rotate(
    query: torch.Tensor, key: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, unsqueeze_dim: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return query * cos + _half_turned(query) * sin, key * cos + _half_turned(key) * sin


def _half_turned(x: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), dim=-1)


_FUNCTIONS = (_normalise, _add_and_normalise, _rotate, _gate, _gate_joined, attention_weights)
