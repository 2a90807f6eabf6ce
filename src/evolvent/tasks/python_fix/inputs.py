"""Inputs for a function's parameters, by kind: fixed boundary cases, and random draws.

Not here: expected values (`trusted.py` computes them).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from evolvent.tasks.python_fix.trusted import copied

_LETTERS = "aabbcdeeiostz"
_MIXED = "aabcdeeioxzABE10 "
_WORDS = (
    "",
    "a",
    "ab",
    "aba",
    "cat",
    "dog",
    "tree",
    "noon",
    "apple",
    "level",
    "sun",
    "bird",
    "Anna",
    "zip",
    "oak",
    "stone",
)


def _int(rng: random.Random) -> int:
    return rng.choice((rng.randint(-4, 9), rng.randint(-4, 9), rng.randint(-30, 30)))


def _ints(rng: random.Random, shortest: int = 0) -> list[int]:
    return [_int(rng) for _ in range(rng.randint(shortest, 7))]


def _text(rng: random.Random, letters: str, shortest: int = 0) -> str:
    return "".join(rng.choices(letters, k=rng.randint(shortest, 8)))


def _mirror(rng: random.Random) -> str:
    half = _text(rng, "abc")[:4]
    return rng.choice((half + half[::-1], half + half[-2::-1], _text(rng, "abc"), half))


def _table(rng: random.Random, shortest: int = 0) -> dict[str, int]:
    return {key: _int(rng) for key in rng.sample("abcdefgh", rng.randint(shortest, 4))}


_DRAWS: dict[str, Callable[[random.Random], Any]] = {
    "int": _int,
    "nat": lambda rng: rng.choice((rng.randint(0, 6), rng.randint(0, 12))),
    "pos": lambda rng: rng.choice((rng.randint(1, 4), rng.randint(1, 24))),
    "big": lambda rng: rng.choice((rng.randint(0, 99), rng.randint(0, 99_999))),
    "ints": _ints,
    "ints+": lambda rng: _ints(rng, 1),
    "sorted": lambda rng: sorted(rng.choice((_ints(rng), [rng.randint(0, 9) for _ in range(rng.randint(0, 7))]))),
    "matrix": lambda rng: [_ints(rng)[:4] for _ in range(rng.randint(0, 4))],
    "text": lambda rng: _text(rng, _MIXED),
    "text+": lambda rng: _text(rng, _MIXED, 1),
    "word": lambda rng: _text(rng, _LETTERS),
    "mirror": _mirror,
    "brackets": lambda rng: rng.choice((_text(rng, "()"), _text(rng, "()a"), "(" * (n := rng.randint(0, 3)) + ")" * n)),
    "words": lambda rng: rng.choices(_WORDS, k=rng.randint(0, 6)),
    "table": _table,
    "table+": lambda rng: _table(rng, 1),
}
_BOUNDARY: dict[str, tuple[Any, ...]] = {
    "int": (0, 1, -1, 2, 10),
    "nat": (0, 1, 2, 3),
    "pos": (1, 2, 3),
    "big": (0, 1, 9, 10, 100),
    "ints": ([], [0], [1], [-1], [2, 2], [1, 2, 3], [3, 2, 1]),
    "ints+": ([0], [1], [-1], [2, 2], [1, 2], [2, 1], [-3, -2]),
    "sorted": ([], [0], [1], [1, 1], [1, 2, 3]),
    "matrix": ([], [[]], [[1]], [[1, 2], [3]]),
    "text": ("", "a", "aa", "ab", "A", " "),
    "text+": ("a", "ab", "abc", "A"),
    "word": ("", "a", "z", "ab"),
    "mirror": ("", "a", "aa", "ab", "aba", "aab"),
    "brackets": ("", "(", ")", "()", ")(", "(()"),
    "words": ([], [""], ["a"], ["a", "a"], ["ab", "cat"]),
    "table": ({}, {"a": 1}, {"a": 0, "b": -1}, {"b": 2, "a": 2}),
    "table+": ({"a": 1}, {"a": 0, "b": -1}, {"b": 2, "a": 2}),
}
KINDS = tuple(_DRAWS)


def boundary(kinds: Sequence[str], rng: random.Random, count: int) -> list[list[Any]]:
    """`count` calls whose arguments are boundary cases of their kinds."""
    return [[copied(rng.choice(_BOUNDARY[kind])) for kind in kinds] for _ in range(count)]


def draw(kinds: Sequence[str], rng: random.Random, count: int) -> list[list[Any]]:
    """`count` random calls; two arguments of one kind are sometimes equal or nearly so."""
    calls = []
    for _ in range(count):
        call = [_DRAWS[kind](rng) for kind in kinds]
        if len(kinds) > 1 and kinds[0] == kinds[1] and rng.random() < 0.25:
            call[1] = copied(call[0])
        calls.append(call)
    return calls
