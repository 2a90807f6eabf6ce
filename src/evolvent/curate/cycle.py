"""The cycle check: keep an answer only if the model finds the way back from it to its own prompt.

A filter of the generating side. It reads no label: the task says how to ask for the way back (`Task.inverse_prompt`),
the model answers greedily, and what comes out must be what the prompt says. An answer that is wrong by chance has to be
wrong a second time in exactly the way that undoes the first, so what passes is nearly always right
(`benchmarks/length.py`).

Not here: proof. A model that is wrong *consistently* passes: whoever learned plain copying instead of reversing maps
each answer back. Keep problems with known answers in each batch, and let the judge decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evolvent.models.codec import Codec
from evolvent.models.sampler import Sampled, sample
from evolvent.scaffold.tools import Generate
from evolvent.tasks.base import Task


@dataclass(frozen=True, kw_only=True)
class Cycled:
    """What the check said of each pair, and what asking cost.

    Attributes:
        kept: one flag a pair, in the order given.
        asked: pairs that had a way back and were put to the model; the others are not kept.
        tokens: read and written by the model.
    """

    kept: tuple[bool, ...]
    asked: int
    tokens: int


def cycle_check(task: Task, generate: Generate, prompts: Sequence[str], outputs: Sequence[str]) -> Cycled:
    """Check each ``(prompt, output)`` pair.

    Args:
        task: gives the way back; a pair for which it gives ``None`` is not kept.
        generate: the model that wrote the outputs, called as ``generate(prompts, num_samples, temperature, seed)``; see
            `answers_of`.
        prompts: what the model read.
        outputs: what it wrote, one a prompt.

    Raises:
        ValueError: as many outputs as prompts are needed.
    """
    back = [task.inverse_prompt(prompt, output) for prompt, output in zip(prompts, outputs, strict=True)]
    asked = [i for i, way in enumerate(back) if way is not None]
    ways = [way for way in back if way is not None]
    if not ways:
        return Cycled(kept=(False,) * len(back), asked=0, tokens=0)
    answered = generate([inverse for inverse, _ in ways], 1, 0.0, 0)
    closed = {
        i for i, (_, expected), samples in zip(asked, ways, answered.outputs, strict=True) if samples[0] == expected
    }
    return Cycled(
        kept=tuple(i in closed for i in range(len(back))),
        asked=len(asked),
        tokens=answered.tokens_read + answered.tokens_written,
    )


def answers_of(model: Any, codec: Codec, max_new_tokens: int) -> Generate:
    """A model as the generator that `cycle_check` and scaffolds call."""

    def generate(prompts: Sequence[str], num_samples: int, temperature: float, seed: int) -> Sampled:
        return sample(
            model,
            codec,
            prompts,
            num_samples=num_samples,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            seed=seed,
        )

    return generate
