"""Deduction with distractors and reachability in a graph, verified by rules in a symbolic engine; extra ``rules``.

Two pooled skills, ``reach`` and ``deduction``; what prompts and answers look like stands in `prompts.py`. An answer is
a chain of steps, and is right if it breaks no rule of `reach.lp` or `deduction.lp`. These read the prompt and the
answer, never a reference: so the same rules verify, filter what the model made itself, and are what `retry` and
`stepwise` go by.

Rules of your own hold besides ours (`own`), and an answer that breaks one is wrong. A problem that no answer can solve
under them is made all the same.

Not here: the engine (`tasks/rules.py`), the way from a problem to its answer (`reference.py`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources

from evolvent.errors import UsageError
from evolvent.tasks.logic import generate, prompts
from evolvent.tasks.logic.prompts import ALPHABET, Asked
from evolvent.tasks.rules import Rules
from evolvent.types import Problem, Score

UNREADABLE = "syntax"


@dataclass(frozen=True, kw_only=True)
class Logic:
    """The task. Frozen; all randomness is an argument.

    Attributes:
        axes: difficulty axes; fewer values make an easier task, and an axis that is not named has all of its own.
        own: rules by skill, which hold besides ours, such as ``{"reach": "violation(by_e) :- step(_, e)."}``. A step of
            a stepwise program is held against them too, without ``last``.
        errors: every error that `verify` names, gravest first.

    Raises:
        UsageError: `own` names no skill, or is no program that `tasks.rules` takes.
    """

    own: Mapping[str, str] = field(default_factory=dict)
    name: str = generate.NAME
    skills: tuple[str, ...] = generate.SKILLS
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(generate.AXES))
    attacks: tuple[str, ...] = ("reordered", "renamed")
    max_output_tokens: int = 12
    filter: str = "verified"
    errors: tuple[str, ...] = field(init=False)
    _rules: Mapping[str, Rules] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Read our rules and one's own."""
        if unknown := sorted(self.own.keys() - prompts.FACTS.keys()):
            raise UsageError(f"own: expected rules by skill ({', '.join(prompts.FACTS)}), got {unknown[0]!r}")
        rules = {
            skill: Rules(text=self.own.get(skill, ""), facts=facts, base=_program(skill))
            for skill, facts in prompts.FACTS.items()
        }
        object.__setattr__(self, "_rules", rules)
        names = [name for skill in self.skills for name in rules[skill].names]
        object.__setattr__(self, "errors", (UNREADABLE, *dict.fromkeys(names)))

    def generate(self, skill: str, rng: random.Random, count: int) -> list[Problem]:
        """`count` problems of one skill; steps and distractors are drawn."""
        if skill not in self.skills:
            raise ValueError(f"skill: expected one of {', '.join(self.skills)}, got {skill!r}")
        return self.challenge({"form": skill}, rng, count)

    def challenge(self, cell: Mapping[str, str], rng: random.Random, count: int) -> list[Problem]:
        """`count` problems at one cell; unnamed axes are drawn."""
        axes = {**generate.AXES, **self.axes}
        return [
            generate.make(rng, {axis: cell.get(axis) or rng.choice(values) for axis, values in axes.items()})
            for _ in range(count)
        ]

    def attack(self, problem: Problem, kind: str, rng: random.Random) -> Problem | None:
        """The same statements in another order, or with other letters."""
        if kind not in self.attacks:
            raise ValueError(f"attack: expected one of {', '.join(self.attacks)}, got {kind!r}")
        asked = Asked.read(problem.prompt)
        if asked is None:
            return None
        if kind == "reordered":
            text = replace(asked, statements=tuple(rng.sample(asked.statements, len(asked.statements)))).text()
        else:
            letters = "".join(rng.sample(ALPHABET, len(ALPHABET)))
            text = problem.prompt.translate(str.maketrans(ALPHABET, letters))
        return None if text == problem.prompt else replace(problem, prompt=text, tags={**problem.tags, "attack": kind})

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        """Right if the answer breaks no rule; else the error is the gravest that it breaks."""
        asked = Asked.read(problem.prompt)
        error = self._broken(asked, output) if asked else UNREADABLE
        return Score(correct=error is None, error=error, executed=error != UNREADABLE)

    def feedback(self, prompt: str, output: str) -> str | None:
        """The gravest rule that the answer breaks; ``None`` if it breaks none, or the prompt is none of ours."""
        asked = Asked.read(prompt)
        return self._broken(asked, output) if asked else None

    def advance(self, prompt: str, output: str) -> tuple[str, str | None]:
        """The steps before the first that breaks a rule, and the prompt that goes on from there."""
        asked = Asked.read(prompt)
        letters = prompts.steps(output, asked.deduction) if asked else None
        if asked is None or letters is None:
            return "", None
        fewest = 1 if asked.deduction else 2  # a path's first letter is where it starts, and no step
        for length in range(len(letters), fewest - 1, -1):
            kept = letters[:length]
            if not self._breaks(asked, kept, whole=False):
                return kept, None if not self._breaks(asked, kept) else asked.after(kept).text()
        return "", None

    def _broken(self, asked: Asked, output: str) -> str | None:
        letters = prompts.steps(output, asked.deduction)
        return UNREADABLE if letters is None else next(iter(self._breaks(asked, letters)), None)

    def _breaks(self, asked: Asked, letters: str, *, whole: bool = True) -> tuple[str, ...]:
        rules = self._rules["deduction" if asked.deduction else "reach"]
        return rules.broken([*asked.facts(), *prompts.step_facts(letters, whole=whole)])

    def revise(self, prompt: str, output: str) -> None:
        """None: the prompt states no tests."""

    def inverse_prompt(self, prompt: str, output: str) -> None:
        """None: an answer is verified by rules, no way back is needed."""

    def well_posed(self, problem: Problem) -> bool:
        """The prompt reads back."""
        return Asked.read(problem.prompt) is not None


def _program(skill: str) -> str:
    return (resources.files("evolvent.tasks.logic") / f"{skill}.lp").read_text(encoding="utf-8")
