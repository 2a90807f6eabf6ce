"""Strings: apply a function to a string of letters; the science task of length extrapolation.

Prompts look like ``rbcab>``. Two pooled skills: ``short`` (lengths on which a seed was trained) and ``long``. All
functions but ``sort`` are involutions, so that a model can check itself without a label: it maps its own answer back
(`curate.cycle`). `verify` computes the answer, so it is the judge's and the diagnosis' (dev), never a filter of
self-made training data.

Not here: natural language.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from evolvent.tasks.strings import reference
from evolvent.types import Problem, Score

INVOLUTIONS = tuple(reference.INVOLUTIONS)
ALPHABET = "abcdefghijklmnop"
MARK = ">"


@dataclass(frozen=True, kw_only=True)
class Strings:
    """The task.

    Attributes:
        function: one of `reference.FUNCTIONS`.
        short: longest string of skill ``short``.
        long: longest string of skill ``long``.
        filter: `verify` computes the answer, so self-made data are believed by the cycle check.
    """

    function: str = "reverse"
    short: int = 5
    long: int = 15
    name: str = "strings"
    skills: tuple[str, ...] = ("short", "long")
    attacks: tuple[str, ...] = ("renamed", "repeated")
    max_output_tokens: int = 24
    filter: str = "cycle"
    axes: Mapping[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        """Check the function's name; derive the axis."""
        if self.function not in reference.FUNCTIONS:
            raise ValueError(f"function: expected one of {', '.join(reference.FUNCTIONS)}, got {self.function!r}")
        object.__setattr__(self, "axes", {"length": tuple(str(n) for n in range(2, self.long + 1))})

    def generate(self, skill: str, rng: random.Random, count: int) -> list[Problem]:
        """Problems with lengths drawn evenly from the skill's range."""
        if skill not in self.skills:
            raise ValueError(f"skill: expected one of {', '.join(self.skills)}, got {skill!r}")
        low, high = (1, self.short) if skill == "short" else (self.short + 1, self.long)
        return [self._make(rng, rng.randint(low, high)) for _ in range(count)]

    def challenge(self, cell: Mapping[str, str], rng: random.Random, count: int) -> list[Problem]:
        """Problems of one length."""
        lengths = [cell["length"]] if "length" in cell else self.axes["length"]
        return [self._make(rng, int(rng.choice(lengths))) for _ in range(count)]

    def attack(self, problem: Problem, kind: str, rng: random.Random) -> Problem | None:
        """Other letters at each place, or few letters many times; the length stays."""
        if kind not in self.attacks:
            raise ValueError(f"attack: expected one of {', '.join(self.attacks)}, got {kind!r}")
        text = problem.prompt.removesuffix(MARK)
        letters = rng.sample(ALPHABET, len(ALPHABET))
        if kind == "renamed":
            text = text.translate(str.maketrans(ALPHABET, "".join(letters)))
        else:
            text = "".join(rng.choices(letters[:2], k=len(text)))
        tags = {**problem.tags, "attack": kind}
        return None if text + MARK == problem.prompt else replace(problem, prompt=text + MARK, tags=tags)

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        """Exact match; the error says how it differs."""
        truth = reference.reference(problem)
        if output == truth:
            return Score(correct=True, executed=True)
        return Score(
            correct=False, error="wrong_length" if len(output) != len(truth) else "wrong_letters", executed=True
        )

    def feedback(self, prompt: str, output: str) -> str | None:
        """What shows without knowing the answer: a wrong length or foreign letters."""
        text = prompt.removesuffix(MARK)
        if len(output) != len(text):
            return f"length {len(output)}, expected {len(text)}"
        return None if set(output) <= set(ALPHABET) else "foreign letters"

    def advance(self, prompt: str, output: str) -> tuple[str, str | None]:
        """Nothing: a string is answered at once."""
        return "", None

    def revise(self, prompt: str, output: str) -> None:
        """None: there is nothing to test."""

    def inverse_prompt(self, prompt: str, output: str) -> tuple[str, str] | None:
        """For the cycle check: the prompt that asks for the way back, and what must come out."""
        if self.function not in reference.INVOLUTIONS or self.feedback(prompt, output) is not None:
            return None
        return output + MARK, prompt.removesuffix(MARK)

    def well_posed(self, problem: Problem) -> bool:
        """Letters of the alphabet, then the mark."""
        text = problem.prompt.removesuffix(MARK)
        return problem.prompt.endswith(MARK) and 0 < len(text) <= self.long and set(text) <= set(ALPHABET)

    def _make(self, rng: random.Random, length: int) -> Problem:
        text = "".join(rng.choices(ALPHABET, k=length))
        return Problem(
            task=self.name,
            skill="short" if length <= self.short else "long",
            prompt=text + MARK,
            difficulty=length,
            tags={"length": str(length)},
            given={"function": self.function},
        )
