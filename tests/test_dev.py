"""Screening: what is worth a question to the judge."""

from __future__ import annotations

import pytest

from evolvent.dev import worth_judging
from evolvent.plan import ChangePlan

PLAN = ChangePlan(target="a", protected={"a": 5, "b": 8})


@pytest.mark.parametrize(
    ("target", "other", "worth"),
    [
        ((10, 4), (0, 0), True),
        ((4, 4), (0, 0), False),
        ((0, 10), (0, 0), False),
        ((10, 4), (0, 32), True),  # 16 points down is twice the margin, not over it
        ((10, 4), (0, 33), False),
    ],
)
def test_more_wins_than_losses_and_no_plain_loss(target: tuple[int, int], other: tuple[int, int], worth: bool) -> None:
    counts = {
        skill: {"n": 200, "wins": wins, "losses": losses}
        for skill, (wins, losses) in {"a": target, "b": other, "unprotected": (0, 200)}.items()
    }
    assert worth_judging(counts, PLAN) == worth
