"""Confidence sequences: the published package's values (confseq, Howard et al.), and coverage at all times."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from evolvent.judge import sequences
from evolvent.judge.sequences import bernoulli_sequence, beta_binomial_mixture, lower_path, normal_mixture


def test_tuning_and_boundaries_reference() -> None:
    assert sequences.tuning(100, 0.05, one_sided=False) == pytest.approx(12.60056, abs=1e-5)
    assert normal_mixture(10, 100, 100) == pytest.approx(-0.06502391, abs=1e-8)
    assert beta_binomial_mixture(10, 100, 100, 0.2, 0.8) == pytest.approx(-0.07134019, abs=1e-8)
    assert beta_binomial_mixture(10, 100, 100, 0.2, 0.8, one_sided=False) == pytest.approx(-0.6941012, abs=1e-7)


@pytest.mark.parametrize(("one_sided", "root"), [(True, 28.41238), (False, 31.4308)])
def test_boundary_reference(one_sided: bool, root: float) -> None:
    def above(s: float) -> float:
        return float(beta_binomial_mixture(s, 100, 100, 0.2, 0.8, one_sided=one_sided)) - math.log(20)

    assert optimize.brentq(above, 0.1, 100) == pytest.approx(root, abs=1e-4)


@pytest.mark.parametrize(
    ("successes", "trials", "tuned_for", "low", "high"),
    [(700, 1000, 100, 0.651629, 0.745949), (15, 50, 50, 0.129556, 0.511896)],
)
def test_bernoulli_sequence_reference(successes: int, trials: int, tuned_for: int, low: float, high: float) -> None:
    assert bernoulli_sequence(successes, trials, tuned_for=tuned_for) == pytest.approx((low, high), abs=2e-6)


@given(n=st.integers(0, 400), share=st.floats(0, 1), tuned_for=st.integers(1, 1000))
def test_bernoulli_sequence_holds_the_rate_and_mirrors(n: int, share: float, tuned_for: int) -> None:
    x = round(n * share)
    low, high = bernoulli_sequence(x, n, tuned_for=tuned_for)
    assert 0 <= low <= (x / n if n else 0.5) <= high <= 1
    mirrored = bernoulli_sequence(n - x, n, tuned_for=tuned_for)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_bernoulli_sequence_misses_rarely_at_any_time() -> None:
    rng, missed, runs = np.random.default_rng(5), 0, 200
    for rate in (0.1, 0.5):
        for _ in range(runs // 2):
            wins = np.cumsum(rng.random(300) < rate)
            ends = (bernoulli_sequence(int(wins[n - 1]), n, tuned_for=100, alpha=0.1) for n in range(5, 301, 20))
            missed += any(not low <= rate <= high for low, high in ends)
    assert stats.binomtest(missed, runs, 0.1, alternative="greater").pvalue > 0.01


def test_lower_path_never_exceeds_the_mean_but_rarely_and_comes_near() -> None:
    rng = np.random.default_rng(6)
    for gain, discordance in ((0.05, 0.2), (0.0, 0.1), (-0.03, 0.3)):
        draws = rng.random((150, 2000))
        values = np.where(draws < (discordance + gain) / 2, 1, np.where(draws < discordance, -1, 0))
        path = lower_path(values, 0.1)
        assert (np.diff(path) >= 0).all()
        missed = int((path[:, -1] > gain).sum())
        assert stats.binomtest(missed, 150, 0.1, alternative="greater").pvalue > 0.01
        assert path[:, -1].mean() > gain - 0.05


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="in \\[-1, 1\\]"):
        lower_path([0.0, 2.0], 0.05)
    with pytest.raises(ValueError, match="level"):
        lower_path([0.0], 1.0)
    with pytest.raises(ValueError, match="bernoulli_sequence"):
        bernoulli_sequence(3, 2, tuned_for=10)
