"""The small kernels between the matrix products, fused by torch's compiler: normalisation, rotary embedding, gated activation and the
weights of one decoded token's attention.

Only these functions are compiled, not whole layers: they are the same for every layer, and a row's tokens are left open, so there are a handful of
them to compile, in seconds. It refuses models whose modules it does not know by their form.
"""

import itertools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from engine.compute.attention import WEIGH, attention_weights, head_width


class _Small(NamedTuple):
    """The compiled functions, in the order of `_FUNCTIONS`."""

    normalise: Callable[..., Any]
    add_and_normalise: Callable[..., Any]
    rotate: Callable[..., Any]
    gate: Callable[..., Any]
    gate_joined: Callable[..., Any]
    weigh: Callable[..., Any]


def fuse(model: Any, *, trained: bool) -> None:
    """Compile the small functions of the model's decoder, try each of them, and put them in place; `trained` where gradients are wanted.

    Raises: whatever the compiler raises; ValueError where the model's modules are not of a known form. The model is untouched then.
    """
    small = _Small(*(torch.compile(function) for function in _FUNCTIONS))
    _try(small, model, trained=trained)
    found = 0
    for module in model.modules():
        kind = type(module).__name__
        if _is_norm(module):
            module.forward = _normalised(module, small)
            found += 1
        elif _is_gated(module):
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


_TRIED_TOKENS = 512
"""Tokens of the trial: how a kernel is laid out is decided there, so they are as many as a row of a training step has."""

_MOST_COMPILED = 32
"""Variants of one function: with and without gradients, one or many rows, one or many tokens, joined or not. Beyond it the compiler gives up quietly."""


def _try(small: _Small, model: Any, *, trained: bool) -> None:
    """Run each function as it will be run: in training forward and backward, and as the dev loss is read; else as in decoding."""
    torch._dynamo.config.recompile_limit = max(_MOST_COMPILED, torch._dynamo.config.recompile_limit)
    if not trained:
        with torch.inference_mode():
            _run_once(small, model, learning=False)
            _weigh_once(small, model)
        return
    _run_once(small, model, learning=True)
    with torch.no_grad():
        _run_once(small, model, learning=False)


def _run_once(small: _Small, model: Any, *, learning: bool) -> None:
    """Each function on tensors of the model's own widths and forms, the number of tokens left open; backward too where it is `learning`.

    What is compiled here is what is run later: the first tensors decide how the kernels are laid out, and a width that the compiler does
    not know costs a division an element and narrow loads.
    """
    config, tokens = model.config, _TRIED_TOKENS
    heads, keys, width = config.num_attention_heads, config.num_key_value_heads, head_width(config)
    hidden, inner = config.hidden_size, config.intermediate_size

    def exactly(*shape: int) -> torch.Tensor:
        return torch.ones(shape, device=model.device, dtype=model.dtype, requires_grad=learning)

    def some(*shape: int) -> torch.Tensor:
        return _left_open(exactly(*shape), 1)

    def learn(*results: torch.Tensor) -> None:
        if learning:
            torch.stack([result.sum() for result in results]).sum().backward()

    for norm in itertools.islice(filter(_is_norm, model.modules()), 1):
        learn(small.normalise(some(1, tokens, hidden), norm.weight, norm.variance_epsilon))
        given = some(1, tokens, hidden), some(1, tokens, hidden)
        learn(*small.add_and_normalise(*given, norm.weight, norm.variance_epsilon))
    joined = {getattr(module.gate_proj, "joined", None) is not None for module in model.modules() if _is_gated(module)}
    if False in joined:
        learn(small.gate(some(1, tokens, inner), some(1, tokens, inner)))
    if True in joined:
        learn(small.gate_joined(some(1, tokens, 2 * inner)))
    # queries and keys are slices of one product where their layers are joined
    parts = exactly(1, tokens, (heads + 2 * keys) * width).split((heads * width, keys * width, keys * width), dim=-1)
    query, key = (_left_open(part.view(1, tokens, -1, width).transpose(1, 2), 2) for part in parts[:2])
    learn(*small.rotate(query, key, *(_left_open(some(1, tokens, width).detach(), 1) for _ in range(2))))


def _weigh_once(small: _Small, model: Any) -> None:
    heads, keys = model.config.num_attention_heads, model.config.num_key_value_heads
    scores = torch.ones(2, keys, heads // keys, _TRIED_TOKENS, device=model.device, dtype=model.dtype)
    visible = torch.ones(2, 1, 1, _TRIED_TOKENS, device=model.device, dtype=torch.bool)
    small.weigh(_left_open(scores, 0, 3), _left_open(visible, 0, 3), head_width(model.config) ** -0.5)


def _left_open(tensor: torch.Tensor, *places: int) -> torch.Tensor:
    for place in places:
        torch._dynamo.maybe_mark_dynamic(tensor, place)
    return tensor


def _is_norm(module: Any) -> bool:
    return type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon")


def _is_gated(module: Any) -> bool:
    return all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")) and _is_silu(module.act_fn)


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
