"""Killed after any event, under any budget: the resumed run ends with the same events.

The loop, its ledger, state, store and budgets are real; operators, dev problems and judge are stand-ins that answer at
once, so that every kill point can be tried. `test_invariants.py` kills real processes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evolvent import plan
from evolvent.errors import BudgetSpent, JobFailed
from evolvent.jobs import Job, JobResult
from evolvent.judge.questions import Question, StandingQuestion
from evolvent.ledger import Ledger
from evolvent.loop import Loop
from evolvent.memory.effects import Foreseen
from evolvent.memory.episodes import Episode
from evolvent.memory.memory import Memory
from evolvent.operators.base import Bench, Built
from evolvent.propose.base import Idea, OperatorSpec, Situation
from evolvent.state import State
from evolvent.store import Store
from evolvent.types import Candidate, Decision, Event, Genome, Verdict

SKILLS = ("easy", "hard")
COST = {"diagnosis": 10, "build": 100, "verdict": 64}  # tokens, tokens and problems


class Killed(BaseException):
    """Stands for SIGKILL: nothing after the event is done."""


class Change:
    def __init__(self, name: str, cost: int) -> None:
        self.spec, self.cost = OperatorSpec(name=name, summary="a change"), cost

    def build(self, bench: Bench) -> Built:
        if 0 < bench.allowance.get("tokens", self.cost) < self.cost:
            raise JobFailed("over_budget", "more is wanted", tokens=bench.allowance["tokens"])
        job = Job(function="toy:train", params={"name": self.spec.name, "turn": bench.proposal.turn})
        model = bench.run(job).outputs["model"]
        return Built(model=model, scaffold={"kind": "direct"}, policy={}, flops=self.cost, tokens=self.cost)


class Engine:
    """Does the one job at once."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def run(self, job: Job, timeout_s: float | None = None) -> JobResult:
        weights = f"{job.params['name']} {job.params['turn']}".encode()
        model = self.store.put_tree({"weights": weights}, "model", {"parameters": 10})
        return JobResult(outputs={"model": model}, seconds_ms=0, cpu_ms=0, cached=False)


