"""Two attempts at a prompt: the second sees what the first came to and how it failed, and both are kept as a trace.

`scaffold/programs.py` repairs too, but hands out only what improved an answer. A trace keeps the fix that failed as
well, so that what passes can be compared with what does not. It reads no label: `Task.revise` runs the tests that stand
in the prompt, and calls made of them.

Not here: proof. A fix that passes the visible tests may fail the hidden ones; the judge decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evolvent.scaffold.programs import Step
from evolvent.scaffold.tools import Generate
from evolvent.tasks.base import Revision, Task
from evolvent.types import derive_seed

__all__ = ["Trace", "Traced", "repair_traces"]

PASSES = (0, 0)  # no stated test fails, and none made up beside them


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What became of one prompt.

    Attributes:
        prompt: the first.
        first: the first attempt.
        asked: the second prompt, which holds what the first attempt came to and a failure of it; ``""`` where the first
            attempt passed, or stands for nothing that could be repaired.
        fix: the second attempt, an answer to `asked`; ``""`` where nothing was asked.
        patch: both attempts as one answer to `prompt`; ``""`` where the fix stands for nothing.
        faults: of the last attempt, stated tests that fail and made up ones.
        answer: the attempt that fails less, as an answer to `prompt`; the first where they fail alike.
    """

    prompt: str
    first: str
    asked: str
    fix: str
    patch: str
    faults: tuple[int, int]
    answer: str

    @property
    def passed(self) -> bool:
        """The last attempt passes its tests."""
        return self.faults == PASSES

    @property
    def turns(self) -> tuple[Step, ...]:
        """What can be learned from a repair: the patch under the first prompt, the fix under the second.

        Never the failed attempt, which stands in the second prompt only. Empty where nothing was asked, or the fix
        stands for nothing.
        """
        return ((self.prompt, self.patch), (self.asked, self.fix)) if self.patch else ()


@dataclass(frozen=True, kw_only=True)
class Traced:
    """A trace a prompt, in the order given, and the tokens that the model read and wrote for all."""

    traces: tuple[Trace, ...]
    tokens: int


def repair_traces(task: Task, generate: Generate, prompts: Sequence[str], temperature: float, seed: int) -> Traced:
    """Attempt, test, and ask once more where a test fails.

    Args:
        task: its `revise` runs the tests.
        generate: the model, called as ``generate(prompts, num_samples, temperature, seed)``.
        prompts: of a task that has tests.
        temperature: of both attempts; 0 is greedy.
        seed: of their sampling.

    Raises:
        ValueError: the task has no tests for a prompt.
    """
    tried = generate(prompts, 1, temperature, derive_seed(seed, "attempt"))
    firsts = [texts[0] for texts in tried.outputs]
    before = [_tested(task, prompt, first) for prompt, first in zip(prompts, firsts, strict=True)]
    again = [i for i, tested in enumerate(before) if tested.whole and tested.prompt is not None]
    told = [before[i].prompt or "" for i in again]
    fixed = generate(told, 1, temperature, derive_seed(seed, "fix"))
    fixes = {i: (asked, texts[0]) for i, asked, texts in zip(again, told, fixed.outputs, strict=True)}
    traces = [
        _trace(task, prompt, first, tested, *fixes.get(i, ("", "")))
        for i, (prompt, first, tested) in enumerate(zip(prompts, firsts, before, strict=True))
    ]
    spent = sum(out.tokens_read + out.tokens_written for out in (tried, fixed))
    return Traced(traces=tuple(traces), tokens=spent)


def _tested(task: Task, prompt: str, output: str) -> Revision:
    tested = task.revise(prompt, output)
    if tested is None:
        raise ValueError(f"prompts: expected some with tests that {task.name} can run, got {prompt[:60]!r}")
    return tested


def _trace(task: Task, prompt: str, first: str, before: Revision, asked: str, fix: str) -> Trace:
    after = _tested(task, asked, fix) if asked else before
    patch = _tested(task, prompt, after.whole).brief if asked and after.whole else ""
    answer = patch if patch and after.faults < before.faults else first
    return Trace(prompt=prompt, first=first, asked=asked, fix=fix, patch=patch, faults=after.faults, answer=answer)
