"""Which distances from the anchor a plan lets the loop go by itself."""

from __future__ import annotations

from typing import Any

import pytest

from evolvent import plan
from evolvent.limits import differing, exceeded, gains_over_anchor
from evolvent.plan import ChangePlan


def of(**limits: int) -> ChangePlan:
    settings = {"task": "t", "model": "m", "plan": {"target": "a", "protected": {"a": 5, "b": 5}, **limits}}
    return plan.parse(settings, "test").plan


def gain(n: int, wins: int, losses: int = 0) -> dict[str, int]:
    return {"n": n, "wins": wins, "losses": losses}


def trace(output: str, correct: bool) -> dict[str, Any]:
    return {"output": output, "correct": correct}


def test_gains_are_held_against_the_anchor_which_may_be_the_incumbent() -> None:
    question = {"anchor": {"model": "s"}, "incumbent": {"model": "c"}, "protected": [{"skill": "a"}]}
    proof = {"differences": {"a:incumbent": "+++", "a:anchor": "+0-0+"}}
    assert gains_over_anchor(question, proof) == {"a": gain(5, 2, 1)}
    assert gains_over_anchor({**question, "incumbent": {"model": "s"}}, proof) == {"a": gain(3, 3)}


def test_drift_counts_only_what_both_solve() -> None:
    mine = [trace("x", True), trace("y", True), trace("z", True), trace("other", False)]
    anchors = [trace("x", True), trace("Y", True), trace("w", False), trace("same", True)]
    assert differing(mine, anchors) == {"n": 2, "differ": 1}


@pytest.mark.parametrize(
    ("limits", "gains", "drift", "said"),
    [
        ({}, {"a": gain(10, 10)}, {"n": 10, "differ": 10}, []),
        ({"jump_points": 30}, {"a": gain(10, 4, 1), "b": gain(10, 0)}, None, []),  # 30 is not above 30
        ({"jump_points": 30}, {"a": gain(10, 0), "b": gain(100, 31)}, None, ["b: +31.0 points over the anchor, 30"]),
        ({"drift_percent": 20}, {"a": gain(10, 9)}, {"n": 10, "differ": 2}, []),
        ({"drift_percent": 20}, {}, {"n": 10, "differ": 3}, ["drift: 30.0 % of 10 right answers differ"]),
        ({"drift_percent": 20}, {}, {"n": 0, "differ": 0}, ["drift could not be measured"]),
        ({"drift_percent": 20}, {}, None, ["drift could not be measured"]),
        ({"jump_points": 1, "drift_percent": 1}, {"a": gain(9, 9)}, {"n": 1, "differ": 1}, ["a: +100.0", "drift: 100"]),
    ],
)  # fmt: skip
def test_what_exceeds_a_limit_is_said(
    limits: dict[str, int], gains: dict[str, Any], drift: dict[str, int] | None, said: list[str]
) -> None:
    found = exceeded(of(**limits), gains, drift)
    assert len(found) == len(said)
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True)), found
