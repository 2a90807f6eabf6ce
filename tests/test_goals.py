"""Subgoals: opened on weak slices, given budgets by worth, closed, given up, left to rest; and the goal they serve."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolvent import goals
from evolvent.goals import OPEN_LIMIT, PATIENCE_TURNS, Left, Measured
from evolvent.observe.diagnose import wilson
from evolvent.types import Goal, Trace

NO_COST = {"turns": 0, "flops": 0}


def weakness(n: int = 40, failures: int = 30, skill: str = "multi", **slice_: str) -> dict[str, Any]:
    return {"skill": skill, "slice": slice_, "n": n, "failures": failures, "cause": "loses rows"}


def opened(turn: int = 1, past: Any = (), **slice_: str) -> dict[str, Any]:
    """An open subgoal, as the fold keeps it."""
    (move,) = goals.opened({}, list(past), [{**weakness(), "slice": slice_}], turn)
    return {**move.payload, "budget": {"turns": PATIENCE_TURNS}, "spent": dict(NO_COST)}


def goal(n: int = 40, failures: int = 30, *, turns: int = 0, kind: str = "a", **changes: Any) -> dict[str, Any]:
    made = {**opened(kind=kind), "n": n, "failures": failures, **changes}
    return {**made, "spent": {"turns": turns, "flops": 0}, "total": {"turns": turns, "flops": 0}}


def three(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"multi,kind={kind}": goal(kind=kind, **changes.get(kind, {})) for kind in "abc"}


# -- opening, closing, giving up ---------------------------------------------------------------------------------------


def test_the_worst_slices_are_opened_up_to_a_limit() -> None:
    found = [weakness(kind=kind) for kind in "abcd"]
    moves = goals.opened({}, [], found, 2)
    assert [move.id for move in moves] == ["multi,kind=a", "multi,kind=b", "multi,kind=c"]
    assert len(moves) == OPEN_LIMIT
    assert {move.kind for move in moves} == {"goal.opened"}
    assert goals.opened({move.id: move.payload for move in moves}, [], found, 3) == []


def test_an_open_subgoal_is_not_opened_again() -> None:
    moves = goals.opened({"multi,kind=a": goal()}, [], [weakness(kind="a"), weakness(kind="b")], 2)
    assert [move.id for move in moves] == ["multi,kind=b"]


def test_what_a_slice_cost_before_is_remembered() -> None:
    past = [{**goal(turns=8), "total": {"turns": 11, "flops": 5}, "promotions": 1, "kind": "goal.abandoned"}]
    again = opened(past=past, kind="a")
    assert (again["total"], again["promotions"]) == ({"turns": 11, "flops": 5}, 1)
    assert opened(kind="a")["total"] == NO_COST


def test_a_subgoal_closes_when_its_failure_rate_has_halved() -> None:
    assert [move.kind for move in goals.finished({"g": goal(40, 15)}, [], 2)] == ["goal.closed"]
    assert goals.finished({"g": goal(40, 16)}, [], 2) == []
    assert [move.kind for move in goals.finished({"g": goal(80, 30)}, [], 2)] == ["goal.closed"]


def test_a_slice_that_vanished_is_given_up_and_no_success() -> None:
    (move,) = goals.finished({"g": goal(0, 0)}, [], 2)
    assert move.kind == "goal.abandoned"
    assert "too few" in move.payload["reason"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"turns": PATIENCE_TURNS}, "8 of 8 turns"),
        ({"turns": PATIENCE_TURNS - 1}, ""),
        ({"budget": {"turns": 8, "flops": 0}}, "0 of 0 operations"),
        ({"budget": {"turns": 8, "flops": 1}}, ""),
    ],
)
def test_a_spent_budget_ends_a_subgoal(changes: dict[str, Any], said: str) -> None:
    moves = goals.finished({"g": goal(**changes)}, [], 9)
    assert [move.kind for move in moves] == (["goal.abandoned"] if said else [])
    assert all(said in move.payload["reason"] and move.payload["turn"] == 9 for move in moves)


def test_a_much_worse_slice_takes_the_place_of_the_least() -> None:
    held = three(b={"failures": 8, "failures_at_start": 8}, c={"failures": 20})
    worse = weakness(n=40, failures=30, kind="z")
    (move,) = goals.finished(held, [worse], 5)
    assert (move.kind, move.id) == ("goal.abandoned", "multi,kind=b")
    assert "multi,kind=z is much worse: 30 of 40 failed" in move.payload["reason"]
    assert goals.finished(held, [weakness(n=40, failures=15, kind="z")], 5) == [], "not twice as often"
    assert goals.finished(held, [weakness(n=400, failures=90, kind="z")], 5) == [], "not surely at a higher rate"
    assert goals.finished({k: g for k, g in held.items() if "a" not in k}, [worse], 5) == [], "there is room"
    fresh = {**held, "multi,kind=a": {**held["multi,kind=a"], "turn": 5}}
    assert goals.finished(fresh, [worse], 5) == [], "the turn has got further: what was moved is not moved again"


def test_a_slice_that_was_given_up_rests_unless_it_got_surely_worse() -> None:
    past = [{**goal(40, 12), "turn": 4, "kind": "goal.abandoned"}]
    same, worse = weakness(n=40, failures=14, kind="a"), weakness(n=40, failures=32, kind="a")
    assert wilson(32, 40)[0] > wilson(12, 40)[1]
    assert goals.awake([same], past, 5) == []
    assert goals.awake([same, weakness(kind="b")], past, 5) == [weakness(kind="b")]
    assert goals.awake([worse], past, 5) == [worse]
    assert goals.awake([same], past, 4 + PATIENCE_TURNS) == [same]
    closed = [{**past[0], "kind": "goal.closed"}]
    assert goals.awake([same], closed, 5) == [same], "what was closed may open again"
    assert goals.awake([same], closed, 4) == [], "but not in the same turn"


# -- budgets and worth -------------------------------------------------------------------------------------------------


def test_worth_is_what_fails_times_the_chance_of_a_promotion() -> None:
    assert goals.worth(goal(40, 30), 100) == pytest.approx(30 / 2)
    assert goals.worth(goal(40, 30, turns=4), 100) == pytest.approx(30 / 6)
    assert goals.worth(goal(40, 30, turns=4, promotions=2), 100) == pytest.approx(30 * 3 / 6)
    assert goals.worth(goal(40, 30), 0) > 0


def test_budgets_follow_worth() -> None:
    held = three(a={"failures": 30}, b={"failures": 15}, c={"failures": 15})
    (move,) = goals.replanned(held, {}, "v", 100, Left(turns=12, flops=1000), 3)
    rows = move.payload["subgoals"]
    assert [rows[id_]["budget"] for id_ in held] == [
        {"turns": 6, "flops": 500}, {"turns": 3, "flops": 250}, {"turns": 3, "flops": 250},
    ]  # fmt: skip
    assert move.payload["left"] == {"turns": 12, "flops": 1000}
    assert move.payload["reason"] == "; ".join(f"multi,kind={kind} opened" for kind in "abc")
    (long,) = goals.replanned(held, {}, "v", 100, Left(turns=300), 3)
    assert {row["budget"]["turns"] for row in long.payload["subgoals"].values()} == {PATIENCE_TURNS}
    assert long.payload["left"] == {"turns": 300}


def test_a_new_plan_gives_no_fresh_patience() -> None:
    held = {"g": goal(turns=7)}
    (move,) = goals.replanned(held, {}, "v", 100, Left(turns=300), 3)
    assert move.payload["subgoals"]["g"]["budget"]["turns"] == PATIENCE_TURNS


@pytest.mark.parametrize(
    ("held", "champion", "said"),
    [
        (three(), "v", ""),
        (three(), "w", "the champion changed"),
        (three(b={"failures": 20}), "v", "multi,kind=b moved from 30 of 40 to 20 of 40 failed"),
        ({k: g for k, g in three().items() if k != "multi,kind=c"}, "v", "multi,kind=c ended"),
        ({}, "v", "multi,kind=a ended; multi,kind=b ended; multi,kind=c ended"),
    ],
)
def test_budgets_are_divided_anew_when_what_they_rest_on_changes(held: Any, champion: str, said: str) -> None:
    (before,) = goals.replanned(three(), {}, "v", 100, Left(turns=12), 3)
    moves = goals.replanned(held, before.payload, champion, 100, Left(turns=9), 4)
    assert [move.payload["reason"] for move in moves] == ([said] if said else [])
    for move in moves:
        assert goals.replanned(held, move.payload, champion, 100, Left(turns=9), 4) == [], "once"


def test_nothing_is_planned_for_nothing() -> None:
    assert goals.replanned({}, {}, "v", 100, Left(turns=9), 1) == []


def test_a_turn_works_on_what_is_worth_most_and_can_be_paid() -> None:
    held = three(a={"failures": 10})
    assert goals.chosen(held, 100) == "multi,kind=b"
    held["multi,kind=b"]["spent"] = {"turns": PATIENCE_TURNS, "flops": 0}
    assert goals.chosen(held, 100) == "multi,kind=c"
    held["multi,kind=c"]["budget"] = {"turns": 8, "flops": 0}
    assert goals.chosen(held, 100) == "multi,kind=a"
    assert goals.chosen({}, 100) == ""
    assert goals.flops_left(held["multi,kind=c"]) == 0
    assert goals.flops_left(held["multi,kind=a"]) is None


def test_where_nothing_helps_every_subgoal_has_its_turns() -> None:
    held, chosen = three(a={"failures": 30}, b={"failures": 25}, c={"failures": 20}), []
    for _ in range(9):
        id_ = goals.chosen(held, 100)
        chosen.append(id_[-1])
        for account in ("spent", "total"):
            held[id_][account] = {"turns": held[id_][account]["turns"] + 1, "flops": 0}
    assert {kind: chosen.count(kind) for kind in "abc"} == {"a": 4, "b": 3, "c": 2}


@given(
    st.lists(st.tuples(st.integers(8, 60), st.integers(0, 7), st.integers(0, 3)), min_size=1, max_size=3),
    st.integers(1, 400),
    st.integers(0, 10**15),
)
def test_no_more_is_given_out_than_is_left(parts: list[tuple[int, int, int]], turns: int, flops: int) -> None:
    held = {str(i): goal(60, failures, turns=spent, promotions=won) for i, (failures, spent, won) in enumerate(parts)}
    (move,) = goals.replanned(held, {}, "v", 60, Left(turns=turns, flops=flops), 1)
    rows = move.payload["subgoals"]
    given_out = [rows[id_]["budget"]["turns"] - held[id_]["spent"]["turns"] for id_ in held]
    assert all(1 <= share <= PATIENCE_TURNS for share in given_out)
    assert sum(given_out) <= turns + len(held), "a turn at least, even at the very end"
    assert sum(row["budget"]["flops"] for row in rows.values()) <= flops


def test_only_members_of_the_slice_count() -> None:
    def trace(skill: str, kind: str, correct: bool) -> Trace:
        return Trace(problem="p", skill=skill, tags={"kind": kind}, output="", correct=correct)

    traces = [trace("multi", "a", True), trace("multi", "a", False), trace("multi", "b", False)]
    traces.append(trace("single", "a", False))
    assert goals.slice_counts(traces, {"skill": "multi", "slice": {"kind": "a"}}) == {"n": 2, "failures": 1}
    assert goals.slice_counts(traces, {"skill": "multi", "slice": {"kind": "z"}}) == {"n": 0, "failures": 0}


# -- the goal ----------------------------------------------------------------------------------------------------------


def test_the_limits_of_a_gain_are_newcombes() -> None:
    # statsmodels 0.14, confint_proportions_2indep(56, 70, 48, 80, method="newcomb", alpha=0.1); at 0.05 it gives the
    # .0524 to .3339 of Newcombe, Statistics in Medicine 17 (1998) 873-890, table II.
    low, high = goals.gain_limits({"n": 80, "correct": 48}, {"n": 70, "correct": 56})
    assert (low, high) == (pytest.approx(7.6564, abs=1e-4), pytest.approx(31.3645, abs=1e-4))
    assert goals.gain_limits({"n": 50, "correct": 20}, {"n": 50, "correct": 20})[0] < 0


def test_no_data_limit_nothing() -> None:
    assert goals.gain_limits({"n": 0, "correct": 0}, {"n": 0, "correct": 0}) == (
        pytest.approx(-100),
        pytest.approx(100),
    )
    nothing = Measured.of(Goal(skill="m", gain_points=1, turns=1).plain(), {"m": 5}, {}, {}, {"n": 0, "correct": 0})
    assert (nothing.reached, nothing.missing) == (False, 0.0)


def measured(wanted: dict[str, Any], multi: int, single: int = 190, aim: int = 0) -> Measured:
    plain = Goal(**{"skill": "multi", "gain_points": 0, "turns": 6, **wanted}).plain()
    anchor = {"multi": {"n": 200, "correct": 50}, "single": {"n": 200, "correct": 190}}
    champion = {"multi": {"n": 200, "correct": multi}, "single": {"n": 200, "correct": single}}
    return Measured.of(plain, {"multi": 5, "single": 5}, anchor, champion, {"n": 100, "correct": aim})


@pytest.mark.parametrize(
    ("wanted", "counts", "reached"),
    [
        ({"gain_points": 30}, {"multi": 150}, True),
        ({"gain_points": 30}, {"multi": 110}, False),
        ({"gain_points": 30}, {"multi": 150, "single": 150}, False),  # singles are lost
        ({"rate": 80}, {"multi": 50, "aim": 90}, True),
        ({"rate": 80}, {"multi": 50, "aim": 84}, False),  # 84 of 100, but the lower limit is below
        ({"rate": 80, "gain_points": 30}, {"multi": 50, "aim": 90}, False),
        ({"rate": 80, "gain_points": 30}, {"multi": 150, "aim": 90}, True),
    ],
)
def test_a_goal_is_reached_by_lower_limits_without_a_loss(
    wanted: dict[str, int], counts: dict[str, int], reached: bool
) -> None:
    found = measured(wanted, **counts)
    assert found.reached is reached
    assert ("single lost more than 5 points" in found.words) == bool(found.lost)
    assert found.words.endswith("on dev problems")


def test_what_is_missing_is_counted_from_the_upper_limit() -> None:
    assert measured({"rate": 80}, 50, aim=60).missing == pytest.approx(80 - 100 * wilson(60, 100)[1])
    assert measured({"rate": 80}, 50, aim=79).missing == 0
    assert measured({"gain_points": 30}, 50).missing > 20


def test_a_goal_is_out_of_reach_when_no_stretch_was_fast_enough() -> None:
    slow = [[0, 100, 20], [10, 100, 25], [30, 100, 30]]
    assert "no 10 turns so far gained more than 5.0" in goals.too_slow(slow, 30, 10, 12.0)
    assert goals.too_slow(slow, 30, 10, 5.0) == "", "once it was fast enough"
    assert goals.too_slow(slow, 29, 10, 12.0) == "", "not old enough to say so"
    assert goals.too_slow(slow, 30, 10, 0.0) == "", "it may be there already"
    assert goals.too_slow(slow, 6, 2, 50.0) == "", "too young"
    assert goals.too_slow([], 30, 10, 12.0)
