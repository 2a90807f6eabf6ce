"""Five programs, three of which may spend the same.

A scaffold is plain data in the genome, such as ``{"kind": "direct"}`` or ``{"kind": "vote", "answers": 4}``; `answers`
bounds what one problem may cost. ``vote`` samples all and takes the most frequent; ``retry`` runs the greedy answer
against a scratch copy of what the prompt states, and tries again while the engine complains; ``stepwise`` runs what
runs of an answer on the scratch copy and asks again for what is left; ``revise`` tests an attempt, reads the failure
and asks for a fix of it, for tasks whose prompts state tests. No program sees a verifier, a probe or an answer.

Not here: sampling (`models/`), verification (`tasks/`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evolvent.types import derive_seed

KINDS = ("direct", "vote", "retry", "stepwise", "revise")
# Bounds under which the three cost about the same tokens, 2.8 to 3.0 times a direct answer, where they have work to do
# (`multi` of sql_migration under the shipped seed; benchmarks/programs.py).
EQUAL_ANSWERS = {"vote": 12, "retry": 8, "stepwise": 4}
REVISE_ANSWERS = 6  # where a task has tests; what that costs beside the others: benchmarks/python_fix.py
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


class Revised(Protocol):
    """An answer after its tests; `tasks.base.Revision` says what the fields mean."""

    @property
    def whole(self) -> str:
        """The answer in a form that answers the first prompt too; ``""`` if it stands for nothing."""
        ...

    @property
    def brief(self) -> str:
        """The answer in its shortest form."""
        ...

    @property
    def faults(self) -> tuple[int, int]:
        """Tests that fail, stated and made up."""
        ...

    @property
    def prompt(self) -> str | None:
        """Asks to go on from here."""
        ...


Generate = Callable[[Sequence[str], int, float, int], Generated]
Feedback = Callable[[str, str], str | None]
Advance = Callable[[str, str], tuple[str, str | None]]
Revise = Callable[[str, str], Revised | None]


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
        revise: an output after the prompt's own tests; ``None`` where there are none.
    """

    feedback: Feedback
    advance: Advance
    revise: Revise


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
    if scaffold["kind"] == "revise":
        return _revise(generate, tools.revise, prompts, int(scaffold["answers"]), seed, explore)
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


@dataclass
class _Attempts:
    """The work on one prompt: the best answer so far, and how it came about."""

    first: str
    best: Revised | None
    fixes: list[Step]
    stuck: int = 0

    @property
    def done(self) -> bool:
        """Nothing fails, or nothing can be tested."""
        return self.best is None or self.best.faults == (0, 0)

    def ask(self, prompt: str) -> str:
        """What to ask next: for a fix of the best answer; every other time that this led nowhere, afresh."""
        told = self.best.prompt if self.best else None
        return prompt if told is None or self.stuck % 2 else told

    def take(self, asked: str, output: str, revised: Revised | None) -> None:
        """Keep an answer with fewer faults than the best; the fix that led there is worth learning."""
        if self.best is None or revised is None or not revised.whole or revised.faults >= self.best.faults:
            self.stuck += 1
            return
        self.fixes.append((asked, output))
        self.best, self.stuck = revised, 0


def _revise(
    generate: Generate, revise: Revise, prompts: Sequence[str], answers: int, seed: int, explore: float
) -> Answered:
    """Attempt, test, read the failure, fix; the attempt with the fewest faults is the answer.

    A fix is first asked for greedily, then by sampling. What is learned from are the fixes, each with the failed
    attempt and its failure in the prompt, and the first prompt with the answer that came out in the end; never the
    failed attempt.
    """
    out = generate(prompts, 1, explore, seed)
    tokens = out.tokens_read + out.tokens_written
    work = [_Attempts(texts[0], revise(p, texts[0]), []) for p, texts in zip(prompts, out.outputs, strict=True)]
    for number in range(1, answers):
        going = [i for i, attempts in enumerate(work) if not attempts.done]
        for group, temperature in (
            ([i for i in going if not work[i].stuck], explore),
            ([i for i in going if work[i].stuck], max(explore, TEMPERATURE)),
        ):
            if not group:
                continue
            asked = [work[i].ask(prompts[i]) for i in group]
            again = generate(asked, 1, temperature, derive_seed(seed, "revise", number))
            tokens += again.tokens_read + again.tokens_written
            for i, prompt, samples in zip(group, asked, again.outputs, strict=True):
                work[i].take(prompt, samples[0], revise(prompt, samples[0]))
    outputs, steps = [], []
    for prompt, attempts in zip(prompts, work, strict=True):
        final = revise(prompt, attempts.best.whole) if attempts.best and attempts.fixes else None
        outputs.append(final.brief if final else attempts.first)
        steps.append([*(fix for fix in attempts.fixes if fix[0] != prompt), (prompt, outputs[-1])])
    return Answered(outputs, tokens, steps)
