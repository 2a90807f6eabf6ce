"""The loop, one turn at a time.

::

    diagnose -> propose -> build -> screen -> judge -> gate -> promote or reject -> standing check
     (dev)                (workers)  (dev)   (own process, fresh items)             (roll back)

A turn reads the ledger's state and appends to the ledger; nothing else is kept. Each step is *once*: it looks for its
own event first and only works when there is none. So a run that was killed anywhere goes on by running the turn again,
and ends with the same events as a run that was not.

Not here: how a change is made (`operators/`), what is proven (`judge/`), what people say (`people.py`), on what a turn
works (`steering.py`), folders and files (`run.py`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from evolvent import goals, people, standing, steering
from evolvent.asking import promotion_question
from evolvent.budget import Budget, Stopwatch, allowance
from evolvent.building import carry_out, refusal
from evolvent.dev import DevSet, screen
from evolvent.errors import BudgetSpent, JobFailed, LedgerCorrupt
from evolvent.jobs import JobEngine
from evolvent.judge.questions import Question
from evolvent.ledger import Ledger
from evolvent.operators.base import Bench, Built, Operator
from evolvent.plan import Settings
from evolvent.propose.base import Idea, Proposer, Situation, due_probes
from evolvent.propose.language_model import Heard
from evolvent.provenance import versions
from evolvent.state import COSTLY, State
from evolvent.store import Store
from evolvent.types import Decision, Diagnosis, Event, Proposal, Verdict, content_hash, dec, derive_seed

# Their work is done before they are recorded, and must be counted; the budget is asked before the work.
UNASKED = ("built", "build.failed", "heard")
SNAPSHOT_EVERY = 10

Payload = dict[str, Any]


class Judge(standing.StandingJudge, Protocol):
    """What the loop may ask."""

    def decide(self, question: Question) -> Verdict: ...


@dataclass(frozen=True, kw_only=True)
class Loop:
    """One run's loop over its ledger.

    Attributes:
        ledger: open, with the controller's token held.
        store: the run's artifacts.
        engine: runs jobs.
        judge: the independent process.
        settings: resolved settings, the change plan inside.
        operators: every registered operator by name.
        proposer: chooses what to try.
        state: fold of the ledger so far.
        gold: store hash of the seed's own data, or ``""``.
        dev: runs versions on dev problems.
        max_new_tokens: room of an answer.
        on_event: told of each new event.
        on_stage: told what is going on, for people.
        stopwatch: tells each event how long this process has worked since the one before.
    """

    ledger: Ledger
    store: Store
    engine: JobEngine
    judge: Judge
    settings: Settings
    operators: Mapping[str, Operator]
    proposer: Proposer
    state: State
    gold: str
    dev: DevSet
    max_new_tokens: int
    on_event: Callable[[Event], None] = lambda event: None
    on_stage: Callable[[str, Payload], None] = lambda stage, fields: None
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    budget: Budget = field(init=False)

    def __post_init__(self) -> None:
        """Set the budget up from the settings and what was spent before; a spent one stops the next turn, not us."""
        budget = Budget("run", self.settings.budget.limits(), spent=self.state.spent, clock=time.monotonic)
        object.__setattr__(self, "budget", budget)

    # -- the turn ------------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """One turn, or the rest of one that was cut short.

        Raises:
            BudgetSpent: a limit of the run is reached; what was done is in the ledger.
        """
        turn = self.state.turn + 1
        standing.settle(self, turn)
        if self.ledger.get(f"{turn}/start") is None:  # a turn that has begun goes on as if it had not been cut short
            self.budget.check(flops=1, tokens=1, problems=1)
        self.once("turn.started", f"{turn}/start", lambda: {"turn": turn, "champion": self.state.champion})
        standing.before_turn(self, turn)
        subgoal, weaknesses = steering.steered(self, turn, steering.diagnosed(self, turn))
        proposals = self._propose(turn, subgoal, weaknesses)
        self._build(proposals)
        probes = [p for p in proposals if self._is_probe(p)]
        for proposal in probes:  # first, so that they meet the parent they had
            self._try(proposal)
        waiting = self._chosen(turn, [p for p in proposals if p not in probes])
        while waiting:
            proposal = self._next(waiting)
            waiting.remove(proposal)
            self._try(proposal)
        standing.after_turn(self, turn)
        self.once(
            "turn.ended",
            f"{turn}/end",
            lambda: {"turn": turn, "champion": self.state.champion, "spent": self.state.spent},
        )
        if turn % SNAPSHOT_EVERY == 0:
            self.ledger.save_snapshot("state", self.ledger.head()[0], self.state.plain())

    def once(
        self, kind: str, key: str, make: Callable[[], Payload], actor: str = "controller", spent_ms: int = 0
    ) -> Payload:
        """The payload of the event `key`: read if it was written before, else made, appended and folded in.

        What follows from an event (a promotion, a rollback) costs nothing and is never refused; what costs is, once a
        budget is crossed.

        Raises:
            BudgetSpent: a limit was crossed before this.
            LedgerCorrupt: the key belongs to an event that somebody else wrote.
        """
        old = self.ledger.get(key)
        if old is not None:
            if old.actor != actor:
                raise LedgerCorrupt(f"ledger {self.ledger.path}: {key} was written by {old.actor}, not by {actor}")
            return old.payload
        if kind in COSTLY and kind not in UNASKED:
            self.budget.check()
        started = time.monotonic()
        payload = make()
        cost = {"ms": spent_ms + int(1000 * (time.monotonic() - started)), "wall_ms": self.stopwatch.lap_ms()}
        event = self.ledger.append(kind, payload, actor=actor, key=key, cost=cost)
        before = dict(self.state.spent)
        self.state.apply(event)
        self.on_event(event)
        with suppress(BudgetSpent):  # counted; the next step that costs is refused
            self.budget.charge(**{unit: self.state.spent[unit] - before[unit] for unit in before})
        return payload

    # -- propose and build ---------------------------------------------------------------------------------------------

    def _propose(self, turn: int, subgoal: str, weaknesses: Sequence[Diagnosis]) -> list[Proposal]:
        planned = self.ledger.get(f"{turn}/planned")
        if planned is None:
            ideas = self._ideas(turn, weaknesses)
            rows = [self._proposal(turn, i, idea).plain() for i, idea in enumerate(ideas)]
            answers = [idea.diagnosis.plain() if idea.diagnosis else None for idea in ideas]
            # Pool and allowance are fixed here: what a neighbour makes or spends in this turn is not seen.
            around = self._subgoal_budget(subgoal)
            share = allowance(around, self.settings.budget.build.limits(), max(1, len(rows)))
            plan = {
                "turn": turn, "subgoal": subgoal, "proposals": rows, "answers": answers, "pool": list(self.state.pool),
                "allowance": share,
            }  # fmt: skip
            self.once("planned", f"{turn}/planned", lambda: plan)
            planned = self.ledger.get(f"{turn}/planned")
        assert planned is not None
        proposals = [Proposal(**row) for row in planned.payload["proposals"]]
        for proposal, answers_to in zip(proposals, planned.payload["answers"], strict=True):
            payload = {"id": _id(proposal), "proposal": proposal.plain(), "answers": answers_to}
            self.once("proposed", f"{_id(proposal)}/proposed", lambda p=payload: p)
        return proposals

    def _ideas(self, turn: int, weaknesses: Sequence[Diagnosis]) -> list[Idea]:
        state, champion = self.state, self.state.versions[self.state.champion]
        situation = Situation(
            turn=turn, weaknesses=weaknesses, memory=state.memory, band=state.band, policy=champion["policy"],
            scaffold=champion["candidate"]["scaffold"], barred=frozenset(state.barred), tried=state.tried,
            failing=steering.failing(self, turn, weaknesses),
        )  # fmt: skip
        probes = due_probes(turn, self.settings.probes.every_turns)
        specs = [self.operators[name].spec for name in self.settings.plan.operators]
        count = self.settings.proposals_per_turn - len(probes)
        rng = random.Random(derive_seed(self.settings.seed, "propose", turn))
        return [*self.proposer.propose(situation, specs, count, rng), *probes]

    def heard(self, said: Heard) -> None:
        """Write down what a language model's answer cost, and what of it does not count.

        A run that was killed before it planned asks again; the same answer is the same event, another one is another.
        """
        turn, refused = self.state.turn + 1, [refusal.plain() for refusal in said.refused]
        told = {"turn": turn, "refused": refused, "tokens": said.tokens}
        self.once("heard", f"{turn}/heard/{content_hash([said.seed, said.answer, told])[:16]}", lambda: told)

    def _proposal(self, turn: int, index: int, idea: Idea) -> Proposal:
        return Proposal(
            turn=turn,
            index=index,
            operator=idea.operator,
            params=idea.params,
            parent=self.state.champion,
            diagnosis=idea.diagnosis.hash if idea.diagnosis else "",
            seed=derive_seed(self.settings.seed, "proposal", turn, index),
            predicted_gain=dec(idea.foreseen.points, 3),
            predicted_deviation=dec(idea.foreseen.deviation, 3),
            predicted_flops=idea.foreseen.flops,
            proposer=idea.proposer,
            why=idea.why,
        )

    def _build(self, proposals: Sequence[Proposal]) -> None:
        """Build side by side what is not built yet; commit in the order of the proposals."""
        waiting = [p for p in proposals if self.ledger.get(f"{_id(p)}/built") is None]
        self.on_stage("build", {"proposals": [p.operator for p in waiting]})
        if not waiting:
            return
        planned = self.ledger.get(f"{waiting[0].turn}/planned")
        assert planned is not None
        plan = planned.payload
        if len(waiting) == len(proposals):
            self.budget.check()
        with ThreadPoolExecutor(max_workers=self.settings.workers) as threads:
            futures = {_id(p): threads.submit(self._carry_out, p, plan) for p in waiting}
            for proposal in waiting:
                id_ = _id(proposal)
                made, spent_ms = futures[id_].result()
                kind = "build.failed" if isinstance(made, JobFailed) else "built"
                self.once(kind, f"{id_}/built", lambda p=proposal, m=made: self._built(p, m), spent_ms=spent_ms)

    def _carry_out(self, proposal: Proposal, plan: Payload) -> tuple[Built | JobFailed, int]:
        """What was built, or why not, and the milliseconds that it took."""
        if proposal.operator not in self.operators:
            return JobFailed("out_of_plan", f"the change plan names no operator {proposal.operator!r}"), 0
        started = time.monotonic()
        parent = self.state.versions[proposal.parent]
        bench = Bench(
            run=partial(self.engine.run, timeout_s=self.settings.budget.job_seconds),
            store=self.store,
            settings=self.settings,
            proposal=proposal,
            model=parent["candidate"]["model"],
            scaffold=parent["candidate"]["scaffold"],
            policy=parent["policy"],
            gold=self.gold,
            pool=tuple(plan["pool"]),
            allowance=plan["allowance"],
        )
        try:
            made: Built | JobFailed = carry_out(self.operators[proposal.operator], bench)
        except JobFailed as exc:
            made = exc
        return made, int(1000 * (time.monotonic() - started))

    def _built(self, proposal: Proposal, made: Built | JobFailed) -> Payload:
        if isinstance(made, JobFailed):
            return {"id": _id(proposal), **made.plain()}
        base = self.state.versions[self.state.seed]["candidate"]["model"]
        parent = self.state.versions[proposal.parent]["candidate"]["genome"]
        return {"id": _id(proposal), **versions.described(proposal, made, base, parent, self.store)}

    # -- screen, judge, decide -----------------------------------------------------------------------------------------

    def _chosen(self, turn: int, proposals: list[Proposal]) -> list[Proposal]:
        """What is tried, in this order; where a pick is due, what a person picks of those that pass the screen."""
        every = self.settings.people.pick_every
        if not every or turn % every:
            return proposals
        return people.chosen(self, turn, [p for p in proposals if self._passes(p)])

    def _next(self, waiting: Sequence[Proposal]) -> Proposal:
        """What has been screened, in the order given; else what the signals that are known before speak for most.

        From the ledger alone, so a resumed turn has the same order; memory may have learned from the one before.
        """
        screened = [p for p in waiting if self.ledger.get(f"{_id(p)}/screened") is not None]
        if screened:
            return screened[0]
        return max(waiting, key=lambda p: self.state.promise(_id(p)))  # of equals the first

    def _try(self, proposal: Proposal) -> None:
        if not self._passes(proposal):
            return None
        id_ = _id(proposal)
        verdict, incumbent = self._judge(id_, self.state.proposals[id_]["version"])
        accepted = verdict["decision"] == Decision.ACCEPT
        current = incumbent == self.state.versions[self.state.champion]["candidate"]  # or a person acted meanwhile
        listed = proposal.operator in self.settings.plan.operators  # a probe that gets through is still a probe
        if not (accepted and current and listed):
            return self._reject(id_, verdict["candidate"], refusal(verdict, current))
        return people.conclude(self, proposal, verdict)

    def _passes(self, proposal: Proposal) -> bool:
        """Whether it goes to the judge. What does not is rejected; what is decided or held already does not."""
        id_ = _id(proposal)
        if any(self.ledger.get(f"{id_}/{end}") is not None for end in ("decided", "held")):
            return False
        event = self.ledger.get(f"{id_}/built")
        assert event is not None
        if why := self._turned_away(proposal, event):
            self._reject(id_, event.payload.get("version", ""), why)
        return not why

    def _turn_budget(self) -> Budget:
        """What the turn may spend, inside the run's budget, made anew from the fold: so a resumed turn has the same."""
        s = self.state
        spent = {unit: s.spent[unit] - s.spent_before[unit] for unit in s.spent}
        return Budget("turn", self.settings.budget.turn.limits(), spent=spent, parent=self.budget)

    def _subgoal_budget(self, subgoal: str) -> Budget:
        """What the turn may spend on its subgoal: the operations that it has left, inside the turn's budget."""
        left = goals.flops_left(self.state.subgoals.get(subgoal, {}))
        return Budget("subgoal", {} if left is None else {"flops": left}, parent=self._turn_budget())

    def _turn_is_spent(self, id_: str) -> str:
        """The unit of which the turn may spend no more, or ``""``; a candidate that has begun is finished."""
        begun = any(self.ledger.get(f"{id_}/{step}") is not None for step in ("screened", "slot"))
        turn = self._turn_budget()
        return "" if begun else next((u for u, limit in turn.limits.items() if turn.spent[u] >= limit), "")

    def _is_probe(self, proposal: Proposal) -> bool:
        operator = self.operators.get(proposal.operator)
        return operator is not None and operator.spec.probe

    def _reject(self, id_: str, version: str, reason: str) -> None:
        self.once("rejected", f"{id_}/decided", lambda: {"id": id_, "version": version, "reason": reason})

    def _turned_away(self, proposal: Proposal, event: Event) -> str:
        """Why the candidate is not put to the judge, or ``""``. A rollout that it fells is its failure, not ours."""
        if event.kind == "build.failed":
            return f"build failed: {event.payload['error']}"
        if event.payload["parameters"] > self.settings.plan.max_parameters:
            return "out of plan: too many parameters"
        if over := self._turn_is_spent(_id(proposal)):
            return f"the turn's budget of {over} is spent"
        if self._is_probe(proposal):
            return ""
        try:
            return "" if self._screen(proposal, event.payload["version"])["passed"] else "no gain on dev"
        except JobFailed as failed:
            return f"screen failed: {failed.kind}"

    def _screen(self, proposal: Proposal, version: str) -> Payload:
        """Candidate against today's champion on the same dev problems. Cheap, costs no alpha, proves nothing."""

        def work() -> Payload:
            self.on_stage("screen", {"id": _id(proposal), "operator": proposal.operator})
            known = self.state.versions
            names = (version, self.state.champion, proposal.parent, self.state.seed)
            mine, champions, parents, anchors = (known[name]["candidate"] for name in names)
            found = screen(self.dev, self.settings.plan, mine, champions, parents, anchors, proposal.parent)
            return {"id": _id(proposal), "version": version, "against": self.state.champion, **found}

        return self.once("screened", f"{_id(proposal)}/screened", work)

    def _judge(self, id_: str, version: str) -> tuple[Payload, Payload]:
        """Commit (slot, levels, question), then ask: verdict, and the incumbent that it speaks of.

        A slot that was opened is finished before anything else.
        """

        def commitment() -> Payload:
            q = promotion_question(self.state, self.settings.plan, version, self.max_new_tokens)
            return {"id": id_, "slot": q.slot, "question": q.plain(), "alpha_sup": q.alpha_sup, "alpha_ni": q.alpha_ni}

        opened = self.once("slot.opened", f"{id_}/slot", commitment)

        def ask() -> Payload:
            question = Question.from_plain(opened["question"])
            self.on_stage("judge", {"id": id_, "slot": question.slot, "alpha": opened["alpha_sup"]})
            verdict = self.judge.decide(question)
            evidence = self.judge.evidence(verdict.evidence)
            items = sum(int(n) for n in evidence["items"].values())
            return {"id": id_, "verdict": verdict.plain(), "problems": items, "tokens": int(evidence["tokens"])}

        said = self.once("verdict", f"{id_}/verdict", ask, actor="judge")
        return said["verdict"], opened["question"]["incumbent"]


def _id(proposal: Proposal) -> str:
    return f"{proposal.turn}.{proposal.index}"
