"""What each function gives: the truth of the task, for its verifier, seed training and oracle arms.

A function moves letters to other places and puts other letters in their stead, each an involution. The two commute, so
what they make together is one as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from evolvent.types import Problem

_LETTERS = "abcdefghijklmnop"


def _swap_pairs(text: str) -> str:
    return "".join(text[i : i + 2][::-1] for i in range(0, len(text), 2))


def _swap_ends(text: str) -> str:
    return text if len(text) < 2 else text[-1] + text[1:-1] + text[0]


def _reverse_inside(text: str) -> str:
    return text[:1] + text[1:-1][::-1] + text[1:][-1:]


def _reverse_halves(text: str) -> str:
    middle = len(text) // 2
    return text[:middle][::-1] + text[middle:][::-1]


_PLACES: dict[str, Callable[[str], str]] = {
    "": lambda text: text,
    "reverse": lambda text: text[::-1],
    "swap_pairs": _swap_pairs,
    "swap_ends": _swap_ends,
    "reverse_inside": _reverse_inside,
    "reverse_halves": _reverse_halves,
}
_STEADS: dict[str, Mapping[int, int]] = {
    "": {},
    "mirror": str.maketrans(_LETTERS, _LETTERS[::-1]),
    "exchange": str.maketrans(_LETTERS, "".join(_LETTERS[i ^ 1] for i in range(len(_LETTERS)))),
    "shift": str.maketrans(_LETTERS, _LETTERS[8:] + _LETTERS[:8]),
}


def _both(move: Callable[[str], str], steads: Mapping[int, int], text: str) -> str:
    return move(text).translate(steads)


INVOLUTIONS: dict[str, Callable[[str], str]] = {
    "_".join(filter(None, (stead, place))) or "copy": partial(_both, _PLACES[place], _STEADS[stead])
    for stead in _STEADS
    for place in _PLACES
}
FUNCTIONS: dict[str, Callable[[str], str]] = {**INVOLUTIONS, "sort": lambda text: "".join(sorted(text))}


def reference(problem: Problem) -> str:
    """The answer."""
    return FUNCTIONS[problem.given["function"]](problem.prompt[:-1])
