"""Runs a model under its scaffold on prompts. The same function serves dev rollouts and the judge's worker.

Not here: verification; a rollout sees prompts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evolvent.models.codec import Codec
from evolvent.models.sampler import Sampled, sample
from evolvent.sandbox import plain
from evolvent.sandbox.running import runner
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

    tools = Tools(task.feedback, task.advance, task.revise, execute)
    return programs.run(scaffold, generate, tools, prompts, seed, explore)


def execute(source: str, function: str, arguments: Sequence[Any]) -> Any:
    """Run a function of a scaffold that is Python where it reaches nothing: this process's code sandbox.

    Raises:
        TimeoutError: it did not end.
        ValueError: anything else became of it than a value.
        SandboxError: nothing can be said.
    """
    told = runner().call(source, function, [[plain.encode(argument) for argument in arguments]])
    if told.status == "timeout":
        raise TimeoutError(told.detail)
    if told.status != "ok" or told.results[0].error:
        raise ValueError(told.results[0].error if told.status == "ok" else f"{told.status}: {told.detail}")
    return plain.decode(told.results[0].value)
