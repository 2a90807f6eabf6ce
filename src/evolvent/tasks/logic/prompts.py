"""What a problem and an answer look like, and the facts that rules see of them.

========== ============================ =========================================================================
skill      prompt                       answer
========== ============================ =========================================================================
reach      ``ab,bd,ce,ac|a?d/e=``       ``abd``: a path from the start to that one of the two nodes that is reached
deduction  ``ab>c,c>d,ae>f|ab?d/f=``    ``cd``: what follows, one by one, up to that one of the two that does
========== ============================ =========================================================================

An edge goes from its first letter to its second. ``ab>c`` says that who is a and b is c; what is given stands after the
bar. Both skills are the form of ProsQA: many statements, two candidates, one of which holds.

A parser of few lines reads both; what it does not read is no fact.

Not here: which answers are right (`reach.lp`, `deduction.lp`).

References:
    Hao et al., "Training large language models to reason in a continuous latent space", arXiv:2412.06769 (ProsQA).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

ALPHABET = "abcdefghijklmnop"
MARKS = ",>|?/="
# Both far above what is made; with them, what a rule can cost is bounded.
MAX_STATEMENTS, MAX_STEPS = 48, 32
_STEP_FACTS = {"step": 2, "first": 1, "next": 2, "last": 1}
# By skill, the predicates that rules may speak of, each with how many constants it has.
FACTS = {
    "reach": {"edge": 2, "start": 1, "asked": 1, **_STEP_FACTS},
    "deduction": {"rule": 2, "needs": 2, "given": 1, "asked": 1, **_STEP_FACTS},
}

_ASKED = re.compile(r"(.*)\|([a-p]{1,16})\?([a-p])/([a-p])=", re.ASCII)
_EDGE = re.compile(r"[a-p]{2}", re.ASCII)
_RULE = re.compile(r"[a-p]{1,2}>[a-p]", re.ASCII)
_STEPS = re.compile(rf"[a-p]{{1,{MAX_STEPS}}}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A prompt, read.

    Attributes:
        statements: edges ``(from, to)``, or rules ``(premises, conclusion)``.
        given: the start, or the concepts that hold.
        candidates: two letters, one of which is reached or follows.
        deduction: the statements are rules.
    """

    statements: tuple[tuple[str, str], ...]
    given: str
    candidates: tuple[str, str]
    deduction: bool

    def text(self) -> str:
        """The prompt."""
        between = ">" if self.deduction else ""
        stated = ",".join(before + between + after for before, after in self.statements)
        return f"{stated}|{self.given}?{'/'.join(self.candidates)}="

    @classmethod
    def read(cls, prompt: str) -> Self | None:
        """The prompt, or ``None`` if it is none of ours."""
        found = _ASKED.fullmatch(prompt)
        if found is None:
            return None
        stated, given, *candidates = found.groups()
        parts = stated.split(",")
        deduction = ">" in stated
        form = _RULE if deduction else _EDGE
        well = all(form.fullmatch(part) for part in parts) and len(parts) <= MAX_STATEMENTS
        if not well or (not deduction and len(given) > 1) or candidates[0] == candidates[1]:
            return None
        statements = tuple((part[:-2], part[-1]) if deduction else (part[0], part[1]) for part in parts)
        return cls(statements=statements, given=given, candidates=(candidates[0], candidates[1]), deduction=deduction)

    def after(self, letters: str) -> Asked:
        """What is left to do after these steps: a later start, or more that is given."""
        return replace(self, given=self.given + letters if self.deduction else letters[-1])

    def facts(self) -> Iterator[tuple[str | int, ...]]:
        """The prompt as facts."""
        for number, (before, after) in enumerate(self.statements):
            if self.deduction:
                yield "rule", number, after
                yield from (("needs", number, premise) for premise in before)
            else:
                yield "edge", before, after
        yield from (("given" if self.deduction else "start", letter) for letter in self.given)
        yield from (("asked", letter) for letter in self.candidates)


def steps(output: str, deduction: bool) -> str | None:
    """The letters of an answer, or ``None`` if it is anything else, nothing, or far too long.

    Lines are the pieces of a stepwise answer; a path goes on where the piece before it ended.
    """
    lines = output.split("\n")
    if not deduction:
        if any(before[-1:] != after[:1] for before, after in pairwise(lines)):
            return None
        lines[1:] = [line[1:] for line in lines[1:]]
    joined = "".join(lines)
    return joined if _STEPS.fullmatch(joined) else None


def step_facts(letters: str, *, whole: bool = True) -> Iterator[tuple[str | int, ...]]:
    """An answer as facts; steps count from 1. What may still go on has no ``last``."""
    yield "first", 1
    if whole:
        yield "last", len(letters)
    for number, letter in enumerate(letters, 1):
        yield "step", number, letter
        if number > 1:
            yield "next", number - 1, number
