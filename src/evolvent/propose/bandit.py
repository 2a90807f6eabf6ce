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
from collections.abc import Collection, Sequence
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
        prices = Prices(specs, situation.memory)
        choices = [(spec, all_choices(spec, situation, rng)) for spec in specs]
        ideas: dict[str, Idea] = {}
        while len(ideas) < count:  # a draw for each: of one draw, the best few would all share its luckiest value
            best = self._best(situation, choices, prices, ideas.keys(), rng)
            if best is None:
                break
            ideas[best.fingerprint] = best
        return list(ideas.values())

    def _best(
        self,
        situation: Situation,
        choices: Sequence[tuple[OperatorSpec, Sequence[dict[str, Any]]]],
        prices: Prices,
        taken: Collection[str],
        rng: random.Random,
    ) -> Idea | None:
        arms: dict[str, tuple[float, float, OperatorSpec, dict[str, Any]]] = {}
        for spec, all_params in choices:
            drawn = situation.memory.effects.draws(spec.name, all_params, situation.case, spec.prior, rng)
            for (both, of_arm), params in zip(drawn, all_params, strict=True):
                price, name = prices.of(spec, params), arm(spec.name, params)
                known = arms.get(name)
                if (known is None or _worth(both, price) > known[0]) and fingerprint(spec.name, params) not in taken:
                    arms[name] = (_worth(both, price), _worth(of_arm, price), spec, params)
        if not arms:
            return None
        _, _, spec, params = max(arms.values(), key=lambda row: row[1])
        return situation.idea(spec, params)


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
