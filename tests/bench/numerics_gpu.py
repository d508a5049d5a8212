"""Whether every compute plan computes the same on a GPU: loss and gradients of a small nf4 model against peft's own layers.

    PYTHONPATH=. python tests/bench/numerics_gpu.py

One JSON line a plan: relative difference of the loss, cosine of the gradients, whether the same step twice and a step under dropout repeat to the bit,
whether another step draws other masks; then the dropout kernel's statistics, and decoding in a captured graph against the same without.
"""

import dataclasses
import json
import random
from typing import Any

import reference_model
import torch
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

from engine.compute.adapter_bank import AdapterBank
from engine.compute.decode import Decoder
from engine.compute.dropout import DropoutSeed, dropped
from engine.compute.gradients import BatchGradients
from engine.compute.lora import attach_lora, trainable
from engine.compute.losses import RowLoss
from engine.compute.planned_linears import frozen_linears
from engine.compute.planned_model import carry_out
from engine.core.masking import Example
from engine.core.packing import StepPlan, plan_rows
from engine.protocol.config import TrainTable
from engine.protocol.plans import ComputePlan

DEVICE = torch.device("cuda", 0)
reference_model.SHAPES["small"] = {
    "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2,
}  # fmt: skip
FAST = ComputePlan(row_tokens=1024, adapter_dtype="bfloat16", attention="varlen", loss_chunk_tokens=128, compiled=True)
DECODING = ComputePlan(row_tokens=0, adapter_dtype="bfloat16", compiled=True, mirrored_layers=4)
PLANS = {
    "fp32 adapters, mask": ComputePlan(row_tokens=1024),
    "bf16 adapters, mask": ComputePlan(row_tokens=1024, adapter_dtype="bfloat16"),
    "segments, chunked loss, fused": FAST,
    "half recomputed": ComputePlan(
        row_tokens=1024, adapter_dtype="bfloat16", attention="varlen", loss_chunk_tokens=128, compiled=True, recomputed_layers=2
    ),
    "graph, half mirrored": ComputePlan(
        row_tokens=1024,
        adapter_dtype="bfloat16",
        attention="varlen",
        loss_chunk_tokens=128,
        compiled=True,
        graph=True,
        mirrored_layers=2,
    ),
    "graph, mask, all mirrored and recomputed": ComputePlan(
        row_tokens=1024,
        adapter_dtype="bfloat16",
        loss_chunk_tokens=128,
        compiled=True,
        graph=True,
        mirrored_layers=4,
        recomputed_layers=4,
    ),
}


def report(**figures: object) -> None:
    print(json.dumps(figures), flush=True)


def model() -> Any:
    base, config = reference_model.quantised_model("small")
    base.model.rotary_emb = Qwen2RotaryEmbedding(config).to(DEVICE)
    adapted = attach_lora(base, TrainTable(lora_dropout=0.0, lora_alpha=8.0), 1)
    generator = torch.Generator(device=DEVICE).manual_seed(3)
    for name, value in trainable(adapted).items():
        if "lora_B" in name:
            value.data.normal_(std=0.02, generator=generator)
    return adapted


def batch() -> tuple[StepPlan, list[Example]]:
    rng = random.Random(1)
    some = [Example(tuple(rng.randrange(10, 150_000) for _ in range(rng.randint(20, 120))), rng.randint(5, 15)) for _ in range(8)]
    rows = tuple(dataclasses.replace(row, width=1024) for row in plan_rows(range(8), some, 1024))
    return StepPlan(rows), some


def flat(gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([gradients[name].float().flatten() for name in sorted(gradients)])


def of_peft(step: StepPlan, some: list[Example]) -> tuple[float, torch.Tensor]:
    reference = model().train()
    loss = RowLoss(reference, device=DEVICE, pad_id=1)
    total = torch.stack([loss(row, some) for row in step.rows]).sum() / step.response_tokens
    total.backward()
    return total.item(), flat({name: value.grad for name, value in trainable(reference).items()})


def plans(step: StepPlan, some: list[Example]) -> None:
    loss, wanted = of_peft(step, some)
    for name, plan in PLANS.items():
        adapted = model().train()
        planned = carry_out(plan, adapted, compute_dtype=torch.bfloat16, emit=lambda event: report(event=str(event)))
        bank = AdapterBank(adapted, adapter_dtype=planned.adapter_dtype)

        def made(planned: Any = planned, bank: AdapterBank = bank) -> BatchGradients:
            gradients = BatchGradients(planned, bank, device=DEVICE, pad_id=1, seed=0)
            if planned.graph:
                gradients.capture(list(step.rows), some, lambda event: report(event=str(event)))
            return gradients

        def run(gradients: BatchGradients, number: int, bank: AdapterBank = bank) -> tuple[float, torch.Tensor]:
            bank.zero_grad()
            return gradients.of(step, some, number).item(), flat(bank.gradients()).clone()

        gradients = made()
        (first, found), (again, same) = run(gradients, 1), run(gradients, 1)
        for layer in frozen_linears(adapted).values():
            layer.adapter.dropout = 0.1
        gradients = made()
        (one, masked), (two, masked_again), (other, _) = (run(gradients, number) for number in (1, 1, 2))
        report(plan=name, loss_off=abs(first / loss - 1), cosine=torch.cosine_similarity(found, wanted, dim=0).item(),
               repeats=first == again and torch.equal(found, same), dropout_repeats=one == two and torch.equal(masked, masked_again),
               other_step_differs=other != one)  # fmt: skip


def masks() -> None:
    seed, x = DropoutSeed(DEVICE), torch.ones(4096, 1024, device=DEVICE, dtype=torch.bfloat16)

    def kept(number: int, stream: int) -> torch.Tensor:
        seed.set(number)
        return (dropped(x, seed, stream, 0.1) != 0).float().flatten()

    one, other, later = kept(123456789012345, 5), kept(123456789012345, 6), kept(123456789012346, 5)

    def together(a: torch.Tensor, b: torch.Tensor) -> float:
        return torch.corrcoef(torch.stack([a, b]))[0, 1].item()

    report(kept=one.mean().item(), same=torch.equal(one, kept(123456789012345, 5)), correlation_of_layers=together(one, other),
           of_steps=together(one, later), of_neighbours=together(one[:-1], one[1:]))  # fmt: skip


def decoding() -> None:
    rng = random.Random(2)
    prompts = [[rng.randrange(10, 150_000) for _ in range(rng.randint(3, 30))] for _ in range(8)]
    adapted = model().eval()
    carry_out(DECODING, adapted, compute_dtype=torch.bfloat16, emit=lambda event: report(event=str(event)))
    plain, captured = Decoder(adapted, pad_id=1), Decoder(adapted, pad_id=1, graphs=True)
    found = [decoder.decode(prompts, end_id=3, max_new_tokens=24) for decoder in (plain, captured, captured)]
    captured.decode(prompts * 3, end_id=3, max_new_tokens=70)
    found.append(captured.decode(prompts, end_id=3, max_new_tokens=24))
    report(decoding="graph against none, again, and after a larger batch", equal=[each == found[0] for each in found])


if __name__ == "__main__":
    report(gpu=torch.cuda.get_device_name(), torch=torch.__version__)
    plans(*batch())
    masks()
    decoding()
