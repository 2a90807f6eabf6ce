"""A bandit over operators and their parameters: Thompson sampling on expected gain for its cost.

Each arm's mean gain is drawn from what memory holds of it (prior from its spec), and so is what each value of its
parameters adds; both are divided by what building and judging costs. The best values of an arm are chosen by all draws,
the best arm by its own: the best of many values is always a lucky one, and an arm with more of them no better. So what
helped is tried more, what did not is tried again now and then.

References:
    Thompson, "On the likelihood that one unknown probability exceeds another", Biometrika 1933.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from evolvent.memory.episodes import arm
from evolvent.propose.base import Idea, OperatorSpec, Prices, Situation, fingerprint

_CHOICES = 256  # of an operator's parameters that are looked at; a larger space is sampled


@dataclass(frozen=True, kw_only=True)
class BanditProposer:
    """Thompson sampling over the allowed operators."""

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        """At most `count` ideas; an operator may be named twice with other parameters."""
        prices, memory = Prices(specs, situation.memory), situation.memory
        arms: dict[str, list[tuple[float, float, OperatorSpec, dict[str, Any]]]] = {}
        for spec in specs:
            choices = all_choices(spec, situation, rng)
            draws = memory.effects.draws(spec.name, choices, situation.case, spec.prior, rng)
            for (both, of_arm), params in zip(draws, choices, strict=True):
                price = prices.of(spec, params)
                arms.setdefault(arm(spec.name, params), []).append(
                    (_worth(both, price), _worth(of_arm, price), spec, params)
                )
        for rows in arms.values():
            rows.sort(key=lambda row: row[0])
        ideas: list[Idea] = []
        while len(ideas) < count and (left := [rows for rows in arms.values() if rows]):
            _, _, spec, params = max(left, key=lambda rows: rows[-1][1]).pop()
            ideas.append(situation.idea(spec, params))
        return ideas


def _worth(gain: float, price: float) -> float:
    """Of a gain for its price; a loss is the worse the dearer it is bought."""
    return gain / price if gain > 0 else gain * price


@dataclass(frozen=True, kw_only=True)
class RandomProposer:
    """The control arm: operators and parameters at random."""

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        """`count` ideas drawn evenly."""
        left = {spec.name: all_choices(spec, situation, rng) for spec in specs}
        ideas = []
        while len(ideas) < count and (open_ := [spec for spec in specs if left[spec.name]]):
            spec = rng.choice(open_)
            params = left[spec.name].pop(rng.randrange(len(left[spec.name])))
            ideas.append(situation.idea(spec, params))
        return ideas


def all_choices(spec: OperatorSpec, situation: Situation, rng: random.Random) -> list[dict[str, Any]]:
    """All parameters of an operator that the situation allows; of a large space a sample, each once."""
    names = sorted(spec.space)
    if prod(len(spec.space[name]) for name in names) <= _CHOICES:
        drawn = [dict(zip(names, values, strict=True)) for values in product(*(spec.space[n] for n in names))]
    else:
        drawn = list({fingerprint(spec.name, p): p for p in (spec.draw(rng) for _ in range(_CHOICES))}.values())
    return [params for params in drawn if situation.allows(spec, params)]
