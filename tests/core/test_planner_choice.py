"""The choice of a plan: it fits, it is the fastest that does, it obeys, and it never repeats what ran out of memory."""

import random
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.masking import Example
from engine.core.packing import plan_epoch, plan_rows
from engine.core.planner import (
    ModelShape,
    Workload,
    candidates,
    choose,
    cpu_figures,
    dev_row_tokens,
    forced_settings,
    gpu_figures,
    peak_of_reading,
    peak_of_row,
    usable_bytes,
)
from engine.core.planner.workload import CAPTURE_ROWS, bucket_widths, packed_widths, row_limits
from engine.protocol.config import LINEAR_LAYERS, Config, ModelTable, PlanTable, TrainTable
from engine.protocol.errors import ConfigError
from engine.protocol.plans import ComputePlan

GIB = 2**30
CONFIG: dict[str, Any] = {
    "model_type": "qwen2", "hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64, "num_attention_heads": 40,
    "num_key_value_heads": 8, "vocab_size": 152_064, "tie_word_embeddings": False,
}  # fmt: skip
SHAPE = ModelShape.from_config(CONFIG, quantized=True, lora_rank=16, lora_targets=LINEAR_LAYERS)
DRAW = random.Random(5)
LENGTHS = [min(512, max(20, int(DRAW.lognormvariate(4.16, 0.45)))) for _ in range(400)]


def workload(lengths: list[int] | None = None, batch_examples: int = 8, epochs: int = 2) -> Workload:
    found = LENGTHS if lengths is None else lengths
    return Workload.of_lengths(
        found, response_tokens=sum(found) // 2, dev=found[:20], seed=0, epochs=epochs, batch_examples=batch_examples
    )


WORK = workload()


def card(free_gib: float, name: str = "NVIDIA H200") -> Any:
    return gpu_figures(total_bytes=int(free_gib * GIB), free_bytes=int(free_gib * GIB), name=name)


def test_with_room_for_everything_the_whole_batch_is_one_row_of_a_compiled_graph_with_a_mirror() -> None:
    found = candidates(SHAPE, WORK, card(139), Config())
    best = choose(found).plan
    assert best == found[0].plan
    assert (best.recomputed_layers, best.mirrored_layers, best.compiled, best.graph) == (0, 64, True, True)
    assert (best.attention, best.adapter_dtype, best.loss_chunk_tokens) == ("varlen", "bfloat16", 512)
    assert packed_widths(WORK, best.row_tokens).rows_per_step < 1.05


def test_with_less_room_some_layers_are_mirrored_and_with_little_none() -> None:
    some, none = (choose(candidates(SHAPE, WORK, card(gib), Config())).plan for gib in (48, 24))
    assert 0 < some.mirrored_layers < 64 and some.recomputed_layers == 0
    assert none.mirrored_layers == 0 and none.recomputed_layers > 32


@settings(max_examples=20, deadline=None)
@given(
    free_gib=st.integers(23, 150), percent=st.integers(0, 5), rank=st.sampled_from([4, 16]), batch=st.integers(1, 24),
    optimizer=st.sampled_from(["adamw", "paged_adamw_8bit"]),
)  # fmt: skip
def test_the_choice_always_fits_and_nothing_faster_does(
    free_gib: int, percent: int, rank: int, batch: int, optimizer: Any
) -> None:
    shape = msgspec.structs.replace(SHAPE, lora_rank=rank)
    config = Config(plan=PlanTable(margin=percent / 100), train=TrainTable(optimizer=optimizer))
    work, device = workload(LENGTHS[:80], batch, epochs=1), card(free_gib)
    found = candidates(shape, work, device, config)
    chosen = choose(found)
    assert chosen.peak_bytes == peak_of_row(shape, chosen.plan, chosen.plan.row_tokens, optimizer=optimizer)
    assert chosen.peak_bytes <= usable_bytes(device, config) <= device.free_bytes * (1 - percent / 100)
    assert all(other.refused and other.peak_bytes > usable_bytes(device, config) for other in found[: found.index(chosen)])
    assert [one.step_s for one in found] == sorted(one.step_s for one in found)


def test_a_dev_loss_that_needs_more_than_any_step_is_what_has_to_fit() -> None:
    """Steps of one short example each, all layers recomputed; the dev loss is read in rows of up to 2,048 tokens."""
    config, work = Config(plan=PlanTable(checkpointing="full", mirror="none")), workload([40] * 60, batch_examples=1)
    peaks = {}
    for dev in (0, 20, 100):
        chosen = choose(candidates(SHAPE, msgspec.structs.replace(work, dev=(40,) * dev), card(139), config))
        step, read = (
            peak_of_row(SHAPE, chosen.plan, chosen.plan.row_tokens),
            peak_of_reading(SHAPE, chosen.plan, min(40 * dev, 2048)),
        )
        assert chosen.peak_bytes == max(step, read)
        peaks[dev] = (chosen.peak_bytes, step)
    assert peaks[0][0] == peaks[0][1] == peaks[20][1] < peaks[20][0] < peaks[100][0]
    masked = ComputePlan(row_tokens=64, attention="masked")
    assert (dev_row_tokens(masked), dev_row_tokens(msgspec.structs.replace(masked, attention="varlen"))) == (64, 2048)


