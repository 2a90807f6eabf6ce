"""Reference values: TRUST tables, computed independently (confseq, onlineFDR, scipy)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as reference

from evolvent.judge import stats

DIFFERENCES = arrays(np.int8, st.integers(0, 60), elements=st.integers(-1, 1))
SHARES = st.floats(0.01, 0.9)


def paired(rng: np.random.Generator, *, gain: float, discordance: float, shape: tuple[int, int]) -> np.ndarray:
    win, loss = (discordance + gain) / 2, (discordance - gain) / 2
    draws = rng.random(shape)
    return (draws < win).astype(np.int8) - ((draws >= win) & (draws < win + loss)).astype(np.int8)


@pytest.mark.parametrize(("wins", "losses", "e"), [(6, 0, 6.302758), (30, 12, 21.952977), (100, 60, 44.771070)])
def test_grid_mixture_reference(wins: int, losses: int, e: float) -> None:
    assert np.exp(stats.grid_log_e(wins, losses)) == pytest.approx(e, rel=1e-6)


@pytest.mark.parametrize(("wins", "losses", "e"), [(0, 0, 1), (6, 0, 18.142857), (7, 0, 31.875)])
def test_uniform_mixture_reference(wins: int, losses: int, e: float) -> None:
    assert np.exp(stats.uniform_log_e(wins, losses)) == pytest.approx(e, abs=1e-5)


def test_uniform_mixture_is_the_integral() -> None:
    grid = np.linspace(0.5, 1, 200_001)
    likelihood = 2 * np.trapezoid((2 * grid) ** 9 * (2 * (1 - grid)) ** 4, grid)
    assert stats.uniform_log_e(9, 4) == pytest.approx(np.log(likelihood), abs=1e-6)


@pytest.mark.parametrize(("alpha", "uniform", "grid"), [(0.05, 7, 9), (0.01, 9, 13), (0.001, 13, 18), (5e-5, 18, 25)])
def test_fewest_wins_in_a_row(alpha: float, uniform: int, grid: int) -> None:
    wins = np.arange(40)
    for log_e, fewest in ((stats.uniform_log_e(wins, 0 * wins), uniform), (stats.grid_log_e(wins, 0 * wins), grid)):
        assert int((log_e >= np.log(1 / alpha)).argmax()) == fewest


@given(DIFFERENCES)
def test_path_agrees_with_counts(differences: np.ndarray) -> None:
    wins, losses = np.cumsum(differences > 0), np.cumsum(differences < 0)
    np.testing.assert_allclose(stats.superiority_path(differences), stats.grid_log_e(wins, losses), atol=1e-9)


@given(differences=DIFFERENCES, margin=SHARES, discordance=SHARES)
def test_no_bet_can_ruin(differences: np.ndarray, margin: float, discordance: float) -> None:
    for path in (
        stats.superiority_path(differences),
        stats.non_inferiority_path(differences, margin, discordance),
        stats.inferiority_path(differences, margin, discordance),
        stats.futility_path(differences, margin, discordance),
    ):
        assert path.shape == differences.shape
        assert np.isfinite(path).all()


@given(margin=SHARES, discordance=SHARES, split=st.floats(0, 1))
def test_each_bet_is_fair_at_the_edge_of_its_null(margin: float, discordance: float, split: float) -> None:
    """One item, D in {-1, 0, 1} with the null's mean: the expected e-value is 1."""
    outcomes = np.array([[-1], [0], [1]])

    def expected(mean: float, path: np.ndarray) -> float:
        spread = abs(mean) + split * (1 - abs(mean))
        return float(np.dot([(spread - mean) / 2, 1 - spread, (spread + mean) / 2], np.exp(path[:, 0])))

    assert expected(0, stats.superiority_path(outcomes)) == pytest.approx(1)
    assert expected(-margin, stats.non_inferiority_path(outcomes, margin, discordance)) == pytest.approx(1)
    assert expected(-margin, stats.inferiority_path(outcomes, margin, discordance)) == pytest.approx(1)
    assert expected(margin, stats.futility_path(outcomes, margin, discordance)) == pytest.approx(1)


def test_stakes_reference() -> None:
    np.testing.assert_allclose(stats.non_inferiority_stakes(0.05, 0.2), np.array([0.35, 0.7, 1.4]) * 0.05 / 0.2025)
    assert stats.non_inferiority_stakes(0.5, 0.01)[-1] == pytest.approx(1.9)


def test_type_one_error_at_minus_margin() -> None:
    """4000 sequences at D = -m, stopped at the best moment. Correct code fails for fewer than 1 in 1000 seeds."""
    differences = paired(np.random.default_rng(7), gain=-0.05, discordance=0.2, shape=(4000, 800))
    crossed = (stats.non_inferiority_path(differences, 0.05, 0.2).max(axis=-1) >= np.log(20)).sum()
    assert crossed <= reference.binom.ppf(0.999, 4000, 0.05)
    mirrored = (stats.inferiority_path(differences, 0.05, 0.2).max(axis=-1) >= np.log(20)).sum()
    assert mirrored <= reference.binom.ppf(0.999, 4000, 0.05)


