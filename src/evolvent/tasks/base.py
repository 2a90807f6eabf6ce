"""What a task owes the loop.

A task makes problems and verifies outputs. The best verifiers are intrinsic: they need the problem and nothing else, so
that self-made training data needs no oracle.

Not here: reference answers. A task that has some keeps them in a module of its own (`reference.py`), which only seed
training and a benchmark's declared oracle arm may import (a test enforces it).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from evolvent.types import Problem, Score


@dataclass(frozen=True, kw_only=True)
class Revision:
    """An answer after its tests, for a program that tests and fixes.

    Attributes:
        whole: the answer in a form that answers the first prompt of a chain too; ``""`` if it stands for nothing.
        brief: the same in its shortest form, as an answer to the prompt that it was given to.
        faults: how many of the stated tests fail, how many of those made up beside them; fewer is better, in that
            order.
        prompt: asks to go on from this answer and tells a failure; ``None`` if nothing fails, or nothing can be told.
    """

    whole: str
    brief: str
    faults: tuple[int, int]
    prompt: str | None


class Task(Protocol):
    """The contract, owed by every implementer; `evolvent.testing` holds the exam.

    Attributes:
        name: registered name, or ``module:function``.
        skills: pooled skills; the plan names one as target and protects some.
        axes: difficulty axes that a challenger may set, each with its values from easy to hard; may be empty.
        attacks: ways to put a problem differently without changing what solves it; may be empty.
        max_output_tokens: room that an answer needs.
        filter: which of `curate`'s filters may believe self-made answers: ``verified`` (only where `verify` reads no
            answer), ``cycle`` (needs `inverse_prompt`) or ``feedback`` (what `feedback` does not complain of).
    """

    @property
    def name(self) -> str:
        """As registered, or ``module:function``."""
        ...

    @property
    def skills(self) -> tuple[str, ...]:
        """Pooled skills."""
        ...

    @property
    def axes(self) -> Mapping[str, tuple[str, ...]]:
        """Difficulty axes, each from easy to hard."""
        ...

    @property
    def attacks(self) -> tuple[str, ...]:
        """Ways to put a problem differently."""
        ...

    @property
    def max_output_tokens(self) -> int:
        """Room of an answer."""
        ...

    @property
    def filter(self) -> str:
        """Who believes self-made answers."""
        ...

    def generate(self, skill: str, rng: random.Random, count: int) -> list[Problem]:
        """`count` fresh problems of one pooled skill; the same generator state gives the same problems."""
        ...

    def challenge(self, cell: Mapping[str, str], rng: random.Random, count: int) -> list[Problem]:
        """`count` fresh problems at one cell of the axes (axis name -> value); unnamed axes are drawn."""
        ...

    def attack(self, problem: Problem, kind: str, rng: random.Random) -> Problem | None:
        """The problem put differently: what solved it still does, up to names. ``None`` if it would be the same."""
        ...

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        """Score one output; never raises for any output text. `probe_seed` draws hidden probes.

        The judge asks one at a time, from either of two threads.
        """
        ...

    def feedback(self, prompt: str, output: str) -> str | None:
        """A scratch run's complaint of `output`, from the prompt alone; ``None`` if it runs or nothing can be run."""
        ...

    def advance(self, prompt: str, output: str) -> tuple[str, str | None]:
        """One step of a stepwise program: what of `output` ran on a scratch copy, and the prompt of what is left.

        From prompt and output alone. ``("", None)`` for a task without steps, or when nothing ran.
        """
        ...

    def revise(self, prompt: str, output: str) -> Revision | None:
        """One round of a testing program: `output` after the prompt's own tests, from prompt and output alone.

        ``None`` for a task without tests, or a prompt that is none of its own.
        """
        ...

    def inverse_prompt(self, prompt: str, output: str) -> tuple[str, str] | None:
        """For the cycle check: a prompt that asks for the way back and the answer expected; ``None`` for none."""
        ...

    def well_posed(self, problem: Problem) -> bool:
        """A problem made by a model or a person can be verified at all."""
        ...
