"""The arithmetic of the judge: arrays in, arrays out, numpy and scipy only.

Every e-value is in natural logs. A path is the running log e after each item; under its null it ever reaches
``ln(1 / alpha)`` with probability at most `alpha` (Ville), so it may be read after any item, as often as one likes.
Differences are candidate minus reference on the same item, in [-1, 1], items along the last axis.

Not here: what is asked and in which order (`gate.py`); averages without an error rate.

References:
    Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", arXiv:2010.09686.
    Xu and Ramdas, "Online multiple testing with e-values", arXiv:2311.06412 (e-LOND).
    Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired data",
    Statistics in Medicine 17, 1998 (method 10).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special  # not scipy.stats: it doubles the judge's start-up time

__all__ = [
    "SUPERIORITY_STAKES",
    "clopper_pearson",
    "e_lond_level",
    "futility_path",
    "grid_log_e",
    "inferiority_path",
    "newcombe_paired",
    "non_inferiority_path",
    "non_inferiority_stakes",
    "paired_interval",
    "smallest_effect",
    "spend_epochs",
    "spend_javanmard",
    "superiority_path",
    "uniform_log_e",
    "wilson",
]

Floats = NDArray[np.float64]

SUPERIORITY_STAKES = (0.06, 0.12, 0.25, 0.4, 0.6)
_NON_INFERIORITY_FRACTIONS = (0.35, 0.7, 1.4)
_STAKE_CAP = 0.95  # share of the stake at which one item could ruin the bettor
_FIRST_EPOCH = 100
_JAVANMARD_SCALE = 0.07720838


def grid_log_e(wins: ArrayLike, losses: ArrayLike) -> Floats:
    """Log e-value of the grid mixture: H0 the candidate is no better, counts of discordant items.

    Args:
        wins: items that only the candidate got right, any shape.
        losses: items that only the reference got right, same shape.
    """
    stakes = np.array(SUPERIORITY_STAKES)
    w, lost = np.asarray(wins, float)[..., None], np.asarray(losses, float)[..., None]
    return _mix(w * np.log1p(stakes) + lost * np.log1p(-stakes), axis=-1)


def uniform_log_e(wins: ArrayLike, losses: ArrayLike) -> Floats:
    """Log e-value of the mixture in which P(win given discordant) is uniform on (1/2, 1); arguments as `grid_log_e`."""
    w, lost = np.asarray(wins, float), np.asarray(losses, float)
    with np.errstate(divide="ignore"):  # hopeless counts: the integral underflows, and e is 0
        tail = np.log(special.betainc(lost + 1, w + 1, 0.5))
    return np.log(2.0) * (w + lost + 1) + special.betaln(w + 1, lost + 1) + tail


def superiority_path(differences: ArrayLike) -> Floats:
    """Evidence that the candidate beats the reference: H0 is E[D given the past] <= 0. Grid mixture of bets.

    Returns:
        Running log e, same shape as `differences`.

    Raises:
        ValueError: a difference lies outside [-1, 1].
    """
    return _bet_path(_checked(differences), SUPERIORITY_STAKES)


def non_inferiority_stakes(margin: float, discordance: float) -> Floats:
    """The bets of `non_inferiority_path`, fixed before the first item.

    Args:
        margin: loss that is still tolerated, in (0, 1).
        discordance: planned share of items on which the two models differ; validity does not depend on it.

    Raises:
        ValueError: an argument is out of range.
    """
    _check_share("margin", margin)
    _check_share("discordance", discordance)
    stakes = np.array(_NON_INFERIORITY_FRACTIONS) * margin / (discordance + margin**2)
    return np.minimum(stakes, _STAKE_CAP / (1 - margin))


def non_inferiority_path(differences: ArrayLike, margin: float, discordance: float) -> Floats:
    """Evidence that the candidate is not worse by more than the margin: H0 is E[D given the past] <= -margin.

    Args:
        differences: items along the last axis.
        margin: loss that is still tolerated, in (0, 1).
        discordance: planned share of differing items.

    Raises:
        ValueError: an argument is out of range.
    """
    return _bet_path(_checked(differences) + margin, non_inferiority_stakes(margin, discordance))


def inferiority_path(differences: ArrayLike, margin: float, discordance: float) -> Floats:
    """Evidence that the candidate is worse by more than the margin: H0 is E[D given the past] >= -margin.

    The mirror of `non_inferiority_path`: it stops a hopeless candidate early and raises the standing alarm.

    Raises:
        ValueError: an argument is out of range.
    """
    stakes = np.array(_NON_INFERIORITY_FRACTIONS) * margin / (discordance + margin**2)
    _check_share("margin", margin)
    _check_share("discordance", discordance)
    return _bet_path(-_checked(differences) - margin, np.minimum(stakes, _STAKE_CAP / (1 + margin)))


def futility_path(differences: ArrayLike, smallest_gain: float, discordance: float) -> Floats:
    """Evidence that the candidate gains less than is of interest: H0 is E[D given the past] >= smallest_gain.

    Args:
        differences: items along the last axis.
        smallest_gain: minimum effect of interest, in (0, 1).
        discordance: planned share of differing items.

    Raises:
        ValueError: an argument is out of range.
    """
    _check_share("smallest_gain", smallest_gain)
    _check_share("discordance", discordance)
    stake = min(smallest_gain / discordance, 0.9 / (1 + smallest_gain))
    return _bet_path(smallest_gain - _checked(differences), [stake])


def smallest_effect(items: int, alpha: float, discordance: float) -> float:
    """About the smallest true gain, or loss ruled out, that a test shows with so many items in 8 of 10 runs.

    From ``n = 3 p_d ln(1/alpha) / effect^2``, one and a half times the mean of a bet placed well; simulations of the
    paths above come within an eighth of it. For people and forecasts, no decision reads it.

    Args:
        items: problems read.
        alpha: level of the test.
        discordance: share of items on which the two models differ.

    Returns:
        A share; never above 1.
    """
    return min(1.0, float(np.sqrt(3 * discordance * np.log(1 / alpha) / max(1, items))))


def spend_epochs(slot: ArrayLike, first_epoch: int = _FIRST_EPOCH) -> Floats:
    """Share of the error budget that a slot (from 1) may spend: doubling epochs. All shares sum to 1.

    Args:
        slot: number of the slot, from 1.
        first_epoch: slots of the first epoch, which share half of the budget: the fewer, the larger the first levels.

    Raises:
        ValueError: a slot or the first epoch is below 1.
    """
    k = _checked_slots(slot)
    if first_epoch < 1:
        raise ValueError(f"first_epoch: expected at least 1, got {first_epoch}")
    # Epoch j holds slots M (2^j - 1) + 1 .. M (2^(j+1) - 1). frexp is exact where log2 is not.
    epoch = np.frexp((k - 1) // first_epoch + 1)[1] - 1.0
    return 1 / ((epoch + 1) * (epoch + 2) * first_epoch * 2.0**epoch)


def spend_javanmard(slot: ArrayLike) -> Floats:
    """As `spend_epochs`, after Javanmard and Montanari: front-loaded, for short runs.

    Raises:
        ValueError: a slot below 1.
    """
    k = _checked_slots(slot)
    log_k = np.log(np.maximum(k, 2))
    return _JAVANMARD_SCALE * log_k / (k * np.exp(np.sqrt(np.log(k))))


def e_lond_level(alpha: float, share: float, promotions: int) -> float:
    """Level of a slot under e-LOND: false discovery rate at most `alpha`, whatever the dependence between slots.

    Args:
        alpha: the whole error budget.
        share: the slot's share of it, from a spending function.
        promotions: promotions before this slot.
    """
    return alpha * share * (promotions + 1)


def wilson(successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson's two-sided interval of a proportion; no trials give (0, 1)."""
    x, n = np.asarray(successes, float), np.asarray(trials, float)
    z = special.ndtri(0.5 + confidence / 2)
    safe = np.maximum(n, 1)
    rate = np.where(n > 0, x / safe, 0.5)
    centre = (rate + z**2 / (2 * safe)) / (1 + z**2 / safe)
    half = z / (1 + z**2 / safe) * np.sqrt(rate * (1 - rate) / safe + z**2 / (4 * safe**2))
    low, high = np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
    low, high = np.where(x <= 0, 0.0, low), np.where(x >= n, 1.0, high)  # exact there; rounding is not
    return np.where(n > 0, low, 0.0), np.where(n > 0, high, 1.0)


