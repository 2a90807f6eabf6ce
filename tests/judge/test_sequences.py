"""Confidence sequences: the published package's values (confseq, Howard et al.), and coverage at all times."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from evolvent.judge import sequences
from evolvent.judge.sequences import bernoulli_sequence, beta_binomial_mixture, lower_bound, normal_mixture


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


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_the_true_rate_is_rarely_excluded_at_any_time(rate: float) -> None:
    rng, runs, alpha = np.random.default_rng(5), 500, 0.1
    n = np.arange(1, 1001)
    total = np.cumsum(rng.random((runs, 1000)) < rate, axis=-1) - n * rate
    spread = rate * (1 - rate)
    log_e = beta_binomial_mixture(total, spread * n, spread * 100, rate, 1 - rate, one_sided=False)
    missed = int((log_e >= math.log(1 / alpha)).any(axis=-1).sum())
    assert stats.binomtest(missed, runs, alpha, alternative="greater").pvalue > 0.01


@pytest.mark.parametrize(("gain", "discordance"), [(0.05, 0.2), (0.0, 0.1), (-0.03, 0.3)])
def test_a_lower_bound_rarely_exceeds_the_mean_and_comes_near(gain: float, discordance: float) -> None:
    rng, runs, alpha = np.random.default_rng(6), 200, 0.1
    draws = rng.random((runs, 1500))
    values = np.where(draws < (discordance + gain) / 2, 1, np.where(draws < discordance, -1, 0))
    bounds = lower_bound(values, alpha)
    missed = int((bounds > gain).sum())
    assert stats.binomtest(missed, runs, alpha, alternative="greater").pvalue > 0.01
    assert gain - 0.05 < bounds.mean() < gain
    assert (lower_bound(values[:, :700], alpha) <= bounds + 1e-9).all(), "more items never take a bound back"


@pytest.mark.parametrize("successes", [0, 1])
def test_ends_that_were_not_tested_are_not_claimed(successes: int) -> None:
    assert bernoulli_sequence(successes, 50, tuned_for=50)[0] == 0.0
    assert bernoulli_sequence(50 - successes, 50, tuned_for=50)[1] == 1.0


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="in \\[-1, 1\\]"):
        lower_bound([0.0, 2.0], 0.05)
    with pytest.raises(ValueError, match="level"):
        lower_bound([0.0], 1.0)
    with pytest.raises(ValueError, match="bernoulli_sequence"):
        bernoulli_sequence(3, 2, tuned_for=10)
