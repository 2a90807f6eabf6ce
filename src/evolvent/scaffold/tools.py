"""What a program is given: a model that answers, and scratch runs. Each sees a prompt and an output, nothing else.

Not here: what a program does with them (`programs.py`), the runs themselves (`tasks/`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evolvent.scaffold import code

__all__ = ["Advance", "Feedback", "Generate", "Generated", "Revise", "Revised", "Tools"]


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


def nowhere(source: str, function: str, arguments: Sequence[Any]) -> tuple[Any, float]:
    """For those who run no Python.

    Raises:
        ValueError: always.
    """
    raise ValueError("there is no sandbox here to run a program in")


def any_length(prompt: str) -> bool:
    """For those who know of no bound."""
    return True


@dataclass(frozen=True)
class Tools:
    """What a program may use besides the model; each sees the prompt and an output, nothing else.

    Attributes:
        feedback: a scratch run's complaint, or ``None``.
        advance: what of an output ran on a scratch copy, and the prompt of what is left.
        revise: an output after the prompt's own tests; ``None`` where there are none.
        execute: runs a program that is Python, in a sandbox.
        readable: whether the model can read a prompt that examples have made longer.
    """

    feedback: Feedback
    advance: Advance
    revise: Revise
    execute: code.Execute = nowhere
    readable: Callable[[str], bool] = any_length

    def passes(self, by: str, prompt: str, output: str) -> bool:
        """The tool finds nothing wrong: it runs, it leaves nothing to do, or all its tests hold."""
        if by == "feedback":
            return self.feedback(prompt, output) is None
        if by == "advance":
            kept, left = self.advance(prompt, output)
            return bool(kept) and left is None
        tested = self.revise(prompt, output)
        return tested is not None and bool(tested.whole) and tested.faults == (0, 0)

    def comes_to(self, by: str, prompt: str, output: str) -> Hashable:
        """What an answer amounts to; answers that amount to the same are one vote. What does not run is its text."""
        if by == "advance":
            kept, left = self.advance(prompt, output)
            return (left,) if kept else output
        tested = self.revise(prompt, output) if by == "revise" else None
        return (tested.whole,) if tested is not None and tested.whole else output

    def words(self, names: Collection[str], prompt: str, output: str) -> dict[str, Any]:
        """What each of these tools says of an output, as plain data."""
        said: dict[str, Any] = {}
        if "feedback" in names:
            said["feedback"] = self.feedback(prompt, output)
        if "advance" in names:
            said["advance"] = list(self.advance(prompt, output))
        if "revise" in names:
            tested = self.revise(prompt, output)
            said["revise"] = tested and {
                "whole": tested.whole, "brief": tested.brief, "faults": list(tested.faults), "prompt": tested.prompt,
            }  # fmt: skip
        return said
