"""A made-up run in a folder, as the loop leaves one: real ledger, store and judge's evidence; toy versions, no model.

A version's weights are its skill levels in percent; whether it solves an item is a fixed function of item and level.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from evolvent import goals, limits, people, plan
from evolvent.judge.folder import JudgeFolder
from evolvent.judge.gate import slot_levels
from evolvent.judge.questions import Protected, Question, SealedQuestion, StandingQuestion
from evolvent.judge.server import JudgeServer
from evolvent.judge.stats import spend_epochs
from evolvent.ledger import Ledger
from evolvent.run import JUDGE, LEDGER, STORE, Run
from evolvent.state import State
from evolvent.store import Store
from evolvent.types import Candidate, Diagnosis, Problem, Proposal, dec

SETTINGS: dict[str, Any] = {
    "task": "sql_migration",
    "model": "sql-seed",
    "goal": {"turns": 2},
    "plan": {"target": "multi", "protected": {"single": 8, "multi": 8}, "max_items": 3000, "block_items": 64},
}
SECRET = bytes(range(32))


class Items:
    """Stands for `ItemSource`: items are numbers."""

    def draw(self, *, candidate: str, slot: str, skill: str, split: str, index: int, count: int) -> Any:
        rng = random.Random(f"{candidate}{slot}{skill}{split}{index}")
        problems = tuple(Problem(task="toy", skill=skill, prompt=str(rng.getrandbits(60))) for _ in range(count))
        return type("Block", (), {"problems": problems})()


class Bench:
    """Stands for the judge's bench: no worker."""

    isolation = "kernel"
    tokens = 0

    def __init__(self, store: Store) -> None:
        self.store = store

    def clear(self, keep: object = ()) -> None:
        self.tokens = 0

    def score(self, version: dict[str, Any], block: Any, max_new_tokens: int) -> np.ndarray[Any, Any]:
        levels = json.loads(self.store.read_tree(version["model"])["model.safetensors"])
        self.tokens += len(block.problems)
        return np.array([_draw(p.prompt) < levels[p.skill] for p in block.problems])

    def repeats(self, version: dict[str, Any], block: Any, max_new_tokens: int) -> np.ndarray[Any, Any]:
        return np.ones(len(block.problems), np.bool_)


def _draw(prompt: str) -> int:
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4], "big") % 100


