"""A trial: one small whole run in this process, on a task of a few seconds, to see what a policy or a memory is worth.

The loop, its ledger, state, proposers, operators, dev problems and the judge's rule are those of any run. What differs
is where they stand: jobs and the judge's rollouts are called here instead of in processes of their own, since nothing
in a trial comes from outside, and all files lie in a folder that is thrown away. The seed is a tiny model trained on
labelled pairs (declared: reference answers are read for that, and nowhere else) until it solves a fixed share; the
trial ends when the champion solves the target's share of fresh problems, or when its operations are spent.

The same trial twice gives the same outcome, on one thread.

Not here: the rule by which policies are compared (`tasks/improvement`, `judge/`).
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evolvent import plan, policy, tasks
from evolvent.dev import DevSet
from evolvent.errors import BudgetSpent, JobFailed
from evolvent.jobs import Job, JobContext, JobResult
from evolvent.judge.bench import Block, ItemSource
from evolvent.judge.folder import JudgeFolder
from evolvent.judge.questions import Question, StandingQuestion
from evolvent.judge.server import JudgeServer
from evolvent.ledger import Ledger
from evolvent.loop import Loop
from evolvent.models.files import from_files
from evolvent.named import load_operators
from evolvent.observe.rollout import rollout
from evolvent.proposers import load_proposers
from evolvent.registry import resolve
from evolvent.sandbox import KERNEL
from evolvent.state import State
from evolvent.store import Store
from evolvent.tasks.base import Task
from evolvent.tasks.strings import ALPHABET, MARK
from evolvent.tasks.strings.reference import reference  # seed training, nowhere else
from evolvent.train.batches import Example
from evolvent.train.seedling import seedling
from evolvent.types import Candidate, Decision, Genome, Verdict, derive_seed

Json = dict[str, Any]
_PAIRS, _LOOKS = 2000, 100  # a seed's labelled pairs; problems on which it is looked at
_MOST_TURNS = 200


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """What every trial of a comparison has in common, and no policy can say.

    Attributes:
        flops: operations of diagnosis, builds and screens; what the judge spends is not counted.
        seed_share: solved when the trial begins.
        target: share that the champion has to solve.
        truth: fresh problems on which that is seen.
    """

    flops: int = 4 * 10**10
    seed_share: float = 0.38
    target: float = 0.6
    truth: int = 300


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial went.

    Attributes:
        start: share solved by the seed.
        reached: the target was, within the operations.
        flops: spent until then, or in all.
        turns: done.
        path: of each promotion, what was spent by then and what the new champion solves.
        memory: what the run has learned.
    """

    start: float
    reached: bool
    flops: int
    turns: int
    path: tuple[tuple[int, float], ...]
    memory: Json


def trial(
    name: str,
    seed: int,
    chosen: Mapping[str, Any],
    budgets: Budgets,
    *,
    start: int | None = None,
    memory: Mapping[str, Any] | None = None,
    proposers: Sequence[str] = (),
    operators: Sequence[str] = policy.OPERATORS,
) -> Outcome:
    """One run on the small task `name` under a policy.

    Args:
        name: of `tasks.strings.small`.
        seed: of all of the run's randomness.
        chosen: the policy.
        budgets: what every policy has.
        start: number of the tiny model to begin with; the seed's own by default.
        memory: handed over at the start.
        proposers: in place of the policy's.
        operators: of the change plan; with one of which policies do not speak, all expect what they declare.

    Raises:
        ValueError: `chosen` is no policy.
    """
    policy.check(chosen)
    task_name = f"evolvent.tasks.strings.small:{name}"
    task = tasks.load(task_name)
    settings = _settings(task_name, seed, chosen, proposers, operators)
    with tempfile.TemporaryDirectory(dir=_quick_folder()) as folder:
        store = Store(Path(folder) / "store")
        engine = _HereEngine(store)
        judge = _HereJudge(JudgeFolder(Path(folder) / "judge", _secret(name, seed)), task_name, task, store)
        gold = store.put_bytes(_gold(name, seed).encode())
        with Ledger.open(Path(folder) / "ledger.sqlite", "trial", create=True) as ledger:
            ledger.acquire()
            loop = Loop(
                ledger=ledger, store=store, engine=engine, judge=judge, settings=settings,  # type: ignore[arg-type]
                operators=load_operators(settings.plan.operators, settings.priors), proposer=load_proposers(settings),
                state=State(), gold=gold, max_new_tokens=task.max_output_tokens,
                dev=DevSet(engine=engine, store=store, settings=settings, skills=("short",)),  # type: ignore[arg-type]
            )  # fmt: skip
            return _Course(loop, task, name, seed if start is None else start, budgets).run(memory)