def clopper_pearson(successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Exact two-sided interval of a proportion (never covers less than it says)."""
    x, n = np.asarray(successes, float), np.asarray(trials, float)
    tail = (1 - confidence) / 2
    low = np.where(x > 0, special.betaincinv(np.maximum(x, 1e-300), n - x + 1, tail), 0.0)
    high = np.where(x < n, special.betaincinv(x + 1, np.maximum(n - x, 1e-300), 1 - tail), 1.0)
    return low, high


def paired_interval(differences: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Low, mean and high of Student's interval of the mean over seeds; of one seed, low and high are infinite.

    For comparisons of a fixed number of seeds, one difference each; no decision of the judge reads it.
    """
    values = np.asarray(differences, float)
    mean = float(values.mean())
    if len(values) < 2:  # no spread is known from one
        return -np.inf, mean, np.inf
    quantile = special.stdtrit(len(values) - 1, (1 + level) / 2)
    half = float(quantile * values.std(ddof=1) / len(values) ** 0.5)
    return mean - half, mean, mean + half


def newcombe_paired(
    both: int, only_candidate: int, only_reference: int, neither: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the gain (candidate's rate minus reference's) on paired items: Newcombe's method 10.

    For reports on a fixed number of items; it is not valid under optional stopping, and no decision reads it.

    Args:
        both: items that both got right.
        only_candidate: items that only the candidate got right.
        only_reference: items that only the reference got right.
        neither: items that neither got right.
        confidence: two-sided.
    """
    n = both + only_candidate + only_reference + neither
    if n == 0:
        return -1.0, 1.0
    p1, p2 = (both + only_candidate) / n, (both + only_reference) / n
    (low1, low2), (high1, high2) = wilson([both + only_candidate, both + only_reference], [n, n], confidence)
    phi = _pair_correlation(both, only_candidate, only_reference, neither)
    gain = p1 - p2
    down = (p1 - low1) ** 2 - 2 * phi * (p1 - low1) * (high2 - p2) + (high2 - p2) ** 2
    up = (high1 - p1) ** 2 - 2 * phi * (high1 - p1) * (p2 - low2) + (p2 - low2) ** 2
    return float(gain - np.sqrt(max(down, 0.0))), float(gain + np.sqrt(max(up, 0.0)))


def _pair_correlation(a: int, b: int, c: int, d: int) -> float:
    product = (a + b) * (c + d) * (a + c) * (b + d)
    if product == 0:
        return 0.0
    cross = a * d - b * c
    if cross > 0:  # Newcombe's continuity correction, for positive association only
        cross = max(cross - (a + b + c + d) / 2, 0)
    return float(cross / np.sqrt(float(product)))


def _bet_path(outcomes: Floats, stakes: Sequence[float] | Floats) -> Floats:
    """Running log of the equal mixture over `stakes` of the products of (1 + stake * outcome)."""
    table = np.stack([np.cumsum(np.log1p(stake * outcomes), axis=-1) for stake in stakes], axis=-1)
    return _mix(table, axis=-1)


def _mix(logs: Any, axis: int) -> Floats:
    return np.logaddexp.reduce(logs, axis=axis) - np.log(logs.shape[axis])


def _checked(differences: ArrayLike) -> Floats:
    values = np.asarray(differences, float)
    if values.size and not (np.abs(values) <= 1).all():  # also catches NaN
        raise ValueError(f"differences: expected values in [-1, 1], got {values.min()} to {values.max()}")
    return values


def _checked_slots(slot: ArrayLike) -> Floats:
    k = np.asarray(slot, float)
    if (k < 1).any():
        raise ValueError(f"slot: expected 1 or more, got {k.min()}")
    return k


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name}: expected a share between 0 and 1, got {value}")
