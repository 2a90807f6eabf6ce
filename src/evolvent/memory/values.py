"""What each value of an arm's parameters adds to its gain, all of them judged together.

A trial shows several values at once. Judged one by one, a value that stood beside a ruinous one would be blamed with
it, and hardly be tried again. Here gains are regressed on all values: each adds something of its own, drawn about what
is expected of it; the posterior is normal and says which values are not told apart yet.

In plain Python, so that draws are the same on each machine.

References:
    Lindley and Smith, "Bayes estimates for the linear model", Journal of the Royal Statistical Society B 1972.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

__all__ = ["Shifts", "judged"]


@dataclass(frozen=True, kw_only=True)
class Shifts:
    """What values add, points: a normal posterior.

    Attributes:
        names: of the values.
        mean: of each.
        factor: lower triangle whose product with its transpose is the posterior's precision.
    """

    names: Sequence[str]
    mean: Sequence[float]
    factor: Sequence[Sequence[float]]

    def of(self, values: Iterable[str]) -> tuple[float, float]:
        """Mean and variance of what these values add together."""
        chosen = set(values)
        marks = [float(name in chosen) for name in self.names]
        whitened = _forward(self.factor, marks)
        return sum(m * mark for m, mark in zip(self.mean, marks, strict=True)), sum(x * x for x in whitened)

    @property
    def means(self) -> dict[str, float]:
        """What each value adds, on average."""
        return dict(zip(self.names, self.mean, strict=True))

    def draw(self, rng: random.Random) -> dict[str, float]:
        """One draw of what each value adds, for all together."""
        noise = _backward(self.factor, [rng.gauss(0.0, 1.0) for _ in self.names])
        return {name: mean + x for name, mean, x in zip(self.names, self.mean, noise, strict=True)}


def judged(
    names: Sequence[str],
    expected: Sequence[float],
    spread: Sequence[float],
    surplus: Sequence[float],
    together: Callable[[str, str], int],
    trial: float,
) -> Shifts:
    """The posterior of what values add.

    Args:
        names: of the values.
        expected: of each before any trial, points.
        spread: variance about that, points squared; above 0.
        surplus: of each, summed over its trials: gain beyond the arm's mean, points.
        together: trials that show both of two values; of one and the same, all its trials. Where these cannot be the
            counts of any trials, each value is judged by itself.
        trial: variance of one trial, points squared.
    """
    precision = [[together(one, other) / trial for other in names] for one in names]
    for place, variance in enumerate(spread):
        precision[place][place] += 1 / variance
    weighed = [e / variance + s / trial for e, variance, s in zip(expected, spread, surplus, strict=True)]
    try:
        factor = _cholesky(precision)
    except ValueError:  # counts of which some were forgotten: each value by itself
        alone = [[x if i == j else 0.0 for j, x in enumerate(row)] for i, row in enumerate(precision)]
        factor = _cholesky(alone)
    return Shifts(names=names, mean=_backward(factor, _forward(factor, weighed)), factor=factor)


def _cholesky(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    factor: list[list[float]] = []
    for i, row in enumerate(matrix):
        new: list[float] = []
        for j in range(i + 1):
            rest = row[j] - sum(a * b for a, b in zip(new, factor[j] if j < i else new, strict=False))
            if i == j and rest <= 1e-9 * row[i]:
                raise ValueError("not positive definite")
            new.append(rest / factor[j][j] if j < i else sqrt(rest))
        factor.append(new)
    return factor


def _forward(factor: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Solves ``factor x = right``."""
    found: list[float] = []
    for row, value in zip(factor, right, strict=True):
        found.append((value - sum(a * b for a, b in zip(row, found, strict=False))) / row[-1])
    return found


def _backward(factor: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Solves ``transpose(factor) x = right``."""
    found = list(right)
    for i in reversed(range(len(factor))):
        found[i] = (found[i] - sum(factor[k][i] * found[k] for k in range(i + 1, len(factor)))) / factor[i][i]
    return found
