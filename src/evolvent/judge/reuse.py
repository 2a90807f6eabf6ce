"""Items that are used again, items that come in families, and banks that run out.

Fresh items keep a test exactly valid. Sets that people made cannot be drawn afresh, so their use has a price: each
answer that was let out tells something of them. A set answers a stated number of questions with a stated number of
accepts, pays for all the ways in which these could have fallen (union bound), and is then retired.

Not here: drawing fresh items (`bench.py`), decisions (`gate.py`).

References:
    Dwork et al., "The reusable holdout", arXiv:1506.02629, for the problem; the price here is the plain union bound.
    Waudby-Smith and Ramdas, "Confidence sequences for sampling without replacement", arXiv:2006.04347 (`bank_path`).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ReusedSet", "bank_path", "cluster_means", "reuse_level"]

Floats = NDArray[np.float64]
_STAKES = (0.06, 0.12, 0.25, 0.4, 0.6)
_CAP = 0.95
_ROUNDING = 1e-9  # sums of decimals: what rounding seems to exclude is possible


def reuse_level(alpha: float, questions: int, accepts: int) -> float:
    """Level of each test on a set that answers `questions` questions and says yes at most `accepts` times.

    Only the answers leave the judge, so what the asker does is a tree that branches at each answer. It has no more
    places at which a yes can be given than ``sum_{1 <= j <= accepts} C(questions, j)``; a union over these costs that
    factor. One more is charged, for j = 0, so that a set that may never say yes has a level too.

    Args:
        alpha: chance, over the set's whole life, that any yes is false.
        questions: tests that may be asked.
        accepts: yeses after which it is retired.
    """
    if not 0 < alpha < 1 or not 0 <= accepts <= questions:
        raise ValueError(f"reuse_level: level {alpha}, {accepts} accepts of {questions} questions")
    histories = sum(math.comb(questions, j) for j in range(accepts + 1))
    return float(Fraction(alpha) / histories)


@dataclass(frozen=True, kw_only=True)
class ReusedSet:
    """The account of one fixed set. Each method gives a new account; nothing is forgotten.

    Attributes:
        alpha: chance, over its life, that any yes is false.
        questions: tests that may be asked.
        accepts: yeses that it may give.
        asked: tests asked so far.
        accepted: yeses given so far.
    """

    alpha: float
    questions: int
    accepts: int
    asked: int = 0
    accepted: int = 0

    @property
    def level(self) -> float:
        """Level of its next test; 0 once it is retired, at which nothing is ever proven."""
        return 0.0 if self.retired else reuse_level(self.alpha, self.questions, self.accepts)

    @property
    def retired(self) -> bool:
        """Whether it has answered all it may."""
        return self.asked >= self.questions or self.accepted >= self.accepts

    def answered(self, accept: bool) -> ReusedSet:
        """The account after one more answer.

        Raises:
            ValueError: it is retired, so that the answer could not be trusted.
        """
        if self.retired:
            raise ValueError(f"reused set: retired after {self.asked} questions and {self.accepted} accepts")
        return replace(self, asked=self.asked + 1, accepted=self.accepted + bool(accept))


def cluster_means(differences: ArrayLike, families: Sequence[Hashable]) -> Floats:
    """One difference a family, their mean, in the order in which families first appear.

    Items of one template stand or fall together; counted singly, they would be taken for more evidence than they are.
    What is then tested is the mean over families, each with the same weight. Read it only when the families that it
    holds are complete: another item of a family changes its mean.

    Args:
        differences: one a item, in [-1, 1].
        families: of each item.
    """
    values = np.asarray(differences, float)
    if values.shape != (len(families),):
        raise ValueError(f"cluster_means: {values.shape} differences of {len(families)} items")
    numbers = {family: i for i, family in enumerate(dict.fromkeys(families))}
    index = np.array([numbers[family] for family in families], int)
    return np.bincount(index, values, len(numbers)) / np.bincount(index, minlength=len(numbers))


def bank_path(differences: ArrayLike, size: int, null_mean: float = 0.0) -> Floats:
    """Evidence on a finite bank drawn without replacement: H0, the mean of all `size` items is at most `null_mean`.

    Each item drawn says what is left: given the past, the rest has mean ``(N m - S) / (N - t + 1)`` under the null, and
    that is bet against. So a bank that is nearly used up proves more than fresh items would.

    Args:
        differences: of the items drawn so far, in random order, along the last axis.
        size: items in the bank.
        null_mean: m.

    Returns:
        Running log e, same shape. Where the past alone contradicts the null (the rest would have to have a mean below
        -1), it is infinite.

    Raises:
        ValueError: more items than the bank holds, or one outside [-1, 1].
    """
    values = np.asarray(differences, float)
    n = values.shape[-1]
    if n > size or (values.size and not (np.abs(values) <= 1).all()):
        raise ValueError(f"bank_path: {n} items of {size}, expected values in [-1, 1]")
    before = np.cumsum(values, axis=-1) - values
    rest = (size * null_mean - before) / (size - np.arange(n))
    impossible = np.maximum.accumulate(rest < -1 - _ROUNDING, axis=-1)
    mean = np.clip(rest, -1, 1)
    logs = [
        np.cumsum(np.log1p(np.minimum(stake, _CAP / (1 + np.maximum(mean, -0.99))) * (values - mean)), axis=-1)
        for stake in _STAKES
    ]
    log_e = np.logaddexp.reduce(np.stack(logs, axis=-1), axis=-1) - math.log(len(_STAKES))
    return np.where(impossible, np.inf, log_e)
