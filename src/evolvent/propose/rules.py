"""Rules from diagnosis: what memory's rule graph holds against this kind of failure, else the regime's usual remedy.

It answers the same situation with the same ideas but for what was tried already, and says why in words.

Not here: how rules are learned and retired (`memory/rules.py`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from evolvent.memory.episodes import arm
from evolvent.propose.bandit import all_choices
from evolvent.propose.base import Idea, OperatorSpec, Prices, Situation, fingerprint


@dataclass(frozen=True, kw_only=True)
class RuleProposer:
    """Held rules first, then remedies of the regime, then anything else untried; each with its usual parameters."""

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        """At most `count` ideas, none tried on this champion before."""
        ideas: list[Idea] = []
        seen = set(situation.tried)
        for spec, params, why in self._answers(situation, specs, rng):
            mark = fingerprint(spec.name, params)
            if len(ideas) < count and mark not in seen:
                seen.add(mark)
                ideas.append(situation.idea(spec, params, why))
        return ideas

    def _answers(
        self, situation: Situation, specs: Sequence[OperatorSpec], rng: random.Random
    ) -> Iterator[tuple[OperatorSpec, dict[str, Any], str]]:
        ways = [(spec, params) for spec in specs for params in all_choices(spec, situation, rng)]
        errors = situation.worst.errors if situation.worst else {}
        for match in situation.memory.rules.query(errors, situation.band):
            rule = match.rule
            known = [way for way in ways if arm(way[0].name, way[1]) == rule.arm]
            for spec, params in sorted(known, key=lambda way: -situation.estimate(*way).mean):
                yield spec, params, f"{rule.arm} helped {rule.support} of {rule.support + rule.against} on {rule.error}"
        prices = Prices(specs, situation.memory)

        def late(way: tuple[OperatorSpec, dict[str, Any]]) -> tuple[bool, bool, float]:
            return situation.band not in way[0].remedy, not way[0].is_usual(way[1]), prices.of(*way)

        for spec, params in sorted(ways, key=late):
            fits = "the usual remedy" if situation.band in spec.remedy else "not tried yet"
            yield spec, params, f"{fits} where {situation.band} shares of the target are solved"
