"""The forecast of the GPU's memory: interpolated, carried on, and judged."""

import dataclasses
import random

import pytest

from engine.core.memory_forecast import MOST_CONTEXT_BYTES, PeakFit, Reading, forecast, own_context

GIB = 2**30
CARD = Reading(allocated=40 * GIB, reserved=50 * GIB, peak=50 * GIB, device_used=51 * GIB, device_total=80 * GIB, context=GIB)


def test_nothing_is_forecast_before_something_was_measured() -> None:
    assert PeakFit(1000.0).peak(512) is None


def test_between_measured_widths_the_peak_is_interpolated_and_below_them_it_is_the_narrowest_one_s() -> None:
    fit = PeakFit()
    fit.measured(100, 1000, 500)
    fit.measured(300, 3000, 500)
    assert [fit.peak(width) for width in (50, 100, 200, 250, 300)] == [1000, 1000, 2000, 2500, 3000]


def test_a_wider_row_is_never_taken_to_need_less() -> None:
    fit = PeakFit()
    for width, peak in ((100, 4000), (200, 1000), (300, 5000)):
        fit.measured(width, peak, 500)
    assert [fit.peak(width) for width in (200, 250, 300)] == [4000, 4500, 5000]


def test_the_highest_peak_of_a_width_counts_and_a_lower_one_later_changes_nothing() -> None:
    fit = PeakFit(10.0)
    fit.measured(128, 9000, 100)
    before = fit.peak(512)
    fit.measured(128, 2000, 100)
    assert fit.peak(128) == 9000
    assert fit.peak(512) == before
    fit.measured(128, 9500, 100)
    assert fit.peak(512) == before + 500


def test_beyond_the_widest_row_the_prior_slope_leads_until_measurements_outweigh_it() -> None:
    fit = PeakFit(prior_bytes_per_token=100.0)
    fit.measured(512, 60_000, 10_000)
    assert fit.peak(1024) == 60_000 + 100 * 512
    fit.measured(514, 60_400, 10_000)
    assert fit.peak(1024) == pytest.approx(60_400 + 100 * 510, rel=0.01), "two rows beside each other tell no slope"
    for width in range(64, 2048, 64):
        fit.measured(width, 20_000 + 200 * width, 10_000)
    assert fit.peak(4096) == pytest.approx(20_000 + 200 * 4096, rel=0.02)


def test_without_a_prior_what_the_first_rows_needed_a_token_leads() -> None:
    fit = PeakFit()
    fit.measured(500, 60_000, 10_000)
    assert fit.peak(1000) == 60_000 + 100 * 500


@pytest.mark.parametrize("seed", range(5))
def test_a_line_with_noise_is_forecast_within_two_percent(seed: int) -> None:
    draw, fit = random.Random(seed), PeakFit(prior_bytes_per_token=20.0 * 2**20)
    for _ in range(200):
        width = draw.randrange(256, 1024, 8)
        fit.measured(width, int((40 + 0.025 * width * draw.uniform(0.99, 1.0)) * GIB), 40 * GIB)
    assert fit.peak(1536) == pytest.approx((40 + 0.025 * 1536) * GIB, rel=0.02)


def test_what_others_hold_is_told_from_this_process_s_own_context() -> None:
    assert CARD.others == 0
    assert dataclasses.replace(CARD, device_used=51 * GIB + 200 * 2**20).others == 0, "a context grows as kernels are loaded"
    shared = dataclasses.replace(CARD, device_used=71 * GIB)
    assert shared.others == 20 * GIB
    assert shared.usable == CARD.usable - 20 * GIB
    assert "other processes hold 20.0 GiB" in forecast(shared, 58 * GIB, 512).reason


def test_the_context_comes_from_the_driver_s_list_or_from_a_bounded_first_look() -> None:
    assert own_context(device_used=60 * GIB, reserved=50 * GIB, of_this_process=51 * GIB) == GIB
    assert own_context(device_used=50 * GIB + 600, reserved=50 * GIB, of_this_process=None) == 600
    assert own_context(device_used=70 * GIB, reserved=50 * GIB, of_this_process=None) == MOST_CONTEXT_BYTES


@pytest.mark.parametrize(("peak_gib", "risk"), [(60, "low"), (76, "low"), (77.5, "watch"), (78.9, "high"), (90, "high")])
def test_the_risk_follows_the_room_that_is_left(peak_gib: float, risk: str) -> None:
    found = forecast(CARD, int(peak_gib * GIB), 1024)
    assert found.risk == risk
    assert found.headroom == CARD.usable - int(peak_gib * GIB)
    assert found.risk == "low" or found.reason.startswith(
        f"the largest row to come (1,024 tokens) needs {peak_gib:.1f} GiB of 79.0 GiB"
    )
    assert ("too little" in found.reason) == (peak_gib > 79)


def test_fragmentation_is_room_that_cannot_be_used() -> None:
    torn = dataclasses.replace(CARD, reserved=55 * GIB, device_used=56 * GIB)
    assert torn.fragmentation == 5 * GIB
    assert forecast(CARD, 73 * GIB, 512).risk == "low"
    found = forecast(torn, 73 * GIB, 512)
    assert (found.risk, found.headroom) == ("watch", 6 * GIB)
    assert "5.0 GiB are lost to fragmentation" in found.reason


def test_a_capped_allocator_is_the_limit() -> None:
    capped = dataclasses.replace(CARD, limit=46 * GIB)
    assert capped.usable == 46 * GIB
    assert forecast(capped, 47 * GIB, 512).risk == "high"


def test_what_is_allocated_already_is_needed_at_least() -> None:
    assert forecast(CARD, 10 * GIB, 64).predicted_peak == 40 * GIB
