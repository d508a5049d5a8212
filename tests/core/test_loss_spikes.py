"""Loss spikes: seen, not seen in noise, and not hidden by earlier spikes."""

import random

import pytest

from engine.core.loss_spikes import usual_before_spike


def noisy(count: int, seed: int = 1, level: float = 2.0, spread: float = 0.2) -> list[float]:
    draw = random.Random(seed)
    return [level + draw.gauss(0, spread) for _ in range(count)]


def test_a_loss_far_above_the_recent_ones_is_a_spike_and_the_usual_one_is_their_median() -> None:
    earlier = noisy(50)
    assert usual_before_spike(earlier, 6.0) == pytest.approx(2.0, abs=0.1)


def test_noise_is_none() -> None:
    losses = noisy(5000, seed=3)
    assert all(usual_before_spike(losses[:place], loss) is None for place, loss in enumerate(losses))


def test_earlier_spikes_do_not_hide_one() -> None:
    earlier = noisy(50)
    earlier[10::6] = [8.0] * len(earlier[10::6])
    assert usual_before_spike(earlier, 8.0) is not None


def test_too_few_steps_say_nothing_and_old_ones_are_forgotten() -> None:
    assert usual_before_spike(noisy(19), 50.0) is None
    assert usual_before_spike([9.0] * 500 + noisy(50), 6.0) is not None
    assert usual_before_spike(noisy(50) + [9.0] * 50, 9.0) is None


def test_losses_that_hardly_move_need_half_as_much_again() -> None:
    assert usual_before_spike([1.0] * 50, 1.4) is None
    assert usual_before_spike([1.0] * 50, 1.6) == 1.0
