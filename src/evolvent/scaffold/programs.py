"""Three programs at equal tokens.

A scaffold is plain data in the genome: ``{"kind": "direct"}``, ``{"kind": "vote", "answers": 4}`` or
``{"kind": "retry", "answers": 4}``; `answers` bounds what one problem may cost. ``vote`` samples all and takes the most
frequent; ``retry`` runs the greedy answer against a scratch copy of what the prompt states, and tries again while the
engine complains. No program sees a verifier, a probe or an answer.

Not here: sampling (`models/`), verification (`tasks/`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evolvent.types import derive_seed

KINDS = ("direct", "vote", "retry")
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


@dataclass(frozen=True)
class Answered:
    """One answer a prompt, and the tokens that all of them cost."""

    outputs: list[str]
    tokens: int


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


def run(
    scaffold: dict[str, Any], generate: Generate, feedback: Feedback, prompts: Sequence[str], seed: int
) -> Answered:
    """Answer each prompt with a program.

    Args:
        scaffold: the program.
        generate: called as ``generate(prompts, num_samples, temperature, seed)``; temperature 0 is greedy.
        feedback: a scratch run's complaint from prompt and output alone, or ``None``.
        prompts: what to answer.
        seed: of all sampling.
    """
    check(scaffold)
    if scaffold["kind"] == "vote":
        return _vote(generate, prompts, int(scaffold["answers"]), seed)
    out = generate(prompts, 1, 0.0, seed)
    outputs, tokens = [samples[0] for samples in out.outputs], out.tokens_read + out.tokens_written
    if scaffold["kind"] == "retry":
        for attempt in range(1, int(scaffold["answers"])):
            failing = [i for i, output in enumerate(outputs) if feedback(prompts[i], output) is not None]
            if not failing:
                break
            again = generate([prompts[i] for i in failing], 1, TEMPERATURE, derive_seed(seed, "retry", attempt))
            tokens += again.tokens_read + again.tokens_written
            for i, samples in zip(failing, again.outputs, strict=True):
                if feedback(prompts[i], samples[0]) is None:
                    outputs[i] = samples[0]
    return Answered(outputs, tokens)


def _vote(generate: Generate, prompts: Sequence[str], answers: int, seed: int) -> Answered:
    out = generate(prompts, answers, TEMPERATURE, derive_seed(seed, "vote"))
    outputs = []
    for samples in out.outputs:
        counts = Counter(samples)
        outputs.append(max(samples, key=lambda s: (counts[s], -samples.index(s))))
    return Answered(outputs, out.tokens_read + out.tokens_written)
