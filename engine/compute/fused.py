"""The small functions between a model's matrix products, each as one kernel with its gradient, put in place in its decoder.

They are tried against their plain forms on the model's own widths before they are relied on. It refuses models whose modules it does not know by
their form.
"""

import math
import sys
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch

from engine.compute.attention import WEIGH, head_width
from engine.compute.small_functions import KERNELS, PLAIN, SmallFunctions, over_storage

_TRIED_TOKENS = 48
_OFF, _OFF_FLOAT32 = 0.02, 1e-3
"""Relative difference from the plain form beyond which a kernel is wrong: bf16 rounds to 0.004, in an order of its own; in fp32 there is little to round."""


def fuse(model: Any, functions: SmallFunctions = KERNELS) -> None:
    """Try the functions and put them in place in the model's decoder.

    Raises: whatever a kernel raises; ValueError where its result is wrong or the model's modules are not of a known form. The model is
    untouched then.
    """
    if not any(_is_norm(module) or _is_gated(module) for module in model.modules()):
        raise ValueError("the model has no RMSNorm and no gated layer of a known form")
    _try(functions, model)
    for module in model.modules():
        kind = type(module).__name__
        if _is_norm(module):
            module.forward = _normalised(module, functions)
        elif _is_gated(module):
            module.forward = _gated(module, functions)
        elif _is_layer(module):
            module.forward = _layered(module, functions)
        elif kind.endswith("Attention") and hasattr(module, "q_proj"):
            home = vars(sys.modules[type(module).__module__])
            if "apply_rotary_pos_emb" in home:
                home["apply_rotary_pos_emb"] = _rotated(functions)
            setattr(module, WEIGH, functions.weigh)


def _try(functions: SmallFunctions, model: Any) -> None:
    """Each function against its plain form, on numbers of the model's own widths."""
    with torch.no_grad():
        for name, found, wanted in _trials(functions, model):
            off = _OFF_FLOAT32 if found.dtype == torch.float32 else _OFF
            if not torch.allclose(found.float(), wanted.float(), rtol=off, atol=off * wanted.float().abs().max().item()):
                raise ValueError(f"{name}: the kernel's result differs from the plain one")


