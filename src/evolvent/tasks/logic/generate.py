"""Making problems: a chain to the right candidate, a chain to the wrong one that hangs in the air, and blind alleys.

Not here: answers. A maker lays the chain, and forgets it (`reference.py` finds one again).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

from evolvent.tasks.logic.prompts import ALPHABET, Asked
from evolvent.types import Problem

NAME = "logic"
SKILLS = ("reach", "deduction")
AXES = {"form": SKILLS, "steps": ("2", "3", "4"), "distractors": ("0", "1", "2", "4"), "premises": ("1", "2")}


def make(rng: random.Random, cell: dict[str, str]) -> Problem:
    """One problem of a cell.

    ``form``, ``steps`` of the shortest answer, ``distractors`` besides the two chains, and how many ``premises`` a rule
    of a deduction has at most.
    """
    steps, distractors = int(cell["steps"]), int(cell["distractors"])
    letters = iter(rng.sample(ALPHABET, len(ALPHABET)))
    tags = {"steps": cell["steps"], "distractors": cell["distractors"]}
    if cell["form"] == "deduction":
        asked = _deduction(rng, letters, steps, distractors, twofold=cell["premises"] == "2")
        tags["premises"] = cell["premises"]
    else:
        asked = _reach(rng, letters, steps, distractors)
    return Problem(task=NAME, skill=cell["form"], prompt=asked.text(), difficulty=steps, tags=tags)


def _reach(rng: random.Random, letters: Iterator[str], steps: int, distractors: int) -> Asked:
    path = [next(letters) for _ in range(steps + 1)]
    apart = [next(letters) for _ in range(steps)]
    edges = [*pairwise(path), *pairwise(apart)]
    reached = path[:-1]  # what leaves the target would make an answer longer, not wrong
    for _ in range(distractors):
        alley = next(letters)
        edges.append((rng.choice(reached), alley))
        reached.append(alley)
    return _asked(rng, edges, path[0], path[-1], apart[-1], deduction=False)


def _deduction(rng: random.Random, letters: Iterator[str], steps: int, distractors: int, *, twofold: bool) -> Asked:
    given = [next(letters), next(letters)]
    known, rules = list(given), []
    for _ in range(steps):  # each conclusion needs the one before it, so that no step can be left out
        conclusion = next(letters)
        premises = [known[-1]] if known[-1] not in given else [rng.choice(given)]
        if twofold and rng.random() < 0.5:
            premises.append(rng.choice([letter for letter in known if letter not in premises]))
        rules.append(("".join(rng.sample(premises, len(premises))), conclusion))
        known.append(conclusion)
    unknown = [next(letters)]
    for _ in range(max(1, steps - 1)):  # a chain that begins with what is not given
        conclusion = next(letters)
        premises = [unknown[-1], *([rng.choice(known[:-1])] if twofold and rng.random() < 0.5 else [])]
        rules.append(("".join(rng.sample(premises, len(premises))), conclusion))
        unknown.append(conclusion)
    right, wrong = known[-1], unknown[-1]
    for _ in range(distractors):  # true, and leads nowhere
        conclusion = next(letters)
        rules.append((rng.choice([letter for letter in known if letter != right]), conclusion))
    return _asked(rng, rules, "".join(rng.sample(given, 2)), right, wrong, deduction=True)


def _asked(
    rng: random.Random, statements: list[tuple[str, str]], given: str, right: str, wrong: str, *, deduction: bool
) -> Asked:
    rng.shuffle(statements)
    first, second = rng.sample([right, wrong], 2)
    return Asked(statements=tuple(statements), given=given, candidates=(first, second), deduction=deduction)
