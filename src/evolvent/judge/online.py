"""Rules for a stream of p-values, to compare the gate's e-values with. The gate itself uses none of them.

Each rule fixes the level of test k before its p-value is seen, from what was rejected before.

Not here: the gate's own spending and e-LOND (`stats.py`).

References:
    Javanmard and Montanari, "On online control of false discovery rate", arXiv:1502.06197 (LOND).
    Ramdas, Yang, Wainwright and Jordan, "Online control of the false discovery rate with decaying memory",
    arXiv:1710.00499 (LORD++; needs independent p-values).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evolvent.judge.stats import spend_javanmard

__all__ = ["Stream", "lond", "lord", "spending"]

Spend = Callable[[int], float]


@dataclass(frozen=True)
class Stream:
    """What a rule did: the level of each test, and whether it rejected."""

    levels: list[float]
    rejected: list[bool]


def _share(k: int) -> float:
    return float(spend_javanmard(k))


def spending(p_values: Sequence[float], alpha: float = 0.05, share: Spend = _share) -> Stream:
    """Alpha spending: chance of any false rejection, ever, at most `alpha`."""
    return _run(p_values, lambda k, _: alpha * share(k))


def lond(p_values: Sequence[float], alpha: float = 0.05, share: Spend = _share) -> Stream:
    """LOND: expected share of false rejections at most `alpha`, for independent p-values; a rejection raises levels."""
    return _run(p_values, lambda k, times: alpha * share(k) * (len(times) + 1))


def lord(p_values: Sequence[float], alpha: float = 0.05, share: Spend = _share, wealth: float | None = None) -> Stream:
    """LORD++: as LOND for independent p-values, with levels that start anew after each rejection.

    Args:
        p_values: in order.
        alpha: expected share of false rejections.
        share: spending by test, summing to at most 1.
        wealth: what it starts with, at most alpha; a tenth of it by default.
    """
    start = alpha / 10 if wealth is None else wealth
    if not 0 < start <= alpha:
        raise ValueError(f"lord: expected a wealth above 0 and at most {alpha}, got {start}")

    def level(k: int, times: Sequence[int]) -> float:
        earned = [(alpha - start if j == 0 else alpha) * share(k - t) for j, t in enumerate(times)]
        return start * share(k) + sum(earned)

    return _run(p_values, level)


def _run(p_values: Sequence[float], level: Callable[[int, Sequence[int]], float]) -> Stream:
    levels: list[float] = []
    times: list[int] = []
    for k, p in enumerate(p_values, 1):
        levels.append(level(k, times))
        if p <= levels[-1]:
            times.append(k)
    return Stream(levels, [k in times for k in range(1, len(levels) + 1)])
