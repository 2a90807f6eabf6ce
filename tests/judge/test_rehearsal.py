"""The gate outside of a run: it says what the gate of a run would say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evolvent.judge.rehearsal import rehearse


def drawn(gain: float, differing: float, seed: int) -> tuple[str, int, int]:
    """The ruling on differences with that true gain and share that differs."""
    rng = np.random.default_rng(seed)
    chances = [(differing - gain) / 2, 1 - differing, (differing + gain) / 2]

    def draw(count: int) -> NDArray[np.int8]:
        return rng.choice(np.array([-1, 0, 1], np.int8), count, p=chances)

    return rehearse(draw, 1, 2000, 50)


def test_a_large_gain_is_accepted_and_a_loss_rejected() -> None:
    decision, items, differed = drawn(0.15, 0.2, 0)
    assert decision == "accept"
    assert 0 < differed < items <= 2000
    assert drawn(-0.15, 0.2, 0)[0] == "reject"


def test_no_gain_is_not_accepted() -> None:
    """At a level below .05 a slot, of 40 nulls three acceptances would come in fewer than one of ten thousand runs."""
    assert sum(drawn(0.0, 0.2, seed)[0] == "accept" for seed in range(40)) <= 2


def test_items_that_are_no_difference_decide_nothing() -> None:
    decision, _, differed = rehearse(lambda count: np.zeros(count, np.int8), 1, 300, 50)
    assert (decision in ("reject", "abstain"), differed) == (True, 0)


def test_promotions_before_a_slot_raise_its_level() -> None:
    """As in a run (e-LOND): what is shown by fewer items after some promotions."""

    def needed(promotions: int) -> int:
        return rehearse(lambda count: np.tile([1, 1, -1], count)[:count].astype(np.int8), 1, 600, 30, promotions)[1]

    assert needed(0) > needed(20)
