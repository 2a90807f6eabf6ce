"""Sums of trials and what follows for their groups: by hand where that is short."""

from __future__ import annotations

import pytest
from worlds import episode

from evolvent.memory.sums import Effect, between, pooled, summed, updated, within


def group(*gains: float) -> Effect:
    made = Effect()
    for gain in gains:
        made.learn(episode(gain=round(1000 * gain)))
    return made


def test_groups_that_agree_have_the_assumed_spread_shrunk_and_groups_apart_their_own() -> None:
    """Two groups of four trials with means 0 and 20, trial variance 10: Q = 80, scale 4, so 197.5 between them."""
    alike, apart = [group(*[5.0] * 4)] * 2, [group(*[0.0] * 4), group(*[20.0] * 4)]
    assert between(alike, 10.0, 8.0) == pytest.approx(3 * 8 / 4)
    assert between(apart, 10.0, 8.0) == pytest.approx((197.5 + 3 * 8) / 4)
    assert between([], 10.0, 8.0) == 8.0


def test_an_operator_is_known_by_its_kinds_and_never_better_than_they_agree() -> None:
    """Prior 10 with variance 100; three kinds at 0, one trial of variance 50 each, 50 between kinds."""
    kinds = [group(0.0)] * 3
    assert updated(10.0, 100.0, kinds, 50.0, 50.0) == pytest.approx((2.5, 25.0))
    assert updated(10.0, 100.0, [Effect()], 50.0, 50.0) == pytest.approx((10.0, 100.0))
    _, many = updated(10.0, 100.0, [group(*[0.0] * 1000)], 50.0, 50.0)
    assert many > 30


def test_a_group_within_what_is_above_it() -> None:
    assert within(4.0, 9.0, 25.0, Effect(), 100.0) == (4.0, 34.0)
    mean, variance = within(4.0, 9.0, 25.0, group(*[12.0] * 4), 100.0)
    assert (mean, variance) == pytest.approx((8.0, 25 / 2 + 9 / 4))


def test_the_variance_of_a_trial_begins_at_what_is_assumed() -> None:
    assert pooled([], 100.0) == 100.0
    assert pooled([group(0.0, 20.0)], 100.0) == pytest.approx((200 + 300) / 4)


def test_sums_add_up() -> None:
    assert summed([group(1.0, 2.0), group(3.0)]).mean == 2.0
