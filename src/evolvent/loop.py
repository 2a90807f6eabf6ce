"""The loop, one turn at a time.

::

    diagnose -> propose -> build -> screen -> judge -> gate -> promote or reject -> standing check
     (dev)                (workers)  (dev)   (own process, fresh items)             (roll back)

A turn reads the ledger's state and appends to the ledger; nothing else is kept. Each step is *once*: it looks for its own
event first and only works when there is none. So a run that was killed anywhere goes on by running the turn again, and
ends with the same events as a run that was not.

Not here: how a change is made (`operators/`), what is proven (`judge/`), folders and files (`run.py`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from evolvent.budget import Budget
from evolvent.errors import JobFailed
from evolvent.jobs import Job, JobEngine
from evolvent.judge.gate import slot_levels
from evolvent.judge.questions import Protected, Question, StandingQuestion
from evolvent.judge.stats import spend_epochs
from evolvent.ledger import Ledger
from evolvent.observe.diagnose import diagnose
from evolvent.operators.base import Bench, Built, Operator
from evolvent.plan import Settings
from evolvent.propose.base import Idea, Proposer, Situation
from evolvent.state import State
from evolvent.store import Store
from evolvent.types import Candidate, Decision, Diagnosis, Event, Genome, Proposal, Trace, Verdict, dec, derive_seed

PROBES = ("null", "planted_regression")
STANDING_EVERY = 5  # turns between standing checks of an unchanged champion
SUBGOALS_OPEN = 3
SUBGOAL_PATIENCE = 8  # turns until a subgoal that does not move is abandoned
SNAPSHOT_EVERY = 10

Payload = dict[str, Any]


class Judge(Protocol):
    """What the loop may ask."""

    def decide(self, question: Question) -> Verdict: ...
    def standing(self, question: StandingQuestion) -> dict[str, Any]: ...
    def evidence(self, name: str) -> dict[str, Any]: ...


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
        skills: the task's pooled skills.
        max_new_tokens: room of an answer.
        on_event: told of each new event.
        on_stage: told what is going on, for people.
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
    skills: tuple[str, ...]
    max_new_tokens: int
    on_event: Callable[[Event], None] = lambda event: None
    on_stage: Callable[[str, Payload], None] = lambda stage, fields: None
    budget: Budget = field(init=False)

    def __post_init__(self) -> None:
        """Set the budget up from the settings and what was spent before."""
        limits = {unit: limit for unit, limit in self.settings.budget.model_dump().items() if limit}
        budget = Budget("run", limits, clock=time.monotonic)
        object.__setattr__(self, "budget", budget)
        budget.charge(**self.state.spent)

    # -- the turn ------------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """One turn, or the rest of one that was cut short.

        Raises:
            BudgetSpent: a limit of the run is reached; what was done is in the ledger.
        """
        turn = self.state.turn + 1
        self.budget.check(flops=1, tokens=1, problems=1)
        self.once("turn.started", f"{turn}/start", lambda: {"turn": turn, "champion": self.state.champion})
        found = self._diagnose(turn)
        self._set_subgoals(turn, found)
        proposals = self._propose(turn, found)
        self._build(proposals)
        for proposal in proposals:
            self._try(proposal)
        self._check_champion(turn)
        self.once("turn.ended", f"{turn}/end", lambda: {"turn": turn, "champion": self.state.champion, "spent": self.state.spent})
        if turn % SNAPSHOT_EVERY == 0:
            self.ledger.save_snapshot("state", self.ledger.head()[0], self.state.plain())

    def once(self, kind: str, key: str, make: Callable[[], Payload], actor: str = "controller") -> Payload:
        """The payload of the event `key`: read if it was written before, else made, appended and folded in."""
        old = self.ledger.get(key)
        if old is not None:
            return old.payload
        started = time.monotonic()
        payload = make()
        event = self.ledger.append(kind, payload, actor=actor, key=key, cost={"ms": int(1000 * (time.monotonic() - started))})
        before = dict(self.state.spent)
        self.state.apply(event)
        self.on_event(event)
        self.budget.charge(**{unit: self.state.spent[unit] - before[unit] for unit in before})
        return payload

    # -- diagnose ------------------------------------------------------------------------------------------------------

    def _dev_job(self, version: str, asked_of: str, skill: str) -> Job:
        """Dev rollout of a version on the dev problems that belong to another (or the same) version."""
        candidate = self.state.versions[version]["candidate"]
        return Job(
            function="evolvent.observe.jobs:dev_rollout",
            inputs={"model": candidate["model"]},
            params={
                "task": self.settings.task,
                "skill": skill,
                "count": self.settings.dev.problems,
                "scaffold": candidate["scaffold"],
            },
            seed=derive_seed(self.settings.seed, "dev", asked_of, skill),
        )

    def _dev(self, version: str, asked_of: str) -> tuple[dict[str, str], dict[str, Payload]]:
        """Trace artifacts and counts by skill; the skills run side by side."""
        results = self.engine.map([self._dev_job(version, asked_of, skill) for skill in self.skills])
        outputs: dict[str, dict[str, str]] = {}
        for skill, result in zip(self.skills, results, strict=True):
            if isinstance(result, JobFailed):
                raise result
            outputs[skill] = result.outputs
        counts = {skill: self.store.get_json(out["counts"]) for skill, out in outputs.items()}
        return {skill: out["traces"] for skill, out in outputs.items()}, counts

    def _diagnose(self, turn: int) -> Payload:
        def work() -> Payload:
            champion = self.state.champion
            self.on_stage("diagnose", {"turn": turn})
            artifacts, counts = self._dev(champion, champion)
            traces = [Trace(**row) for name in artifacts.values() for row in self.store.get_json(name)]
            return {
                "turn": turn,
                "champion": champion,
                "traces": artifacts,
                "skills": {skill: {"n": c["n"], "correct": c["correct"]} for skill, c in counts.items()},
                "weaknesses": [weakness.plain() for weakness in diagnose(traces)],
                "subgoals": {id_: _slice_counts(traces, goal) for id_, goal in sorted(self.state.subgoals.items())},
                "flops": sum(c["flops"] for c in counts.values()),
                "tokens": sum(c["tokens"] for c in counts.values()),
            }

        return self.once("diagnosed", f"{turn}/diagnosed", work)

    def _set_subgoals(self, turn: int, found: Payload) -> None:
        for id_, goal in sorted(self.state.subgoals.items()):
            if goal["failures"] * goal["n_at_start"] * 2 <= goal["failures_at_start"] * goal["n"]:
                payload = {**goal, "turn": turn, "reason": "failure rate halved on dev"}
                self.once("goal.closed", f"{turn}/closed/{id_}", lambda p=payload: p)
            elif turn - goal["turn"] >= SUBGOAL_PATIENCE:
                payload = {**goal, "turn": turn, "reason": f"no halving in {SUBGOAL_PATIENCE} turns"}
                self.once("goal.abandoned", f"{turn}/abandoned/{id_}", lambda p=payload: p)
        for weakness in found["weaknesses"]:
            id_ = ",".join([weakness["skill"], *(f"{k}={v}" for k, v in sorted(weakness["slice"].items()))])
            if weakness["slice"] and id_ not in self.state.subgoals and len(self.state.subgoals) < SUBGOALS_OPEN:
                counts = {"n": weakness["n"], "failures": weakness["failures"]}
                payload = {
                    "id": id_, "skill": weakness["skill"], "slice": weakness["slice"], "turn": turn, **counts,
                    "n_at_start": counts["n"], "failures_at_start": counts["failures"], "reason": weakness["cause"],
                }  # fmt: skip
                self.once("goal.opened", f"{turn}/opened/{id_}", lambda p=payload: p)

    # -- propose and build ---------------------------------------------------------------------------------------------

    def _propose(self, turn: int, found: Payload) -> list[Proposal]:
        planned = self.ledger.get(f"{turn}/planned")
        if planned is None:
            ideas = self._ideas(turn, found)
            rows = [self._proposal(turn, i, idea).plain() for i, idea in enumerate(ideas)]
            answers = [idea.diagnosis.plain() if idea.diagnosis else None for idea in ideas]
            # The pool is fixed here: what a neighbour makes in this turn is not seen, whoever ends first.
            plan = {"turn": turn, "proposals": rows, "answers": answers, "pool": list(self.state.pool)}
            self.once("planned", f"{turn}/planned", lambda: plan)
            planned = self.ledger.get(f"{turn}/planned")
        assert planned is not None
        proposals = [Proposal(**row) for row in planned.payload["proposals"]]
        for proposal, answers_to in zip(proposals, planned.payload["answers"], strict=True):
            payload = {"id": _id(proposal), "proposal": proposal.plain(), "answers": answers_to}
            self.once("proposed", f"{_id(proposal)}/proposed", lambda p=payload: p)
        return proposals

    def _ideas(self, turn: int, found: Payload) -> list[Idea]:
        weaknesses = [Diagnosis(**row) for row in found["weaknesses"]]
        champion = self.state.versions[self.state.champion]
        situation = Situation(
            turn=turn,
            weaknesses=weaknesses,
            effects=self.state.effects,
            policy=champion["policy"],
            scaffold=champion["candidate"]["scaffold"],
            barred=frozenset(self.state.barred),
        )
        every = self.settings.probes.every_turns
        probe = PROBES[(turn // every - 1) % len(PROBES)] if every and turn % every == 0 else ""
        specs = [self.operators[name].spec for name in self.settings.plan.operators if name not in PROBES]
        count = self.settings.proposals_per_turn - bool(probe)
        rng = random.Random(derive_seed(self.settings.seed, "propose", turn))
        ideas = self.proposer.propose(situation, specs, count, rng)
        if probe:
            ideas.append(Idea(operator=probe, params={}, diagnosis=None, predicted_points=0.0))
        return ideas

    def _proposal(self, turn: int, index: int, idea: Idea) -> Proposal:
        return Proposal(
            turn=turn,
            index=index,
            operator=idea.operator,
            params=idea.params,
            parent=self.state.champion,
            diagnosis=idea.diagnosis.hash if idea.diagnosis else "",
            seed=derive_seed(self.settings.seed, "proposal", turn, index),
            predicted_gain=dec(idea.predicted_points, 3),
        )

    def _build(self, proposals: Sequence[Proposal]) -> None:
        """Build side by side what is not built yet; commit in the order of the proposals."""
        waiting = [p for p in proposals if self.ledger.get(f"{_id(p)}/built") is None]
        self.on_stage("build", {"proposals": [p.operator for p in waiting]})
        if not waiting:
            return
        planned = self.ledger.get(f"{waiting[0].turn}/planned")
        assert planned is not None
        pool = tuple(planned.payload["pool"])
        with ThreadPoolExecutor(max_workers=self.settings.workers) as threads:
            futures = {_id(p): threads.submit(self._carry_out, p, pool) for p in waiting}
            for proposal in waiting:
                id_ = _id(proposal)
                made = futures[id_].result()
                kind = "build.failed" if isinstance(made, JobFailed) else "built"
                self.once(kind, f"{id_}/built", lambda p=proposal, m=made: self._built(p, m))

    def _carry_out(self, proposal: Proposal, pool: tuple[str, ...]) -> Built | JobFailed:
        parent = self.state.versions[proposal.parent]
        bench = Bench(
            run=self.engine.run,
            store=self.store,
            settings=self.settings,
            proposal=proposal,
            model=parent["candidate"]["model"],
            scaffold=parent["candidate"]["scaffold"],
            policy=parent["policy"],
            gold=self.gold,
            pool=pool,
        )
        try:
            return self.operators[proposal.operator].build(bench)
        except JobFailed as exc:
            return exc

    def _built(self, proposal: Proposal, made: Built | JobFailed) -> Payload:
        if isinstance(made, JobFailed):
            return {"id": _id(proposal), "error": made.kind, "message": str(made)[:500]}
        parent = self.state.versions[proposal.parent]["candidate"]
        genome = Genome(
            architecture={"base": self.settings.model},
            recipe={"operator": proposal.operator, "params": proposal.params, "seed": proposal.seed},
            scaffold=made.scaffold,
            policy=made.policy,
            parents=(parent["genome"],),
        )
        candidate = Candidate(model=made.model, scaffold=made.scaffold, genome=self.store.put_json(genome.plain()))
        return {
            "id": _id(proposal),
            "version": candidate.hash,
            "candidate": candidate.plain(),
            "policy": made.policy,
            "parent": proposal.parent,
            "data": made.data,
            "funnel": made.funnel,
            "stats": made.stats,
            "parameters": int(self.store.get_manifest(made.model)["meta"]["parameters"]),
            "flops": made.flops,
            "tokens": made.tokens,
        }

    # -- screen, judge, decide -----------------------------------------------------------------------------------------

    def _try(self, proposal: Proposal) -> None:
        id_ = _id(proposal)
        event = self.ledger.get(f"{id_}/built")
        assert event is not None
        if event.kind == "build.failed":
            return self._reject(id_, "", f"build failed: {event.payload['error']}")
        version = event.payload["version"]
        if event.payload["parameters"] > self.settings.plan.max_parameters:
            return self._reject(id_, version, "out of plan: too many parameters")
        probe = self.operators[proposal.operator].spec.probe
        if not probe and not self._screen(proposal, version)["passed"]:
            return self._reject(id_, version, "no gain on dev")
        verdict = self._judge(id_, version)
        if verdict["decision"] != Decision.ACCEPT:
            return self._reject(id_, version, verdict["reason"])
        clause = f"operators.{proposal.operator}"

        def promotion() -> Payload:
            return {
                "id": id_, "version": version, "parent": proposal.parent, "forced": False, "by": "gate",
                "plan": self.settings.plan.hash, "clause": clause, "evidence": verdict["evidence"],
                **self.state.versions[version],
            }  # fmt: skip

        self.once("promoted", f"{id_}/decided", promotion)
        return None

    def _reject(self, id_: str, version: str, reason: str) -> None:
        self.once("rejected", f"{id_}/decided", lambda: {"id": id_, "version": version, "reason": reason})

    def _screen(self, proposal: Proposal, version: str) -> Payload:
        """Candidate against today's champion on the same dev problems. Cheap, costs no alpha, proves nothing."""

        def work() -> Payload:
            self.on_stage("screen", {"id": _id(proposal), "operator": proposal.operator})
            mine, counts = self._dev(version, proposal.parent)
            champions, _ = self._dev(self.state.champion, proposal.parent)
            skills = {skill: _paired(self.store.get_json(mine[skill]), self.store.get_json(champions[skill])) for skill in mine}
            plan = self.settings.plan
            target = skills[plan.target]
            lost = any(
                100 * (s["losses"] - s["wins"]) > 2 * plan.protected[name] * s["n"]
                for name, s in skills.items()
                if name in plan.protected
            )
            return {
                "id": _id(proposal),
                "version": version,
                "against": self.state.champion,
                "skills": skills,
                "target": target,
                "passed": not lost and target["wins"] > target["losses"],
                "flops": sum(c["flops"] for c in counts.values()),
                "tokens": sum(c["tokens"] for c in counts.values()),
            }

        return self.once("screened", f"{_id(proposal)}/screened", work)

    def _judge(self, id_: str, version: str) -> Payload:
        """Commit (slot, levels, question), then ask. A slot that was opened is finished before anything else."""
        plan = self.settings.plan
        first = plan.first_epoch_slots

        def commitment() -> Payload:
            slot = self.state.slots + 1
            spend = lambda k: spend_epochs(k, first)  # noqa: E731
            alpha_sup, _ = slot_levels(
                alpha=float(plan.alpha_progress), slot=slot, promotions=self.state.promotions, spend=spend
            )
            _, alpha_ni = slot_levels(alpha=float(plan.alpha_safety), slot=slot, promotions=0, spend=spend)
            question = Question(
                slot=slot,
                candidate=self.state.versions[version]["candidate"],
                incumbent=self.state.versions[self.state.champion]["candidate"],
                anchor=self.state.versions[self.state.seed]["candidate"],
                target=plan.target,
                protected=self._protected(),
                alpha_sup=alpha_sup,
                alpha_ni=alpha_ni,
                max_items=plan.max_items,
                discordance=plan.discordance,
                mei_points=plan.minimum_gain_points,
                max_new_tokens=self.max_new_tokens,
            )
            return {"id": id_, "slot": slot, "question": question.plain(), "alpha_sup": alpha_sup, "alpha_ni": alpha_ni}

        opened = self.once("slot.opened", f"{id_}/slot", commitment)

        def ask() -> Payload:
            question = Question.from_plain(opened["question"])
            self.on_stage("judge", {"id": id_, "slot": question.slot, "alpha": opened["alpha_sup"]})
            verdict = self.judge.decide(question)
            evidence = self.judge.evidence(verdict.evidence)
            items = sum(int(n) for n in evidence["items"].values())
            return {"id": id_, "verdict": verdict.plain(), "problems": items, "tokens": int(evidence["tokens"])}

        return dict(self.once("verdict", f"{id_}/verdict", ask, actor="judge")["verdict"])

    def _protected(self) -> tuple[Protected, ...]:
        plan = self.settings.plan
        return tuple(Protected(skill=s, margin_points=m, discordance=plan.discordance) for s, m in plan.protected.items())

    # -- standing check ------------------------------------------------------------------------------------------------

    def _check_champion(self, turn: int) -> None:
        """Hold a champion against what it must not fall behind, with alpha of its own; roll back on evidence."""
        if self.ledger.get(f"{turn}/standing") is None:
            s = self.state
            due = s.champion != s.standing_of or turn - s.standing_at >= STANDING_EVERY
            if s.champion == s.seed or not due:
                return
        self.standing_check(turn, f"{turn}/standing")

    def standing_check(self, turn: int, key: str) -> bool:
        """Check the champion now; returns whether it was rolled back.

        A champion that the gate certified is held against the frozen anchor; one that a person forced in, against the last
        certified version.
        """

        def work() -> Payload:
            s, plan = self.state, self.settings.plan
            reference = s.seed if s.champion == s.certified else s.certified
            number = s.standing + 1
            alpha = dec(float(plan.alpha_standing) * float(spend_epochs(number, plan.first_epoch_slots)), 6)
            self.on_stage("standing", {"champion": s.champion, "reference": reference})
            question = StandingQuestion(
                number=number,
                reference=s.versions[reference]["candidate"],
                champion=s.versions[s.champion]["candidate"],
                protected=self._protected(),
                alpha=alpha,
                max_items=plan.max_items,
                max_new_tokens=self.max_new_tokens,
            )
            answer = self.judge.standing(question)
            items = self.judge.evidence(answer["evidence"])["items"]
            return {
                "turn": turn, "number": number, "champion": s.champion, "reference": reference, "alpha": alpha,
                "alarm": answer["alarm"], "evidence": answer["evidence"], "isolation": answer["isolation"],
                "problems": sum(int(n) for n in items.values()),
            }  # fmt: skip

        checked = self.once("standing.checked", key, work, actor="standing")
        if checked["alarm"]:
            self.once("rolled_back", f"{key}/rolled_back", lambda: self._rollback(checked), actor="standing")
        return bool(checked["alarm"])

    def _rollback(self, checked: Payload) -> Payload:
        to = checked["reference"]
        return {
            "from": checked["champion"], "to": to, "by": "standing check", "certified": to,
            "reason": "evidence of a loss beyond the margin", "evidence": checked["evidence"], **self.state.versions[to],
        }  # fmt: skip


def _id(proposal: Proposal) -> str:
    return f"{proposal.turn}.{proposal.index}"


def _slice_counts(traces: Sequence[Trace], goal: Payload) -> dict[str, int]:
    members = [t for t in traces if t.skill == goal["skill"] and all(t.tags.get(k) == v for k, v in goal["slice"].items())]
    return {"n": len(members), "failures": sum(not t.correct for t in members)}


def _paired(mine: Sequence[Payload], theirs: Sequence[Payload]) -> dict[str, int]:
    wins = sum(bool(a["correct"]) and not b["correct"] for a, b in zip(mine, theirs, strict=True))
    losses = sum(bool(b["correct"]) and not a["correct"] for a, b in zip(mine, theirs, strict=True))
    return {"n": len(mine), "wins": wins, "losses": losses}
