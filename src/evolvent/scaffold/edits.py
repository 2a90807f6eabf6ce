"""Small changes to programs: one step more or less, another number, two swapped; or the head of one and another's tail.

Pure functions of their arguments and the generator. What comes out is always a program that `grammar.check_steps`
accepts, asks for no more answers than it may, and uses no tool that was not allowed: an edit is made blindly, looked
at, and made again; after `TRIES` the parent comes back. ``abstain`` is taken out but never put in, since no task counts
silence as right; so are ``recall`` and ``show``, since examples come from an operator of their own.

Not here: which edit is worth trying (`propose/`, `benchmarks/scaffolds.py`); programs as Python code.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from typing import Any

from evolvent.scaffold.grammar import EXAMPLES, MOST_ANSWERS, VERBS, Step, answers, check_steps, tools

TRIES = 64
_INSERTED = tuple(name for name, verb in VERBS.items() if name != "abstain" and verb.tool != EXAMPLES)

Steps = list[Step]


def mutate(steps: Steps, rng: random.Random, allowed: Collection[str], most: int = MOST_ANSWERS) -> Steps:
    """A program that is one edit away, or `steps` where no edit was found.

    Args:
        steps: a valid program of at most `most` answers.
        rng: draws the edit.
        allowed: tools that the child may use.
        most: answers that it may ask for.
    """
    return _valid(steps, lambda: rng.choice(_EDITS)([dict(step) for step in steps], rng), {*allowed}, most)


def cross(one: Steps, other: Steps, rng: random.Random, allowed: Collection[str], most: int = MOST_ANSWERS) -> Steps:
    """The first steps of `one` and the last of `other`, or `one` where no cut was found; arguments as for `mutate`."""

    def cut() -> Steps:
        head, tail = rng.randint(0, len(one)), rng.randint(0, len(other))
        return [dict(step) for step in [*one[:head], *other[tail:]]]

    return _valid(one, cut, {*allowed}, most)


def _valid(parent: Steps, make: Callable[[], Steps], allowed: set[str], most: int) -> Steps:
    for _ in range(TRIES):
        child = make()
        try:
            check_steps(child)
        except ValueError:
            continue
        if child != parent and answers(child) <= most and tools(child) <= allowed:
            return child
    return parent


def _insert(steps: Steps, rng: random.Random) -> Steps:
    steps.insert(rng.randint(0, len(steps)), _drawn(rng))
    return steps


def _delete(steps: Steps, rng: random.Random) -> Steps:
    del steps[rng.randrange(len(steps))]
    return steps


def _replace(steps: Steps, rng: random.Random) -> Steps:
    steps[rng.randrange(len(steps))] = _drawn(rng)
    return steps


def _swap(steps: Steps, rng: random.Random) -> Steps:
    place, other = rng.randrange(len(steps)), rng.randrange(len(steps))
    steps[place], steps[other] = steps[other], steps[place]
    return steps


def _turn(steps: Steps, rng: random.Random) -> Steps:
    """Another value of one field: a count one up or down, halved or doubled, anything else drawn."""
    step = rng.choice(steps)
    field = rng.choice(list(VERBS[step["do"]].fields))
    values, now = VERBS[step["do"]].fields[field], step[field]
    step[field] = rng.choice((now - 1, now + 1, now // 2, 2 * now)) if isinstance(now, int) else rng.choice(values)
    return steps


_EDITS: tuple[Callable[[Steps, random.Random], Steps], ...] = (_insert, _delete, _replace, _swap, _turn, _turn)


def _drawn(rng: random.Random) -> Step:
    """Any step; a count is small more often than large, or few would fit."""
    name = rng.choice(_INSERTED)
    step: dict[str, Any] = {"do": name}
    for field, values in VERBS[name].fields.items():
        step[field] = rng.choice(values[: rng.choice((2, 4, 8))]) if field in ("n", "times") else rng.choice(values)
    return step
