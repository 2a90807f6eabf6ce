"""Four programs, three of which may spend the same.

A scaffold is plain data in the genome, such as ``{"kind": "direct"}`` or ``{"kind": "vote", "answers": 4}``; `answers`
bounds what one problem may cost. ``vote`` samples all and takes the most frequent; ``retry`` runs the greedy answer
against a scratch copy of what the prompt states, and tries again while the engine complains; ``stepwise`` runs what
runs of an answer on the scratch copy and asks again for what is left. No program sees a verifier, a probe or an answer.

Not here: sampling (`models/`), verification (`tasks/`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evolvent.types import derive_seed

KINDS = ("direct", "vote", "retry", "stepwise")
# Bounds under which the three cost about the same tokens, 2.8 to 3.0 times a direct answer, where they have work to do
# (`multi` of sql_migration under the shipped seed; benchmarks/programs.py).
EQUAL_ANSWERS = {"vote": 12, "retry": 8, "stepwise": 4}
TEMPERATURE = 0.6


class Generated(Protocol):
    """What a generator returns: outputs ``[prompt][sample]`` and token counts."""

    @property
    def outputs(self) -> list[list[str]]:
        """Texts, ``[prompt][sample]``."""
        ...

    @property
    def tokens_read(self) -> int:
        """Prompt tokens."""
        ...

    @property
    def tokens_written(self) -> int:
        """Answer tokens."""
        ...


Generate = Callable[[Sequence[str], int, float, int], Generated]
Feedback = Callable[[str, str], str | None]
Advance = Callable[[str, str], tuple[str, str | None]]


Step = tuple[str, str]


@dataclass(frozen=True)
class Answered:
    """One answer a prompt, and what all of them cost.

    Attributes:
        outputs: the answers.
        tokens: tokens read and written.
        steps: per prompt, the model's own (prompt, output) pairs that the answer is made of: what can be learned from.
    """

    outputs: list[str]
    tokens: int
    steps: list[list[Step]]


def check(scaffold: dict[str, Any]) -> None:
    """Raise on a scaffold that is not one of ours.

    Raises:
        ValueError: unknown kind or key, or `answers` outside 2..16.
    """
    kind = scaffold.get("kind")
    if kind not in KINDS:
        raise ValueError(f"scaffold.kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    extra = set(scaffold) - {"kind", "answers"}
    if extra or (kind == "direct") != ("answers" not in scaffold):
        raise ValueError(f"scaffold: expected kind, and answers unless direct; got {sorted(scaffold)}")
    if kind != "direct" and not 2 <= int(scaffold["answers"]) <= 16:
        raise ValueError(f"scaffold.answers: expected 2 to 16, got {scaffold['answers']}")


@dataclass(frozen=True)
class Tools:
    """What a program may use besides the model; each sees the prompt and an output, nothing else.

    Attributes:
        feedback: a scratch run's complaint, or ``None``.
        advance: what of an output ran on a scratch copy, and the prompt of what is left.
    """

    feedback: Feedback
    advance: Advance


def run(
    scaffold: dict[str, Any], generate: Generate, tools: Tools, prompts: Sequence[str], seed: int, explore: float = 0.0
) -> Answered:
    """Answer each prompt with a program.

    Args:
        scaffold: the program.
        generate: called as ``generate(prompts, num_samples, temperature, seed)``; temperature 0 is greedy.
        tools: scratch runs.
        prompts: what to answer.
        seed: of all sampling.
        explore: temperature of what is otherwise greedy; above 0 when answers are wanted to learn from.
    """
    check(scaffold)
    if scaffold["kind"] == "vote":
        return _vote(generate, prompts, int(scaffold["answers"]), seed)
    if scaffold["kind"] == "stepwise":
        return _stepwise(generate, tools.advance, prompts, int(scaffold["answers"]), seed, explore)
    out = generate(prompts, 1, explore, seed)
    outputs, tokens = [samples[0] for samples in out.outputs], out.tokens_read + out.tokens_written
    if scaffold["kind"] == "retry":
        for attempt in range(1, int(scaffold["answers"])):
            failing = [i for i, output in enumerate(outputs) if tools.feedback(prompts[i], output) is not None]
            if not failing:
                break
            again = generate([prompts[i] for i in failing], 1, TEMPERATURE, derive_seed(seed, "retry", attempt))
            tokens += again.tokens_read + again.tokens_written
            for i, samples in zip(failing, again.outputs, strict=True):
                if tools.feedback(prompts[i], samples[0]) is None:
                    outputs[i] = samples[0]
    return Answered(outputs, tokens, _whole(prompts, outputs))


def _vote(generate: Generate, prompts: Sequence[str], answers: int, seed: int) -> Answered:
    out = generate(prompts, answers, TEMPERATURE, derive_seed(seed, "vote"))
    outputs = []
    for samples in out.outputs:
        counts = Counter(samples)
        outputs.append(max(samples, key=lambda s: (counts[s], -samples.index(s))))
    return Answered(outputs, out.tokens_read + out.tokens_written, _whole(prompts, outputs))


def _whole(prompts: Sequence[str], outputs: Sequence[str]) -> list[list[Step]]:
    return [[pair] for pair in zip(prompts, outputs, strict=True)]


def _stepwise(
    generate: Generate, advance: Advance, prompts: Sequence[str], answers: int, seed: int, explore: float
) -> Answered:
    """Answer, run it on the scratch copy, ask again for what is left; a step that did not run is sampled again."""
    now: dict[int, str] = dict(enumerate(prompts))
    steps: list[list[Step]] = [[] for _ in prompts]
    first = [""] * len(prompts)
    stuck: set[int] = set()
    tokens = 0
    for number in range(answers):
        for group, temperature in ((sorted(now.keys() - stuck), explore), (sorted(stuck), max(explore, TEMPERATURE))):
            if not group:
                continue
            out = generate([now[i] for i in group], 1, temperature, derive_seed(seed, "step", number))
            tokens += out.tokens_read + out.tokens_written
            for i, samples in zip(group, out.outputs, strict=True):
                first[i] = first[i] or samples[0]
                kept, left = advance(now[i], samples[0])
                if not kept:
                    stuck.add(i)
                    continue
                stuck.discard(i)
                steps[i].append((now[i], kept))
                if left is None:
                    del now[i]
                else:
                    now[i] = left
        if not now:
            break
    outputs = ["\n".join(kept for _, kept in made) or first[i] for i, made in enumerate(steps)]
    return Answered(outputs, tokens, steps)
