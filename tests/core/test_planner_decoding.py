"""What decoding is predicted to take, and how many layers are mirrored for it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.planner import ModelShape, budget_bytes, cpu_figures, decoding_estimate, decoding_peak, gpu_figures, mirrorable
from engine.core.planner.decoding import CACHE_STEP
from engine.protocol.config import LINEAR_LAYERS, Config, PlanTable

GIB = 2**30
SHAPE = ModelShape(
    hidden=5120, intermediate=27648, layers=64, heads=40, kv_heads=8, head_dim=128, vocab=152_064, lora_rank=16,
    lora_targets=LINEAR_LAYERS,
)  # fmt: skip
DEVICE = gpu_figures(total_bytes=141 * GIB, free_bytes=140 * GIB)


@given(rows=st.integers(1, 256), prompt=st.integers(1, 512), new=st.integers(1, 512), mirrored=st.integers(0, 62))
def test_more_of_anything_takes_more(rows: int, prompt: int, new: int, mirrored: int) -> None:
    def peak(rows: int, prompt: int, new: int, mirrored: int) -> int:
        return decoding_peak(SHAPE, mirrored, rows=rows, prompt_tokens=prompt, new_tokens=new)

    least = peak(rows, prompt, new, mirrored)
    assert least < min(peak(rows + 1, prompt, new, mirrored), peak(rows, prompt, new + CACHE_STEP, mirrored))
    assert least < min(peak(rows, prompt + CACHE_STEP, new, mirrored), peak(rows, prompt, new, mirrored + 1))
    assert least <= min(peak(rows, prompt, new + 1, mirrored), peak(rows, prompt + 1, new, mirrored))


def test_the_cache_by_hand() -> None:
    one, same, more = (decoding_peak(SHAPE, 64, rows=1, prompt_tokens=1, new_tokens=new) for new in (100, 127, 128))
    # 64 columns more: keys and values of 8 heads of 128, 64 layers, two bytes each; the logits, not the mask, are at the
    # peak of so short a prompt
    assert (same - one, more - one) == (0, CACHE_STEP * 2 * 8 * 128 * 64 * 2)


@pytest.mark.parametrize(("gib", "mirrored"), [(100, 64), (45, 35), (21.7, 0)])
def test_as_many_layers_as_fit_are_mirrored(gib: float, mirrored: int) -> None:
    usable = int(gib * GIB)
    found = decoding_estimate(
        SHAPE, [(32, 24), (7, 30)], DEVICE, usable_bytes=usable, new_tokens=256, mirrorable=mirrorable(Config(), SHAPE, DEVICE)
    )
    assert found.mirrored_layers == pytest.approx(mirrored, abs=2)
    assert (found.rows, found.tokens, found.refused) == (32, 280, "") and found.peak_bytes <= usable
    if found.mirrored_layers < 64:
        assert decoding_peak(SHAPE, found.mirrored_layers + 1, rows=32, prompt_tokens=24, new_tokens=256) > usable


def test_after_memory_ran_out_smaller_batches_take_less_memory_and_not_more_layers() -> None:
    device = gpu_figures(total_bytes=46 * GIB, free_bytes=46 * GIB, name="")
    before, failed = GIB * 100, []
    for rows in (64, 32, 16, 8):
        found = decoding_estimate(
            SHAPE, [(rows, 100)], device, usable_bytes=budget_bytes(device, Config(), failed), new_tokens=256,
            mirrorable=mirrorable(Config(), SHAPE, device),
        )  # fmt: skip
        assert found.peak_bytes < 0.95 * before
        before = found.peak_bytes
        failed.append(before)


def test_a_forced_mirror_is_kept_and_refused_where_it_does_not_fit() -> None:
    full = mirrorable(Config(plan=PlanTable(mirror="full")), SHAPE, DEVICE)
    found = decoding_estimate(SHAPE, [(1, 8)], DEVICE, usable_bytes=40 * GIB, new_tokens=8, mirrorable=full)
    assert found.mirrored_layers == 64 and "may be used" in found.refused and "batch_items" not in found.refused


def test_the_cpu_mirrors_nothing_and_refuses_nothing() -> None:
    cpu = cpu_figures(total_bytes=GIB, free_bytes=GIB)
    found = decoding_estimate(
        SHAPE, [(4, 8)], cpu, usable_bytes=1, new_tokens=8, mirrorable=mirrorable(Config(), SHAPE, cpu), element_size=4
    )
    assert (found.mirrored_layers, found.refused) == (0, "")
    unknown = msgspec.structs.replace(SHAPE, unknown="odd")
    assert decoding_estimate(unknown, [], DEVICE, usable_bytes=1, new_tokens=8, mirrorable=range(1)).peak_bytes == 0
