"""The loop's tests of its own honesty: a change that is none, and a change for the worse. Both must be refused."""

from __future__ import annotations

from dataclasses import dataclass

from evolvent.errors import JobFailed
from evolvent.jobs import Job
from evolvent.operators.base import Bench, Built, finetune
from evolvent.propose.base import OperatorSpec

PLANTED_EXAMPLES = 400
PLANTED_STEPS = 12


NULL = OperatorSpec(name="null", summary="change nothing", prior_points=0.0, relative_cost=0.0, probe=True)


@dataclass(frozen=True, kw_only=True)
class Null:
    """Change nothing: an A/A probe. The version differs from its parent in name only."""

    spec: OperatorSpec = NULL

    def build(self, bench: Bench) -> Built:
        """The parent's weights and scaffold."""
        return Built(model=bench.model, scaffold=bench.scaffold, policy=bench.policy)


PLANTED = OperatorSpec(
    name="planted_regression",
    summary="learn from answers cut in half",
    prior_points=-10.0,
    relative_cost=0.2,
    probe=True,
)


@dataclass(frozen=True, kw_only=True)
class PlantedRegression:
    """Learn a few steps from answers that stop half-way."""

    spec: OperatorSpec = PLANTED

    def build(self, bench: Bench) -> Built:
        """Cut answers of gold or of gathered data, train on them alone."""
        source = bench.gold or (bench.pool[-1] if bench.pool else "")
        if not source:
            raise JobFailed("no_data", "nothing to plant a regression with yet")
        job = Job(
            function="evolvent.train.jobs:cut_answers",
            inputs={"data": source},
            params={"count": PLANTED_EXAMPLES},
            seed=bench.proposal.seed,
        )
        cut = bench.run(job).outputs["data"]
        model, trained = finetune(bench, (cut,), {"gold_share": 0, "steps": PLANTED_STEPS})
        return Built(
            model=model,
            scaffold=bench.scaffold,
            policy=bench.policy,
            flops=int(trained["flops"]),
            tokens=int(trained["tokens"]),
            stats={"train": trained},
        )
