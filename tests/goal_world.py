"""A world in which a goal can be pursued: real loop, ledger, state, store, budgets and diagnosis; the rest is at once.

Jobs, dev problems and judge are stand-ins (`test_resume.py`): a version is a set of kinds of problems that it has
learned, and fails the others. ``python tests/goal_world.py FOLDER TURNS [KILL_AFTER]`` works on a folder as a process
of its own, towards a goal that it nearly reaches, and kills itself with SIGKILL after that many new events.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import evolvent
from evolvent import plan, steering
from evolvent.audit import Findings
from evolvent.audit.pursued import Pursued
from evolvent.budget import Stopwatch
from evolvent.errors import BudgetSpent
from evolvent.jobs import Job, JobResult
from evolvent.ledger import Ledger
from evolvent.loop import Loop
from evolvent.memory.effects import Foreseen
from evolvent.operators.base import Bench, Built
from evolvent.propose.base import Idea, OperatorSpec, Situation
from evolvent.state import State
from evolvent.store import Store
from evolvent.types import Candidate, Decision, Event, Genome, Trace, Verdict
from test_resume import Judge, Killed

KINDS = ("a", "b", "c", "d")
FLOPS = 100
COST = FLOPS + 2  # of a proposal: its build, and a screen on two skills


class Dev:
    """Ten problems of each kind and skill; a version solves the kinds that it has learned, and all easy ones.

    Args:
        store: holds versions and traces.
        halves: twice as many, in two halves.
    """

    def __init__(self, store: Store, halves: bool = False) -> None:
        self.store, self.halves = store, halves

    def run(self, candidate: Any, asked_of: str) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
        learned = json.loads(self.store.read_tree(candidate["model"])["weights"])
        names, counts = {}, {}
        for skill in ("easy", "hard"):
            tags = [{"kind": kind} for kind in KINDS]
            tags = [{**tag, "half": half} for tag in tags for half in "01"] if self.halves else tags
            rows = [
                Trace(problem=str(i), skill=skill, tags=tag, output="", error="wrong",
                      correct=skill == "easy" or tag["kind"] in learned).plain()
                for tag in tags for i in range(10)
            ]  # fmt: skip
            names[skill] = self.store.put_json(rows)
            counts[skill] = {"n": len(rows), "correct": sum(row["correct"] for row in rows), "flops": 1, "tokens": 1}
        return names, counts

    def compare(self, mine: Any, theirs: Any) -> dict[str, dict[str, int]]:
        return {skill: {"n": 40, "wins": 3, "losses": 0} for skill in mine}


class Engine:
    """Does the one job at once."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def run(self, job: Job, timeout_s: float | None = None) -> JobResult:
        learned = json.loads(self.store.read_tree(job.inputs["model"])["weights"])
        weights = json.dumps(sorted({*learned, job.params["kind"]})).encode()
        model = self.store.put_tree({"weights": weights}, "model", {"parameters": 10})
        return JobResult(outputs={"model": model}, seconds_ms=0, cpu_ms=0, cached=False)


class Learn:
    """Learns one kind of problem: the one that its parameters name."""

    spec = OperatorSpec(name="learn", summary="learns", space={"kind": ("", *KINDS)})

    def build(self, bench: Bench) -> Built:
        job = Job(function="toy:learn", inputs={"model": bench.model}, params={"kind": bench.proposal.params["kind"]})
        model = bench.run(job).outputs["model"]
        return Built(model=model, scaffold={"kind": "direct"}, policy={}, flops=FLOPS, tokens=1)


