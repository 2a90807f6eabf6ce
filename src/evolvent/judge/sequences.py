"""Confidence sequences: bounds that hold at every number of items at once, so that a report may be read at any time.

A boundary is the log of a mixture of exponential supermartingales: for a sum S with intrinsic time (variance) V,
P(ever boundary(S, V) >= ln(1 / alpha)) <= alpha. A bound on a mean is what a test at each candidate mean leaves over.

Not here: decisions (`gate.py` asks e-processes directly); intervals at a fixed number of items (`stats.py`).

References:
    Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences",
    arXiv:1810.08240: `normal_mixture` (one-sided normal), `beta_binomial_mixture`, `bernoulli_sequence`.
    Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", arXiv:2010.09686: `lower_bound`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = [
    "bernoulli_sequence",
    "beta_binomial_mixture",
    "lower_bound",
    "normal_mixture",
    "tuning",
]

Floats = NDArray[np.float64]

_TUNED_AT = 0.05  # level for which a boundary is tightest at its tuning variance
_SMALLEST = 1e-12
_STEPS = 60  # halvings: far below the rounding of what is printed
_STAKES = (0.03, 0.06, 0.12, 0.25, 0.45)  # the same for each mean, so that a larger mean is always harder to exclude
_MEAN_STEPS = 20  # halvings of [-1, 1]: to a ten-thousandth of a point


def tuning(variance: float, alpha: float, *, one_sided: bool) -> float:
    """The mixture's precision that makes a boundary tightest at `variance` (Howard et al., proposition 3)."""
    level = 2 * alpha if one_sided else alpha
    return variance / (2 * math.log(1 / level) + math.log(1 + 2 * math.log(1 / level)))


def normal_mixture(total: ArrayLike, variance: ArrayLike, tuned_for: float) -> Floats:
    """Log boundary of the one-sided normal mixture, for sub-Gaussian sums.

    Args:
        total: sum of centred outcomes.
        variance: intrinsic time, same shape.
        tuned_for: variance at which it is tightest.
    """
    s, v = np.asarray(total, float), np.asarray(variance, float)
    r = tuning(tuned_for, _TUNED_AT, one_sided=True)
    return 0.5 * np.log(4 * r / (v + r)) + s**2 / (2 * (v + r)) + special.log_ndtr(s / np.sqrt(v + r))


def beta_binomial_mixture(
    total: ArrayLike, variance: ArrayLike, tuned_for: float, g: float, h: float, *, one_sided: bool = True
) -> Floats:
    """Log boundary of the beta-binomial mixture, for sums of outcomes in [-g, h] around their mean.

    Args:
        total: sum of centred outcomes.
        variance: intrinsic time.
        tuned_for: variance at which it is tightest.
        g: reach of an outcome below its mean.
        h: reach above it.
        one_sided: bound from above only; otherwise both sides share the level.
    """
    s, v = np.asarray(total, float), np.asarray(variance, float)
    rho = tuning(tuned_for, _TUNED_AT, one_sided=one_sided)
    r = max(rho - g * h, 1e-3 * g * h)
    x = h / (g + h) if one_sided else 1.0
    scale = g * (g + h), h * (g + h)
    return (
        v / (g * h) * np.log(g + h)
        - (v + h * s) / scale[1] * np.log(g)
        - (v - g * s) / scale[0] * np.log(h)
        + _log_beta((r + v - g * s) / scale[0], (r + v + h * s) / scale[1], x)
        - _log_beta(r / scale[0], r / scale[1], x)
    )


def bernoulli_sequence(successes: int, trials: int, *, tuned_for: int, alpha: float = 0.05) -> tuple[float, float]:
    """Interval of a success rate that holds at all numbers of trials at once.

    Args:
        successes: so far.
        trials: so far.
        tuned_for: number of trials at which it is tightest; chosen before the first.
        alpha: chance that it ever misses.

    Returns:
        ``(low, high)``; no trials give (0, 1).
    """
    if not 0 <= successes <= trials or tuned_for < 1 or not 0 < alpha < 1:
        raise ValueError(f"bernoulli_sequence: {successes} of {trials}, tuned for {tuned_for}, level {alpha}")
    if trials == 0:
        return 0.0, 1.0
    rate, needed = successes / trials, math.log(1 / alpha)

    def excluded(p: float) -> bool:
        total, spread = (rate - p) * trials, p * (1 - p)
        if not _SMALLEST < p < 1 - _SMALLEST:
            return True  # only reached where the other outcome was seen
        return bool(
            beta_binomial_mixture(total, spread * trials, spread * tuned_for, p, 1 - p, one_sided=False) >= needed
        )

    low, high = _edge(excluded, rate, 0.0), _edge(excluded, rate, 1.0)
    # What lies within `_SMALLEST` of an end was not tested, so it is not claimed to be excluded.
    return 0.0 if low <= 2 * _SMALLEST else low, 1.0 if high >= 1 - 2 * _SMALLEST else high


def lower_bound(differences: ArrayLike, alpha: float) -> Floats:
    """Lower bound of a mean of outcomes in [-1, 1]: P(it exceeds the mean, after any number of items) <= alpha.

    A candidate mean is excluded once the mixture of bets on "more than that" has ever multiplied its stake by
    1 / alpha; the bound is the largest excluded one. Each bet is the same for all candidate means, so a larger mean is
    always harder to exclude and one test stands for all (no union). The promise is about every bound that is asked for;
    among those of promotions alone more may err, where most proposals are bad.

    Args:
        differences: outcomes along the last axis, so far.
        alpha: chance that the bound is ever above the mean, however often it is asked for.

    Returns:
        The bound, one for each leading index; -1 where nothing is excluded.

    Raises:
        ValueError: an outcome lies outside [-1, 1], or `alpha` outside (0, 1).
    """
    values = np.asarray(differences, float)
    if values.size and not (np.abs(values) <= 1).all():
        raise ValueError(f"lower_bound: expected values in [-1, 1], got {values.min()} to {values.max()}")
    if not 0 < alpha < 1:
        raise ValueError(f"lower_bound: expected a level between 0 and 1, got {alpha}")
    low, high = np.full(values.shape[:-1], -1.0), np.ones(values.shape[:-1])
    for _ in range(_MEAN_STEPS):
        middle = (low + high) / 2
        shifted = values - middle[..., None]
        logs = np.stack([np.cumsum(np.log1p(stake * shifted), axis=-1) for stake in _STAKES])
        log_e = np.logaddexp.reduce(logs, axis=0) - math.log(len(_STAKES))
        reached = (log_e >= math.log(1 / alpha)).any(axis=-1)
        low, high = np.where(reached, middle, low), np.where(reached, high, middle)
    return low


def _edge(excluded: Callable[[float], bool], inside: float, limit: float) -> float:
    """The first value from `inside` towards `limit` that is excluded; `limit` if that is where one stands."""
    if inside == limit:
        return limit
    out = limit
    for _ in range(_STEPS):
        middle = (inside + out) / 2
        inside, out = (inside, middle) if excluded(middle) else (middle, out)
    return out


def _log_beta(a: ArrayLike, b: ArrayLike, x: float) -> Floats:
    """Log of the incomplete beta integral, not normalised."""
    return special.betaln(a, b) + (np.log(special.betainc(a, b, x)) if x < 1 else 0.0)
