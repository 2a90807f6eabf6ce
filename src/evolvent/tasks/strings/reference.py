"""What each function gives: the truth of the task, for its verifier, seed training and oracle arms."""

from __future__ import annotations

from collections.abc import Callable

from evolvent.types import Problem


def _swap_pairs(text: str) -> str:
    return "".join(text[i : i + 2][::-1] for i in range(0, len(text), 2))


def _mirror(text: str) -> str:
    return "".join(chr(ord("a") + ord("p") - ord(char)) for char in text)


def _swap_ends(text: str) -> str:
    return text if len(text) < 2 else text[-1] + text[1:-1] + text[0]


FUNCTIONS: dict[str, Callable[[str], str]] = {
    "reverse": lambda text: text[::-1],
    "copy": lambda text: text,
    "mirror": _mirror,
    "mirror_reverse": lambda text: _mirror(text)[::-1],
    "swap_pairs": _swap_pairs,
    "swap_ends": _swap_ends,
    "swap_pairs_mirror": lambda text: _mirror(_swap_pairs(text)),
    "sort": lambda text: "".join(sorted(text)),
}
INVOLUTIONS = frozenset(FUNCTIONS) - {"sort"}


def reference(problem: Problem) -> str:
    """The answer."""
    return FUNCTIONS[problem.given["function"]](problem.prompt[:-1])
