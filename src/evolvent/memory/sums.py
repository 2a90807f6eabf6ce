"""Running sums of trials, and what follows from them for the mean of a group: shrinkage by the method of moments.

Whole numbers, so that sums are the same in whatever order they were made.

Not here: which groups there are (`effects.py`).

References:
    DerSimonian and Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials 1986 (spread between groups).
    Efron and Morris, "Stein's estimation rule and its competitors", JASA 1973 (shrinkage).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evolvent.memory.episodes import ACCEPTED, MILLI, Episode, whole

__all__ = ["Effect", "between", "pooled", "summed", "updated", "within"]

_WORTH = 3.0  # trials, or groups, that such an assumption is worth


@dataclass(kw_only=True)
class Effect:
    """Running sums of one arm in one regime on one class.

    Attributes:
        n: screened proposals.
        total: sum of dev gains on the target, milli-points.
        squares: sum of squared gains, in points (rounded), for the spread.
        accepted: promotions by the gate.
        judged: verdicts.
        builds: builds that cost something; `mflops`: sum of their costs, millions of operations.
    """

    n: int = 0
    total: int = 0
    squares: int = 0
    accepted: int = 0
    judged: int = 0
    builds: int = 0
    mflops: int = 0

    def learn(self, episode: Episode) -> None:
        """Count one episode."""
        if episode.gain is not None:
            self.n += 1
            self.total += episode.gain
            self.squares += round((episode.gain / MILLI) ** 2)
        self.judged += int(episode.judged)
        self.accepted += int(episode.outcome == ACCEPTED)
        self.builds += int(episode.mflops > 0)
        self.mflops += episode.mflops

    def withdraw(self, gain: int) -> None:
        """An episode that was accepted with this gain, milli-points, is taken to have been refused without one."""
        self.total -= gain
        self.squares -= round((gain / MILLI) ** 2)
        self.accepted -= 1

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Effect:
        """From JSON.

        Raises:
            TypeError, ValueError, AttributeError: it is something else, or counts less than nothing.
        """
        made = cls(**{name: whole(value) for name, value in data.items()})
        if below := [name for name, value in made.plain().items() if value < 0 and name != "total"]:
            raise ValueError(f"below 0: {', '.join(below)}")
        return made

    @property
    def mean(self) -> float:
        """Mean gain, points."""
        return self.total / MILLI / max(1, self.n)

    def plain(self) -> dict[str, int]:
        """As JSON."""
        return dict(vars(self))


def summed(effects: Iterable[Effect]) -> Effect:
    """Sums over several groups."""
    total = Effect()
    for effect in effects:
        for name, value in effect.plain().items():
            setattr(total, name, getattr(total, name) + value)
    return total


def updated(mean: float, variance: float, kinds: Iterable[Effect], trial: float, spread: float) -> tuple[float, float]:
    """Normal prior of an operator's mean, and trials of its kinds, whose means differ by `spread`: its posterior."""
    weighed = [(1 / (trial / seen.n + spread), seen.mean) for seen in kinds if seen.n]
    precision = 1 / variance + sum(weight for weight, _ in weighed)
    return (mean / variance + sum(weight * own for weight, own in weighed)) / precision, 1 / precision


def within(above: float, doubt: float, spread: float, seen: Effect, trial: float) -> tuple[float, float]:
    """Mean of a group drawn with variance `spread` about a mean known to be `above` with variance `doubt`."""
    weight = spread / (spread + trial / seen.n) if seen.n else 0.0
    return above + weight * (seen.mean - above), spread * (1 - weight) + (1 - weight) ** 2 * doubt


def pooled(groups: Sequence[Effect], assumed: float) -> float:
    """Variance of a trial about its group's mean, with `_WORTH` trials of the assumed one."""
    squares = sum(max(0.0, e.squares - e.n * e.mean**2) for e in groups)
    free = sum(max(0, e.n - 1) for e in groups)
    return (squares + _WORTH * assumed) / (free + _WORTH)


def between(groups: Sequence[Effect], trial: float, assumed: float) -> float:
    """Variance of the groups' true means, by moments (DerSimonian-Laird), with `_WORTH` groups of the assumed one."""
    seen = [e for e in groups if e.n]
    n = sum(e.n for e in seen)
    found, free = 0.0, len(seen) - 1
    if free > 0:
        mean = sum(e.total for e in seen) / MILLI / n
        q = sum(e.n * (e.mean - mean) ** 2 for e in seen) / trial
        scale = n - sum(e.n**2 for e in seen) / n
        found = max(0.0, (q - free) / scale) * trial
    return (max(free, 0) * found + _WORTH * assumed) / (max(free, 0) + _WORTH)