class RunOnDisk:
    """Builds the folder; `versions` by name. Turn 1 promotes ``good`` and refuses ``planted``; turn 2 is under way.

    Where the plan has limits `beyond` which ``good`` lies, it is held, and a person approves it unless told not to.
    """

    def __init__(self, folder: Path, beyond: dict[str, int] | None = None, approved: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        chosen = {**SETTINGS, "plan": {**SETTINGS["plan"], **(beyond or {})}}
        (folder / plan.CONFIG_NAME).write_text(json.dumps(chosen), encoding="utf-8")
        self.folder, self.settings, self.approved = folder, plan.parse(chosen, "test"), approved
        self.store = Store(folder / STORE)
        judge = JudgeFolder(folder / JUDGE, SECRET)
        self.judge = JudgeServer(judge, "sql_migration", Items(), Bench(self.store))  # type: ignore[arg-type]
        self.candidates: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, str] = {}
        self.slots = self.promotions = 0
        with Ledger.open(folder / LEDGER, self.settings.run_id, create=True) as self.ledger:
            self.ledger.acquire()
            self._begin(judge.commitment)
            self._turn_one()

    def add(self, kind: str, key: str, payload: dict[str, Any], actor: str = "controller") -> dict[str, Any]:
        return self.ledger.append(kind, payload, actor=actor, key=key, cost={"ms": 1200}).payload

    def version(self, name: str, single: int, multi: int) -> dict[str, Any]:
        weights = json.dumps({"single": single, "multi": multi}).encode()
        model = self.store.put_tree({"model.safetensors": weights}, "model", {"parameters": 3})
        genome = self.store.put_json({"name": name})
        candidate = Candidate(model=model, scaffold={"kind": "direct"}, genome=genome)
        self.candidates[name], self.versions[name] = candidate.plain(), candidate.hash
        return {"version": candidate.hash, "candidate": candidate.plain(), "policy": {}, "parameters": 3}

    def _begin(self, commitment: str) -> None:
        config = self.settings.recorded()
        goal = {"skill": "multi", **self.settings.goal.model_dump()}
        start = {"config": config, "task": "sql_migration", "seed": 0, "plan": self.settings.plan.hash, "goal": goal}
        self.add("run.started", "run", start)
        self.add("judge.sealed", "judge", {"commitment": commitment}, "judge")
        self.add("seed.imported", "seed", {**self.version("seed", 70, 40), "gold": ""})

    def _turn_one(self) -> None:
        seed = self.versions["seed"]
        weak = Diagnosis(
            skill="multi", slice={"tier": "rebuild"}, n=60, failures=48, low="0.70", high="0.87", cause="rows get lost"
        )
        counts = {"n": 200, "correct": 81}
        self.add("turn.started", "1/start", {"turn": 1, "champion": seed})
        diagnosed = {
            "turn": 1,
            "champion": seed,
            "traces": {},
            "skills": {"multi": counts},
            "goal": counts,
            "weaknesses": [weak.plain()],
        }
        rebuild = {"multi,tier=rebuild": {"n": weak.n, "failures": weak.failures}}
        self.add("diagnosed", "1/diagnosed", {**diagnosed, "subgoals": rebuild, "flops": 5, "tokens": 7})
        self._subgoal(weak, seed, counts["n"])
        for index, (operator, levels) in enumerate({"self_labels": (70, 60), "planted_regression": (40, 15)}.items()):
            self.propose(f"1.{index}", operator, seed, weak, levels)
        self.decide("1.0", "good")
        self.decide("1.1", "planted")
        spent = {"flops": 205, "tokens": 300, "problems": 2000}
        champion = self.versions["good" if self.promotions else "seed"]
        self.add("turn.ended", "1/end", {"turn": 1, "champion": champion, "spent": spent})
        self.add("turn.started", "2/start", {"turn": 2, "champion": champion})

    def _subgoal(self, weak: Diagnosis, seed: str, size: int) -> None:
        """The weak slice is a subgoal, with a budget."""
        subgoals: dict[str, Any] = {}
        (move,) = goals.opened({}, [], [weak.plain()], 1)
        self.add(move.kind, f"1/opened/{move.id}", move.payload)
        subgoals[move.id] = {**move.payload, "budget": {}, "spent": {"turns": 0, "flops": 0}}
        (plan,) = goals.replanned(subgoals, {}, seed, size, goals.Left(turns=self.settings.goal.turns), 1)
        self.add(plan.kind, "1/budgets", plan.payload)

    def propose(self, id_: str, operator: str, parent: str, weak: Diagnosis, levels: tuple[int, int]) -> None:
        name = {"self_labels": "good", "planted_regression": "planted"}[operator]
        turn, index = map(int, id_.split("."))
        proposal = Proposal(
            turn=turn, index=index, operator=operator, params={"steps": 60}, parent=parent, diagnosis=weak.hash,
            proposer="bandit" if operator == "self_labels" else "",
        )  # fmt: skip
        self.add("proposed", f"{id_}/proposed", {"id": id_, "proposal": proposal.plain(), "answers": weak.plain()})
        funnel = {"drawn": 600, "sampled": 2400, "executed": 2000, "correct": 900, "kept": 700}
        data = self.store.put_json({"rows": name})
        made = {**self.version(name, *levels), "id": id_, "parent": parent, "data": data, "funnel": funnel, "stats": {}}
        self.add("built", f"{id_}/built", {**made, "flops": 100, "tokens": 100})

    def decide(self, id_: str, name: str) -> None:
        self.slots += 1
        rules = self.settings.plan
        levels = {
            "sup": slot_levels(
                alpha=0.05, slot=self.slots, promotions=self.promotions, spend=lambda k: spend_epochs(k, 8)
            )[0],
            "ni": slot_levels(alpha=0.05, slot=self.slots, promotions=0, spend=lambda k: spend_epochs(k, 8))[1],
        }
        question = Question(
            slot=self.slots, candidate=self.candidates[name],
            incumbent=self.candidates["good" if self.promotions else "seed"], anchor=self.candidates["seed"],
            target="multi", protected=self.protected(), alpha_sup=levels["sup"], alpha_ni=levels["ni"],
            max_items=rules.max_items, discordance=rules.discordance, mei_points=rules.minimum_gain_points,
        )  # fmt: skip
        opened = {"id": id_, "slot": self.slots, "question": question.plain()}
        self.add("slot.opened", f"{id_}/slot", {**opened, "alpha_sup": levels["sup"], "alpha_ni": levels["ni"]})
        answer = self.judge.decide(question)
        verdict = {"slot": self.slots, "candidate": self.versions[name], **answer}
        proof = json.loads((self.folder / JUDGE / "evidence" / f"{answer['evidence']}.json").read_text())
        items = sum(proof["items"].values())
        self.add(
            "verdict",
            f"{id_}/verdict",
            {"id": id_, "verdict": verdict, "problems": items, "tokens": proof["tokens"]},
            "judge",
        )
        if answer["decision"] == "accept":
            where = {"candidate": self.candidates[name], "policy": {}}
            promoted = {
                "id": id_,
                "version": self.versions[name],
                "parent": self.versions["seed"],
                "forced": False,
                "by": "gate",
            }
            if self.settings.plan.jump_points:
                promoted |= self.hold(id_, question.plain(), {**promoted, "evidence": answer["evidence"]}, proof)
                if not self.approved:
                    return
            self.add(
                "promoted",
                f"{id_}/decided",
                {
                    **promoted,
                    "clause": "operators.self_labels",
                    "plan": rules.hash,
                    "evidence": answer["evidence"],
                    **where,
                },
            )
            self.promotions += 1
        else:
            self.add(
                "rejected", f"{id_}/decided", {"id": id_, "version": self.versions[name], "reason": answer["reason"]}
            )

    def hold(self, id_: str, question: dict[str, Any], case: dict[str, Any], proof: dict[str, Any]) -> dict[str, Any]:
        """Hold an accepted candidate; returns what the promotion says of the person who approved it."""
        gains = limits.gains_over_anchor(question, proof)
        why = limits.exceeded(self.settings.plan, gains, None)
        assert why
        named = {"clause": "operators.self_labels", "plan": self.settings.plan.hash, "incumbent": self.versions["seed"]}
        self.add("held", f"{id_}/held", {**case, **named, "why": why, "gains": gains, "drift": None})
        if not self.approved:
            return {}
        state = State()
        for event in self.ledger.events():
            state.apply(event)
        people.answer(self.ledger, state, id_, approve=True, by="dana", note="looked at it")
        said = self.ledger.get(f"request/{id_}/word/{case['evidence'][:16]}")
        assert said is not None
        return {"by": "gate+person", "approved_by": "dana", "note": "looked at it", "approval": said.content_hash}

    def protected(self) -> tuple[Protected, ...]:
        rules = self.settings.plan
        return tuple(
            Protected(skill=skill, margin_points=margin, discordance=rules.discordance)
            for skill, margin in rules.protected.items()
        )

    def force_check_and_seal(self) -> None:
        """A person forces ``planted`` in; the standing check finds it, the champion is measured on sealed items."""
        Run.open(self.folder).promote(self.versions["planted"], by="dana", reason="a hurry")
        level = dec(0.05 * float(spend_epochs(1, 8)), 6)
        with Ledger.open(self.folder / LEDGER) as self.ledger:
            self.ledger.acquire()
            check = StandingQuestion(
                number=1, reference=self.candidates["good"], champion=self.candidates["planted"],
                protected=self.protected(), alpha=level, max_items=self.settings.plan.max_items,
            )  # fmt: skip
            who = {"champion": self.versions["planted"], "reference": self.versions["good"]}
            asked = {"turn": 2, "number": 1, **who, "question": check.plain()}
            self.add("standing.opened", "check/opened", asked, "standing")
            answer = self.judge.standing(check)
            said = {"turn": 2, "number": 1, **who, "alpha": level, "problems": 64, **answer}
            self.add("standing.checked", "check", said, "standing")
            back = {
                "from": who["champion"],
                "to": who["reference"],
                "by": "standing check",
                "certified": who["reference"],
            }
            where = {"candidate": self.candidates["good"], "policy": {}, "evidence": answer["evidence"]}
            self.add("rolled_back", "check/rolled_back", {**back, "reason": "evidence of a loss", **where}, "standing")
            sealed = SealedQuestion(
                seed_candidate=self.candidates["seed"],
                champion=self.candidates["good"],
                counts={"single": 300, "multi": 300},
            )
            self.add("sealed.opened", "sealed", {"question": sealed.plain()})
            self.add("reported", "reported", self.judge.sealed(sealed), "judge")
            self.add("run.stopped", "stopped/2", {"reason": "2 turns done"})
