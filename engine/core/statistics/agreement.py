"""Agreement of the scorer with a person: Cohen's kappa with its interval.

It measures agreement beyond chance; it does not say who is right.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from engine.core.statistics.counts import Interval, Undecided
from engine.core.statistics.proportions import normal_quantile


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Cohen's kappa in [-1, 1], its interval, and the plain share of equal labels."""

    n: int
    kappa: float | Undecided
    interval: Interval | Undecided
    observed: float | Undecided


def cohens_kappa(table: Sequence[Sequence[int]], confidence_level: float = 0.95) -> Agreement:
    """Cohen's kappa of a square table (rows: scorer, columns: person, counts ≥ 0) with its large-sample interval.

    κ = (p_o − p_e)/(1 − p_e). Undecided where there is no item or chance alone explains every label (p_e = 1). Sources: Cohen 1960,
    Educ Psychol Meas 20:37; Fleiss, Cohen & Everitt 1969, Psychol Bull 72:323 (standard error).
    """
    counts = np.asarray(table, dtype=float)
    n = int(counts.sum())
    if n == 0:
        nothing = Undecided("no reviewed item")
        return Agreement(n=0, kappa=nothing, interval=nothing, observed=nothing)
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, expected = float(np.trace(p)), float(rows @ columns)
    if expected >= 1:
        constant = Undecided("both gave every item one and the same label")
        return Agreement(n=n, kappa=constant, interval=constant, observed=observed)
    kappa = (observed - expected) / (1 - expected)
    return Agreement(n=n, kappa=kappa, interval=_kappa_interval(p, kappa, n, confidence_level), observed=observed)


def _kappa_interval(p: np.ndarray, kappa: float, n: int, confidence_level: float) -> Interval | Undecided:
    """κ ± z·se within [-1, 1], se² = (A + B − C)/((1 − p_e)²·n) as in Fleiss, Cohen & Everitt 1969, equation 13."""
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    expected = float(rows @ columns)
    diagonal = np.diag(p)
    on = float(np.sum(diagonal * (1 - (rows + columns) * (1 - kappa)) ** 2))
    off = p * (columns[:, None] + rows[None, :]) ** 2
    apart = (1 - kappa) ** 2 * float(off.sum() - np.trace(off))
    centre = (kappa - expected * (1 - kappa)) ** 2
    variance = (on + apart - centre) / ((1 - expected) ** 2 * n)
    if variance <= 1e-15:
        if np.trace(p) == 1:
            return Undecided("the labels agree without exception, so their spread says nothing")
        return Undecided("one of the two gave every item the same label, so the spread says nothing")
    margin = normal_quantile(confidence_level) * variance**0.5
    return max(kappa - margin, -1.0), min(kappa + margin, 1.0)
