"""A task whose items are numbers and whose right output is the word "right"."""

import random

from evolvent.types import Problem, Score


class ToyTask:
    skills = ("single", "chain")

    def generate(self, skill: str, rng: random.Random, count: int) -> list[Problem]:
        print("a task may print")  # must not land between frames
        return [Problem(task="toy", skill=skill, prompt=f"{skill}:{rng.getrandbits(60)}") for _ in range(count)]

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        return Score(correct=output == "right")
