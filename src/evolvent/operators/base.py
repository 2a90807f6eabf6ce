"""What an operator owes the loop: a spec that proposers see, and `build`, which turns a proposal into a version.

Not here: choosing (`propose/`), deciding (`judge/`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from evolvent.jobs import Job, JobResult
from evolvent.plan import Settings
from evolvent.propose.base import OperatorSpec
from evolvent.store import Store
from evolvent.types import Proposal, dec


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What an operator may use: job engine, store, the parent, data gathered so far.

    Attributes:
        run: runs a job in a worker, or finds its result.
        store: the run's store.
        settings: the run's settings.
        proposal: what is to be carried out.
        model: store hash of the parent's weights.
        scaffold: the parent's scaffold.
        policy: the parent's policy.
        gold: store hash of the seed's own data, or ``""``.
        pool: data artifacts of earlier proposals, oldest first; real and verified data accumulate.
        allowance: what the build may spend, by unit; a unit that is not named has no limit.
    """

    run: Callable[[Job], JobResult]
    store: Store
    settings: Settings
    proposal: Proposal
    model: str
    scaffold: dict[str, Any]
    policy: dict[str, Any]
    gold: str
    pool: tuple[str, ...]
    allowance: Mapping[str, int]

    def limits(self, **spent: int) -> dict[str, int]:
        """The allowance as a job's params, after what earlier jobs of the build have `spent`."""
        return {f"max_{unit}": max(0, limit - spent.get(unit, 0)) for unit, limit in self.allowance.items()}


@dataclass(frozen=True, kw_only=True)
class Built:
    """A version as made, and what it cost.

    Attributes:
        model: store hash of its weights.
        scaffold: its scaffold.
        policy: its policy.
        data: store hash of the data made for it, or ``""``.
        funnel: drawn, sampled, executed, correct, kept; empty when no data were made.
        flops: operations spent.
        tokens: tokens read, written and trained on.
        stats: what else is worth recording.
        jobs: the jobs that made it, in their order, with what each gave; filled in by `carry_out`.
    """

    model: str
    scaffold: dict[str, Any]
    policy: dict[str, Any]
    data: str = ""
    funnel: dict[str, int] = field(default_factory=dict)
    flops: int = 0
    tokens: int = 0
    stats: dict[str, Any] = field(default_factory=dict)
    jobs: tuple[dict[str, Any], ...] = ()


class Operator(Protocol):
    """One kind of change. Pure but for its jobs: the same bench builds the same version."""

    @property
    def spec(self) -> OperatorSpec:
        """What proposers see."""
        ...

    def build(self, bench: Bench) -> Built:
        """Carry the proposal out.

        Raises:
            JobFailed: it could not be built; recorded, and the loop goes on.
        """
        ...


def finetune(
    bench: Bench, data: tuple[str, ...], directive: Mapping[str, Any], spent: Mapping[str, int] | None = None
) -> tuple[str, dict[str, Any]]:
    """Fine-tune the parent on `data` (oldest first) and gold.

    Args:
        bench: what may be used.
        data: data artifacts.
        directive: ``gold_share`` and ``steps`` replace the settings'; ``steps_factor`` and ``learning_rate_factor``
            (decimal text) multiply them.
        spent: what earlier jobs of this build spent, by unit.

    Returns:
        The child's hash and the job's stats.
    """
    build = bench.settings.build
    unknown = directive.keys() - {"gold_share", "steps", "steps_factor", "learning_rate_factor"}
    assert not unknown, f"directive: unknown {sorted(unknown)}"
    steps = directive.get("steps", build.steps) * float(directive.get("steps_factor", "1"))
    rate = float(build.learning_rate) * float(directive.get("learning_rate_factor", "1"))
    params = {
        "steps": max(1, round(steps)),
        "tokens_per_step": build.tokens_per_step,
        "learning_rate": dec(rate),
        "gold_share": directive.get("gold_share", build.gold_share),
        **bench.limits(**(spent or {})),
    }
    inputs = {"model": bench.model, **{f"data{i:03d}": name for i, name in enumerate(data)}}
    if bench.gold:
        inputs["gold"] = bench.gold
    job = Job(function="evolvent.train.jobs:finetune", inputs=inputs, params=params, seed=bench.proposal.seed)
    outputs = bench.run(job).outputs
    return outputs["model"], bench.store.get_json(outputs["stats"])
