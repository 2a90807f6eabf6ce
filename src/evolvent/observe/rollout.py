"""Runs a model under its scaffold on prompts. The same function serves dev rollouts and the judge's worker.

Not here: verification; a rollout sees prompts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evolvent.models.codec import Codec
from evolvent.models.files import longest
from evolvent.models.sampler import Sampled, sample
from evolvent.sandbox import plain
from evolvent.sandbox.running import runner
from evolvent.scaffold import grammar, programs
from evolvent.scaffold.programs import Answered
from evolvent.scaffold.tools import Tools
from evolvent.tasks.base import Task

MOST_SHOWN = 1024  # tokens of a prompt with examples: attention over a whole batch of them grows with the square


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
    stranger = scaffold["kind"] == grammar.CODE
    most = 4 * max([0, *(_length(codec, prompt) for prompt in prompts)]) + 256 if stranger else 0

    def generate(some: Sequence[str], num_samples: int, temperature: float, seed: int) -> Sampled:
        # Characters say little of tokens, and one prompt widens its whole batch: what is too long is not asked.
        asked = ["" if _length(codec, prompt) > most else prompt for prompt in some] if stranger else some
        return sample(
            model,
            codec,
            asked,
            num_samples=num_samples,
            temperature=temperature,
            max_new_tokens=task.max_output_tokens,
            seed=seed,
        )

    def readable(prompt: str) -> bool:
        own = longest(model)
        room = MOST_SHOWN if own is None else min(MOST_SHOWN, own - task.max_output_tokens)
        return 0 < _length(codec, prompt) <= room

    tools = Tools(task.feedback, task.advance, task.revise, execute, readable)
    return programs.run(scaffold, generate, tools, prompts, seed, explore)


def execute(source: str, function: str, arguments: Sequence[Any]) -> tuple[Any, float]:
    """Run a function of a scaffold that is Python where it reaches nothing: this process's code sandbox.

    Raises:
        ValueError: anything else became of it than a value.
        SandboxError: nothing can be said.
    """
    told = runner().call(source, function, [[plain.encode(argument) for argument in arguments]])
    if told.status != "ok" or told.results[0].error:
        raise ValueError(told.results[0].error if told.status == "ok" else f"{told.status}: {told.detail}")
    return plain.decode(told.results[0].value), told.seconds


def _length(codec: Codec, prompt: str) -> int:
    """Tokens; 0 where it cannot be encoded."""
    try:
        return len(codec.encode(prompt).ids)
    except ValueError:
        return 0
