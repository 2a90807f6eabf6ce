"""Proposers that vary what did well: population-based training, and crossover of elites.

Elites are the best episodes of memory, of earlier runs too: accepted ones first, then by gain on dev.

Not here: weights (an operator's parameters are what is varied; each proposal starts from the champion).

References:
    Jaderberg et al., "Population based training of neural networks", arXiv:1711.09846 (exploit and explore).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evolvent.memory.episodes import Episode, elites
from evolvent.propose.bandit import RandomProposer
from evolvent.propose.base import Idea, OperatorSpec, Situation

POPULATION = 8
RESAMPLE = 0.25  # chance that a parameter is drawn anew instead of moved to a neighbour (the paper's)


@dataclass(frozen=True, kw_only=True)
class PopulationProposer:
    """Takes an elite's operator and parameters and perturbs them: each to a neighbouring value, or drawn anew."""

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        """At most `count` ideas; at random where there is no elite yet."""

        def vary(spec: OperatorSpec, members: Sequence[Episode]) -> tuple[dict[str, Any], str]:
            parent = rng.choice(members)
            params = {name: _perturbed(values, parent.params[name], rng) for name, values in sorted(spec.space.items())}
            return params, f"a variation of {parent.id}"

        return _bred(situation, specs, count, rng, vary)


@dataclass(frozen=True, kw_only=True)
class CrossoverProposer:
    """Takes each parameter from one of two elites of the same operator."""

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        """At most `count` ideas; at random where no two elites are of one operator."""

        def cross(spec: OperatorSpec, members: Sequence[Episode]) -> tuple[dict[str, Any], str]:
            one, other = rng.sample(list(members), 2) if len(members) > 1 else (members[0], members[0])
            params = {name: rng.choice((one, other)).params[name] for name in sorted(spec.space)}
            return params, f"{one.id} crossed with {other.id}"

        return _bred(situation, specs, count, rng, cross)


def _bred(situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random, vary: Any) -> list[Idea]:
    """`count` different ideas made by `vary` from the elites of an operator, which is drawn by how many it has."""
    herds = _herds(situation, specs)
    pool = [name for name, members in sorted(herds.items()) for _ in members]
    by_name = {spec.name: spec for spec in specs}
    found: dict[str, Idea] = {}
    for _ in range(8 * count if pool else 0):
        spec = by_name[rng.choice(pool)]
        params, why = vary(spec, herds[spec.name])
        if situation.allows(spec, params) and len(found) < count:
            idea = situation.idea(spec, params, why)
            found.setdefault(idea.fingerprint, idea)
    if len(found) < count:
        for idea in RandomProposer().propose(situation, specs, count, rng):
            found.setdefault(idea.fingerprint, idea)
    return list(found.values())[:count]


def _herds(situation: Situation, specs: Sequence[OperatorSpec]) -> dict[str, list[Episode]]:
    """Elites by operator, of those operators that are allowed and still have the same parameters."""
    herds: dict[str, list[Episode]] = {}
    spaces: dict[str, Mapping[str, Any]] = {spec.name: spec.space for spec in specs if spec.space}
    known = [e for e in situation.memory.episodes if e.params.keys() == spaces.get(e.operator, {"": ""}).keys()]
    for episode in elites(known, POPULATION):
        herds.setdefault(episode.operator, []).append(episode)
    return herds


def _perturbed(values: Sequence[Any], now: Any, rng: random.Random) -> Any:
    if now not in values or rng.random() < RESAMPLE:
        return rng.choice(values)
    place = values.index(now) + rng.choice((-1, 1))
    return values[min(max(place, 0), len(values) - 1)]
