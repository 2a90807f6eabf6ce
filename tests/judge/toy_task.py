"""A task whose items are numbers and whose right output is the word "right"."""

import random
from collections.abc import Mapping

from evolvent.types import Problem, Score


class ToyTask:
    name = "toy"
    skills = ("single", "chain")
    axes: Mapping[str, tuple[str, ...]] = {}  # read-only
    max_output_tokens = 1
    filter = "verified"

    def generate(self, skill: str, rng: random.Random, count: int) -> list[Problem]:
        print("a task may print")  # must not land between frames
        return [Problem(task="toy", skill=skill, prompt=f"{skill}:{rng.getrandbits(60)}") for _ in range(count)]

    def challenge(self, cell: Mapping[str, str], rng: random.Random, count: int) -> list[Problem]:
        return self.generate(self.skills[0], rng, count)

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        return Score(correct=output == "right")

    def feedback(self, prompt: str, output: str) -> str | None:
        return None

    def advance(self, prompt: str, output: str) -> tuple[str, str | None]:
        return "", None

    def revise(self, prompt: str, output: str) -> None:
        return None

    def inverse_prompt(self, prompt: str, output: str) -> tuple[str, str] | None:
        return None

    def well_posed(self, problem: Problem) -> bool:
        return True