def test_type_one_error_of_superiority_and_futility() -> None:
    """As above, superiority at no gain and futility at the smallest gain of interest."""
    rng = np.random.default_rng(8)
    null = stats.superiority_path(paired(rng, gain=0, discordance=0.2, shape=(4000, 800)))
    assert (null.max(axis=-1) >= np.log(20)).sum() <= reference.binom.ppf(0.999, 4000, 0.05)
    worth = stats.futility_path(paired(rng, gain=0.05, discordance=0.2, shape=(4000, 800)), 0.05, 0.2)
    assert (worth.max(axis=-1) >= np.log(10)).sum() <= reference.binom.ppf(0.999, 4000, 0.1)


@pytest.mark.parametrize(("gain", "discordance", "mean"), [(0.05, 0.1, 291), (0.05, 0.2, 577), (0.1, 0.2, 147)])
def test_items_to_accept_agree_with_the_pilot(gain: float, discordance: float, mean: float) -> None:
    """Mean items at .05 within four standard errors (correct code fails for about 1 in 5000 seeds)."""
    path = stats.superiority_path(
        paired(np.random.default_rng(9), gain=gain, discordance=discordance, shape=(300, 5000))
    )
    over = path >= np.log(20)
    items = over.argmax(axis=-1) + 1
    assert over.any(axis=-1).all()
    assert abs(items.mean() - mean) <= 4 * items.std() / np.sqrt(300)


def test_items_to_non_inferiority_agree_with_the_pilot() -> None:
    """Margin 5 points, p_d .2, true difference 0: mean 554 at .05 (as above)."""
    path = stats.non_inferiority_path(
        paired(np.random.default_rng(10), gain=0, discordance=0.2, shape=(300, 5000)), 0.05, 0.2
    )
    items = (path >= np.log(20)).argmax(axis=-1) + 1
    assert abs(items.mean() - 554) <= 4 * items.std() / np.sqrt(300)


def test_epochs_reference() -> None:
    shares = 0.05 * stats.spend_epochs([1, 10, 100, 101, 1000, 10_000])
    np.testing.assert_allclose(shares, [2.5e-4, 2.5e-4, 2.5e-4, 4.1667e-5, 3.125e-6, 1.3951e-7], rtol=1e-4)
    spent = stats.spend_epochs(np.arange(1, 1001)).sum()
    assert spent == pytest.approx(0.765, abs=0.005)


def test_javanmard_reference() -> None:
    shares = 0.05 * stats.spend_javanmard([1, 10, 100, 1000, 10_000])
    np.testing.assert_allclose(shares, [2.676e-3, 2.0e-4, 2.1e-5, 1.9e-6, 1.7e-7], rtol=0.03)
    # onlineFDR's alpha spending rejects 1, 0, 1 here.
    assert (np.array([1e-4, 0.1, 1e-4]) <= 0.05 * stats.spend_javanmard([1, 2, 3])).tolist() == [True, False, True]


@given(st.integers(1, 20))
def test_epochs_never_overspend(doublings: int) -> None:
    assert stats.spend_epochs(np.arange(1, 100 * 2 ** min(doublings, 12))).sum() < 1


def test_intervals_agree_with_scipy() -> None:
    for x, n in ((0, 10), (3, 10), (10, 10), (700, 1000)):
        exact = reference.binomtest(x, n).proportion_ci(method="exact")
        score = reference.binomtest(x, n).proportion_ci(method="wilson")
        np.testing.assert_allclose([float(v) for v in stats.clopper_pearson(x, n)], exact, atol=1e-9)
        np.testing.assert_allclose([float(v) for v in stats.wilson(x, n)], score, atol=1e-9)


@given(st.lists(st.integers(0, 200), min_size=4, max_size=4))
def test_newcombe_holds_the_estimate_and_turns_with_the_sides(counts: list[int]) -> None:
    both, candidate, other, neither = counts
    low, high = stats.newcombe_paired(both, candidate, other, neither)
    assert -1 <= low <= high <= 1
    if sum(counts):
        assert low - 1e-9 <= (candidate - other) / sum(counts) <= high + 1e-9
    swapped = stats.newcombe_paired(both, other, candidate, neither)
    np.testing.assert_allclose(swapped, (-high, -low), atol=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.sampled_from([0.8, 0.9, 0.95]))
def test_paired_interval_is_students(values: list[float], level: float) -> None:
    low, mean, high = stats.paired_interval(values, level)
    assert mean == pytest.approx(np.mean(values))
    error = np.std(values, ddof=1) / len(values) ** 0.5
    expected = reference.t.ppf((1 + level) / 2, len(values) - 1) * error
    assert (mean - low, high - mean) == (pytest.approx(expected, abs=1e-12), pytest.approx(expected, abs=1e-12))


def test_one_difference_has_no_interval() -> None:
    assert stats.paired_interval([0.3]) == (-np.inf, 0.3, np.inf)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="differences"):
        stats.superiority_path([0, 2])
    with pytest.raises(ValueError, match="differences"):
        stats.superiority_path([float("nan")])
    with pytest.raises(ValueError, match="margin"):
        stats.non_inferiority_path([0], 0, 0.1)
    with pytest.raises(ValueError, match="slot"):
        stats.spend_epochs(0)
