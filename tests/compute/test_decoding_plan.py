"""The plan of an arm's evaluation: what fits now, one plan for both arms where that is possible, and never again one that ran out."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch
from transformers import Qwen2Config

from engine.compute import planning
from engine.compute.planning import choose_decoding_plan
from engine.core.batching import BatchPlan, plan_batches
from engine.core.planner import DeviceFigures, gpu_figures
from engine.protocol.arms import Conditions
from engine.protocol.config import EngineTable
from engine.protocol.events import Arm, PlanChosen
from engine.protocol.plans import ComputePlan, PlanEstimate
from engine.protocol.recoveries import Recovery
from engine.store.run_plan import note_recovery

GIB = 2**30
LAYERS = 64
REFERENCE = Qwen2Config(
    hidden_size=5120, intermediate_size=27648, num_hidden_layers=LAYERS, num_attention_heads=40, num_key_value_heads=8,
    vocab_size=152_064, tie_word_embeddings=False,
)  # fmt: skip
LOADED: Any = SimpleNamespace(
    model=SimpleNamespace(config=REFERENCE), device=torch.device("cpu"), provenance=SimpleNamespace(quantization="nf4")
)


def card(free_gib: float) -> DeviceFigures:
    return gpu_figures(total_bytes=141 * GIB, free_bytes=int(free_gib * GIB), name="NVIDIA H200")


@pytest.fixture
def chosen(context_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., PlanEstimate]:
    """The plan that an arm takes for 300 prompts of 60 tokens on a card with that much free."""

    def choose(arm: Arm, free_gib: float, before: ComputePlan | None = None, *, batch_items: int = 64) -> PlanEstimate:
        context = context_of()
        context.config = msgspec.structs.replace(context.config, engine=EngineTable())
        monkeypatch.setattr(planning, "device_figures", lambda device, gauge: card(free_gib))
        batches: BatchPlan = plan_batches({f"i{n}": (1,) * 60 for n in range(300)}, batch_items)
        found = choose_decoding_plan(context, arm, LOADED, batches, None if before is None else conditions(before))
        assert [event.chosen for event in context.of(PlanChosen)] == [found]
        return found

    return choose


def conditions(plan: ComputePlan) -> Conditions:
    return Conditions(
        model_files={}, quantization="nf4", compute_dtype="bfloat16", adapter_files={}, decoding={}, batch_items=64, plan="",
        device="", threads=1, versions={}, loader_version="", git_sha="", source_sha256="", scorer_version="", compute_plan=plan,
    )  # fmt: skip


def test_the_sft_arm_takes_the_base_arms_plan_also_where_more_would_fit(chosen: Callable[..., PlanEstimate]) -> None:
    base = chosen("base", 48)
    assert 0 < base.plan.mirrored_layers < LAYERS and base.plan.graph and base.plan.compiled
    sft = chosen("sft", 139, base.plan)
    assert sft.plan == base.plan and sft.name.endswith("as the base arm")


def test_a_mirror_that_no_longer_fits_is_not_kept(chosen: Callable[..., PlanEstimate]) -> None:
    """The SFT arm then has a plan of its own, and the base arm is answered again under it."""
    base = chosen("base", 139)
    assert base.plan.mirrored_layers == LAYERS
    sft = chosen("sft", 48, base.plan)
    assert sft.plan.mirrored_layers == chosen("base", 48).plan.mirrored_layers < LAYERS
    assert not sft.name.endswith("as the base arm")
    assert 0 < sft.peak_bytes <= 48 * GIB


def test_a_plan_that_ran_out_in_either_arm_is_stayed_below(
    chosen: Callable[..., PlanEstimate], context_of: Callable[..., Any]
) -> None:
    """Smaller batches leave room, which may not go to more mirrored layers."""
    first = chosen("base", 48)
    lost = Recovery(stage="base", at="", reason="", predicted_peak_bytes=first.peak_bytes, batch=0, batch_items=64)
    note_recovery(context_of().run, lost)
    for arm in ("base", "sft"):
        again = chosen(arm, 48, batch_items=8)
        assert again.peak_bytes < 0.95 * first.peak_bytes
    elsewhere = Recovery(stage="train", at="", reason="", predicted_peak_bytes=first.peak_bytes // 2, step=3)
    note_recovery(context_of().run, elsewhere)
    assert chosen("base", 48, batch_items=8) == again, "what training needed is not what decoding needs"
