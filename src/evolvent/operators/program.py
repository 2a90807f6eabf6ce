"""Operators that change the reasoning program around the weights: to one written by hand, or to an edit of today's.

An edit is named by its kind and a number, so that what may be proposed is a finite list while the programs that come of
it, edit upon edit, are not.

Not here: the language and its edits (`scaffold/`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from evolvent.errors import JobFailed
from evolvent.operators.base import Bench, Built
from evolvent.propose.base import OperatorSpec
from evolvent.scaffold import edits, grammar
from evolvent.types import derive_seed

SCAFFOLD = OperatorSpec(
    name="scaffold",
    summary="answer by vote, by retrying on the engine's error, or step by step on a scratch copy",
    space={"kind": tuple(grammar.EQUAL_ANSWERS)},  # back to direct is a rollback
    prior_points=10.0,
    relative_cost=0.1,
    remedy=("middle", "high"),
)


@dataclass(frozen=True, kw_only=True)
class Scaffold:
    """Swap the scaffold; the weights stay. The programs may spend about the same number of tokens."""

    spec: OperatorSpec = SCAFFOLD

    def build(self, bench: Bench) -> Built:
        """No job: the version is the parent's weights under another program."""
        kind = bench.proposal.params["kind"]
        scaffold = {"kind": kind, "answers": grammar.EQUAL_ANSWERS[kind]}
        grammar.check(scaffold)
        return Built(model=bench.model, scaffold=scaffold, policy=bench.policy)


TESTING = OperatorSpec(
    name="testing",
    summary="answer, run the prompt's own tests, read the failure, fix",
    prior_points=10.0,
    relative_cost=0.1,
)


@dataclass(frozen=True, kw_only=True)
class Testing:
    """Swap the scaffold for the testing program; for tasks whose prompts state tests (`Task.revise`)."""

    spec: OperatorSpec = TESTING

    def build(self, bench: Bench) -> Built:
        """No job: the version is the parent's weights under another program."""
        scaffold = {"kind": "revise", "answers": grammar.REVISE_ANSWERS}
        grammar.check(scaffold)
        return Built(model=bench.model, scaffold=scaffold, policy=bench.policy)


SCAFFOLD_EDIT = OperatorSpec(
    name="scaffold_edit",
    summary="change a step or a number of the champion's program, or give it the end of one written by hand",
    space={"edit": ("mutate", "cross"), "number": tuple(range(16))},
    prior_points=1.0,
    relative_cost=0.1,
)


@dataclass(frozen=True, kw_only=True)
class ScaffoldEdit:
    """One edit of the champion's program; the weights stay. New tools come in by crossing only, from its partner.

    Equal answers are a bound here, not equal tokens: what a child costs is measured where it is judged.
    """

    spec: OperatorSpec = SCAFFOLD_EDIT

    def build(self, bench: Bench) -> Built:
        """No job: the version is the parent's weights under the edited program.

        Raises:
            JobFailed: ``no_edit``: nothing else fits into the program's bounds.
        """
        params = bench.proposal.params
        rng = random.Random(derive_seed("scaffold_edit", params["edit"], params["number"]))
        parent = grammar.steps_of(bench.scaffold)
        allowed = grammar.tools(parent) | {"feedback"}
        most = max(grammar.answers(parent), *grammar.EQUAL_ANSWERS.values())
        if params["edit"] == "mutate":
            child = edits.mutate(parent, rng, allowed, most)
        else:
            kind, answers = rng.choice(sorted(grammar.EQUAL_ANSWERS.items()))
            partner = grammar.steps_of({"kind": kind, "answers": answers})
            child = edits.cross(parent, partner, rng, allowed | grammar.tools(partner), most)
        if child == parent:
            raise JobFailed("no_edit", f"no {params['edit']} number {params['number']} of this program fits its bounds")
        return Built(model=bench.model, scaffold={"kind": "steps", "steps": child}, policy=bench.policy)