def test_where_nothing_fits_the_error_says_what_to_change() -> None:
    with pytest.raises(ConfigError, match=r"needs least.*may be used.*paged_adamw_8bit"):
        choose(candidates(SHAPE, WORK, card(16), Config()))


def test_plans_as_large_as_one_that_failed_are_refused() -> None:
    peaks: list[int] = []
    for _ in range(3):
        found = candidates(SHAPE, WORK, card(139), Config(), failed_peaks=peaks)
        chosen = choose(found)
        assert all(chosen.peak_bytes < 0.95 * peak for peak in peaks)
        assert all("ran out of memory" in one.refused for one in found if peaks and one.peak_bytes >= 0.95 * min(peaks))
        peaks.append(chosen.peak_bytes)
    assert peaks == sorted(peaks, reverse=True)


@pytest.mark.parametrize(
    ("table", "holds"),
    [
        ({"checkpointing": "none"}, lambda plan: plan.recomputed_layers == 0),
        ({"checkpointing": "selective"}, lambda plan: 0 < plan.recomputed_layers < 64),
        ({"checkpointing": "full"}, lambda plan: plan.recomputed_layers == 64),
        ({"mirror": "none"}, lambda plan: plan.mirrored_layers == 0),
        ({"mirror": "full"}, lambda plan: plan.mirrored_layers == 64),
        ({"mirror": 7}, lambda plan: plan.mirrored_layers == 7),
        ({"compile": "off"}, lambda plan: not plan.compiled),
        ({"compile": "on"}, lambda plan: plan.compiled),
        ({"graph": "off"}, lambda plan: not plan.graph),
        ({"graph": "on"}, lambda plan: plan.graph),
        ({"attention": "masked"}, lambda plan: plan.attention == "masked"),
        ({"attention": "varlen"}, lambda plan: plan.attention == "varlen"),
        ({"adapters": "float32"}, lambda plan: plan.adapter_dtype == "float32"),
        ({"adapters": "bfloat16"}, lambda plan: plan.adapter_dtype == "bfloat16"),
    ],
)
def test_what_is_forced_is_honoured_and_named(table: dict[str, Any], holds: Any) -> None:
    config = Config(plan=PlanTable(**table))
    assert all(holds(one.plan) for one in candidates(SHAPE, WORK, card(139), config))
    ((key, value),) = table.items()
    assert forced_settings(config) == (f"plan.{key} = {value}",)


def test_row_tokens_of_the_settings_are_taken_and_named() -> None:
    config = Config(train=TrainTable(row_tokens=256, max_seq_len=256))
    work = workload([min(length, 200) for length in LENGTHS])
    rows = {one.plan.row_tokens for one in candidates(SHAPE, work, card(139), config)}
    assert rows == {256} and forced_settings(config) == ("train.row_tokens = 256",)
    assert forced_settings(Config()) == ()


def test_more_mirrored_layers_than_there_are_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"plan\.mirror is 65 but the model has 64 layers"):
        candidates(SHAPE, WORK, card(139), Config(plan=PlanTable(mirror=65)))


def test_the_cpu_has_the_plain_plan_only() -> None:
    device = cpu_figures(total_bytes=8 * GIB, free_bytes=4 * GIB)
    config = Config(train=TrainTable(max_seq_len=512))
    (only,) = candidates(SHAPE, WORK, device, config, failed_peaks=[1])
    assert choose([only]).plan == ComputePlan(row_tokens=512)
    assert only.peak_bytes > 0 and only.step_s > 0
    with pytest.raises(ConfigError) as caught:
        candidates(SHAPE, WORK, device, Config(
            plan=PlanTable(checkpointing="full", graph="on", compile="off"), train=TrainTable(optimizer="paged_adamw_8bit")
        ))  # fmt: skip
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(("asked", "layers"), [("auto", 0), ("none", 0), ("full", 64), (5, 5), (0, 0)])
def test_a_cpu_mirrors_as_many_layers_as_it_is_told(asked: Any, layers: int) -> None:
    device = cpu_figures(total_bytes=8 * GIB, free_bytes=4 * GIB)
    (only,) = candidates(SHAPE, WORK, device, Config(plan=PlanTable(mirror=asked)))
    assert only.plan.mirrored_layers == layers


def test_a_model_of_unknown_shape_has_the_plain_plan_only() -> None:
    shape = ModelShape.from_config(CONFIG | {"model_type": "mamba"}, quantized=True, lora_rank=16, lora_targets=LINEAR_LAYERS)
    (only,) = candidates(shape, WORK, card(139), Config())
    assert choose([only]).plan == ComputePlan(row_tokens=1024) and "mamba" in only.name
    assert candidates(shape, WORK, card(139), Config(plan=PlanTable(mirror=0))) == (only,)


