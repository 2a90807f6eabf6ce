"""Subgoals open on weak slices, close when the failure rate has halved, and are given up in time."""

from __future__ import annotations

from typing import Any

from evolvent.goals import OPEN_LIMIT, PATIENCE_TURNS, finished, opened, slice_counts
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