@dataclass
class _Course:
    """A trial under way."""

    loop: Loop
    task: Task
    name: str
    start: int
    budgets: Budgets

    def run(self, memory: Mapping[str, Any] | None) -> Outcome:
        loop, store = self.loop, self.loop.store
        config = loop.settings.recorded()
        loop.once("run.started", "run", lambda: {"config": config, "task": self.name, "goal": {}})
        if memory is not None:
            loop.once("memory.imported", "memory", lambda: {"memory": dict(memory)})
        files = _seed(self.name, self.start, self.budgets.seed_share)
        model = store.put_tree(files, "model", {"parameters": 0})
        genome = store.put_json(Genome(architecture={"base": model}).plain())
        candidate = Candidate(model=model, scaffold={"kind": "direct"}, genome=genome)
        begun = {"version": candidate.hash, "candidate": candidate.plain(), "policy": {}, "parameters": 0, "gold": ""}
        loop.once("seed.imported", "seed", lambda: begun)
        start = self._truth(candidate.plain())
        path: list[tuple[int, float]] = []
        champion, reached = loop.state.champion, start >= self.budgets.target
        with suppress(BudgetSpent):
            while not reached and self._spent() < self.budgets.flops and loop.state.turn < _MOST_TURNS:
                loop.turn()
                if loop.state.champion != champion:
                    champion = loop.state.champion
                    path.append((self._spent(), self._truth(loop.state.versions[champion]["candidate"])))
                    reached = path[-1][1] >= self.budgets.target and path[-1][0] <= self.budgets.flops
        spent = path[-1][0] if reached and path else self._spent()
        return Outcome(
            start=start, reached=reached, flops=min(spent, self.budgets.flops), turns=loop.state.turn,
            path=tuple(path), memory=loop.state.memory.plain(),
        )  # fmt: skip

    def _spent(self) -> int:
        return int(self.loop.state.spent["flops"])

    def _truth(self, candidate: Mapping[str, Any]) -> float:
        files = self.loop.store.read_tree(candidate["model"])
        return _solved(files, candidate["scaffold"], self.task, f"truth {self.name}", self.budgets.truth)


def _settings(
    task: str, seed: int, chosen: Mapping[str, Any], proposers: Sequence[str], operators: Sequence[str]
) -> plan.Settings:
    fixed = {
        "task": task, "model": "none", "seed": derive_seed("trial", task, seed), "goal": {"turns": _MOST_TURNS},
        "plan": {
            "operators": list(operators), "max_parameters": 100_000, "target": "short",
            "protected": {"short": 5}, "minimum_gain_points": 5, "max_items": 1500,
        },
        "dev": {"problems": 120}, "probes": {"every_turns": 0}, "proposals_per_turn": 1, "workers": 1,
    }  # fmt: skip
    patch = policy.settings(chosen)
    if proposers:
        patch["proposers"] = list(proposers)
    spoken_of = set(operators) <= set(policy.OPERATORS)
    patch["priors"] = {name: points for name, points in patch["priors"].items() if spoken_of and name in operators}
    return plan.parse({**fixed, **patch, "build": {**patch["build"], "tokens_per_step": 512}}, "trial")


