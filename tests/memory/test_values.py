"""Values of parameters, judged together: the posterior of a linear model, and what it is for."""

from __future__ import annotations

import random

import numpy as np
import pytest
from worlds import episode

from evolvent.memory.effects import Case, Effects, Prior
from evolvent.memory.values import Shifts, judged

NAMES = ("a=1", "a=2", "b=1")
COUNTS = {("a=1", "a=1"): 3, ("a=2", "a=2"): 2, ("b=1", "b=1"): 4, ("a=1", "b=1"): 3, ("a=2", "b=1"): 1}


def together(one: str, other: str) -> int:
    return COUNTS.get((one, other), COUNTS.get((other, one), 0))


def posterior() -> Shifts:
    return judged(NAMES, [1.0, -2.0, 0.5], [4.0, 4.0, 9.0], [6.0, -3.0, 2.0], together, 10.0)


def test_it_is_the_normal_posterior_of_the_linear_model() -> None:
    precision = np.array([[together(i, j) for j in NAMES] for i in NAMES]) / 10 + np.diag([1 / 4, 1 / 4, 1 / 9])
    mean = np.linalg.solve(precision, np.array([1 / 4, -2 / 4, 0.5 / 9]) + np.array([6, -3, 2]) / 10)
    found = posterior()
    assert found.mean == pytest.approx(list(mean))
    covariance = np.linalg.inv(precision)
    marks = np.array([1, 0, 1])
    assert found.of(["a=1", "b=1"]) == pytest.approx((mean[0] + mean[2], marks @ covariance @ marks))
    assert found.of([]) == (0.0, 0.0)


def test_draws_have_its_mean_and_covariance() -> None:
    rng, found = random.Random(0), posterior()
    drawn = np.array([list(found.draw(rng).values()) for _ in range(20_000)])
    factor = np.array([[*row, *[0.0] * (len(NAMES) - len(row))] for row in found.factor])
    covariance = np.linalg.inv(factor @ factor.T)
    assert drawn.mean(0) == pytest.approx(found.mean, abs=0.06)
    assert np.cov(drawn.T) == pytest.approx(covariance, abs=0.15)


def test_a_value_that_stood_beside_a_ruinous_one_is_not_blamed() -> None:
    """Share 0 ruins every trial; size 2 was tried twice, by chance with share 0, and adds nothing."""
    rng, made = random.Random(1), Effects()
    for share, size, times in ((0, 1, 6), (80, 1, 20), (0, 2, 2)):
        for _ in range(times):
            gain = (15.0 if share else -35.0) + rng.gauss(0, 5)
            made.learn(episode(params={"share": share, "size": size}, gain=round(1000 * gain)))

    def mean(share: int, size: int) -> float:
        case = Case(band="middle", error="wrong_letters")
        return made.estimate("gold", {"share": share, "size": size}, case, Prior(points=2.0)).mean

    assert mean(0, 1) < -15
    assert mean(80, 2) > 5, "judged by itself, size 2 loses 35 points"


def test_nothing_asked_and_nothing_seen_is_nothing() -> None:
    none = Effects()
    assert none.estimate("gold", {}, Case(band="low"), Prior(points=2.0)).mean == 2.0
    none.learn(episode(params={"share": 1}, gain=None))
    assert none.pairs == {}
    none.learn(episode(params={"share": 1, "size": 2, "rate": "x=1"}, gain=5000))
    assert len(none.pairs) == 3
    assert Effects.from_plain(none.plain()).plain() == none.plain()
    none.forget("gold")
    assert none.plain() == Effects().plain()


def test_counts_that_no_trials_could_have_are_no_crash() -> None:
    """A memory that forgot some pairs, or was edited: each value is judged by itself."""

    def strange(one: str, other: str) -> int:
        return 5 if one == other else 5000

    found = judged(NAMES, [0.0] * 3, [4.0] * 3, [10.0, 0.0, 0.0], strange, 10.0)
    assert found.mean == pytest.approx([(10 / 10) / (5 / 10 + 1 / 4), 0.0, 0.0])


def test_memory_of_ever_new_values_stays_bounded_and_goes_on() -> None:
    made = Effects()
    for number in range(700):
        made.learn(episode(params={"x": number, "y": number % 3, "z": number % 2}, gain=1000 * (number % 7)))
    assert len(made.values) <= 512
    assert len(made.pairs) <= 4096
    choices = [{"x": x, "y": y, "z": z} for x in (1, 699) for y in range(3) for z in range(2)]
    drawn = made.draws("gold", choices, Case(band="middle"), Prior(points=2.0), random.Random(0))
    assert all(abs(both) < 100 and abs(of_arm) < 100 for both, of_arm in drawn)
