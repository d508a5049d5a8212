"""The model's linear layers replaced by sluice's own, and mirrored as the plan says.

Layers that read one input draw one dropout mask, under every plan, and are joined where they are mirrored. It refuses to touch a layer that
is neither quantised nor adapted.
"""

import re
from typing import Any

import torch

from engine.compute.joined_linears import JoinedLinears
from engine.compute.libraries import bitsandbytes
from engine.compute.linears import Adapter, FrozenLinear, FrozenWeight, Switches
from engine.core.planner import SHARED_INPUTS

_LAYER = re.compile(r"\.layers\.(\d+)\.")


def install_linears(model: Any, *, compute_dtype: torch.dtype, adapter_dtype: torch.dtype) -> Switches:
    """Put a FrozenLinear in the place of every quantised or adapted linear layer of the decoder; returns what they share.

    Adapters that peft attached keep their tensors (cast to `adapter_dtype`); whoever trains gives them gradient buffers: `AdapterBank`.
    """
    switches = Switches(model.device)
    streams: dict[tuple[str, ...], int] = {}
    for name, module in list(model.named_modules()):
        if hasattr(module, "base_layer") and hasattr(module, "lora_A"):
            base, adapter = module.base_layer, _peft_adapter(module, adapter_dtype)
        elif isinstance(module, bitsandbytes.nn.Linear4bit) and not name.endswith(".base_layer"):
            base, adapter = module, None
        else:
            continue
        found = _LAYER.search(f".{name}.")
        stream = streams.setdefault(_input_of(name), len(streams))
        layer = FrozenLinear(
            FrozenWeight(base, compute_dtype), adapter, switches, stream=stream, decoder_layer=int(found[1]) if found else -1
        )
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer.train(module.training))
    return switches


def _input_of(name: str) -> tuple[str, ...]:
    """A name for what the layer of that path reads, one for all layers that read the same."""
    parent, _, last = name.rpartition(".")
    return parent, *next((siblings for siblings in SHARED_INPUTS if last in siblings), (last,))


def frozen_linears(model: Any) -> dict[str, FrozenLinear]:
    """Every FrozenLinear of the model by its path, those that read one input after each other."""
    found = {name: module for name, module in model.named_modules() if isinstance(module, FrozenLinear)}
    return dict(sorted(found.items(), key=lambda item: item[1].stream))


def mirror_layers(model: Any, count: int) -> None:
    """Mirror the quantised weights of the first `count` decoder layers, and join those that read one input."""
    together: dict[int, list[FrozenLinear]] = {}
    for layer in frozen_linears(model).values():
        if 0 <= layer.decoder_layer < count:
            together.setdefault(layer.stream, []).append(layer)
    for layers in together.values():
        if len(layers) > 1 and _joinable(layers):
            JoinedLinears(layers)
        else:
            for layer in layers:
                layer.frozen.mirror()


def _joinable(layers: list[FrozenLinear]) -> bool:
    """False where their adapters do not scale or drop alike, or compute in another dtype than the weights."""
    adapters = [layer.adapter for layer in layers if layer.adapter is not None]
    alike = len({(adapter.scaling, adapter.dropout) for adapter in adapters}) <= 1
    return alike and all(adapter.a_ri.dtype == layers[0].frozen.dtype for adapter in adapters)


def _peft_adapter(module: Any, dtype: torch.dtype) -> Adapter:
    (name,) = module.active_adapters
    dropout = module.lora_dropout[name]
    return Adapter(
        a_ri=module.lora_A[name].weight.data.to(dtype),
        b_or=module.lora_B[name].weight.data.to(dtype),
        scaling=float(module.scaling[name]),
        dropout=float(getattr(dropout, "p", 0.0)),
    )
