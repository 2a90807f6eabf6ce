"""The goal steers: what is diagnosed, on which subgoal a turn works, and when the goal is reached or given up.

All of it reads dev problems. That saves work on what matters least; it proves nothing, and no verdict reads it.

Each step is an event, written once. How long the run has worked is added up from what its events say (`cost`), so a
resumed run reads past decisions and asks no clock again. Without ``goal.hours`` no decision depends on time at all;
with it, how fast the machine is decides how far the horizon reaches.

Not here: the rules (`goals.py`, which is pure), the proposals (`propose/`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from evolvent import goals, standing
from evolvent.dev import DevSet
from evolvent.errors import BudgetSpent
from evolvent.goals import MS_AN_HOUR, Left, Measured
from evolvent.observe.diagnose import diagnose
from evolvent.plan import Settings
from evolvent.propose.base import Failing
from evolvent.state import State
from evolvent.store import Store
from evolvent.types import Diagnosis, Goal, Trace, dec

__all__ = ["concluded", "diagnosed", "ending", "failing", "goal_of", "measured", "out_of_budget", "steered"]

WEAKNESSES = 6  # of a diagnosis, besides those of open subgoals

Payload = dict[str, Any]


class Desk(standing.Desk, Protocol):
    """What is needed of the loop here."""

    @property
    def store(self) -> Store:
        """Holds traces."""
        ...

    @property
    def dev(self) -> DevSet:
        """Runs versions on dev problems."""
        ...


def goal_of(settings: Settings) -> Goal:
    """The goal as the run's first event keeps it."""
    return Goal(skill=settings.plan.target, **settings.goal.model_dump())


# -- what a turn works on ----------------------------------------------------------------------------------------------


def diagnosed(desk: Desk, turn: int) -> Payload:
    """The champion's weaknesses on dev, with the counts of every slice that subgoals are about."""

    def work() -> Payload:
        desk.on_stage("diagnose", {"turn": turn})
        counted, traces = _dev(desk)
        weaknesses, slices = _weaknesses(desk, traces)
        subgoals = {id_: goals.slice_counts(traces, row) for id_, row in sorted(slices.items())}
        return {"turn": turn, **counted, "weaknesses": [found.plain() for found in weaknesses], "subgoals": subgoals}

    return desk.once("diagnosed", f"{turn}/diagnosed", work)


def _weaknesses(desk: Desk, traces: list[Trace]) -> tuple[list[Diagnosis], dict[str, Payload]]:
    """The worst weaknesses, those of the goal's own problems first where it is narrowed; and the slices for subgoals.

    A subgoal is a slice of the problems that the goal counts, and never all of them.
    """
    goal, subgoals = goal_of(desk.settings), desk.state.subgoals
    slices = {id_: {"skill": row["skill"], "slice": row["slice"]} for id_, row in subgoals.items()}
    everywhere = own = diagnose(traces, limit=len(traces))
    if goal.slice:
        aimed = [trace for trace in traces if goals.belongs(trace, goal.skill, goal.slice)]
        own = [replace(found, slice={**goal.slice, **found.slice}) for found in diagnose(aimed, limit=len(aimed))]
    shown: dict[str, Diagnosis] = {}
    for rank, found in enumerate(own):
        id_ = goals.slice_id(found.skill, found.slice)
        if rank < WEAKNESSES or id_ in subgoals:
            shown[id_] = found
            if found.skill == goal.skill and found.slice != goal.slice:
                slices[id_] = {"skill": found.skill, "slice": found.slice}
    for found in everywhere[:WEAKNESSES]:
        shown.setdefault(goals.slice_id(found.skill, found.slice), found)
    return list(shown.values()), slices