def _trials(functions: SmallFunctions, model: Any) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """What each function gives, and what its plain form does."""
    config, n = model.config, _TRIED_TOKENS
    hidden, heads, width = config.hidden_size, config.num_attention_heads, head_width(config)
    generator = torch.Generator(device=model.device).manual_seed(0)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=model.device, dtype=model.dtype, generator=generator)

    spaced = {(hidden, columns) for layer in filter(_is_layer, model.modules()) for columns in _columns(layer)}
    for norm, columns in spaced | {(len(module.weight), len(module.weight)) for module in filter(_is_norm, model.modules())}:
        x, more, weight = some(n, norm), some(n, norm), some(norm)
        given = (x, more, weight, 1e-6, columns)
        yield "norm", functions.normalise(*given)[1], PLAIN.normalise(*given)[1]
        yield "norm", functions.normalise(x, None, *given[2:])[1], PLAIN.normalise(x, None, *given[2:])[1]
        backward = (over_storage(some(n, columns), (n, norm), (columns, 1)), more, x, weight, 1e-6)
        yield "gradient of a norm", functions.normalise_backward(*backward), PLAIN.normalise_backward(*backward)
    both, upstream = some(n, 2 * config.intermediate_size), some(n, config.intermediate_size)
    parts = both.chunk(2, dim=1)
    yield "gate", functions.gate(*parts), PLAIN.gate(*parts)
    found, wanted = torch.empty_like(both), torch.empty_like(both)
    functions.gate_backward(upstream, *parts, *found.chunk(2, dim=1))
    PLAIN.gate_backward(upstream, *parts, *wanted.chunk(2, dim=1))
    yield "gradient of a gate", found, wanted
    for sign, count in product((1.0, -1.0), {heads, config.num_key_value_heads}):
        turned = (some(n, count, width), some(n, width // 2).repeat(1, 2), some(n, width // 2).repeat(1, 2), sign)
        yield "rotation", functions.rotate(*turned), PLAIN.rotate(*turned)
    # far enough apart that the softmax has weights to be wrong about
    logits, places = some(n, config.vocab_size) * 8, torch.zeros(n, 1, device=model.device, dtype=torch.long)
    norms, counts = PLAIN.log_norms(logits), torch.arange(n, device=model.device).unsqueeze(1) > 0
    yield "norm of logits", functions.log_norms(logits), norms
    wanted = PLAIN.logit_gradients(logits.clone(), norms, places, counts)
    yield "gradient of logits", functions.logit_gradients(logits, norms, places, counts), wanted
    scores, seen = some(2, config.num_key_value_heads, 4, 128), some(2, 1, 1, 128) > 0
    yield "weights of keys", functions.weigh(scores, seen, 0.1), PLAIN.weigh(scores, seen, 0.1)


def _is_norm(module: Any) -> bool:
    return type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon")


def _is_gated(module: Any) -> bool:
    return all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")) and _is_silu(module.act_fn)


def _is_silu(function: Any) -> bool:
    return "silu" in type(function).__name__.lower() or "silu" in getattr(function, "__name__", "").lower()


def _is_layer(module: Any) -> bool:
    names, parts = ("input_layernorm", "post_attention_layernorm"), ("self_attn", "mlp")
    whole = all(_is_norm(getattr(module, name, None)) for name in names) and all(hasattr(module, part) for part in parts)
    return type(module).__name__.endswith("DecoderLayer") and whole


def _readers(layer: Any) -> tuple[Any, Any]:
    """What reads the layer's two norms, by one of the linear layers each: all that read one input are joined, or none."""
    return getattr(layer.self_attn, "q_proj", None), getattr(layer.mlp, "gate_proj", None)


def _columns(layer: Any) -> tuple[int, int]:
    """How far apart the rows of its two norms should be."""
    hidden = layer.input_layernorm.weight.shape[0]
    attention, gate = (getattr(reader, "joined", None) for reader in _readers(layer))
    return (
        hidden if attention is None else attention.columns_read,
        hidden if gate is None else gate.columns_read,
    )


def _normalised(module: Any, functions: SmallFunctions) -> Callable[[torch.Tensor], torch.Tensor]:
    def forward(x: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = _Norm.apply(x, module.weight, module.variance_epsilon, x.shape[-1], functions)
        return normed

    return forward


def _gated(module: Any, functions: SmallFunctions) -> Callable[[torch.Tensor], torch.Tensor]:
    def forward(x: torch.Tensor) -> torch.Tensor:
        joined = getattr(module.gate_proj, "joined", None)
        given = (module.gate_proj(x), module.up_proj(x)) if joined is None else (joined.together(x),)
        out: torch.Tensor = module.down_proj(_Gate.apply(functions, *given))
        return out

    return forward


def _layered(module: Any, functions: SmallFunctions) -> Callable[..., torch.Tensor]:
    """A decoder layer of the form that all known families share: normalise, attend, add, normalise, gate, add."""
    first, second = module.input_layernorm, module.post_attention_layernorm
    (attention, gate), (attention_columns, gate_columns) = _readers(module), _columns(module)

    def forward(hidden_states: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        normed = _Norm.apply(hidden_states, first.weight, first.variance_epsilon, attention_columns, functions)
        _has_room(attention, normed)
        attended, _ = module.self_attn(normed, *arguments, **named)
        total, normed = _NormOfSum.apply(hidden_states, attended, second.weight, second.variance_epsilon, gate_columns, functions)
        _has_room(gate, normed)
        out: torch.Tensor = total + module.mlp(normed)
        return out

    return forward


def _has_room(reader: Any, x: torch.Tensor) -> None:
    """Say so to the joined product that will read x."""
    if (joined := getattr(reader, "joined", None)) is not None:
        joined.switches.roomy = x


def _rotated(functions: SmallFunctions) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """transformers' interface, heads before tokens, over a function that has tokens first, as everything around it lies in memory:
    otherwise the gradients would be laid out anew on the way in and on the way out."""

    def apply(
        query_bhtd: torch.Tensor, key_bktd: torch.Tensor, cos_btd: torch.Tensor, sin_btd: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        query, key = (_Rotation.apply(x.transpose(1, 2), cos_btd, sin_btd, functions) for x in (query_bhtd, key_bktd))
        return query.transpose(1, 2), key.transpose(1, 2)

    return apply


class _Norm(torch.autograd.Function):
    """weight · x / rms(x), its rows `columns` apart. The weight is frozen: it has no gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float, columns: int, functions: SmallFunctions
    ) -> torch.Tensor:
        rows_nh = _rows(x)
        _, out_nh = functions.normalise(rows_nh, None, weight, epsilon, columns)
        ctx.save_for_backward(rows_nh, weight)
        ctx.shape, ctx.epsilon, ctx.functions = x.shape, epsilon, functions
        return _like(out_nh, x.shape)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows_nh, weight = ctx.saved_tensors
        into_nh = ctx.functions.normalise_backward(_rows(grad), None, rows_nh, weight, ctx.epsilon)
        return into_nh.view(ctx.shape), None, None, None, None


class _NormOfSum(torch.autograd.Function):
    """x + more, and the norm of that as of `_Norm`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        more: torch.Tensor,
        weight: torch.Tensor,
        epsilon: float,
        columns: int,
        functions: SmallFunctions,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        total_nh, out_nh = functions.normalise(_rows(x), _rows(more), weight, epsilon, columns)
        ctx.save_for_backward(total_nh, weight)
        ctx.shape, ctx.epsilon, ctx.functions = x.shape, epsilon, functions
        return total_nh.view(x.shape), _like(out_nh, x.shape)

    @staticmethod
    def backward(ctx: Any, grad_total: torch.Tensor, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        total_nh, weight = ctx.saved_tensors
        into_nh = ctx.functions.normalise_backward(_rows(grad), _rows(grad_total), total_nh, weight, ctx.epsilon)
        into = into_nh.view(ctx.shape)
        return into, into, None, None, None, None


class _Gate(torch.autograd.Function):
    """silu(gate) · up, of both beside each other or of each."""

    @staticmethod
    def forward(ctx: Any, functions: SmallFunctions, *given: torch.Tensor) -> torch.Tensor:
        rows = [_rows(each) for each in given]
        ctx.save_for_backward(*rows)
        ctx.shape, ctx.functions = given[0].shape, functions
        out_ni = functions.gate(*_halves(rows))
        return out_ni.view(*ctx.shape[:-1], out_ni.shape[-1])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows = ctx.saved_tensors
        into = [torch.empty_like(each) for each in rows]
        ctx.functions.gate_backward(_rows(grad), *_halves(rows), *_halves(into))
        return None, *(each.view(ctx.shape) for each in into)


class _Rotation(torch.autograd.Function):
    """The rotary embedding of heads (b, t, a, d) by cos and sin (b or 1, t, d), which have no gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, functions: SmallFunctions) -> torch.Tensor:
        rows, tokens, heads, width = x.shape
        cos_nd, sin_nd = (each.expand(rows, tokens, width).reshape(-1, width) for each in (cos, sin))
        ctx.save_for_backward(cos_nd, sin_nd)
        ctx.functions = functions
        return functions.rotate(x.reshape(-1, heads, width), cos_nd, sin_nd, 1.0).view(x.shape)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        cos_nd, sin_nd = ctx.saved_tensors
        return ctx.functions.rotate(grad.reshape(-1, *grad.shape[2:]), cos_nd, sin_nd, -1.0).view(grad.shape), None, None, None


def _rows(x: torch.Tensor) -> torch.Tensor:
    """(…, h) → (n, h), rows any distance apart but each dense."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.stride(1) == 1 else rows.contiguous()


def _like(rows_nh: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Rows as a tensor of that shape over the same storage; no view, as somebody may write behind the rows."""
    if rows_nh.is_contiguous():
        return rows_nh.view(shape)
    apart = rows_nh.stride(0)
    strides = [apart * math.prod(shape[place:-1]) for place in range(1, len(shape))]
    return over_storage(rows_nh, tuple(shape), (*strides, 1))


def _halves(rows: list[torch.Tensor]) -> list[torch.Tensor]:
    return list(rows[0].chunk(2, dim=1)) if len(rows) == 1 else list(rows)
