"""The operator that gives the champion's program solved problems to go by: retrieve, then adapt.

Retrieval helps in two ways, and which of them helps is the task's affair. *Recall* puts the answers of similar problems
among the attempts, where the rest of the program checks, repairs, goes on from them, or votes: case-based reasoning
(Aamodt and Plaza, AI Communications 7(1), 1994). *Show* puts the problems with their answers before the question, for a
model that reads them (arXiv:2005.14165, nearest ones: arXiv:2101.06804).

Not here: similarity and form (`scaffold/examples.py`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from evolvent.errors import JobFailed
from evolvent.inputs import read_pairs
from evolvent.operators.base import Bench, Built
from evolvent.propose.base import OperatorSpec
from evolvent.scaffold import examples, grammar
from evolvent.types import derive_seed

__all__ = ["Examples", "drawn"]

EXAMPLES = OperatorSpec(
    name="examples",
    summary="give the program solved problems: begin from the answers of similar ones, or show them with the question",
    space={"how": ("show", "recall"), "n": (1, 2, 4, 8)},
    prior_points=2.0,
    relative_cost=0.1,
)
_LONGEST = examples.MOST_CHARS // 8  # of one pair: a bank of fewer could not tell what is similar


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Examples drawn from gold and from the newest verified data, and the champion's program made to use them."""

    spec: OperatorSpec = EXAMPLES

    def build(self, bench: Bench) -> Built:
        """No job: the version is the parent's weights under the new program.

        Raises:
            JobFailed: ``no_data``: nothing is there that a program can hold; ``no_edit``: the program has no steps, or
                no room for one more.
        """
        steps = grammar.steps_of(bench.scaffold)
        if not steps:
            raise JobFailed("no_edit", f"a program of kind {bench.scaffold['kind']} has no steps")
        data = filter(None, (bench.gold, *bench.pool[-1:]))
        known = (pair for name in data for pair in read_pairs(bench.store.get_bytes(name)))
        bank = drawn(known, derive_seed("examples", bench.proposal.seed))
        if not bank:
            raise JobFailed("no_data", f"no gold or verified answer of at most {_LONGEST} characters is there yet")
        how, n = bench.proposal.params["how"], int(bench.proposal.params["n"])
        scaffold = {"kind": "steps", "steps": _using(steps, how, n), grammar.EXAMPLES: bank}
        try:
            grammar.check(scaffold)
        except ValueError as exc:
            raise JobFailed("no_edit", str(exc)) from None
        return Built(model=bench.model, scaffold=scaffold, policy=bench.policy)


def _using(steps: list[grammar.Step], how: str, n: int) -> list[grammar.Step]:
    """The program with examples; instead of the ones that it used before."""
    rest = [step for step in steps if grammar.VERBS[step["do"]].tool != grammar.EXAMPLES]
    first: dict[str, Any] = {"do": how, "n": n}
    if how == "show":
        return [first, *rest]
    greedy = rest[:1] == grammar.steps_of({"kind": "direct"})
    if greedy and len(rest) > 1:  # what is recalled takes the place of the first attempt
        return [first, *rest[1:]]
    return [first, *rest, {"do": "vote", "by": "text"}] if greedy else [first, *rest]


def drawn(known: Iterable[examples.Pair], seed: int) -> list[list[str]]:
    """As many as a program holds, at random; each prompt with the first answer known, which is gold's."""
    answers: dict[str, str] = {}
    for prompt, answer in known:
        if len(prompt) + len(answer) <= _LONGEST and examples.fits((prompt, answer)):
            answers.setdefault(prompt, answer)
    order, bank, room = sorted(answers), list[list[str]](), examples.MOST_CHARS
    random.Random(seed).shuffle(order)
    for prompt in order:
        size = len(prompt) + len(answers[prompt])
        if len(bank) < examples.MOST_EXAMPLES and size <= room:
            bank.append([prompt, answers[prompt]])
            room -= size
    return bank