def _dev(desk: Desk) -> tuple[Payload, list[Trace]]:
    """The champion on its dev problems: counts, also of the problems that the goal's rate counts, and all traces."""
    champion, goal = desk.state.champion, goal_of(desk.settings)
    artifacts, counts = desk.dev.run(desk.state.versions[champion]["candidate"], champion)
    traces = [Trace(**row) for name in artifacts.values() for row in desk.store.get_json(name)]
    aimed = [trace for trace in traces if goals.belongs(trace, goal.skill, goal.slice)]
    return {
        "champion": champion,
        "traces": artifacts,
        "skills": {skill: {"n": c["n"], "correct": c["correct"]} for skill, c in counts.items()},
        "goal": {"n": len(aimed), "correct": sum(bool(trace.correct) for trace in aimed)},
        "flops": sum(c["flops"] for c in counts.values()),
        "tokens": sum(c["tokens"] for c in counts.values()),
    }, traces


def failing(desk: Desk, turn: int, weaknesses: Sequence[Diagnosis]) -> list[Failing]:
    """Dev problems of the worst weakness that the champion fails, of each kind of error one before a second of any.

    As many as ``endpoint.traces`` says: by default none, and then none is looked up.
    """
    diagnosed = desk.ledger.get(f"{turn}/diagnosed")
    if not (desk.settings.endpoint.traces and weaknesses and diagnosed):
        return []
    skill, slice_ = weaknesses[0].skill, weaknesses[0].slice
    traces = [Trace(**row) for row in desk.store.get_json(diagnosed.payload["traces"][skill])]
    seen: Counter[str] = Counter()
    found: list[tuple[int, Failing]] = []
    for problem, trace in zip(desk.dev.problems(skill, diagnosed.payload["champion"]), traces, strict=True):
        if not trace.correct and goals.belongs(trace, skill, slice_):
            error = trace.error or ""
            found.append((seen[error], Failing(prompt=problem.prompt, output=trace.output, error=error)))
            seen[error] += 1
    return [one for _, one in sorted(found, key=lambda row: row[0])][: desk.settings.endpoint.traces]


def steered(desk: Desk, turn: int, found: Payload) -> tuple[str, list[Diagnosis]]:
    """Close, abandon, open and re-plan subgoals; then the one to work on, and the weaknesses with its own in front.

    Once the turn is planned the weaknesses are not asked for any more, and there are none.

    Args:
        desk: the loop.
        turn: its turn.
        found: the turn's diagnosis.
    """
    if (planned := desk.ledger.get(f"{turn}/planned")) is not None:  # decided; what it cost since must not undo it
        return planned.payload["subgoal"], []
    weak: list[Payload] = []
    for row in found["weaknesses"]:
        if (id_ := goals.slice_id(row["skill"], row["slice"])) in found["subgoals"]:
            weak.append({**row, **found["subgoals"][id_]})
    state = desk.state
    for move in goals.finished(state.subgoals, goals.awake(weak, state.past, turn), turn):
        desk.once(move.kind, f"{turn}/done/{move.id}", lambda m=move: m.payload)
    for move in goals.opened(state.subgoals, state.past, goals.awake(weak, state.past, turn), turn):
        desk.once(move.kind, f"{turn}/opened/{move.id}", lambda m=move: m.payload)
    size = state.aim["n"]
    for move in goals.replanned(state.subgoals, state.division, state.champion, size, _left(desk), turn):
        desk.once(move.kind, f"{turn}/budgets", lambda m=move: m.payload)
    subgoal = goals.chosen(state.subgoals, size)
    rows = sorted(found["weaknesses"], key=lambda row: goals.slice_id(row["skill"], row["slice"]) != subgoal)
    return subgoal, [Diagnosis(**row) for row in rows]


def _left(desk: Desk) -> Left:
    """Of the horizon and of the run's operations, the present turn included."""
    limit, spent = desk.settings.budget.flops, desk.state.spent["flops"]
    return Left(turns=max(1, _turns_left(desk)), flops=max(0, limit - spent) if limit else None)


