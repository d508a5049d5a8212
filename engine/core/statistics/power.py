"""What a held-out set of a given size can find: Connor's sample size, the exact power of the mid-p test, the smallest lift.

It speaks of designs, before or beside the data, never of the power "observed" in a result.
"""

import math
from functools import lru_cache

import numpy as np
from scipy import optimize, stats

from engine.core.statistics.counts import Undecided

_TAIL = 1e-13
"""Probability of discordant-pair counts left out on either side."""


def connor_pairs(p10: float, p01: float, alpha: float, power: float) -> float:
    """Pairs needed: [(z₁₋α/₂·√pd + z_power·√(pd−δ²))/δ]², pd = p10 + p01 ≤ 1, δ = p01 − p10 ≠ 0.

    Source: Connor 1987, Biometrics 43:207.
    """
    discordant, delta = p10 + p01, p01 - p10
    z_alpha, z_power = float(stats.norm.isf(alpha / 2)), float(stats.norm.ppf(power))
    return ((z_alpha * math.sqrt(discordant) + z_power * math.sqrt(discordant - delta**2)) / delta) ** 2


def _critical_losses(m: np.ndarray, alpha: float) -> np.ndarray:
    """Largest b for each number m of discordant pairs at which the mid-p is below alpha with c > b; −1 where none is."""
    b = stats.binom.ppf(alpha / 2, m, 0.5)
    midp = 2 * stats.binom.cdf(b, m, 0.5) - stats.binom.pmf(b, m, 0.5)
    rejected = np.where((midp < alpha) & (2 * b < m), b, b - 1)
    return np.asarray(rejected, dtype=float)


def midp_power(pairs: int, p10: float, p01: float, alpha: float) -> float:
    """Exact chance that McNemar's mid-p is below alpha with c > b, over m ~ Bin(pairs, p10 + p01) discordant pairs.

    p10 is the chance that only the base arm succeeds, p01 that only the SFT arm does.
    """
    discordant = min(p10 + p01, 1.0)
    if pairs == 0 or discordant == 0:
        return 0.0
    low, high = (float(stats.binom.ppf(tail, pairs, discordant)) for tail in (_TAIL, 1 - _TAIL))
    m = np.arange(max(1.0, low), high + 1.0)
    lost = stats.binom.cdf(_critical_losses(m, alpha), m, p10 / discordant)
    return float(np.sum(stats.binom.pmf(m, pairs, discordant) * lost))


@lru_cache(maxsize=256)
def smallest_detectable_difference(pairs: int, p10: float, alpha: float, power: float = 0.8) -> float | Undecided:
    """Smallest lift δ that the two-sided mid-p test finds with the given power, at P(only base) = p10, so P(only SFT) = p10 + δ.

    With the arms' parts exchanged it is the smallest fall. Undecided where no δ ≤ 1 − 2·p10 reaches the power.
    """
    largest = 1 - 2 * p10

    def shortfall(delta: float) -> float:
        return midp_power(pairs, p10, p10 + delta, alpha) - power

    if shortfall(largest) < 0:
        return Undecided(f"{pairs} pairs cannot reach power {power:g} at α = {alpha:g}, however large the difference")
    low, high = _near_connor(pairs, p10, alpha, power, largest)
    if shortfall(low) > 0 or shortfall(high) < 0:
        low, high = 0.0, largest
    return float(optimize.brentq(shortfall, low, high, xtol=1e-6))


def _near_connor(pairs: int, p10: float, alpha: float, power: float, largest: float) -> tuple[float, float]:
    """A narrow interval in which the difference probably lies, as the exact power is dear for a million pairs."""

    def surplus(delta: float) -> float:
        return connor_pairs(p10, p10 + delta, alpha, power) - pairs

    smallest = 1e-6
    if surplus(smallest) < 0 or surplus(largest) > 0:
        return 0.0, largest
    near = float(optimize.brentq(surplus, smallest, largest))
    return 0.95 * near, min(1.05 * near, largest)
