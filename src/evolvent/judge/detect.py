"""Detectors of a fall: has a success rate that was `baseline` become worse?

All bet on the same increments, L_t = 1 + stake (baseline - x_t), whose mean is at most 1 while the rate is at least
`baseline`. They differ in what they forget. A *canary* forgets nothing: it is an e-process, so the chance of a false
alarm ever is at most alpha, and it is for a watch that ends. A *CUSUM* starts again when it has lost everything it won,
a *Shiryaev-Roberts* statistic starts anew at every request; both are for a watch that never ends, and promise a mean
time of at least 1 / alpha to a false alarm (ARL), not that none will come.

Paths are logs, outcomes lie in [0, 1] along the last axis, and an alarm is at ``ln(1 / alpha)``.

Not here: what an alarm does; a fixed threshold on latency or errors.

References:
    Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection",
    arXiv:2203.03532 (e-SR, e-CUSUM and their average run length).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["alarm_at", "canary_path", "cusum_path", "fall_stake", "shiryaev_roberts_path"]

Floats = NDArray[np.float64]
_CAP = 0.95  # share of the stake at which one outcome could ruin the bettor


def fall_stake(baseline: float, fall: float) -> float:
    """The stake that finds a fall of `fall` soonest, to first order: fall over the variance of an outcome.

    Args:
        baseline: rate while all is well, in (0, 1).
        fall: smallest fall that matters, in (0, baseline).
    """
    if not 0 < baseline < 1 or not 0 < fall < baseline:
        raise ValueError(f"fall_stake: expected 0 < fall < baseline < 1, got a fall of {fall} from {baseline}")
    return min(fall / (baseline * (1 - baseline)), _CAP / (1 - baseline))


def canary_path(outcomes: ArrayLike, baseline: ArrayLike, stake: float) -> Floats:
    """Log e-process: P(ever at ln(1 / alpha)) <= alpha while the rate is at least the baseline.

    Args:
        outcomes: 1 for good, 0 for bad, or between.
        baseline: the rate promised; or, item by item, a concurrent control's outcome on a paired request.
        stake: as of `fall_stake`; below 1 where there is a control.
    """
    return np.cumsum(_logs(outcomes, baseline, stake), axis=-1)


def cusum_path(outcomes: ArrayLike, baseline: ArrayLike, stake: float) -> Floats:
    """Log of the e-CUSUM, ``M = max(M, 1) L``. Arguments as `canary_path`."""
    return _walk(_logs(outcomes, baseline, stake), lambda log_m: np.maximum(log_m, 0.0))


def shiryaev_roberts_path(outcomes: ArrayLike, baseline: ArrayLike, stake: float) -> Floats:
    """Log of the e-SR statistic, ``M = (M + 1) L``. Arguments as `canary_path`."""
    return _walk(_logs(outcomes, baseline, stake), lambda log_m: np.logaddexp(log_m, 0.0))


def alarm_at(path: ArrayLike, alpha: float) -> NDArray[np.int64]:
    """Items read (from 1) when a path first stands at ``ln(1 / alpha)``; 0 for never. Leading axes are kept."""
    over = np.asarray(path, float) >= np.log(1 / alpha)
    if not over.shape[-1]:
        return np.zeros(over.shape[:-1], np.int64)
    return np.where(over.any(axis=-1), over.argmax(axis=-1) + 1, 0)


def _logs(outcomes: ArrayLike, baseline: ArrayLike, stake: float) -> Floats:
    x, mu = np.asarray(outcomes, float), np.asarray(baseline, float)
    if x.size and not ((x >= 0) & (x <= 1)).all():
        raise ValueError(f"detector: expected outcomes in [0, 1], got {x.min()} to {x.max()}")
    reach = 1 - float(mu) if mu.ndim == 0 else 1.0  # what a control will do next is not known beforehand
    if not ((mu >= 0) & (mu <= 1)).all() or not 0 < stake or stake * reach >= 1:
        raise ValueError(f"detector: expected a stake above 0 and below 1 / {reach:.4g}, got {stake}")
    return np.log1p(stake * (mu - x))


def _walk(logs: Floats, before: Callable[[Floats], Floats]) -> Floats:
    path = np.empty_like(logs)
    log_m = np.full(logs.shape[:-1], -np.inf)
    for t in range(logs.shape[-1]):
        log_m = before(log_m) + logs[..., t]
        path[..., t] = log_m
    return path
