"""The operator that changes the reasoning program around the weights."""

from __future__ import annotations

from dataclasses import dataclass

from evolvent.operators.base import Bench, Built
from evolvent.propose.base import OperatorSpec
from evolvent.scaffold import programs

SCAFFOLD = OperatorSpec(
    name="scaffold",
    summary="answer by vote, by retrying on the engine's error, or step by step on a scratch copy",
    space={"kind": tuple(programs.EQUAL_ANSWERS)},  # back to direct is a rollback
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
        scaffold = {"kind": kind, "answers": programs.EQUAL_ANSWERS[kind]}
        programs.check(scaffold)
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
        scaffold = {"kind": "revise", "answers": programs.REVISE_ANSWERS}
        programs.check(scaffold)
        return Built(model=bench.model, scaffold=scaffold, policy=bench.policy)
