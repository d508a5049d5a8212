"""The planner's count of what a layer keeps for the backward pass, held against what the engine's layers do keep."""

from typing import Any

import peft
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from engine.compute.planned_model import carry_out
from engine.core.planner import ModelShape
from engine.core.planner.memory import saved_bytes
from engine.protocol.config import LINEAR_LAYERS
from engine.protocol.plans import ComputePlan

TOKENS = 64
SIZES: dict[str, Any] = {
    "vocab_size": 128, "hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 4, "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}  # fmt: skip


def kept_bytes(layers: int, plan: ComputePlan) -> int:
    """Bytes of all storages, the parameters' left out, that autograd keeps of one forward pass through the decoder."""
    torch.manual_seed(0)
    plain = Qwen2ForCausalLM(Qwen2Config(**SIZES, num_hidden_layers=layers)).to(torch.bfloat16)
    adapted = peft.get_peft_model(plain, peft.LoraConfig(r=4, lora_dropout=0.0, target_modules=list(LINEAR_LAYERS)))
    carry_out(plan, adapted, compute_dtype=torch.bfloat16, emit=lambda event: None)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in adapted.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        # held until all are counted, so that no address is given out twice
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    embedded = torch.randn(1, TOKENS, SIZES["hidden_size"], dtype=torch.bfloat16).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        adapted.get_base_model().get_decoder()(inputs_embeds=embedded, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in parameters)


@pytest.mark.parametrize("adapters", ["float32", "bfloat16"])
def test_what_a_layer_keeps_is_what_the_planner_counts(adapters: Any) -> None:
    # without a mask the CPU's attention keeps keys as they are, as varlen does
    plan = ComputePlan(row_tokens=TOKENS, adapter_dtype=adapters, attention="varlen")
    shape = ModelShape.from_config(
        SIZES | {"model_type": "qwen2", "num_hidden_layers": 1}, quantized=False, lora_rank=4, lora_targets=LINEAR_LAYERS
    )
    measured = (kept_bytes(3, plan) - kept_bytes(2, plan)) / TOKENS
    assert saved_bytes(shape, plan) == pytest.approx(measured, rel=0.02)


def test_a_joined_layer_keeps_no_more_than_its_layers_alone() -> None:
    """But for queries and keys before their rotation, which the attention by segments lets go and the CPU's does not."""
    alone, joined = (
        ComputePlan(row_tokens=TOKENS, adapter_dtype="bfloat16", attention="varlen", mirrored_layers=n) for n in (0, 9)
    )
    extra = ((kept_bytes(3, joined) - kept_bytes(2, joined)) - (kept_bytes(3, alone) - kept_bytes(2, alone))) / TOKENS
    assert extra <= 2 * (SIZES["hidden_size"] + SIZES["hidden_size"] // 2)
