"""A model and tools made of arithmetic, small enough to record: every step of a program has work to do on them.

A prompt ``7`` asks for digits that add up to 7; ``7+4`` says that 4 are there. An answer is a digit, or ``x``, which
does not run.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from evolvent.models.sampler import Sampled
from evolvent.types import derive_seed

PROMPTS = tuple(str(n) for n in range(2, 26))


@dataclass(frozen=True)
class Tried:
    whole: str
    brief: str
    faults: tuple[int, int]
    prompt: str | None


class Digits:
    """Draws answers from prompt, seed and place, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[str, ...], int, float, int]] = []

    def __call__(self, prompts: Sequence[str], num_samples: int, temperature: float, seed: int) -> Sampled:
        self.calls.append((tuple(prompts), num_samples, temperature, seed))
        outputs = []
        for place, prompt in enumerate(prompts):
            path = (prompt, seed, place) if temperature > 0 else (prompt,)  # what is greedy knows no seed
            rng = random.Random(derive_seed("digits", *path))
            outputs.append([rng.choice("1234599xx") for _ in range(num_samples)])
        return Sampled(outputs, sum(map(len, prompts)), len(prompts) * num_samples)


def missing(prompt: str, output: str) -> int:
    first, _, before = prompt.partition("+")
    return int(first) - int(before or 0) - int(output)


def feedback(prompt: str, output: str) -> str | None:
    """Complains of what is no digit, and of overshooting."""
    return None if output.isdigit() and missing(prompt, output) >= 0 else "no"


def advance(prompt: str, output: str) -> tuple[str, str | None]:
    """A digit that does not overshoot is kept; what is left is a prompt."""
    if feedback(prompt, output) is not None:
        return "", None
    left = missing(prompt, output)
    return output, f"{int(output) + left}+{output}" if left else None


def revise(prompt: str, output: str) -> Tried | None:
    """Distance is the number of faults; every fifth prompt has no tests."""
    first, _, before = prompt.partition("+")
    if int(first) % 5 == 0:
        return None
    if not output.isdigit():
        return Tried("", output, (99, 9), None)
    done = int(output) if len(output) > 1 else int(before or 0) + int(output)  # two digits are a whole answer
    left = abs(int(first) - done)
    return Tried(f"{done:02d}", f"{done}", (left, 0), f"{first}+{done}" if left else None)
