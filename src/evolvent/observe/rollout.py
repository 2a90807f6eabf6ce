"""Runs a model under its scaffold on prompts. The same function serves dev rollouts and the judge's worker.

Not here: verification; a rollout sees prompts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evolvent.models.codec import Codec
from evolvent.models.sampler import Sampled, sample
from evolvent.scaffold import programs
from evolvent.scaffold.programs import Answered, Tools
from evolvent.tasks.base import Task


def rollout(
    model: Any,
    codec: Codec,
    task: Task,
    scaffold: dict[str, Any],
    prompts: Sequence[str],
    seed: int,
    *,
    explore: float = 0.0,
) -> Answered:
    """One answer a prompt.

    Args:
        model: a causal model in evaluation mode.
        codec: its codec.
        task: gives the room of an answer and the scratch runs.
        scaffold: the reasoning program.
        prompts: what to answer.
        seed: of all sampling.
        explore: temperature of what is otherwise greedy.
    """

    def generate(some: Sequence[str], num_samples: int, temperature: float, seed: int) -> Sampled:
        return sample(
            model,
            codec,
            some,
            num_samples=num_samples,
            temperature=temperature,
            max_new_tokens=task.max_output_tokens,
            seed=seed,
        )

    return programs.run(scaffold, generate, Tools(task.feedback, task.advance, task.revise), prompts, seed, explore)
