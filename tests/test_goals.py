"""Subgoals open on weak slices, close when the failure rate has halved, and are given up in time."""

from __future__ import annotations

from typing import Any

import pytest

from evolvent.goals import OPEN_LIMIT, PATIENCE_TURNS, finished, gain_limits, opened, slice_counts
from evolvent.state import State
from evolvent.types import Trace


def weakness(skill: str = "multi", **slice_: str) -> dict[str, Any]:
    return {"skill": skill, "slice": slice_, "n": 40, "failures": 30, "cause": "loses rows"}


def goal(n: int, failures: int, turn: int = 1) -> dict[str, Any]:
    return {**opened({}, [weakness(kind="a")], turn)[0].payload, "n": n, "failures": failures}


def test_the_worst_slices_are_opened_up_to_a_limit() -> None:
    found = [weakness(), *(weakness(kind=kind) for kind in "abcd")]
    moves = opened({}, found, 2)
    assert [move.id for move in moves] == ["multi,kind=a", "multi,kind=b", "multi,kind=c"]
    assert len(moves) == OPEN_LIMIT
    assert {move.kind for move in moves} == {"goal.opened"}
    assert opened({move.id: move.payload for move in moves}, found, 3) == []


def test_an_open_goal_is_not_opened_again() -> None:
    first = opened({}, [weakness(kind="a")], 1)[0]
    assert [m.id for m in opened({first.id: first.payload}, [weakness(kind="a"), weakness(kind="b")], 2)] == [
        "multi,kind=b"
    ]


def test_a_goal_closes_when_its_failure_rate_halved() -> None:
    assert [move.kind for move in finished({"g": goal(40, 15)}, 2)] == ["goal.closed"]
    assert finished({"g": goal(40, 16)}, 2) == []
    assert [move.kind for move in finished({"g": goal(80, 30)}, 2)] == ["goal.closed"]


def test_no_data_is_no_success() -> None:
    assert finished({"g": goal(0, 0)}, 2) == []


def test_patience_ends() -> None:
    assert finished({"g": goal(40, 30)}, PATIENCE_TURNS) == []
    (move,) = finished({"g": goal(40, 30)}, PATIENCE_TURNS + 1)
    assert (move.kind, move.payload["turn"]) == ("goal.abandoned", PATIENCE_TURNS + 1)


def test_only_members_of_the_slice_count() -> None:
    def trace(skill: str, kind: str, correct: bool) -> Trace:
        return Trace(problem="p", skill=skill, tags={"kind": kind}, output="", correct=correct)

    traces = [trace("multi", "a", True), trace("multi", "a", False), trace("multi", "b", False)]
    traces.append(trace("single", "a", False))
    assert slice_counts(traces, {"skill": "multi", "slice": {"kind": "a"}}) == {"n": 2, "failures": 1}
    assert slice_counts(traces, {"skill": "multi", "slice": {"kind": "z"}}) == {"n": 0, "failures": 0}


def test_the_limits_of_a_gain_are_newcombes() -> None:
    # statsmodels 0.14, confint_proportions_2indep(56, 70, 48, 80, method="newcomb", alpha=0.1); at 0.05 it gives the
    # .0524 to .3339 of Newcombe, Statistics in Medicine 17 (1998) 873-890, table II.
    low, high = gain_limits({"n": 80, "correct": 48}, {"n": 70, "correct": 56})
    assert (low, high) == (pytest.approx(7.6564, abs=1e-4), pytest.approx(31.3645, abs=1e-4))
    assert gain_limits({"n": 50, "correct": 20}, {"n": 50, "correct": 20})[0] < 0


def test_no_data_limit_nothing() -> None:
    assert gain_limits({"n": 0, "correct": 0}, {"n": 0, "correct": 0}) == (pytest.approx(-100), pytest.approx(100))


@pytest.mark.parametrize(
    ("changes", "reached"),
    [
        ({}, True),
        ({"dev_of": "older"}, False),  # promoted since: nobody has looked yet
        ({"champion": "seed", "dev_of": "seed"}, False),
        ({"dev": {"multi": {"n": 200, "correct": 110}}}, False),
    ],
)
def test_a_goal_is_reached_by_a_champion_that_was_diagnosed(changes: dict[str, Any], reached: bool) -> None:
    usual = {
        "seed": "seed", "champion": "new", "dev_of": "new",
        "anchor_dev": {"multi": {"n": 200, "correct": 50}}, "dev": {"multi": {"n": 200, "correct": 150}},
    }  # fmt: skip
    state = State(**{**usual, **changes})
    assert bool(state.goal_reached("multi", 30)) is reached