class _HereEngine:
    """Calls jobs in this process; a job that was done is not done again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._done: dict[str, dict[str, str]] = {}

    def run(self, job: Job, timeout_s: float | None = None) -> JobResult:
        cached = job.key in self._done
        if not cached:
            context = JobContext(store=self._store, inputs=job.inputs, params=job.params, seed=job.seed)
            try:
                self._done[job.key] = resolve(job.function)(context)
            except JobFailed:
                raise
            except Exception as exc:  # as a worker tells it
                raise JobFailed(type(exc).__name__, f"{job.function}: {exc}") from exc
        return JobResult(outputs=self._done[job.key], seconds_ms=0, cpu_ms=0, cached=cached)

    def map(self, jobs: Sequence[Job]) -> list[JobResult | JobFailed]:
        results: list[JobResult | JobFailed] = []
        for job in jobs:
            try:
                results.append(self.run(job))
            except JobFailed as failed:
                results.append(failed)
        return results


class _HereBench:
    """Runs versions in this process. `isolation` is what the rule asks for; in a trial there is nothing to isolate."""

    isolation = KERNEL

    def __init__(self, task: Task, store: Store) -> None:
        self.tokens = 0
        self._task, self._store = task, store
        self._outcomes: dict[tuple[str, str], NDArray[np.bool_]] = {}

    def score(self, version: Json, block: Block, max_new_tokens: int) -> NDArray[np.bool_]:
        key = (Candidate(**version).hash, block.key)
        if key not in self._outcomes:
            model, codec = from_files(self._store.read_tree(version["model"]))
            seed = derive_seed(block.rollout_seed, version["model"], str(version["scaffold"]))
            prompts = [problem.prompt for problem in block.problems]
            answered = rollout(model, codec, self._task, version["scaffold"], prompts, seed)
            self.tokens += answered.tokens
            checks = zip(block.problems, answered.outputs, block.probe_seeds, strict=True)
            self._outcomes[key] = np.array([self._task.verify(*check).correct for check in checks], np.bool_)
        return self._outcomes[key]

    def repeats(self, version: Json, block: Block, max_new_tokens: int) -> NDArray[np.bool_]:
        return np.zeros(len(block.problems), np.bool_)  # for people only, and nobody looks

    def clear(self, keep: Sequence[Json] = ()) -> None:
        self._outcomes.clear()
        self.tokens = 0


class _HereJudge:
    """The judge's rule without its process."""

    def __init__(self, folder: JudgeFolder, name: str, task: Task, store: Store) -> None:
        self._folder = folder
        bench = _HereBench(task, store)
        self._server = JudgeServer(folder, name, ItemSource(folder.secret, task), bench)  # type: ignore[arg-type]

    def decide(self, question: Question) -> Verdict:
        answer = self._server.decide(question)
        return Verdict(
            slot=question.slot, candidate=Candidate(**question.candidate).hash,
            decision=Decision(answer["decision"]), reason=answer["reason"], evidence=answer["evidence"],
            isolation=answer["isolation"],
        )  # fmt: skip

    def standing(self, question: StandingQuestion) -> Json:
        return self._server.standing(question)

    def evidence(self, name: str) -> Json:
        return self._folder.evidence(name)


def _quick_folder() -> str | None:
    """Memory, where there is such a place: a trial writes a thousand small files and keeps none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _secret(name: str, seed: int) -> bytes:
    return derive_seed("trial's judge", name, seed).to_bytes(8, "big") * 4


def _examples(name: str, seed: int) -> list[Example]:
    rng = random.Random(derive_seed("gold", seed, name))
    problems = tasks.load(f"evolvent.tasks.strings.small:{name}").generate("short", rng, _PAIRS)
    return [Example(problem.prompt, reference(problem)) for problem in problems]


def _gold(name: str, seed: int) -> str:
    return "".join(json.dumps({"prompt": e.prompt, "answer": e.answer}) + "\n" for e in _examples(name, seed))


@lru_cache(maxsize=256)  # both sides of a comparison begin with the same
def _seed(name: str, seed: int, share: float) -> dict[str, bytes]:
    task = tasks.load(f"evolvent.tasks.strings.small:{name}")

    def ready(files: Mapping[str, bytes]) -> bool:
        return _solved(files, {"kind": "direct"}, task, f"stop {name}", _LOOKS) >= share

    return seedling(_examples(name, seed), ALPHABET + MARK, seed, ready)


def _solved(files: Mapping[str, bytes], scaffold: Json, task: Task, stream: str, count: int) -> float:
    """Share of fresh short problems that are solved. For stopping the seed's training and for the report."""
    problems = task.generate("short", random.Random(derive_seed("trial", stream)), count)
    model, codec = from_files(files)
    answered = rollout(model, codec, task, scaffold, [p.prompt for p in problems], 0)
    return sum(task.verify(p, t, 0).correct for p, t in zip(problems, answered.outputs, strict=True)) / count


def main() -> None:
    """Do the small runs that are asked for, a line of JSON each, until the input ends.

    A line names ``function``, ``start``, ``seed``, ``policy``, ``budgets``; the answer tells ``reached`` and ``flops``.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not land between the answers
    for line in sys.stdin:
        asked = json.loads(line)
        outcome = trial(
            asked["function"], asked["seed"], asked["policy"], Budgets(**asked["budgets"]), start=asked["start"]
        )
        answers.write(json.dumps({"reached": outcome.reached, "flops": outcome.flops}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
