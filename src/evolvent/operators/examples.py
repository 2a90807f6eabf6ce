"""The operator that gives the champion's program solved problems to go by: retrieve, then adapt.

Retrieval helps in two ways, and which of them helps is the task's affair. *Recall* puts the answers of similar problems
among the attempts, where the rest of the program checks, repairs, goes on from them, or votes: case-based reasoning
(Aamodt and Plaza, AI Communications 7(1), 1994). *Show* puts the problems with their answers before the question, for a
model that reads them (arXiv:2005.14165, nearest ones: arXiv:2101.06804).

Not here: the drawing (`curate/bank.py`), similarity and form (`scaffold/examples.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evolvent.errors import JobFailed
from evolvent.jobs import Job
from evolvent.operators.base import Bench, Built
from evolvent.propose.base import OperatorSpec
from evolvent.scaffold import grammar

__all__ = ["Examples"]

EXAMPLES = OperatorSpec(
    name="examples",
    summary="give the program solved problems: begin from the answers of similar ones, or show them with the question",
    space={"how": ("show", "recall"), "n": (1, 2, 4, 8)},
    prior_points=2.0,
    relative_cost=0.1,
)


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Examples drawn from gold and from the newest verified data, and the champion's program made to use them."""

    spec: OperatorSpec = EXAMPLES

    def build(self, bench: Bench) -> Built:
        """Draw the examples in a job; the version is the parent's weights under the new program.

        Raises:
            JobFailed: ``no_data``: nothing is there that a program can hold; ``no_edit``: the program has no steps, no
                room for one more, or no use for so many.
        """
        how, n = bench.proposal.params["how"], int(bench.proposal.params["n"])
        steps = _using(grammar.steps_of(bench.scaffold), how, n)
        newest = bench.pool[-1] if bench.pool else ""
        inputs = {name: data for name, data in (("gold", bench.gold), ("newest", newest)) if data}
        job = Job(function="evolvent.curate.bank:draw", inputs=inputs, params={}, seed=bench.proposal.seed)
        bank = bench.store.get_json(bench.run(job).outputs["examples"])["examples"]
        scaffold = {"kind": "steps", "steps": steps, grammar.EXAMPLES: bank}
        try:
            grammar.check(scaffold)
        except ValueError as exc:
            raise JobFailed("no_edit", str(exc)) from None
        return Built(model=bench.model, scaffold=scaffold, policy=bench.policy)


def _using(steps: list[grammar.Step], how: str, n: int) -> list[grammar.Step]:
    """The program with examples, instead of the ones that it used before.

    What is recalled takes the place of a first greedy attempt where the program goes on from there. Of a direct answer
    one example takes the place; of several, two that agree outvote it.
    """
    if not steps:
        raise JobFailed("no_edit", "the champion's program has no steps to put examples into")
    direct = grammar.steps_of({"kind": "direct"})
    rest = [step for step in steps if grammar.VERBS[step["do"]].tool != grammar.EXAMPLES] or direct
    first: dict[str, Any] = {"do": how, "n": n}
    greedy = rest[:1] == direct
    if how == "show":
        return [first, *rest]
    if rest[0]["do"] == "advance" and n > 1:
        raise JobFailed("no_edit", f"the program goes on from one attempt, so {n} would be as good as one")
    if not greedy:
        return [first, *rest]
    if len(rest) > 1:
        return [first, *rest[1:]]
    return [first] if n == 1 else [*rest, first, {"do": "vote", "by": "text"}]