class Dev:
    def __init__(self, store: Store) -> None:
        self.store = store

    def run(self, candidate: Any, asked_of: str) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
        counts = {"n": 10, "correct": 5, "flops": 7, "tokens": COST["diagnosis"] // len(SKILLS)}
        return dict.fromkeys(SKILLS, self.store.put_json([])), {skill: dict(counts) for skill in SKILLS}

    def compare(self, mine: Any, theirs: Any) -> dict[str, dict[str, int]]:
        return {skill: {"n": 10, "wins": 3, "losses": 0} for skill in SKILLS}


class Judge:
    """Answers at once, and like the real one takes one question under one number."""

    def __init__(self, alarm: bool, taken: dict[str, Any] | None = None) -> None:
        self.alarm, self.taken = alarm, {} if taken is None else taken

    def take(self, place: str, question: Any) -> None:
        assert self.taken.setdefault(place, question) == question, f"{place} was opened for another question"

    def decide(self, question: Question) -> Verdict:
        self.take(f"slot {question.slot}", question)
        return Verdict(
            slot=question.slot, candidate=Candidate(**question.candidate).hash, decision=Decision.ACCEPT,
            reason="superior", evidence="e", isolation="kernel",
        )  # fmt: skip

    def evidence(self, name: str) -> dict[str, Any]:
        return {"items": {"easy": COST["verdict"]}, "tokens": 100}

    def standing(self, question: StandingQuestion) -> dict[str, Any]:
        self.take(f"check {question.number}", question)
        return {"alarm": self.alarm, "isolation": "kernel", "evidence": "e"}


class InTurn:
    """Proposes the plan's operators, in their order."""

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        return [
            Idea(operator=s.name, params={}, diagnosis=None, foreseen=Foreseen(points=1.0 + i, deviation=5.0))
            for i, s in enumerate(specs[:count])
        ]


def seed(store: Store) -> dict[str, Any]:
    """A version to begin with, as its event has it."""
    model = store.put_tree({"weights": b"seed"}, "model", {"parameters": 10})
    genome = store.put_json(Genome(architecture={"base": model}).plain())
    candidate = Candidate(model=model, scaffold={"kind": "direct"}, genome=genome)
    plain = {"candidate": candidate.plain(), "policy": {}, "parameters": 10, "gold": ""}
    return {"version": candidate.hash, **plain}


def session(
    folder: Path,
    budget: dict[str, Any],
    alarm: bool,
    kill_at: int = 0,
    taken: dict[str, Any] | None = None,
    known: dict[str, Any] | None = None,
) -> tuple[list[Event], State]:
    """Start or resume and work for two turns, as `Run.go` does; killed after so many new events if asked."""
    settings = plan.parse(
        {
            "task": "strings", "model": "none", "goal": {"turns": 2}, "probes": {"every_turns": 0}, "budget": budget,
            "plan": {"operators": ["paid", "free"], "target": "easy", "protected": {"easy": 5, "hard": 5}},
        },
        "test",
    )  # fmt: skip
    store, new = Store(folder / "store"), 0

    def watch(event: Event) -> None:
        nonlocal new
        new += 1
        if new == kill_at:
            raise Killed

    with Ledger.open(folder / "ledger.sqlite", "run", create=True) as ledger:
        ledger.acquire()
        state = State()
        for event in ledger.events():
            state.apply(event)
        loop = Loop(
            ledger=ledger, store=store, engine=Engine(store), judge=Judge(alarm, taken),  # type: ignore[arg-type]
            settings=settings, operators={"paid": Change("paid", COST["build"]), "free": Change("free", 0)},
            proposer=InTurn(), state=state, gold="", dev=Dev(store), max_new_tokens=5,  # type: ignore[arg-type]
            on_event=watch,
        )  # fmt: skip

        try:
            if known is not None:
                loop.once("memory.imported", "memory", lambda: {"memory": known})
            loop.once("seed.imported", "seed", lambda: seed(store))
            while loop.state.turn < 2:
                loop.turn()
        except BudgetSpent as exc:
            unit = exc.unit
            loop.once("run.stopped", f"stopped/{loop.state.turn}/{unit}", lambda: {"reason": unit})
        return list(ledger.events()), loop.state


BUDGETS: list[dict[str, Any]] = [
    {},
    {"tokens": COST["diagnosis"]},  # reached by the first diagnosis, exactly
    {"tokens": COST["diagnosis"] - 1},
    {"tokens": COST["diagnosis"] + COST["build"] - 1},
    {"problems": COST["verdict"] - 1},  # crossed by a verdict that accepts
    {"problems": 2 * COST["verdict"]},  # reached by a standing check
    {"turn": {"problems": 1}},
    {"turn": {"tokens": 2 * COST["build"]}, "build": {"tokens": COST["build"] - 1}},
]


@pytest.mark.parametrize("alarm", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("budget", BUDGETS, ids=str)
def test_killed_after_any_event_it_ends_with_the_same_events(
    budget: dict[str, Any], alarm: bool, tmp_path: Path
) -> None:
    whole, _ = session(tmp_path / "whole", budget, alarm)
    expected = [event.content_hash for event in whole]
    for kill_at in range(1, len(whole) + 1):
        folder = tmp_path / str(kill_at)
        taken: dict[str, Any] = {}
        with pytest.raises(Killed):
            session(folder, budget, alarm, kill_at, taken)
        again, _ = session(folder, budget, alarm, taken=taken)
        assert [event.content_hash for event in again] == expected, f"killed after {whole[kill_at - 1].key}"


def told(right: bool) -> dict[str, Any]:
    """A memory of forty verdicts, which the gain foreseen foretold, or of each the opposite."""
    memory = Memory()
    for number in range(40):
        accepted = bool(number % 2)
        signals = {"foreseen": (400 if accepted == right else 200) + 40 * (number // 20)}
        outcome = "accepted" if accepted else "rejected"
        memory.signals.learn(Episode(task="", run="", id="", operator="paid", outcome=outcome, signals=signals))
    return memory.plain()


@pytest.mark.parametrize("right", [True, False])
def test_what_the_signals_speak_for_is_tried_first_and_a_misleading_one_is_turned_round(
    right: bool, tmp_path: Path
) -> None:
    """``free`` foresees more; where the turn's budget allows for one verdict, only that one is judged."""
    budget = {"turn": {"problems": 1}}
    events, _ = session(tmp_path / "whole", budget, alarm=False, known=told(right))
    assert next(e.payload["id"] for e in events if e.kind == "verdict") == ("1.1" if right else "1.0")
    for kill_at in range(1, len(events) + 1):
        taken: dict[str, Any] = {}
        with pytest.raises(Killed):
            session(tmp_path / str(kill_at), budget, False, kill_at, taken, told(right))
        again, _ = session(tmp_path / str(kill_at), budget, alarm=False, taken=taken, known=told(right))
        assert [e.content_hash for e in again] == [e.content_hash for e in events]


def kinds(events: Sequence[Event]) -> list[str]:
    return [event.kind for event in events]


def test_what_a_verdict_demands_is_done_when_it_took_the_last_of_the_budget(tmp_path: Path) -> None:
    events, _ = session(tmp_path, {"problems": COST["verdict"] - 1}, alarm=False)
    assert kinds(events)[-3:] == ["verdict", "promoted", "run.stopped"]


def test_a_candidate_dropped_unseen_is_not_barred(tmp_path: Path) -> None:
    events, state = session(tmp_path, {"turn": {"problems": 1}}, alarm=False)
    dropped = [e.payload for e in events if e.kind == "rejected" and e.payload["reason"].startswith("the turn's")]
    assert [p["id"] for p in dropped] == ["1.1", "2.1"]
    assert state.barred == []


def test_a_standing_check_leaves_the_candidates_budget_alone(tmp_path: Path) -> None:
    events, state = session(tmp_path, {"turn": {"problems": COST["verdict"] + 1}}, alarm=False)
    verdicts = [e.payload["id"] for e in events if e.kind == "verdict"]
    assert verdicts == ["1.0", "1.1", "2.0", "2.1"], "64 of 65 leave room for another that has not begun"
    assert state.spent["problems"] > len(verdicts) * COST["verdict"], "the standing checks were counted in the run"


def forced(folder: Path, version: dict[str, Any], parent: str) -> None:
    """A person's promotion of a built version, beside the loop."""
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        ledger.acquire()
        plain = {
            "id": version["id"], "version": version["version"], "parent": parent, "forced": True, "by": "ada",
            "plan": "", "clause": "person", "reason": "a hurry", "objection": "", "evidence": "", "policy": {},
            "candidate": version["candidate"],
        }  # fmt: skip
        ledger.append("promoted", plain, actor="human", key=f"forced/{ledger.head()[0]}")


def went_back(folder: Path, version: dict[str, Any], parent: str, certified: str) -> None:
    """A person's rollback to the seed."""
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        ledger.acquire()
        plain = {
            "from": parent, "to": version["version"], "by": "ada", "certified": certified, "reason": "a hurry",
            "candidate": version["candidate"], "policy": {},
        }  # fmt: skip
        ledger.append("rolled_back", plain, actor="human", key=f"rollback/{ledger.head()[0]}")


@pytest.mark.parametrize("alarm", [False, True])
@pytest.mark.parametrize("at", ["standing.opened", "standing.checked"])
def test_a_person_who_acts_while_a_check_goes_on(at: str, alarm: bool, tmp_path: Path) -> None:
    whole, _ = session(tmp_path / "whole", {}, alarm)
    folder, taken = tmp_path / "run", dict[str, Any]()
    with pytest.raises(Killed):
        session(folder, {}, alarm, kinds(whole).index(at) + 1, taken)
    before, _ = read(folder)
    champion = [event.payload["version"] for event in before if event.kind == "promoted"][-1]
    other = next(e.payload for e in before if e.kind == "built" and e.payload["version"] != champion)
    forced(folder, other, champion)
    events, state = session(folder, {}, alarm, taken=taken)
    opened = [event.payload for event in events if event.kind == "standing.opened"]
    assert [p["number"] for p in opened] == list(range(1, len(opened) + 1)), "each number once"
    checks = [event.payload for event in events if event.kind == "standing.checked"]
    assert other["version"] in {c["champion"] for c in checks}, "the forced one is looked at too"
    for back in (event.payload for event in events if event.kind == "rolled_back"):
        said = [c for c in checks if c["alarm"] and (c["champion"], c["reference"]) == (back["from"], back["to"])]
        assert said, "each rollback follows from an alarm of its own"
    assert state.turn == 2


def test_a_check_of_a_version_that_a_person_left_is_not_asked_again(tmp_path: Path) -> None:
    """As after a version that fells the judge's worker: the way out is a rollback, and it must lead out."""
    whole, _ = session(tmp_path / "whole", {}, alarm=False)
    folder = tmp_path / "run"
    with pytest.raises(Killed):
        session(folder, {}, False, kinds(whole).index("standing.opened") + 1)
    before, _ = read(folder)
    seed = next(event.payload for event in before if event.kind == "seed.imported")
    champion = [event.payload["version"] for event in before if event.kind == "promoted"][-1]
    went_back(folder, seed, champion, seed["version"])
    events, state = session(folder, {}, alarm=False)
    assert champion not in {e.payload["champion"] for e in events if e.kind == "standing.checked"}
    assert state.turn == 2


def read(folder: Path) -> tuple[list[Event], State]:
    """What lies there."""
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        events, state = list(ledger.events()), State()
    for event in events:
        state.apply(event)
    return events, state


def test_a_version_forced_in_again_after_an_alarm_is_looked_at_before_anything_is_built_upon_it(tmp_path: Path) -> None:
    whole, _ = session(tmp_path / "whole", {}, alarm=True)
    folder, taken = tmp_path / "run", dict[str, Any]()
    with pytest.raises(Killed):
        session(folder, {}, True, kinds(whole).index("turn.ended") + 1, taken)
    before, _ = read(folder)
    taken_down = [event.payload["from"] for event in before if event.kind == "rolled_back"][-1]
    forced(folder, next(e.payload for e in before if e.kind == "built" and e.payload["version"] == taken_down), "")
    events, state = session(folder, {}, alarm=True, taken=taken)
    second = kinds(events)[kinds(events).index("promoted", kinds(events).index("turn.ended")) + 1 :]
    assert second[:4] == ["turn.started", "standing.opened", "standing.checked", "rolled_back"]
    assert state.champion != taken_down
