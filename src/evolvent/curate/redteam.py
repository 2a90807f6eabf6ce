"""Looks for problems that the model solves and, put differently, does not; and learns from those it then solves.

The red team starts from fresh problems that the model solves, attacks each in ways that leave it solvable
(`Task.attack`), spends its tries on the attacks that break most (Thompson sampling), and attacks what held a second
time. What broke becomes training data with an answer that the filter passes: the model's own answer to the problem
before the attack, which often still holds, or else one of several that it samples. Solved problems of each skill go
with it, about as many, so that the cure does not make it forget. What counts as solved is what the filter of
self-labels believes, so no reference is read anywhere.

Not here: the protected skill of attacked problems (the task's ``robust``), which the judge draws afresh.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from evolvent import tasks
from evolvent.budget import afford
from evolvent.curate.selflabel import FILTERS, TEMPERATURE, Funnel, Maker
from evolvent.errors import JobFailed
from evolvent.jobs import JobContext
from evolvent.models.files import from_files, num_parameters
from evolvent.scaffold.programs import Step
from evolvent.types import Problem, derive_seed

__all__ = ["Search", "red_team", "search_failures"]

ROUNDS = 4
HELD_AGAIN = 2  # rounds from this on attack what held before


@dataclass
class Search:
    """What is known of each attack: how often it was tried, and how often it broke the model."""

    attacks: tuple[str, ...]
    tried: dict[str, int] = field(default_factory=dict)
    broke: dict[str, int] = field(default_factory=dict)

    def choose(self, rng: random.Random) -> str:
        """The attack whose chance to break, drawn from what is known, is largest."""
        return max(
            self.attacks,
            key=lambda kind: rng.betavariate(
                1 + self.broke.get(kind, 0), 1 + self.tried.get(kind, 0) - self.broke.get(kind, 0)
            ),
        )

    def note(self, kind: str, broke: bool) -> None:
        """One more try."""
        self.tried[kind] = self.tried.get(kind, 0) + 1
        self.broke[kind] = self.broke.get(kind, 0) + broke

    def plain(self) -> dict[str, list[int]]:
        """Broken and tried, by attack."""
        return {kind: [self.broke.get(kind, 0), n] for kind, n in sorted(self.tried.items())}


def red_team(ctx: JobContext) -> dict[str, str]:
    """The job. Inputs ``model``; params ``task, scaffold, filter, problems, samples``, and an allowance as self-labels.

    Returns:
        ``data``: JSON lines of kept pairs; ``stats``: JSON of the funnel, and broken and tried by attack.

    Raises:
        JobFailed: ``no_attacks``: the task has none; ``nothing_broke``; ``nothing_kept``; or ``over_budget``.
    """
    params = ctx.params
    if params["filter"] not in FILTERS:
        raise ValueError(f"filter: expected one of {', '.join(FILTERS)}, got {params['filter']!r}")
    task = tasks.load(params["task"])
    if not task.attacks:
        raise JobFailed("no_attacks", f"the task {task.name} knows no way to put a problem differently")
    model, codec = from_files(ctx.store.read_tree(ctx.inputs["model"]))
    maker, funnel = Maker(task, model, codec, params["filter"], params["scaffold"]), Funnel()
    rng = random.Random(ctx.seed)

    def spent() -> dict[str, int]:
        units = {"flops": 2 * num_parameters(model) * funnel.tokens, "tokens": funnel.tokens}
        afford(params, units, units)
        return units

    search = Search(task.attacks)
    solved = _solved(maker, int(params["problems"]), rng, funnel)
    broken = search_failures(maker, search, solved, rng, funnel)
    units = spent()
    if not broken:
        raise JobFailed("nothing_broke", f"{sum(search.tried.values())} attacks broke nothing", **units)
    ctx.report({"stage": "sample", "problems": len(broken)})
    pairs = _answered(maker, broken, int(params["samples"]), ctx.seed, funnel)
    funnel.cells = search.plain()
    units = spent()
    if not pairs:
        raise JobFailed("nothing_kept", f"none of {funnel.sampled} answers to what broke passed the filter", **units)
    pairs += _kept_up(solved, len(pairs), rng)
    text = "".join(json.dumps({"prompt": p, "answer": a}, ensure_ascii=False) + "\n" for p, a in pairs)
    return {
        "data": ctx.store.put_bytes(text.encode()),
        "stats": ctx.store.put_json({**funnel.plain(), **units}),
    }


@dataclass(frozen=True)
class Variant:
    """A problem, and an answer of the model that solved it or the problem that it was made from."""

    problem: Problem
    answer: str


def search_failures(
    maker: Maker, search: Search, whole: Sequence[Variant], rng: random.Random, funnel: Funnel
) -> list[Variant]:
    """Variants of solved problems that the model fails; each attack's tries are noted."""
    held, broken = list[Variant](), dict[str, Variant]()
    for number in range(ROUNDS):
        base = held if number >= HELD_AGAIN else whole
        some = rng.sample(base, min(len(base), max(1, len(whole) // 2)))
        attacked: dict[str, tuple[str, str]] = {}
        variants: list[Problem] = []
        for solved in some:
            kind = search.choose(rng)
            variant = maker.task.attack(solved.problem, kind, rng)
            if variant is not None and variant.prompt not in attacked and maker.task.well_posed(variant):
                attacked[variant.prompt] = (kind, solved.answer)
                variants.append(variant)
        held = []
        for variant, text, ok, own in _tried(maker, variants, rng, funnel):
            kind, answer = attacked[variant.prompt]
            search.note(kind, not ok)
            if ok and own:
                held.append(Variant(variant, text))
            elif not ok:
                broken[variant.prompt] = Variant(variant, answer)
    return list(broken.values())


def _solved(maker: Maker, count: int, rng: random.Random, funnel: Funnel) -> list[Variant]:
    """Of `count` fresh problems, spread over the skills, those that the model solves."""
    skills = [skill for skill in maker.task.skills if skill != "robust"]
    fresh = [p for skill in skills for p in maker.task.generate(skill, rng, -(-count // len(skills)))]
    return [Variant(p, text) for p, text, ok, own in _tried(maker, fresh, rng, funnel) if ok and own]


def _kept_up(solved: Sequence[Variant], count: int, rng: random.Random) -> list[Step]:
    """About `count` of the solved problems, as many of each skill as there are."""
    by_skill: dict[str, list[Variant]] = {}
    for variant in solved:
        by_skill.setdefault(variant.problem.skill, []).append(variant)
    each = -(-count // max(1, len(by_skill)))
    chosen = [v for some in by_skill.values() for v in rng.sample(some, min(len(some), each))]
    return [(v.problem.prompt, v.answer) for v in chosen]


def _answered(maker: Maker, broken: Sequence[Variant], samples: int, seed: int, funnel: Funnel) -> list[Step]:
    """Pairs to learn from: the answer from before the attack where the filter passes it, else a sampled one."""
    problems = [variant.problem for variant in broken]
    old = [[variant.answer] for variant in broken]
    tries = maker.answers(problems, samples, TEMPERATURE, derive_seed(seed, "sample"))
    funnel.drawn, funnel.sampled = len(problems), sum(len(s) for s in tries.outputs) + len(old)
    funnel.tokens += tries.tokens
    holds = maker.passes(problems, old, derive_seed(seed, "verify old"), funnel)
    believed = maker.passes(problems, tries.outputs, derive_seed(seed, "verify"), funnel)
    pairs: list[Step] = []
    for variant, still, made, ok in zip(broken, holds, tries.steps, believed, strict=True):
        if still[0]:
            pairs.append((variant.problem.prompt, variant.answer))
        elif any(ok):
            pairs += next((steps for steps, fine in zip(made, ok, strict=True) if fine and steps), [])
        funnel.kept += still[0] or any(fine and bool(steps) for steps, fine in zip(made, ok, strict=True))
        funnel.correct += still[0] + sum(ok)
    return pairs


def _tried(
    maker: Maker, problems: Sequence[Problem], rng: random.Random, funnel: Funnel
) -> list[tuple[Problem, str, bool, bool]]:
    """Each problem with its answer, whether the filter believes it, and whether the model said it itself."""
    if not problems:
        return []
    out = maker.answers(problems, 1, 0.0, rng.getrandbits(62))
    looking = Funnel()  # its counts are not the labels', but its tokens were spent
    believed = maker.passes(problems, out.outputs, rng.getrandbits(62), looking)
    funnel.tokens += out.tokens + looking.tokens
    rows = zip(problems, out.outputs, believed, out.steps, strict=True)
    return [(p, made[0], ok[0], bool(steps[0])) for p, made, ok, steps in rows]
