"""What this gate can see: problems needed until a gain of interest is proven, and until a kept skill counts as kept.

A quick simulation of the plan's own tests on made-up outcomes, at the levels of the first slot. It is a forecast for
people; the judge's items are its own.

Not here: a power analysis of correlated or drifting items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evolvent.judge import stats
from evolvent.judge.gate import slot_levels

if TYPE_CHECKING:
    from evolvent.plan import ChangePlan

__all__ = ["Forecast", "forecast"]

_RUNS = 400
_CHUNK = 50  # runs at a time: bounds the memory of long paths
_BETA = 0.1
_SEED = 20240229


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """One test of the first slot.

    Attributes:
        test: ``gain`` or ``kept:<skill>``.
        alpha: its level, decimal text.
        effect_points: true difference supposed.
        share_percent: runs of a hundred in which it is proven within `max_items`.
        mean: problems until it is proven, on average; ``None`` if it is proven in fewer than half of the runs.
        q80: problems that suffice in 80 % of all runs; ``None`` if none do.
    """

    test: str
    alpha: str
    effect_points: int
    share_percent: int
    mean: int | None
    q80: int | None

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return dict(vars(self))


def forecast(plan: ChangePlan) -> list[Forecast]:
    """The target's gain of interest, then each protected skill at no true change."""

    def spend(slot: int) -> Any:
        return stats.spend_epochs(slot, plan.first_epoch_slots)

    sup, _ = slot_levels(alpha=float(plan.alpha_progress), slot=1, promotions=0, spend=spend)
    _, ni = slot_levels(alpha=float(plan.alpha_safety), slot=1, promotions=0, spend=spend)
    rows = [_one("gain", sup, plan.minimum_gain_points, plan, None)]
    rows += [_one(f"kept:{skill}", ni, 0, plan, margin / 100) for skill, margin in plan.protected.items()]
    return rows


def _one(test: str, alpha: str, effect_points: int, plan: ChangePlan, margin: float | None) -> Forecast:
    discordance = float(plan.discordance)
    rng = np.random.default_rng(_SEED)
    gain = effect_points / 100
    differing = max(discordance, gain)  # a gain larger than planned differences: all of them are wins
    needed = np.log(1 / float(alpha))
    ends: list[int] = []
    for _ in range(_RUNS // _CHUNK):
        draws = rng.random((_CHUNK, plan.max_items))
        wins, either = draws < (differing + gain) / 2, draws < differing
        outcomes = np.where(wins, 1, np.where(either, -1, 0)).astype(np.int8)
        if margin is None:
            path = stats.superiority_path(outcomes)
            stop = stats.futility_path(outcomes, plan.minimum_gain_points / 100, discordance)
        else:
            path = stats.non_inferiority_path(outcomes, margin, discordance)
            stop = stats.inferiority_path(outcomes, margin, discordance)
        proven = _first(path >= needed)
        ends += np.where(proven <= _first(stop >= np.log(1 / _BETA)), proven, plan.max_items).tolist()
    lengths = np.array(ends)
    reached = lengths[lengths < plan.max_items]
    q80 = int(np.quantile(lengths, 0.8, method="higher"))
    return Forecast(
        test=test,
        alpha=alpha,
        effect_points=effect_points,
        share_percent=round(100 * len(reached) / len(lengths)),
        mean=round(float(reached.mean())) + 1 if len(reached) * 2 >= len(lengths) else None,
        q80=q80 + 1 if q80 < plan.max_items else None,
    )


def _first(over: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Index of the first true entry of each row, or the row's length."""
    return np.where(over.any(axis=1), over.argmax(axis=1), over.shape[1])
