"""Loss spikes: a step whose loss stands far above the recent ones, by a rule that one spike cannot bend.

Centre and spread are the median and the median absolute deviation of the last 50 losses (Hampel 1974). It refuses to judge before 20
losses are there, and to call noise a spike where the losses hardly move.
"""

from collections.abc import Sequence
from statistics import median

WINDOW_STEPS = 50
FEWEST_STEPS = 20
SIGMAS = 6.0
LEAST_RATIO = 1.5
# the median absolute deviation of a normal distribution is σ / 1.4826
_SIGMA_OF_MAD = 1.4826


def usual_before_spike(earlier: Sequence[float], loss: float) -> float | None:
    """The usual loss where `loss` is a spike above the `earlier` ones (oldest first), else None.

    A spike is more than 6 σ above the median, σ = 1.4826 · MAD, and more than 1.5 times the median.
    """
    recent = earlier[-WINDOW_STEPS:]
    if len(recent) < FEWEST_STEPS:
        return None
    usual = median(recent)
    spread = _SIGMA_OF_MAD * median(abs(one - usual) for one in recent)
    return usual if loss > usual + SIGMAS * spread and loss > LEAST_RATIO * usual else None
