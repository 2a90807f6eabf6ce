"""Solved problems for a program to go by: a few of the pairs that are there, drawn at random.

Not here: which of them are like a problem, and what a program does with them (`scaffold/`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from evolvent.errors import JobFailed
from evolvent.inputs import read_pairs
from evolvent.jobs import JobContext
from evolvent.scaffold import examples
from evolvent.types import derive_seed

__all__ = ["draw", "drawn"]

_LONGEST = examples.MOST_CHARS // 8  # of one pair: a bank of fewer could not tell what is similar


def draw(ctx: JobContext) -> dict[str, str]:
    """The job. Inputs: any number of data artifacts, read in the order of their names.

    Returns:
        ``examples``: JSON of pairs, as `scaffold.examples.check` accepts them.

    Raises:
        JobFailed: ``no_data``: nothing is there that a program can hold.
    """
    known = (pair for _, name in sorted(ctx.inputs.items()) for pair in read_pairs(ctx.store.get_bytes(name)))
    bank = drawn(known, ctx.seed)
    if not bank:
        raise JobFailed("no_data", f"no gold or verified answer of at most {_LONGEST} characters is there yet")
    return {"examples": ctx.store.put_json({"examples": bank})}


def drawn(known: Iterable[examples.Pair], seed: int) -> list[list[str]]:
    """As many as a program holds, at random; each prompt once, with the answer that comes first."""
    answers: dict[str, str] = {}
    for prompt, answer in known:
        if len(prompt) + len(answer) <= _LONGEST and examples.fits((prompt, answer)):
            answers.setdefault(prompt, answer)
    order, bank, room = sorted(answers), list[list[str]](), examples.MOST_CHARS
    random.Random(derive_seed("examples", seed)).shuffle(order)
    for prompt in order:
        size = len(prompt) + len(answers[prompt])
        if len(bank) < examples.MOST_EXAMPLES and size <= room:
            bank.append([prompt, answers[prompt]])
            room -= size
    return bank
