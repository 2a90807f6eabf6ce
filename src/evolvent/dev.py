"""Dev rollouts: what diagnosis reads and what screening compares. Cheap, repeatable, proves nothing.

Each champion has dev problems of its own, drawn from the run's seed and its name; a candidate is screened on those of
its parent, so that the parent's traces are found in the cache.

Not here: fresh problems and error rates (`judge/`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evolvent import tasks
from evolvent.errors import JobFailed
from evolvent.jobs import Job, JobEngine
from evolvent.limits import differing
from evolvent.plan import ChangePlan, Settings
from evolvent.store import Store
from evolvent.types import Problem, derive_seed

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DevSet:
    """Runs versions on dev problems, skill by skill, side by side.

    Attributes:
        engine: runs the jobs.
        store: holds traces.
        settings: task, number of problems, seed.
        skills: the task's pooled skills.
    """

    engine: JobEngine
    store: Store
    settings: Settings
    skills: tuple[str, ...]

    def run(self, candidate: Mapping[str, Any], asked_of: str) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
        """Trace artifacts and counts by skill, of a candidate on the dev problems of version `asked_of`.

        Raises:
            JobFailed: a rollout failed.
        """
        results = self.engine.map([self._job(candidate, asked_of, skill) for skill in self.skills])
        traces: dict[str, str] = {}
        counts: dict[str, dict[str, int]] = {}
        for skill, result in zip(self.skills, results, strict=True):
            if isinstance(result, JobFailed):
                raise result
            traces[skill] = result.outputs["traces"]
            counts[skill] = self.store.get_json(result.outputs["counts"])
        return traces, counts

    def compare(self, mine: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, dict[str, int]]:
        """Paired ``{n, wins, losses}`` by skill, from two sets of trace artifacts."""
        return {skill: _paired(self.store.get_json(mine[skill]), self.store.get_json(theirs[skill])) for skill in mine}

    def problems(self, skill: str, asked_of: str) -> list[Problem]:
        """The dev problems of version `asked_of`, in the order of its traces."""
        rng = random.Random(self._seed(skill, asked_of))
        return tasks.load(self.settings.task).generate(skill, rng, self.settings.dev.problems)

    def _seed(self, skill: str, asked_of: str) -> int:
        return derive_seed(self.settings.seed, "dev", asked_of, skill)

    def _job(self, candidate: Mapping[str, Any], asked_of: str, skill: str) -> Job:
        return Job(
            function="evolvent.observe.jobs:dev_rollout",
            inputs={"model": candidate["model"]},
            params={
                "task": self.settings.task,
                "skill": skill,
                "count": self.settings.dev.problems,
                "scaffold": candidate["scaffold"],
            },
            seed=self._seed(skill, asked_of),
        )


def screen(
    dev: DevSet, plan: ChangePlan, candidate: Json, champion: Json, parent: Json, anchor: Json, asked_of: str
) -> dict[str, Any]:
    """Candidate against champion on the dev problems of version `asked_of`: what the event ``screened`` says of it.

    Where another candidate became champion since the parent was built on, also what the change gained over its parent:
    behind the champion it may be, for want of what the other has, and that says nothing of the change. The parent's
    traces are in the cache. Where the plan limits drift, also how its right answers differ from the anchor's, with the
    names of both traces. The anchor's rollout is counted for each candidate, though all but the first find it in the
    cache.

    Raises:
        JobFailed: a rollout failed.
    """
    mine, counts = dev.run(candidate, asked_of)
    champions, _ = dev.run(champion, asked_of)
    skills = dev.compare(mine, champions)
    spent, drift, over_parent = list(counts.values()), {}, {}
    if parent != champion:
        over_parent = {"over_parent": dev.compare(mine, dev.run(parent, asked_of)[0])[plan.target]}
    if plan.drift_percent:
        theirs, price = dev.run(anchor, asked_of)
        spent += price.values() if anchor != champion else ()  # a champion's traces were paid for by its diagnosis
        pairs = [differing(dev.store.get_json(mine[skill]), dev.store.get_json(theirs[skill])) for skill in mine]
        counted = {name: sum(pair[name] for pair in pairs) for name in ("n", "differ")}
        drift = {"drift": {"counts": counted, "traces": {"candidate": mine, "anchor": theirs}}}
    return {
        "skills": skills,
        "target": skills[plan.target],
        "passed": worth_judging(skills, plan),
        **{unit: sum(count[unit] for count in spent) for unit in ("flops", "tokens")},
        **over_parent,
        **drift,
    }


def worth_judging(skills: Mapping[str, Mapping[str, int]], plan: ChangePlan) -> bool:
    """More wins than losses on the target, and no protected skill down by over twice its margin."""
    target = skills[plan.target]
    lost = any(
        100 * (counts["losses"] - counts["wins"]) > 2 * plan.protected[skill] * counts["n"]
        for skill, counts in skills.items()
        if skill in plan.protected
    )
    return not lost and target["wins"] > target["losses"]


def _paired(mine: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    pairs = list(zip(mine, theirs, strict=True))
    wins = sum(bool(a["correct"]) and not b["correct"] for a, b in pairs)
    losses = sum(bool(b["correct"]) and not a["correct"] for a, b in pairs)
    return {"n": len(pairs), "wins": wins, "losses": losses}
