"""The goal steers a real loop: what a turn works on, what is charged, when it ends; and a killed run does the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evolvent import plan
from evolvent.errors import UsageError
from evolvent.ledger import Ledger
from evolvent.named import check_goal
from evolvent.state import State
from evolvent.tasks.strings import Strings
from goal_world import COST, KINDS, Session
from test_resume import Killed, kinds

# -- subgoals steer ----------------------------------------------------------------------------------------------------


def test_a_turn_answers_its_subgoal_and_the_goal_is_reached(tmp_path: Path) -> None:
    run = Session(tmp_path, {"rate": 80, "turns": 40}, useful="abcd")
    assert run.faults == []
    assert [row["subgoal"][-1] for row in run.of("planned")] == run.proposer.asked
    assert run.proposer.asked == list(KINDS), "what was learned is not asked again"
    (end,) = run.of("goal.reached")
    assert "hard" in end["reason"]
    assert end["champion"] == run.state.champion == run.of("goal.measured")[-1]["champion"]
    assert run.state.turn < 40
    assert {row["reason"] for row in run.of("goal.closed")} == {"failure rate halved on dev"}
    assert run.state.ended["goal.closed"] >= 3
    assert run.state.outcome["kind"] == "goal.reached"


def test_a_subgoal_without_use_is_charged_given_up_and_left_to_rest(tmp_path: Path) -> None:
    run = Session(tmp_path, {"rate": 99, "turns": 60}, turns=34)
    assert run.faults == []
    given_up = run.of("goal.abandoned")
    assert len(given_up) >= 2
    for row in given_up:
        assert row["reason"] == "its budget is spent without a promotion: 8 of 8 turns"
        assert row["spent"]["flops"] == 8 * COST
    turns = [row["turn"] for row in run.of("goal.opened") if row["id"] == given_up[0]["id"]]
    assert all(later - given_up[0]["turn"] >= 8 for later in turns[1:]), "it rests"
    assert {row["subgoal"] for row in run.of("planned")} == {f"hard,kind={kind}" for kind in KINDS}, "all have turns"
    assert run.state.past[0]["id"] == given_up[0]["id"]


def test_a_promotion_is_credited_to_the_subgoal_that_it_answers(tmp_path: Path) -> None:
    run = Session(tmp_path, {"rate": 99, "turns": 40}, useful="a", turns=6)
    closed = next(row for row in run.of("goal.closed") if row["id"] == "hard,kind=a")
    assert (closed["promotions"], closed["spent"]) == (1, {"turns": 0, "flops": 0})
    assert closed["total"] == {"turns": 1, "flops": COST}
    plans = run.of("goal.planned")
    assert any("the champion changed" in row["reason"] for row in plans)
    assert run.faults == []


def test_a_narrowed_goal_has_subgoals_of_its_own_problems_only(tmp_path: Path) -> None:
    run = Session(tmp_path, {"rate": 80, "slice": {"half": 1}, "turns": 30}, useful="abcd", halves=True)
    assert run.of("diagnosed")[0]["goal"] == {"n": 40, "correct": 0}
    assert {row["slice"]["half"] for row in run.of("goal.opened")} == {"1"}
    assert {row["n"] for row in run.of("goal.opened")} == {10}
    assert "% of hard,half=1" in run.of("goal.reached")[0]["reason"]
    assert run.faults == []


def test_a_builds_operations_are_those_that_its_subgoal_has_left(tmp_path: Path) -> None:
    run = Session(tmp_path, {"rate": 99, "turns": 40}, budget={"flops": 5000}, turns=2)
    budgets = run.of("goal.planned")[0]["subgoals"]
    first = run.of("planned")[0]
    assert first["allowance"]["flops"] == budgets[first["subgoal"]]["budget"]["flops"] < 5000
    assert sum(row["budget"]["flops"] for row in budgets.values()) <= 5000


# -- how it ends -------------------------------------------------------------------------------------------------------


def test_the_horizon_ends_it_by_turns(tmp_path: Path) -> None:
    run = Session(tmp_path, {"rate": 99, "turns": 3})
    (end,) = run.of("goal.given_up")
    assert (end["what"], end["turn"], run.state.turn) == ("turns", 3, 3)
    assert end["reason"].startswith("goal not shown to be reached, 3 turns done: ")
    assert run.faults == []
    again = Session(tmp_path, {"rate": 99, "turns": 3})
    assert again.events == run.events, "it goes no further, however often it is started"
    on = Session(tmp_path, {"rate": 99, "turns": 3}, turns=5)
    assert on.state.turn == 5, "but for a person who says so"


def test_the_horizon_ends_it_by_hours_over_restarts(tmp_path: Path) -> None:
    goal = {"rate": 99, "turns": 99, "hours": 1}
    lap_s = 60.0  # an event a minute
    with pytest.raises(Killed):
        Session(tmp_path, goal, kill_at=33, lap_s=lap_s)
    run = Session(tmp_path, goal, lap_s=lap_s)
    (end,) = run.of("goal.given_up")
    assert end["what"] == "hours"
    assert 60 <= run.state.worked_ms / 60_000 < 75
    assert sum(event.cost.get("wall_ms", 0) for event in run.events) == run.state.worked_ms
    assert run.faults == []
    left = [row["left"]["turns"] for row in run.of("goal.planned")]
    assert left[0] == 99
    assert all(turns < 10 for turns in left[1:]), "as many as the hours allow at this pace"


def test_it_is_given_up_when_no_stretch_was_fast_enough(tmp_path: Path) -> None:
    run = Session(tmp_path, {"rate": 99, "turns": 40})
    (end,) = run.of("goal.given_up")
    assert (end["what"], end["turn"]) == ("pace", 30)
    assert end["reason"].startswith("goal given up, out of reach in the turns left: ")
    assert "no 10 turns so far gained more than 0.0" in end["reason"]
    assert run.faults == []


def test_a_spent_budget_ends_it(tmp_path: Path) -> None:
    run = Session(tmp_path, {"rate": 99, "turns": 40}, budget={"tokens": 400})
    (end,) = run.of("goal.given_up")
    assert end["what"] == "tokens"
    assert "the run's budget of tokens is spent" in end["reason"]
    assert run.faults == []


def roll_back(run: Session, folder: Path) -> None:
    """A person gives the seed its place back."""
    seed = run.of("seed.imported")[0]
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        ledger.acquire()
        back = {
            "from": run.state.champion, "to": seed["version"], "by": "ada", "certified": seed["version"],
            "reason": "a hurry", "candidate": seed["candidate"], "policy": {},
        }  # fmt: skip
        ledger.append("rolled_back", back, actor="human", key="rollback/1")


def test_after_the_horizon_another_champion_is_measured_and_spoken_of(tmp_path: Path) -> None:
    goal = {"rate": 99, "turns": 9}
    run = Session(tmp_path, goal, useful="a")
    (first,) = run.of("goal.given_up")
    assert first["champion"] == run.state.champion != run.state.seed
    roll_back(run, tmp_path)
    again = Session(tmp_path, goal, useful="a")
    _, second = again.of("goal.given_up")
    assert (second["champion"], second["turn"]) == (run.state.seed, first["turn"])
    assert second["rate"] != first["rate"]
    assert again.faults == []
    assert Session(tmp_path, goal, useful="a").events == again.events


def test_a_goal_is_pursued_again_when_its_champion_is_rolled_back(tmp_path: Path) -> None:
    run = Session(tmp_path, {"rate": 80, "turns": 40}, useful="abcd")
    roll_back(run, tmp_path)
    turn = run.state.turn
    again = Session(tmp_path, {"rate": 80, "turns": 40}, useful="abcd")
    assert len(again.of("goal.reached")) == 2
    assert again.state.turn > turn
    assert again.faults == []


# -- a killed run ------------------------------------------------------------------------------------------------------

WORLDS: dict[str, dict[str, Any]] = {
    "reached": {"goal": {"rate": 80, "turns": 12}, "useful": "abcd"},
    "budget": {"goal": {"rate": 99, "turns": 12}, "useful": "b", "budget": {"flops": 600}},
    "given up": {"goal": {"rate": 99, "turns": 9}, "useful": "c"},
}


@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", WORLDS)
def test_killed_after_any_event_it_ends_with_the_same_events(name: str, stride: int, memory: Path) -> None:
    world, base = WORLDS[name], memory / "steering" / f"{name} {stride}"
    whole = Session(base / "whole", **world)
    assert {"goal.opened", "goal.planned"} <= set(kinds(whole.events))
    assert whole.faults == []
    for kill_at in range(1, len(whole.events) + 1, stride):
        folder = base / str(kill_at)
        with pytest.raises(Killed):
            Session(folder, kill_at=kill_at, **world)
        again = Session(folder, **world)
        key = whole.events[kill_at - 1].key
        assert [e.content_hash for e in again.events] == [e.content_hash for e in whole.events], f"killed after {key}"
        assert {**again.state.plain(), "worked_ms": 0} == {**whole.state.plain(), "worked_ms": 0}


def test_a_snapshot_holds_the_whole_fold(tmp_path: Path) -> None:
    run = Session(tmp_path, {"rate": 99, "turns": 36}, useful="b", turns=12)
    assert State.from_plain(json.loads(json.dumps(run.state.plain()))).plain() == run.state.plain()


# -- settings ----------------------------------------------------------------------------------------------------------

BASE = {"task": "strings", "model": "none", "plan": {"target": "short", "protected": {"short": 5}}}


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        ({"gain_points": 0}, "goal: expected gain_points or rate above 0"),
        ({"slice": {"length": "3"}}, "goal: slice: narrows rate, and no rate is asked for"),
        ({"rate": 100}, "goal.rate: Input should be less than or equal to 99, got 100"),
        ({"rate": 80, "slice": {"length": 1.5}}, "goal.slice.length"),
        ({"rate": 80, "hour": 8}, "did you mean 'hours'?"),
    ],
)
def test_a_goal_that_makes_no_sense_is_refused(goal: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        plan.parse({**BASE, "goal": goal}, "evolvent.yaml")
    assert said in str(refused.value)


def test_who_asks_for_a_rate_asks_for_no_gain_beside_it() -> None:
    found = plan.parse({**BASE, "goal": {"rate": 80, "slice": {"length": 3}}}, "test")
    assert (found.goal.gain_points, found.goal.slice) == (0, {"length": "3"})
    assert plan.parse(found.model_dump(), "again").goal == found.goal
    assert plan.parse({**BASE, "goal": {}}, "test").goal.gain_points == 20


def test_a_slice_that_no_problem_lies_in_is_named() -> None:
    settings = plan.parse({**BASE, "goal": {"rate": 80, "slice": {"length": 77}}}, "test")
    with pytest.raises(UsageError, match=r"none has length=77; there are length=1, length=2"):
        check_goal(settings, Strings())
    settings = plan.parse({**BASE, "goal": {"rate": 80, "slice": {"size": 1}}}, "test")
    with pytest.raises(UsageError, match="there are tags length"):
        check_goal(settings, Strings())
    check_goal(plan.parse({**BASE, "goal": {"rate": 80, "slice": {"length": 4}}}, "test"), Strings())
