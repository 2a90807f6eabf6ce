"""The audit of goals: forged, misplaced or embellished events about goal and subgoals are found."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evolvent.audit import Findings
from evolvent.audit.pursued import Pursued
from evolvent.types import Event
from goal_world import Session

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Event]]:
    """Events of a goal that was reached, of one given up at its horizon, and of one whose budget was spent."""
    base = tmp_path_factory.mktemp("goals")
    return {
        "reached": Session(base / "a", {"rate": 80, "turns": 12}, useful="abcd").events,
        "turns": Session(base / "b", {"rate": 99, "turns": 9}, useful="a").events,
        "flops": Session(base / "c", {"rate": 99, "turns": 40}, budget={"flops": 700}).events,
        "abandoned": Session(base / "d", {"rate": 99, "turns": 60}, turns=26).events,
    }


def faults(events: list[Event]) -> list[str]:
    findings = Findings()
    pursued = Pursued(findings)
    for event in events:
        pursued.take(event)
    return findings.wrong


def changed(events: list[Event], kind: str, change: Change, which: int = 0) -> list[Event]:
    """The events with the payload of one of a kind changed."""
    at = [i for i, event in enumerate(events) if event.kind == kind][which]
    payload = copy.deepcopy(events[at].payload)
    change(payload)
    return [*events[:at], dataclasses.replace(events[at], payload=payload), *events[at + 1 :]]


def set_to(**fields: Any) -> Change:
    return lambda payload: payload.update(fields)


@pytest.mark.parametrize("name", ["reached", "turns", "flops", "abandoned"])
def test_an_honest_run_is_clean(runs: dict[str, list[Event]], name: str) -> None:
    assert faults(runs[name]) == []


@pytest.mark.parametrize(
    ("name", "kind", "change", "said"),
    [
        ("reached", "run.started", lambda p: p["goal"].update(rate=1), "the goal is not that of the settings"),
        ("reached", "goal.opened", set_to(failures=9), "the diagnosis says"),
        ("reached", "goal.opened", set_to(failures_at_start=99), "starts from other counts"),
        ("reached", "goal.opened", set_to(skill="easy"), "is no part of the goal"),
        ("reached", "goal.opened", set_to(id="hard,kind=z"), "is not the name of its slice"),
        ("reached", "goal.closed", set_to(failures_at_start=0, failures=5), "has not halved"),
        ("reached", "goal.closed", set_to(promotions=7), "promotions is 7, the events say 1"),
        ("reached", "goal.closed", set_to(total={"turns": 0, "flops": 0}), "total is"),
        ("abandoned", "goal.abandoned", set_to(spent={"turns": 8, "flops": 0}), "spent is"),
        ("abandoned", "goal.abandoned", set_to(reason=""), "without a reason"),
        ("reached", "goal.planned", lambda p: p["subgoals"].popitem(), "divides among others than are open"),
        ("reached", "goal.planned", lambda p: p["left"].update(turns=99), "so many turns are not left"),
        ("flops", "goal.planned", lambda p: p["left"].update(flops=10**9), "operations left are"),
        (
            "flops",
            "goal.planned",
            lambda p: next(iter(p["subgoals"].values()))["budget"].update(flops=10**9),
            "more flops are given out than are left",
        ),
        (
            "abandoned",
            "goal.planned",
            lambda p: [row["budget"].update(turns=1) for row in p["subgoals"].values()],
            "was spent before",
        ),
        ("reached", "planned", set_to(subgoal="hard,kind=z"), "hard,kind=z is not open"),
        ("reached", "goal.reached", set_to(rate=["99", "100"]), "the dev counts say"),
        ("reached", "goal.reached", set_to(champion="0" * 64), "of a version not measured last"),
        ("turns", "goal.given_up", set_to(what="hours"), "given up for hours, which the events do not bear out"),
        ("turns", "goal.given_up", set_to(what="tokens"), "given up for tokens"),
        ("flops", "goal.given_up", set_to(what="pace"), "given up for pace"),
    ],
)
def test_what_does_not_follow_is_found(
    runs: dict[str, list[Event]], name: str, kind: str, change: Change, said: str
) -> None:
    wrong = faults(changed(runs[name], kind, change))
    assert any(said in line for line in wrong), wrong


def test_events_out_of_order_are_found(runs: dict[str, list[Event]]) -> None:
    events = runs["reached"]
    at = {kind: next(i for i, event in enumerate(events) if event.kind == kind) for kind in (
        "goal.opened", "goal.closed", "goal.planned", "goal.reached", "planned", "goal.measured",
    )}  # fmt: skip

    def without(kind: str) -> list[str]:
        return faults([*events[: at[kind]], *events[at[kind] + 1 :]])

    def earlier(kind: str, before: str) -> list[str]:
        moved = [event for i, event in enumerate(events) if i != at[kind]]
        return faults([*moved[: at[before]], events[at[kind]], *moved[at[before] :]])

    assert any("was not open" in line for line in without("goal.opened"))
    assert any("more than 3 are open" in line or "is open already" in line for line in without("goal.closed"))
    assert any("divides among others" in line for line in earlier("goal.planned", "goal.opened"))
    assert any("was not open" in line for line in earlier("goal.closed", "goal.opened"))
    assert any("of a version not measured last" in line for line in earlier("goal.reached", "goal.closed"))
    twice = [*events[: at["goal.opened"] + 1], *events[at["goal.opened"] :]]
    assert any("is open already" in line for line in faults(twice))


def test_hours_are_added_up_again(tmp_path: Path) -> None:
    run = Session(tmp_path, {"rate": 99, "turns": 99, "hours": 1}, lap_s=90.0)
    assert run.faults == []
    free = [dataclasses.replace(event, cost={}) for event in run.events]
    assert any("given up for hours" in line for line in faults(free))