def _turns_left(desk: Desk) -> int:
    """Turns until the horizon ends: as many as are named, or as the hours allow at the mean length of a turn so far."""
    goal, state = desk.settings.goal, desk.state
    left = goal.turns - state.turn
    if goal.hours and state.turn:
        left = min(left, (goal.hours * MS_AN_HOUR - state.worked_ms) * state.turn // max(1, state.worked_ms))
    return max(0, left)


# -- whether the goal is pursued any further ---------------------------------------------------------------------------


def ending(desk: Desk, turns: int | None) -> str:
    """Why it ends here, or ``""``. With a number of turns the goal's end is written down, and ends nothing."""
    ended = concluded(desk)
    if turns is None or desk.state.turn >= turns:
        return ended or (_turns_done(turns) if turns is not None else "")
    return ""


def concluded(desk: Desk) -> str:
    """Why the goal is pursued no further, or ``""``. Asked between turns.

    A champion that no diagnosis has seen is measured first: the last promotion counts too.
    """
    state = desk.state
    if not state.turn or desk.ledger.get(f"{state.turn + 1}/start") is not None:
        return ""  # a turn that has begun is finished first
    turn, name = state.turn, state.champion[:16]
    if state.dev_of != state.champion:
        desk.once("goal.measured", f"{turn}/goal/measured/{name}", lambda: {"turn": turn, **_dev(desk)[0]})
    found = measured(state, desk.settings)
    if found.reached and state.outcome.get("kind") != "goal.reached":
        reached = _conclusion(desk, f"goal reached: {found.words}", found)
        desk.once("goal.reached", f"{turn}/goal/reached/{name}", lambda: reached)
    elif _open(state) and (why := _given_up(desk, found)):
        _give_up(desk, why, found)
    return str(state.outcome.get("reason", ""))


def _open(state: State) -> bool:
    """Whether the goal may be given up: it was not, or for another champion (a person's word comes after the end)."""
    given_up = state.outcome.get("kind") == "goal.given_up"
    return not state.outcome or (given_up and state.outcome["champion"] != state.dev_of)


def out_of_budget(desk: Desk, spent: BudgetSpent) -> None:
    """Give the goal up when a budget of the run is spent for good; seconds are of one process, and it may go on."""
    if spent.unit != "seconds" and not desk.state.outcome:
        _give_up(
            desk,
            {"what": spent.unit, "why": f"the run's budget of {spent.unit} is spent"},
            measured(desk.state, desk.settings),
        )


def measured(state: State, settings: Settings) -> Measured:
    """How far the champion that was measured last (`State.dev_of`) is."""
    goal = goal_of(settings).plain()
    return Measured.of(goal, settings.plan.protected, state.anchor_dev, state.dev, state.aim)


def _given_up(desk: Desk, found: Measured) -> dict[str, str]:
    """What ends the pursuit and why, or nothing."""
    goal, state = desk.settings.goal, desk.state
    if state.turn >= goal.turns:
        return {"what": "turns", "why": _turns_done(state.turn)}
    if goal.hours and state.worked_ms >= goal.hours * MS_AN_HOUR:
        return {"what": "hours", "why": f"{dec(state.worked_ms / MS_AN_HOUR, 3)} of {goal.hours} hours worked"}
    why = goals.too_slow(state.progress, state.turn, _turns_left(desk), found.missing)
    return {"what": "pace", "why": f"out of reach in the turns left: {why}"} if why else {}


def _turns_done(turns: int) -> str:
    return "1 turn done" if turns == 1 else f"{turns} turns done"


def _give_up(desk: Desk, why: Mapping[str, str], found: Measured) -> None:
    # What ends at its horizon may well be reached: all that is known is that dev did not show it in time.
    how = "given up" if why["what"] == "pace" else "not shown to be reached"
    payload = {"what": why["what"], **_conclusion(desk, f"goal {how}, {why['why']}: {found.words}", found)}
    state = desk.state
    desk.once("goal.given_up", f"{state.turn}/goal/{why['what']}/{state.dev_of[:16]}", lambda: payload)


def _conclusion(desk: Desk, reason: str, found: Measured) -> Payload:
    state = desk.state
    return {"turn": state.turn, "champion": state.dev_of, "reason": reason, **found.plain()}
