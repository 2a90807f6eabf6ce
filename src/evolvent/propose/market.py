"""Proposers compete for the places of a turn.

Each place goes to the proposer whose ideas, by a draw from what memory holds of their gains, are worth most; it is
asked for one idea. So a proposer that helps is asked more often, one that does not is asked now and then, and one that
is never drawn costs nothing. An idea that is in the turn already is not taken again; one that was tried on this
champion before only where nobody has a new one.

Not here: what the proposers think of.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from evolvent.memory.memory import Memory
from evolvent.memory.sums import Effect
from evolvent.propose.base import Idea, OperatorSpec, Proposer, Situation
from evolvent.types import derive_seed

_PRIOR_TRIALS = 2.0  # at the mean gain of all proposers, that each starts with
_TRIAL_DEVIATION = 10.0  # points, of one gain about its proposer's mean


@dataclass(frozen=True, kw_only=True)
class Market:
    """Several proposers behind the door of one.

    Attributes:
        proposers: by name.
    """

    proposers: Mapping[str, Proposer]

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        """At most `count` different ideas."""
        ideas: list[Idea] = []
        for place in range(count):
            names = self._drawn(situation.memory, rng)
            taken = {idea.fingerprint for idea in ideas}
            seed = rng.getrandbits(63)
            idea = self._ask(names, situation, specs, taken | set(situation.tried), derive_seed(seed, place))
            idea = idea or self._ask(names, situation, specs, taken, derive_seed(seed, place, "again"))
            if idea is None:
                break
            ideas.append(idea)
        return ideas

    def _ask(
        self, names: Sequence[str], situation: Situation, specs: Sequence[OperatorSpec], old: set[str], seed: int
    ) -> Idea | None:
        """The first idea that is not old, of the first proposer that has one."""
        barred = replace(situation, barred=situation.barred | old)
        for name in names:
            for idea in self.proposers[name].propose(barred, specs, 1, random.Random(derive_seed(seed, name))):
                if idea.fingerprint not in barred.barred:
                    return replace(idea, proposer=name)
        return None

    def _drawn(self, memory: Memory, rng: random.Random) -> list[str]:
        """Proposers by a draw of their mean gain, best first."""
        seen = {name: memory.proposers.get(name, Effect()) for name in self.proposers}
        trials = sum(effect.n for effect in seen.values())
        pooled = sum(effect.mean * effect.n for effect in seen.values()) / max(1, trials)

        def draw(effect: Effect) -> float:
            weight = effect.n + _PRIOR_TRIALS
            mean = (effect.mean * effect.n + pooled * _PRIOR_TRIALS) / weight
            return rng.gauss(mean, _TRIAL_DEVIATION / weight**0.5)

        worth = {name: draw(effect) for name, effect in sorted(seen.items())}
        return sorted(worth, key=lambda name: -worth[name])
