"""Items used again, families of items, banks that run out: prices and error rates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evolvent.judge.reuse import ReusedSet, bank_path, cluster_means, reuse_level
from evolvent.judge.stats import superiority_path


@pytest.mark.parametrize(("questions", "accepts", "times"), [(100, 5, 7.1), (1000, 10, 19), (1000, 50, 66)])
def test_price_of_reuse_reference(questions: int, accepts: int, times: float) -> None:
    """Items grow as the log of the price: `times` as many as one test at .05 needs."""
    level = reuse_level(0.05, questions, accepts)
    assert math.log(1 / level) / math.log(1 / 0.05) == pytest.approx(times, rel=0.03)


@given(questions=st.integers(1, 40), accepts=st.integers(1, 40), yes=st.lists(st.booleans(), max_size=60))
def test_an_account_never_answers_more_than_it_may(questions: int, accepts: int, yes: list[bool]) -> None:
    accepts = min(questions, accepts)
    account = ReusedSet(alpha=0.05, questions=questions, accepts=accepts)
    for answer in yes:
        if account.retired:
            assert account.level == 0
            with pytest.raises(ValueError, match="retired"):
                account.answered(answer)
            break
        assert account.level == reuse_level(0.05, questions, accepts)
        account = account.answered(answer)
    assert account.asked <= questions
    assert account.accepted <= accepts


def test_a_majority_of_answers_does_not_fool_a_set_that_charges_for_them() -> None:
    """An asker who keeps what was accepted and goes on from there: false yeses stay within alpha."""
    rng, false, runs = np.random.default_rng(8), 0, 200
    for _ in range(runs):
        account, truth = ReusedSet(alpha=0.1, questions=60, accepts=3), rng.choice([-1, 1], 400)
        guess = rng.choice([-1, 1], 400)
        while not account.retired:
            change = np.where(rng.random(400) < 0.15, -guess, guess)  # no change is better on what was not seen
            won = ((change == truth).astype(int) - (guess == truth)).astype(float)
            accept = bool(superiority_path(won)[-1] >= math.log(1 / account.level))
            guess, false = (change, false + 1) if accept else (guess, false)
            account = account.answered(accept)
    assert false <= stats.binom.ppf(0.99, runs, 0.1)


def test_families_count_once() -> None:
    assert cluster_means([1, 0, -1, 1, 1], "abacc").tolist() == [0, 0, 1]
    assert cluster_means([], "").tolist() == []
    with pytest.raises(ValueError, match="2 items"):
        cluster_means([1.0], "ab")


def test_families_that_stand_or_fall_together_do_not_promote() -> None:
    rng, runs = np.random.default_rng(9), 300
    families = rng.choice([-1, 0, 1], (runs, 60), p=[0.15, 0.7, 0.15])
    items = np.repeat(families, 10, axis=1)
    names = np.repeat(np.arange(60), 10).tolist()
    single = (superiority_path(items)[:, :].max(axis=1) >= math.log(20)).mean()
    means = np.array([cluster_means(row, names) for row in items])
    together = int((superiority_path(means).max(axis=1) >= math.log(20)).sum())
    assert single > 0.1, "counted singly, far more than 5 % are promoted"
    assert stats.binomtest(together, runs, 0.05, alternative="greater").pvalue > 0.01


def test_a_bank_errs_rarely_and_proves_more_than_fresh_items_would() -> None:
    rng, runs, size = np.random.default_rng(10), 400, 200
    null = np.repeat([1, -1, 0], [30, 30, 140]).astype(float)
    better = np.repeat([1, -1, 0], [32, 14, 154]).astype(float)
    nulls = np.array([rng.permutation(null) for _ in range(runs)])
    false = int((bank_path(nulls, size).max(axis=1) >= math.log(20)).sum())
    assert stats.binomtest(false, runs, 0.05, alternative="greater").pvalue > 0.01
    drawn = np.array([rng.permutation(better) for _ in range(runs)])
    found = (bank_path(drawn, size).max(axis=1) >= math.log(20)).mean()
    assert found == 1, "a whole bank leaves no doubt about itself"
    assert (superiority_path(drawn).max(axis=1) >= math.log(20)).mean() < 0.7


def test_a_bank_that_is_contradicted_needs_no_more_bets() -> None:
    path = bank_path([1.0] * 8, 10)
    assert np.isinf(path[-1])
    assert not np.isinf(path[0])
    with pytest.raises(ValueError, match="3 items of 2"):
        bank_path([0.0] * 3, 2)


@pytest.mark.parametrize(("losses", "wins", "ties"), [(20, 13, 67), (100, 89, 110)])
def test_rounding_proves_nothing_at_the_edge_of_the_null(losses: int, wins: int, ties: int) -> None:
    rng, size, runs = np.random.default_rng(11), losses + wins + ties, 400
    bank = np.repeat([-1.0, 1.0, 0.0], [losses, wins, ties])
    drawn = np.array([rng.permutation(bank) for _ in range(runs)])
    path = bank_path(drawn, size, null_mean=float(bank.mean()))
    assert not np.isinf(path).any(), "the null is true: nothing contradicts it"
    false = int((path.max(axis=1) >= math.log(20)).sum())
    assert stats.binomtest(false, runs, 0.05, alternative="greater").pvalue > 0.01


def test_a_large_account_has_a_level() -> None:
    assert 0 <= reuse_level(0.05, 5000, 2000) < 1e-300
