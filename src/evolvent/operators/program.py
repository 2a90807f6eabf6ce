"""The operator that changes the reasoning program around the weights."""

from __future__ import annotations

from dataclasses import dataclass

from evolvent.operators.base import Bench, Built
from evolvent.propose.base import OperatorSpec
from evolvent.scaffold import programs

SCAFFOLD = OperatorSpec(
    name="scaffold",
    summary="answer by vote, by retrying on the engine's error, or step by step on a scratch copy",
    space={"kind": programs.KINDS[1:], "answers": (4,)},
    prior_points=10.0,
    relative_cost=0.1,
)


@dataclass(frozen=True, kw_only=True)
class Scaffold:
    """Swap the scaffold; the weights stay. The programs may spend the same number of answers."""

    spec: OperatorSpec = SCAFFOLD

    def build(self, bench: Bench) -> Built:
        """No job: the version is the parent's weights under another program."""
        params = bench.proposal.params
        scaffold = {"kind": params["kind"]} if params["kind"] == "direct" else dict(params)
        programs.check(scaffold)
        return Built(model=bench.model, scaffold=scaffold, policy=bench.policy)
