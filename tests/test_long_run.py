"""A long run over a kill, a restart and a restored backup keeps its goal, its memory and its error budget.

Quick: twelve turns of `goal_world`, whose jobs and judge answer at once, in processes of their own. Slow: 300 turns of
`toy_world`, where jobs, judge, sandbox, evidence, signed heads and a witness are real.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import goal_world
import toy_world
from evolvent.audit import Findings, audit
from evolvent.audit.pursued import Pursued
from evolvent.ledger import Ledger
from evolvent.memory.episodes import EPISODE_LIMIT
from evolvent.propose.base import PROBES
from evolvent.run import JUDGE, LEDGER, SIGNING, STORE, Run
from evolvent.state import PAST_LIMIT, PROGRESS_LIMIT, State
from evolvent.store import Store
from evolvent.types import Event

TURNS = 300
Start = Callable[..., "subprocess.Popen[bytes]"]


def events_of(folder: Path) -> list[Event]:
    with Ledger.open(folder / LEDGER) as ledger:
        assert ledger.verify() == ledger.head()[0]
        return list(ledger.events())


def folded(events: Sequence[Event]) -> State:
    state = State()
    for event in events:
        state.apply(event)
    return state


def of(events: Sequence[Event], *kinds: str) -> list[dict[str, Any]]:
    return [event.payload for event in events if event.kind in kinds]


def by_snapshot(folder: Path) -> State:
    """As a resumed run reads it: from the newest snapshot on."""
    with Ledger.open(folder / LEDGER) as ledger:
        snapshot = ledger.load_snapshot("state")
        state, after = (State.from_plain(snapshot[1]), snapshot[0]) if snapshot else (State(), 0)
        for event in ledger.events(after):
            state.apply(event)
        return state


def kept(folder: Path, before: Sequence[Event]) -> list[Event]:
    """Goal, memory and error budget are what the ledger says, and the ledger still says what it said `before`."""
    events = events_of(folder)
    assert [event.chain_hash for event in events[: len(before)]] == [event.chain_hash for event in before]
    state = by_snapshot(folder)
    assert state.plain() == folded(events).plain(), "snapshot and fold agree"
    the_goal_is_kept(events, state)
    memory_is_kept(events, state)
    error_budget_is_kept(events, state)
    return events


def the_goal_is_kept(events: Sequence[Event], state: State) -> None:
    (started,) = of(events, "run.started")
    assert started["goal"]["rate"] == started["config"]["goal"]["rate"] > 0
    findings = Findings()
    pursued = Pursued(findings)  # adds up by itself what each subgoal cost and gave
    for event in events:
        pursued.take(event)
    assert findings.wrong == []
    assert {id_: row["total"] for id_, row in pursued.open.items()} == {
        id_: row["total"] for id_, row in state.subgoals.items()
    }
    ended = of(events, "goal.closed", "goal.abandoned")
    assert sum(state.ended.values()) == len(ended)
    assert [row["id"] for row in state.past] == [row["id"] for row in ended][-PAST_LIMIT:]
    assert len(of(events, "goal.opened")) == len(state.subgoals) + len(ended)
    assert len(state.progress) <= PROGRESS_LIMIT
    assert state.worked_ms == sum(event.cost.get("wall_ms", 0) for event in events)


def memory_is_kept(events: Sequence[Event], state: State) -> None:
    """Each real change that was decided is one episode, in order, none twice."""
    operators = {row["id"]: row["proposal"]["operator"] for row in of(events, "proposed")}
    decided = [row["id"] for row in of(events, "promoted", "rejected") if operators[row["id"]] not in PROBES]
    assert len(set(decided)) == len(decided)
    assert [episode.id for episode in state.memory.episodes] == decided[-EPISODE_LIMIT:]


def error_budget_is_kept(events: Sequence[Event], state: State) -> None:
    """No level is lost or spent twice, and no total exceeds what the plan declares."""
    plan = of(events, "run.started")[0]["config"]["plan"]
    slots = of(events, "slot.opened")
    assert [row["slot"] for row in slots] == list(range(1, state.slots + 1))
    verdicts = of(events, "verdict")
    assert [row["verdict"]["slot"] for row in verdicts] == [row["slot"] for row in slots][: len(verdicts)]
    assert len(slots) - len(verdicts) in (0, 1), "one may be open where it was cut short"
    assert 0 < sum(Fraction(row["alpha_ni"]) for row in slots) <= Fraction(plan["alpha_safety"])
    checks = of(events, "standing.opened")
    assert [row["number"] for row in checks] == list(range(1, state.standing + 1))
    assert sum(Fraction(row["question"]["alpha"]) for row in checks) <= Fraction(plan["alpha_standing"])
    assert state.promotions == sum(not row["forced"] for row in of(events, "promoted"))


def killed(start: Start, folder: Path, kill_after: int, before: Sequence[Event]) -> list[Event]:
    """SIGKILL in the middle of a turn."""
    assert start(folder, TURNS, kill_after).wait() == toy_world.KILLED
    events = kept(folder, before)
    assert events[-1].kind != "turn.ended"
    assert folded(events).turn < len(of(events, "turn.started"))
    return events


def went_on(start: Start, folder: Path, turns: int, before: Sequence[Event]) -> list[Event]:
    """Started again, until this turn."""
    assert start(folder, turns).wait() == 0
    events = kept(folder, before)
    assert [row["turn"] for row in of(events, "turn.ended")] == list(range(1, turns + 1))
    return events


# -- quick -------------------------------------------------------------------------------------------------------------


def test_twelve_turns_over_a_kill_a_restart_and_a_backup(tmp_path: Path) -> None:
    whole, run, moved = tmp_path / "whole", tmp_path / "run", tmp_path / "moved"
    assert goal_world.start(whole, 12).wait() == 0
    events = killed(goal_world.start, run, 45, [])
    events = went_on(goal_world.start, run, 8, events)
    shutil.copytree(run, moved)
    shutil.rmtree(run)
    events = went_on(goal_world.start, moved, 12, events)
    assert [event.content_hash for event in events] == [event.content_hash for event in events_of(whole)]
    assert {"goal.opened", "goal.closed", "goal.planned", "promoted"} <= {event.kind for event in events}


# -- slow --------------------------------------------------------------------------------------------------------------


def audited(folder: Path, witness: Path, waiting: int = 0) -> None:
    """All is well, and the judge has taken a place for each question but those that were not asked yet."""
    with Ledger.open(folder / LEDGER) as ledger:
        findings = audit(ledger, Store(folder / STORE), folder / JUDGE, folder / SIGNING, [witness])
    assert findings.wrong == []
    places = len(list((folder / JUDGE / "places").iterdir()))
    assert places == findings.counts["slots"] + findings.counts.get("standing checks", 0) - waiting


def sizes(events: Sequence[Event], turns: Sequence[int]) -> list[int]:
    """Bytes of the state after these turns, but for the newest episodes: their number has a limit of its own."""
    state, found = State(), []
    for event in events:
        state.apply(event)
        if event.kind == "turn.ended" and event.payload["turn"] in turns:
            plain = state.plain()
            assert len(plain["memory"]["episodes"]) <= EPISODE_LIMIT
            plain["memory"] = {**plain["memory"], "episodes": []}
            found.append(len(json.dumps(plain)))
    return found


def overheads_ms(events: Sequence[Event]) -> list[int]:
    """Of each turn, the time that no rollout, build or verdict took."""
    found: list[int] = []
    for event in events:
        if event.kind == "turn.started":
            found.append(0)
        if found and "wall_ms" in event.cost:
            worked = ("diagnosed", "goal.measured", "built", "build.failed", "screened", "verdict", "standing.checked")
            found[-1] += event.cost["wall_ms"] - (event.cost["ms"] if event.kind in worked else 0)
    return found


@pytest.mark.slow  # several minutes: 300 turns with real jobs and a real judge
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the judge can only abstain")
def test_three_hundred_turns_over_a_kill_a_restart_and_a_backup(
    toy_seed: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    run, old, moved, witness = (tmp_path / name for name in ("run", "old", "moved", "witness"))
    witness.mkdir()
    rules = toy_world.settings(toy_seed)["plan"]
    changes: dict[str, Any] = {
        "goal": {"rate": 99, "turns": TURNS}, "dev": {"problems": 60}, "probes": {"every_turns": 10},
        "plan": {**rules, "operators": ["gold", "policy"], "max_items": 512, "first_epoch_slots": 8},
        "build": {"problems": 40, "samples": 2, "steps": 40, "tokens_per_step": 512, "learning_rate": "0.003",
                  "gold_share": 90},
        "proposals_per_turn": 1, "witness": [str(witness)],
    }  # fmt: skip
    toy_world.new_run(run, toy_seed, **changes)
    events = killed(toy_world.start, run, 700, [])
    audited(run, witness, waiting=int(events[-1].kind == "slot.opened"))  # opened, and the judge not asked yet
    events = went_on(toy_world.start, run, 150, events)
    audited(run, witness)
    shutil.copytree(run, old)
    events = went_on(toy_world.start, run, 160, events)
    assert toy_world.start(old, TURNS).wait() not in (0, toy_world.KILLED), "an older copy: the witness knows better"
    assert len(events_of(old)) < len(events), "and nothing was done there"
    shutil.copytree(run, moved)
    shutil.rmtree(run)
    events = went_on(toy_world.start, moved, TURNS, events)
    audited(moved, witness)
    at = sizes(events, [TURNS // 3, 2 * TURNS // 3, TURNS])
    assert of(events, "goal.abandoned")
    assert Run.open(moved).settings.goal.rate == 99
    spent = overheads_ms(events)
    tenth = len(spent) // 10
    figures = {
        "events": len(events), "promotions": len(of(events, "promoted")), "slots": len(of(events, "slot.opened")),
        "subgoals": len(of(events, "goal.opened")), "state_bytes": at,
        "overhead_ms_first_tenth": statistics.median(spent[:tenth]),
        "overhead_ms_last_tenth": statistics.median(spent[-tenth:]),
    }  # fmt: skip
    for name, value in figures.items():
        record_property(name, value)
    print(figures)
    assert at[2] < 1.5 * at[1], "a state that has filled its lists grows no more"
