"""Detectors: false alarms within what they promise, delays as the pilot measured them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from evolvent.judge import detect
from evolvent.judge.detect import alarm_at, canary_path, cusum_path, fall_stake, shiryaev_roberts_path

STAKE = fall_stake(0.9, 0.05)


def good(rng: np.random.Generator, rate: float, *shape: int) -> np.ndarray[Any, Any]:
    return (rng.random(shape) < rate).astype(float)


def test_the_stake_is_the_pilots() -> None:
    assert pytest.approx(0.5556, abs=1e-4) == STAKE


def test_statistics_are_their_recursions() -> None:
    x = good(np.random.default_rng(1), 0.8, 60)
    m_sr, m_cusum = 0.0, 0.0
    for t, factor in enumerate(1 + STAKE * (0.9 - x)):
        m_sr, m_cusum = (m_sr + 1) * factor, max(m_cusum, 1) * factor
        assert np.exp(shiryaev_roberts_path(x, 0.9, STAKE)[t]) == pytest.approx(m_sr)
        assert np.exp(cusum_path(x, 0.9, STAKE)[t]) == pytest.approx(m_cusum)
    assert np.exp(canary_path(x, 0.9, STAKE)[-1]) == pytest.approx(np.prod(1 + STAKE * (0.9 - x)))


@pytest.mark.parametrize(("path", "delay"), [(shiryaev_roberts_path, 100), (cusum_path, 187)])
def test_delay_after_a_fall_agrees_with_the_pilot(path: Callable[..., Any], delay: float) -> None:
    found = alarm_at(path(good(np.random.default_rng(2), 0.8, 2000, 3000), 0.9, STAKE), 1e-3)
    assert (found > 0).all()
    assert found.mean() == pytest.approx(delay, rel=0.06)


def test_a_canary_falls_at_once_and_rarely_falsely() -> None:
    rng = np.random.default_rng(3)
    assert alarm_at(canary_path(good(rng, 0.7, 2000, 1000), 0.9, STAKE), 1 / 200).mean() == pytest.approx(67, rel=0.06)
    false = int((alarm_at(canary_path(good(rng, 0.9, 2000, 3000), 0.9, STAKE), 1 / 200) > 0).sum())
    assert stats.binomtest(false, 2000, 1 / 200, alternative="greater").pvalue > 0.01


def test_mean_time_to_a_false_alarm_is_what_is_promised() -> None:
    found = alarm_at(shiryaev_roberts_path(good(np.random.default_rng(4), 0.9, 300, 8000), 0.9, STAKE), 1 / 500)
    times = np.where(found > 0, found, 8000)  # cut off: the true mean is larger
    assert times.mean() > 500


def test_a_concurrent_control_is_a_baseline() -> None:
    rng = np.random.default_rng(5)
    control, canary = good(rng, 0.7, 500, 800), good(rng, 0.7, 500, 800)
    false = int((alarm_at(canary_path((1 + canary - control) / 2, 0.5, 0.3), 0.05) > 0).sum())
    assert stats.binomtest(false, 500, 0.05, alternative="greater").pvalue > 0.01
    assert (alarm_at(canary_path((1 + good(rng, 0.4, 50, 800) - control[:50]) / 2, 0.5, 0.3), 0.05) > 0).all()


def test_a_control_that_has_not_failed_yet_is_a_baseline_too() -> None:
    path = canary_path([1.0, 0.0, 1.0], np.ones(3), 0.9)
    assert np.exp(path[-1]) == pytest.approx(1.9)
    assert alarm_at(path[:0], 0.05) == 0
    with pytest.raises(ValueError, match="stake"):
        canary_path([1.0], np.ones(1), 1.05)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="outcomes in"):
        canary_path([2.0], 0.9, STAKE)
    with pytest.raises(ValueError, match="stake"):
        canary_path([1.0], 0.1, 1.2)
    with pytest.raises(ValueError, match="fall"):
        detect.fall_stake(0.9, 0.95)
