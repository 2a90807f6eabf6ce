"""Archives of agents that change themselves: whose child is tried next, and how much of the best one's score is luck.

Two worlds. In the simulated one skill and potential are hidden numbers, a child differs from its parent in both, and
truth is known; in the flat one no child differs, so all gain is luck. In the other an agent is its scaffold: a program
of typed steps around one fixed small model, a child is one edit away, a test is one string of six or seven letters that
its program answers, and truth is measured on fresh strings. Edits are drawn blindly; no failure is read.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from evolvent.archive.lineage import chosen, grow
from evolvent.archive.simulated import Simulated
from evolvent.models.codec import Codec
from evolvent.observe.rollout import rollout
from evolvent.recipes.base import Figures, Recipe, Unit
from evolvent.recipes.strings_seed import SMALL, TARGET, TASK, draw, model_of
from evolvent.scaffold import edits
from evolvent.types import Problem, derive_seed

Steps = list[dict[str, Any]]


@dataclass(frozen=True)
class Programs:
    """Scaffolds of at most `most` answers a problem around one model."""

    model: Any
    codec: Codec
    most: int

    def root(self) -> Steps:
        """One sampled answer."""
        return [{"do": "sample", "n": 1, "temperature": "0.9"}]

    def child(self, agent: Steps, rng: random.Random) -> Steps:
        """One edit away."""
        return edits.mutate(agent, rng, ("feedback",), self.most)

    def test(self, agent: Steps, rng: random.Random) -> bool:
        """Whether it answers one string."""
        return self.share(agent, draw(rng.choice((6, 7)), 1, rng.random()), rng.getrandbits(62)) == 1

    def share(self, agent: Steps, problems: list[Problem], seed: int) -> float:
        """Share of problems that it solves."""
        way = ({"kind": "steps", "steps": agent}, [problem.prompt for problem in problems], seed)
        out = rollout(self.model, self.codec, TASK, *way).outputs
        return sum(TASK.verify(p, text, 0).correct for p, text in zip(problems, out, strict=True)) / len(problems)


def run(unit: Unit) -> Figures:
    """Each world under one policy: what was chosen is believed to be, and is."""
    settings, seed, figures = unit.settings, unit.seed, Figures()
    for name, spread in (("simulated", 0.06), ("flat", 0.0)):
        for tests in settings["tests"]:
            draws = [random.Random(derive_seed("dgm", seed, i, name, tests)) for i in range(settings["worlds"])]
            made = [chosen(grow(Simulated(spread=spread), unit.arm, tests, rng)) for rng in draws]
            figures[f"{name}, {tests} tests: true"] = sum(node.agent.skill for node in made) / len(made)
            luck = [node.passed / max(1, node.trials) - node.agent.skill for node in made]
            figures[f"{name}, {tests} tests: claimed minus true"] = sum(luck) / len(made)
    world = Programs(*model_of(unit), settings["most"])
    fresh = [p for n in (6, 7) for p in draw(n, settings["truth"], "test", seed)]
    best = chosen(grow(world, unit.arm, settings["program_tests"], random.Random(derive_seed("programs", seed))))
    figures["programs: true"] = true = world.share(best.agent, fresh, seed)
    figures["programs: true gain over the root"] = true - world.share(world.root(), fresh, seed)
    figures["programs: claimed minus true"] = best.passed / max(1, best.trials) - true
    return figures


FULL = {
    "seeds": [0, 1, 2, 3, 4], "version": 2, "start": SMALL, "worlds": 200, "tests": [60, 150, 400, 800],
    "program_tests": 600, "most": 8, "truth": 300,
}  # fmt: skip
RECIPE = Recipe(
    name="dgm",
    title="Darwin and Huxley-Goedel Machines: archives of agents that change themselves",
    paper="arXiv:2505.22954, arXiv:2510.21614",
    claim="paper: SWE-bench 20.0 to 50.0 in 80 iterations; HGM's own repository: no net gain from a competent base",
    expected="hgm above its control, and best scores above truth (our pilot: +.21 at 150 tests, +.05 at 400)",
    arms={
        "hgm": "expand where descendants do well; measure one test at a time",
        "hgm, root only": "hgm's schedule of measuring, every child is the root's",
        "dgm": "parent by score and against its children; ten tests a child, fifty more if it passes four",
        "random parent": "as dgm, parents drawn evenly",
        "best of n": "as dgm, the root is every child's parent",
    },
    mechanism="hgm",
    control="hgm, root only",
    metric="simulated, 150 tests: true",
    traps=(
        "The tests that choose an agent also score it: claimed minus true is above 0 even where nothing can be gained.",
        "Programs may ask more often than their parents: what they gain costs tokens.",
    ),
    run=run, start=TARGET, full=FULL,
    quick={**FULL, "seeds": [10, 11, 12], "worlds": 60, "tests": [60, 150], "program_tests": 150, "truth": 100},
)  # fmt: skip
