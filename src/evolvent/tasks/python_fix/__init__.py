"""Repair and writing of small Python functions, verified by running them on hidden inputs in a sandbox.

Three pooled skills: ``single`` (one bug), ``double`` (two), ``synthesis`` (a sentence and three asserts, no code). The
true functions are drawn from families written for the task, the bugs are mutations that show (`generate.py`); what a
prompt and an answer look like stands in `prompts.py`.

`verify` knows the true function, so it judges and diagnoses, and never filters self-made data. The asserts of the
prompt are what a user has: `feedback` and `revise` run these and nothing else.

Not here: the way from a problem to its answer (`reference.py`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from evolvent.tasks.base import Revision
from evolvent.tasks.python_fix import generate, prompts, verify
from evolvent.types import Problem, Score


@dataclass(frozen=True, kw_only=True)
class PythonFix:
    """The task. Frozen; all randomness is an argument. Runs code through this process's `sandbox.running.runner`."""

    name: str = generate.NAME
    skills: tuple[str, ...] = generate.SKILLS
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(generate.AXES))
    max_output_tokens: int = 128
    filter: str = "feedback"

    def generate(self, skill: str, rng: random.Random, count: int) -> list[Problem]:
        """`count` problems of one skill; theme, length and form are drawn."""
        if skill not in self.skills:
            raise ValueError(f"skill: expected one of {', '.join(self.skills)}, got {skill!r}")
        return self.challenge({"work": skill}, rng, count)

    def challenge(self, cell: Mapping[str, str], rng: random.Random, count: int) -> list[Problem]:
        """`count` problems at one cell; unnamed axes are drawn."""
        return [
            generate.make(rng, {axis: cell.get(axis) or rng.choice(values) for axis, values in self.axes.items()})
            for _ in range(count)
        ]

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        """Run `output` on hidden inputs; compare with the true function's values, types included."""
        return verify.verify(problem, output, probe_seed)

    def feedback(self, prompt: str, output: str) -> str | None:
        """The first of the prompt's asserts that fails, in words; ``None`` if none does."""
        asked = prompts.read(prompt)
        if asked is None:
            return None
        trial = verify.try_out(asked, output)
        return trial.complaint if trial.failed else None

    def advance(self, prompt: str, output: str) -> tuple[str, str | None]:
        """Nothing: a function is tried as a whole (`revise`)."""
        return "", None

    def revise(self, prompt: str, output: str) -> Revision | None:
        """Run asserts and own tests; the function as it is now, its failures, and the prompt that tells the first."""
        asked = prompts.read(prompt)
        if asked is None:
            return None
        trial = verify.try_out(asked, output)
        if trial.source is None:
            return Revision(whole="", brief=output, faults=(trial.failed, trial.doubts), prompt=None)
        again = replace(asked, code=tuple(trial.source.split("\n")), failed=trial.complaint)
        told = None if trial.complaint is None else again.text()
        brief = prompts.shortest(asked, trial.source)
        return Revision(whole=trial.source, brief=brief, faults=(trial.failed, trial.doubts), prompt=told)

    def inverse_prompt(self, prompt: str, output: str) -> None:
        """None: a function is verified by running it, no way back is needed."""

    def well_posed(self, problem: Problem) -> bool:
        """The prompt reads back, with asserts of one function, and says from where hidden values come."""
        asked = prompts.read(problem.prompt)
        return asked is not None and ("hidden" in problem.given or {"seed", "family", "form"} <= problem.given.keys())