class Answering:
    """Proposes to learn the kind that the first weakness names, if it names one."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        worst = situation.worst
        if worst is None:
            return []
        self.asked.append(worst.slice.get("kind", ""))
        params = {"kind": worst.slice.get("kind", "")}
        return [Idea(operator="learn", params=params, diagnosis=worst, foreseen=Foreseen(points=1.0, deviation=5.0))]


class Picky(Judge):
    """Accepts versions that have learned one of these kinds beyond what the champion has."""

    def __init__(self, store: Store, useful: str) -> None:
        super().__init__(alarm=False)
        self.store, self.useful = store, useful

    def decide(self, question: Any) -> Verdict:
        mine, theirs = (
            set(json.loads(self.store.read_tree(side["model"])["weights"]))
            for side in (question.candidate, question.incumbent)
        )
        good = bool((mine - theirs) & set(self.useful))
        return Verdict(
            slot=question.slot, candidate=Candidate(**question.candidate).hash, evidence="e", isolation="kernel",
            decision=Decision.ACCEPT if good else Decision.REJECT, reason="superior" if good else "futile",
        )  # fmt: skip


class Session:
    """Start or resume a run in a folder, and work as `Run.go` does; killed after so many new events if asked.

    Args:
        folder: of the run.
        goal: its settings.
        useful: kinds of problems of which the judge accepts what learned them.
        kill_at: events after which it is killed, by an exception or `suddenly` by a signal; 0 for never.
        turns: work to this turn, whatever the goal says.
        budget: of the run.
        lap_s: seconds that its clock goes on with each event.
        halves: see `Dev`.
        suddenly: see `kill_at`.
    """

    def __init__(
        self, folder: Path, goal: dict[str, Any], *, useful: str = "", kill_at: int = 0, turns: int | None = None,
        budget: dict[str, Any] | None = None, lap_s: float = 0.0, halves: bool = False, suddenly: bool = False,
    ) -> None:  # fmt: skip
        self.settings = plan.parse(
            {
                "task": "strings", "model": "none", "goal": goal, "probes": {"every_turns": 0}, "budget": budget or {},
                "proposals_per_turn": 1,
                "plan": {"operators": ["learn"], "target": "hard", "protected": {"easy": 5, "hard": 5}},
            },
            "test",
        )  # fmt: skip
        store, self.proposer, self.state = Store(folder / "store"), Answering(), State()
        new, now = 0, [0.0]

        def watch(event: Event) -> None:
            nonlocal new
            new += 1
            now[0] += lap_s
            if new == kill_at and suddenly:
                os.kill(os.getpid(), signal.SIGKILL)
            if new == kill_at:
                raise Killed

        with Ledger.open(folder / "ledger.sqlite", "run", create=True) as ledger:
            ledger.acquire()
            for event in ledger.events():
                self.state.apply(event)
            self.loop = Loop(
                ledger=ledger, store=store, engine=Engine(store), judge=Picky(store, useful),  # type: ignore[arg-type]
                settings=self.settings, operators={"learn": Learn()}, proposer=self.proposer, state=self.state,
                gold="", dev=Dev(store, halves), max_new_tokens=5, on_event=watch,  # type: ignore[arg-type]
                stopwatch=Stopwatch(lambda: now[0]),
            )  # fmt: skip
            self._begin(store)
            try:
                self._work(turns)
            finally:
                self.events = list(ledger.events())

    def _begin(self, store: Store) -> None:
        def seed() -> dict[str, Any]:
            model = store.put_tree({"weights": b"[]"}, "model", {"parameters": 10})
            genome = store.put_json(Genome(architecture={"base": model}).plain())
            candidate = Candidate(model=model, scaffold={"kind": "direct"}, genome=genome)
            return {"version": candidate.hash, "candidate": candidate.plain(), "policy": {}, "parameters": 10}

        config = self.settings.recorded()
        goal = steering.goal_of(self.settings).plain()
        self.loop.once("run.started", "run", lambda: {"config": config, "task": "strings", "goal": goal})
        self.loop.once("seed.imported", "seed", seed)

    def _work(self, turns: int | None) -> None:
        try:
            while not (steering.concluded(self.loop) if turns is None else self.state.turn >= turns):
                self.loop.turn()
        except BudgetSpent as spent:
            steering.out_of_budget(self.loop, spent)

    def of(self, *wanted: str) -> list[dict[str, Any]]:
        return [event.payload for event in self.events if event.kind in wanted]

    @property
    def faults(self) -> list[str]:
        """What the audit's part about goals says of the ledger."""
        findings = Findings()
        pursued = Pursued(findings)
        for event in self.events:
            pursued.take(event)
        return findings.wrong


LONG: dict[str, Any] = {"goal": {"rate": 99, "turns": 400}, "useful": "ac"}


def start(folder: Path, turns: int, kill_after: int = 0) -> subprocess.Popen[bytes]:
    """The run as a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(Path(evolvent.__file__).parents[1])}
    argv = [sys.executable, __file__, str(folder), str(turns), str(kill_after)]
    return subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL)


def main() -> None:
    """Go on with a run; end suddenly if told so."""
    folder, turns, kill_after = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    Session(folder, **LONG, turns=turns, kill_at=kill_after, suddenly=True)


if __name__ == "__main__":
    main()
