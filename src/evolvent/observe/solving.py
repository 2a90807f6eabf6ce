"""Which problems a model solves: greedily, or with k samples each.

For measuring; `Task.verify` may compute the answer, so nothing that is learned from may be chosen by it, unless the
task's own verifier is what a method needs, and then it says so.

Not here: choosing problems, intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Any

from evolvent.models.codec import Codec
from evolvent.models.sampler import sample
from evolvent.tasks.base import Task
from evolvent.types import Problem, derive_seed

__all__ = ["accuracy", "correct", "pass_at"]


def correct(task: Task, problems: Sequence[Problem], outputs: Sequence[Sequence[str]], seed: int) -> list[list[bool]]:
    """What the task's verifier says of each output, ``[problem][sample]``."""
    return [
        [task.verify(problem, text, derive_seed(seed, i)).correct for text in samples]
        for i, (problem, samples) in enumerate(zip(problems, outputs, strict=True))
    ]


def accuracy(model: Any, codec: Codec, task: Task, problems: Sequence[Problem], seed: int = 0) -> float:
    """Share of the problems that greedy answers solve."""
    prompts = [problem.prompt for problem in problems]
    out = sample(model, codec, prompts, max_new_tokens=task.max_output_tokens)
    return sum(row[0] for row in correct(task, problems, out.outputs, seed)) / len(problems)


def pass_at(k: int, solved: Sequence[Sequence[bool]]) -> float:
    """The chance that one of k samples is right, averaged over problems: the unbiased estimate from n >= k samples.

    Args:
        k: samples allowed.
        solved: ``[problem][sample]``, n samples each.

    Raises:
        ValueError: fewer samples than k.

    References:
        Chen et al., "Evaluating large language models trained on code", arXiv:2107.03374, equation 1.
    """
    total = 0.0
    for row in solved:
        if len(row) < k:
            raise ValueError(f"solved: expected at least {k} samples a problem, got {len(row)}")
        total += 1 - comb(len(row) - sum(row), k) / comb(len(row), k)
    return total / len(solved)