def test_other_cards_and_other_arithmetic_have_no_mirror_or_graph() -> None:
    rocm = msgspec.structs.replace(card(139), kind="rocm")
    assert not any(one.plan.graph or one.plan.compiled for one in candidates(SHAPE, WORK, rocm, Config()))
    plain = candidates(SHAPE, WORK, card(139), Config(model=ModelTable(compute_dtype="float32")))
    assert not any(one.plan.graph or one.plan.mirrored_layers or one.plan.adapter_dtype == "bfloat16" for one in plain)
    bf16 = msgspec.structs.replace(SHAPE, quantized=False, layers=8)
    assert not any(one.plan.mirrored_layers for one in candidates(bf16, WORK, card(139), Config()))


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 400), min_size=1, max_size=40), batch=st.integers(1, 9), most=st.integers(1, 12),
    seed=st.integers(0, 5),
)  # fmt: skip
def test_every_row_fits_a_bucket_and_no_example_is_lost(lengths: list[int], batch: int, most: int, seed: int) -> None:
    work = Workload.of_lengths(lengths, response_tokens=0, dev=lengths[:3], seed=seed, epochs=2, batch_examples=batch)
    examples = [Example(tuple(range(length)), 1) for length in lengths]
    for limit in row_limits(work):
        buckets = bucket_widths(packed_widths(work, limit).counts, limit, most=most)
        assert len(buckets) <= most and list(buckets) == sorted(set(buckets)) and buckets[-1] == limit
        assert all(width % 32 == 0 for width in buckets)
        for epoch in range(2):
            planned = plan_epoch(examples, seed=seed, epoch=epoch, batch_examples=batch, row_tokens=limit, buckets=buckets)
            rows = [row for step in planned.steps for row in step.rows]
            assert all(row.width in buckets and row.tokens <= row.width for row in rows)
            assert sorted(index for row in rows for index in row.examples) == list(range(len(lengths)))
        assert all(row.width in buckets for row in plan_rows(range(3)[: len(lengths)], examples, limit, buckets))


def test_buckets_have_the_least_padding() -> None:
    counts = {60: 10, 130: 1, 250: 20, 500: 5}
    assert bucket_widths(counts, 512, most=1) == (512,)
    assert bucket_widths(counts, 512, most=2) == (256, 512)
    assert bucket_widths(counts, 512, most=3) == (64, 256, 512)
    # a fourth, of 160, would save one row 96 tokens and cost the capture of its own width
    assert bucket_widths(counts, 512) == (64, 256, 512)
    assert bucket_widths(counts | {130: 20}, 512) == (64, 160, 256, 512)
    assert bucket_widths({250: 1000, 180: 1, 500: 1}, 512) == (256, 512)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.dictionaries(st.integers(1, 192), st.integers(1, 12), min_size=1, max_size=6), most=st.integers(1, 4),
    share=st.sampled_from([0.1, 1.0]),
)  # fmt: skip
def test_buckets_are_the_best_of_all_choices(counts: dict[int, int], most: int, share: float) -> None:
    def tokens(buckets: Sequence[int]) -> float:
        padded = sum(min(width for width in buckets if width >= row) * count for row, count in counts.items())
        return padded + CAPTURE_ROWS * share * sum(buckets)

    others = range(32, 192, 32)
    choices = [(*some, 192) for count in range(most) for some in combinations(others, count)]
    assert tokens(bucket_widths(counts, 192, most=most, share=share)) == pytest.approx(min(map(tokens, choices)))


def test_a_model_that_the_engine_cannot_attend_for_is_planned_without_it() -> None:
    windowed = msgspec.structs.replace(SHAPE, own_attention=False)
    plans = [one.plan for one in candidates(windowed, WORK, card(139), Config())]
    assert {plan.attention for plan in plans} == {"masked"}
    assert all(plan.loss_chunk_tokens == 0 for plan in plans if plan.buckets)
    for changed in ({"sliding_window": 4096}, {"use_sliding_window": True, "sliding_window": 9}, {"attention_dropout": 0.1}):
        config = CONFIG | changed
        assert not ModelShape.from_config(config, quantized=True, lora_rank=16, lora_targets=("q_proj",)).own_attention
    kept = CONFIG | {"use_sliding_window": False, "sliding_window": 9}
    assert ModelShape.from_config(kept, quantized=True, lora_rank=16, lora_targets=("q_proj",)).own_attention


def test_a_row_that_no_bucket_holds_is_an_error() -> None:
    with pytest.raises(ValueError, match="a row of 70 tokens fits no bucket \\(the widest is 64\\)"):
        plan_rows([0], [Example(tuple(range(70)), 1)], 64, (64,))


def test_the_steps_of_the_workload_are_those_of_training() -> None:
    examples = [Example(tuple(range(length)), 1) for length in LENGTHS]
    planned = [
        sorted(examples[index].tokens for row in step.rows for index in row.examples)
        for epoch in range(2)
        for step in plan_epoch(examples, seed=0, epoch=epoch, batch_examples=8, row_tokens=4096).steps
    ]
    assert [sorted(step) for step in WORK.steps] == planned
    assert WORK.tokens == 2 * sum(LENGTHS) and WORK.longest_example == max(LENGTHS)
