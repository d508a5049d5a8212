"""Attention as sluice runs it, registered with transformers under one name for all its uses.

Training: one kernel over the packed row's segments, by their cumulative lengths, so that examples never see each other and nothing of
size t² exists. Decoding one token: the query heads of a key/value head together, so that the cache is read once instead of being copied
for each. Everything else, and every device without the segment kernel, goes through scaled dot-product attention with the mask it is given.
It refuses to guess whether the segment kernel works: `segments_work` tries it against the mask.

Shapes, as suffixes: b rows, h query heads, k key/value heads, g query heads of one key/value head, t queries, s keys, d of a head.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from engine.compute.small_functions import PLAIN
from engine.core.out_of_memory import is_out_of_memory

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:
    varlen_attn = None

NAME = "sluice"
WEIGH = "sluice_attention_weights"
"""Attribute of an attention module: what it is to use in the place of the plain `weigh`."""
_FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3"})


def use_sluice_attention(model: Any) -> bool:
    """Let the model attend through this module; False where its family's layers are not known to allow it."""
    config = model.config
    windowed = getattr(config, "use_sliding_window", getattr(config, "sliding_window", None) is not None)
    if getattr(config, "model_type", "") not in _FAMILIES or windowed or getattr(config, "attention_dropout", 0.0):
        return False
    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    model.config._attn_implementation = NAME
    return True


def head_width(config: Any) -> int:
    """Width of one head of a model with this config."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def masks_of(model: Any, mask: torch.Tensor | None) -> Any:
    """The mask (b, 1, t, s) in the form in which the model makes none of its own: one for each kind of layer where it tells kinds apart."""
    kinds = getattr(model.config, "layer_types", None)
    return mask if not kinds else dict.fromkeys({*kinds, "full_attention"}, mask)


def attend(
    module: Any, query_bhtd: torch.Tensor, key_bksd: torch.Tensor, value_bksd: torch.Tensor, attention_mask: torch.Tensor | None,
    scaling: float | None = None, dropout: float = 0.0, **more: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """transformers' attention interface: (b, t, h, d), and no weights."""
    lengths = more.get("cu_seq_lens_q")
    if lengths is not None:
        return _segments(query_bhtd, key_bksd, value_bksd, lengths, int(more["max_length_q"]), scaling), None
    if query_bhtd.shape[2] == 1 and attention_mask is not None:
        weigh = getattr(module, WEIGH, PLAIN.weigh)
        return _one_token(query_bhtd, key_bksd, value_bksd, attention_mask, scaling, weigh), None
    groups = query_bhtd.shape[1] // key_bksd.shape[1]
    key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key_bksd, value_bksd))
    out = functional.scaled_dot_product_attention(
        query_bhtd, key, value, attn_mask=attention_mask, scale=scaling, is_causal=attention_mask is None
    )
    return out.transpose(1, 2).contiguous(), None


def _one_token(
    query_bh1d: torch.Tensor, key_bksd: torch.Tensor, value_bksd: torch.Tensor, mask_b11s: torch.Tensor, scaling: float | None,
    weigh: Callable[..., torch.Tensor],
) -> torch.Tensor:  # fmt: skip
    rows, heads, _, width = query_bh1d.shape
    key_heads = key_bksd.shape[1]
    query_bkgd = query_bh1d.reshape(rows, key_heads, heads // key_heads, width)
    weights_bkgs = weigh(torch.matmul(query_bkgd, key_bksd.transpose(2, 3)), mask_b11s, scaling or width**-0.5)
    return torch.matmul(weights_bkgs, value_bksd).reshape(rows, 1, heads, width)


def _segments(
    query_bhtd: torch.Tensor, key_bksd: torch.Tensor, value_bksd: torch.Tensor, lengths: torch.Tensor, longest: int,
    scaling: float | None,
) -> torch.Tensor:  # fmt: skip
    # squeezed, not indexed: the gradient of an index is a copy into zeros, here one that lays everything out anew
    query, key, value = (tensor.squeeze(0).transpose(0, 1) for tensor in (query_bhtd, key_bksd, value_bksd))
    # the values are kept for the backward pass: as a slice of a joined product they would keep queries and keys too
    out: torch.Tensor = varlen_attn(
        query, key, value.contiguous(), lengths, lengths, longest, longest, **_segment_options(scaling)
    )
    return out.unsqueeze(0)


def _segment_options(scaling: float | None) -> dict[str, Any]:
    """Causal attention with shared key/value heads, said the way that the installed torch wants it."""
    names = inspect.signature(varlen_attn).parameters
    options: dict[str, Any] = {"is_causal": True} if "is_causal" in names else {"window_size": (-1, 0)}
    if "enable_gqa" in names:
        options["enable_gqa"] = True
    if "scale" in names:
        options["scale"] = scaling
    return options


def segments_work(device: torch.device, dtype: torch.dtype, *, heads: int, key_heads: int, width: int) -> str:
    """Why the segment kernel cannot be used for such heads, found by trying it against the mask; "" where it can."""
    if device.type != "cuda" or varlen_attn is None:
        return "torch has no attention over segments here"
    generator = torch.Generator(device=device).manual_seed(0)
    query, key, value = (
        torch.randn(1, count, 96, width, device=device, dtype=dtype, generator=generator, requires_grad=True)
        for count in (heads, key_heads, key_heads)
    )
    ends = torch.tensor([0, 40, 96, 96], device=device, dtype=torch.int32)
    number = torch.searchsorted(ends[1:3].long(), torch.arange(96, device=device), right=True)
    mask = (number[:, None] == number[None]).tril()[None, None]
    try:
        seen = _segments(query, key, value, ends, 64, width**-0.5)
        (grad_seen,) = torch.autograd.grad(seen.float().square().sum(), key)
    except (RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        return str(error).partition("\n")[0][:160]
    right, _ = attend(None, query, key, value, mask, scaling=width**-0.5)
    (grad_right,) = torch.autograd.grad(right.float().square().sum(), key)
    close = torch.allclose(seen, right, atol=2e-2, rtol=2e-2) and torch.allclose(grad_seen, grad_right, atol=0.1, rtol=0.1)
    return "" if close else "its result differs from masked attention"
