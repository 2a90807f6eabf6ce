"""A model's own checks of its own answers, all of which must pass: form, the way back, and what it answers most often.

Each check reads no label: the task's scratch run does not complain (`Task.feedback`), the model maps the answer back to
its prompt (`cycle.py`), and the answer is the one that comes most often among the candidates for that prompt. What is
kept is right more often than what any one of them keeps, and less of it is hard.

Not here: independence. All checks ask the weights that wrote the answer, so their errors go together.

References:
    Wang et al., "Self-consistency improves chain of thought reasoning in language models", arXiv:2203.11171 (the vote).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from evolvent.curate.cycle import cycle_check
from evolvent.scaffold.tools import Generate
from evolvent.tasks.base import Task

__all__ = ["CHECKS", "Checked", "cascade"]

CHECKS = ("form", "cycle", "vote")


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the checks said of the candidate chosen for each prompt, and what asking cost.

    Attributes:
        chosen: the most frequent candidate of each prompt that has the right form, or the first where none has.
        passed: by check, a flag a prompt. A candidate that fails a check is not put to the next.
        tokens: read and written by the model for the way back.
    """

    chosen: tuple[str, ...]
    passed: dict[str, tuple[bool, ...]]
    tokens: int

    @property
    def kept(self) -> tuple[bool, ...]:
        """All checks pass."""
        return tuple(all(flags) for flags in zip(*self.passed.values(), strict=True))


def cascade(
    task: Task, generate: Generate, prompts: Sequence[str], candidates: Sequence[Sequence[str]], agreement: float = 0.5
) -> Checked:
    """Check candidates ``[prompt][sample]``.

    Args:
        task: gives form and way back.
        generate: the model that wrote them.
        prompts: what it read.
        candidates: what it wrote, at least one a prompt.
        agreement: share of all candidates of a prompt that the chosen one must exceed to pass the vote.

    Raises:
        ValueError: prompts and candidates do not match.
    """
    chosen, formed, agreed = [], [], []
    for prompt, samples in zip(prompts, candidates, strict=True):
        fine = [text for text in samples if task.feedback(prompt, text) is None]
        text, count = Counter(fine).most_common(1)[0] if fine else (samples[0], 0)
        chosen.append(text)
        formed.append(bool(fine))
        agreed.append(count > agreement * len(samples))
    asked = [i for i, flags in enumerate(zip(formed, agreed, strict=True)) if all(flags)]
    cycled = cycle_check(task, generate, [prompts[i] for i in asked], [chosen[i] for i in asked])
    back = {i for i, closed in zip(asked, cycled.kept, strict=True) if closed}
    return Checked(
        chosen=tuple(chosen),
        passed={
            "form": tuple(formed),
            "cycle": tuple(i in back for i in range(len(chosen))),
            "vote": tuple(agreed),
        },
        tokens=cycled.tokens,
    )
