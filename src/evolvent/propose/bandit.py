"""A bandit over operators: Thompson sampling on expected gain for its cost.

Each operator's gain is drawn from its posterior (effect estimates, prior from its spec or from an earlier run's
memory), divided by what building and judging it costs; the best draws are proposed. So what helped is tried more, what
did not is tried again now and then.

References:
    Thompson, "On the likelihood that one unknown probability exceeds another", Biometrika 1933.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evolvent.memory.effects import arm
from evolvent.propose.base import Idea, OperatorSpec, Situation
from evolvent.types import canonical_json

JUDGING_COST = 0.4  # of a full build: what a verdict costs whatever is judged (benchmarks/overhead.py prints it)


@dataclass(frozen=True, kw_only=True)
class BanditProposer:
    """Thompson sampling over the allowed operators."""

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        """At most `count` ideas; an operator may be named twice with other parameters."""
        ranked: list[tuple[float, Idea]] = []
        for spec in specs:
            for params in _choices(spec, situation, count, rng):
                mean, error = situation.effects.estimate(arm(spec.name, params), spec.prior_points)
                drawn = rng.gauss(mean, error)
                ranked.append((drawn / (spec.relative_cost + JUDGING_COST), _idea(spec, params, situation)))
        ranked.sort(key=lambda pair: -pair[0])
        return [idea for _, idea in ranked[:count]]


@dataclass(frozen=True, kw_only=True)
class RandomProposer:
    """The control arm: operators and parameters at random."""

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        """`count` ideas drawn evenly."""
        ideas = [_idea(spec, params, situation) for spec in specs for params in _choices(spec, situation, count, rng)]
        return rng.sample(ideas, min(count, len(ideas)))


def fingerprint(operator: str, params: dict[str, Any]) -> str:
    """Names an idea, to bar it."""
    return f"{operator}|{canonical_json(params)}"


def _choices(spec: OperatorSpec, situation: Situation, count: int, rng: random.Random) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for _ in range(4 * count):
        params = {name: rng.choice(values) for name, values in sorted(spec.space.items())}
        if params.get("kind") is not None and params.get("kind") == situation.scaffold.get("kind"):
            continue
        if fingerprint(spec.name, params) not in situation.barred and params not in found:
            found.append(params)
        if len(found) == count:
            break
    return found


def _idea(spec: OperatorSpec, params: dict[str, Any], situation: Situation) -> Idea:
    worst = situation.weaknesses[0] if situation.weaknesses else None
    foreseen = situation.effects.foresee(arm(spec.name, params), spec.prior_points)
    return Idea(operator=spec.name, params=params, diagnosis=worst, foreseen=foreseen)
