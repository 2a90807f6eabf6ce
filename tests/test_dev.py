"""Screening: what is worth a question to the judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from evolvent.dev import DevSet, screen, worth_judging
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


class Outcomes:
    """Dev problems with outcomes by version, in place of rollouts."""

    def __init__(self, **solved: str) -> None:
        self.solved = solved

    def run(self, candidate: Mapping[str, Any], asked_of: str) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
        assert asked_of == "parent"
        return {"a": self.solved[candidate["name"]]}, {"a": {"flops": 3, "tokens": 2}}

    def compare(self, mine: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, dict[str, int]]:
        pairs = list(zip(mine["a"], theirs["a"], strict=True))
        return {"a": {"n": len(pairs), "wins": pairs.count(("1", "0")), "losses": pairs.count(("0", "1"))}}


def test_who_was_overtaken_is_compared_with_its_parent_too() -> None:
    dev = cast("DevSet", Outcomes(child="110000", parent="000000", other="111100"))
    child, parent, other = ({"name": name} for name in ("child", "parent", "other"))
    found = screen(dev, PLAN, child, other, parent, parent, "parent")
    assert (found["target"], found["passed"]) == ({"n": 6, "wins": 0, "losses": 2}, False)
    assert found["over_parent"] == {"n": 6, "wins": 2, "losses": 0}
    assert found["flops"] == 3, "its parent's traces were paid for by their diagnosis"
    found = screen(dev, PLAN, child, parent, parent, parent, "parent")
    assert found["passed"]
    assert "over_parent" not in found
