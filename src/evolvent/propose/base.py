"""What a proposer sees and owes.

Not here: how a change is carried out (`operators/`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from evolvent.memory.effects import Effects, Foreseen
from evolvent.types import Diagnosis

PROBES = ("null", "planted_regression")  # the loop's tests of its own honesty: each must be refused


@dataclass(frozen=True, kw_only=True)
class OperatorSpec:
    """All that a proposer sees of an operator.

    Attributes:
        name: registered name.
        summary: one sentence for people.
        space: parameter -> values that may be chosen.
        prior_points: gain expected before any evidence, percentage points.
        relative_cost: build cost, 1 for a full round of self-labels and fine-tuning.
        probe: belongs to the loop's tests of its own honesty; never chosen for gain, never screened out.
    """

    name: str
    summary: str
    space: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    prior_points: float = 1.0
    relative_cost: float = 1.0
    probe: bool = False


@dataclass(frozen=True, kw_only=True)
class Idea:
    """An operator with parameters, the weakness that it answers, and what it is expected to gain.

    Attributes:
        operator: registered name.
        params: chosen values.
        diagnosis: the weakness answered, or ``None``.
        foreseen: what it should give; scored once it was tried.
    """

    operator: str
    params: dict[str, Any]
    diagnosis: Diagnosis | None
    foreseen: Foreseen


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What is known when a turn begins.

    Attributes:
        turn: its number, from 1.
        weaknesses: worst first.
        effects: estimates so far, memory of earlier runs included.
        policy: the champion's policy (parameter defaults that travel with it).
        scaffold: the champion's scaffold.
        barred: fingerprints of ideas that make no sense now, such as a scaffold just refused.
    """

    turn: int
    weaknesses: Sequence[Diagnosis]
    effects: Effects
    policy: Mapping[str, Any]
    scaffold: Mapping[str, Any]
    barred: frozenset[str] = frozenset()


class Proposer(Protocol):
    """Chooses what to try. Pure: the same situation and generator give the same ideas."""

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        """At most `count` ideas, the most promising first."""
        ...


def due_probes(turn: int, every_turns: int) -> list[Idea]:
    """The test of its own honesty that the loop adds in this turn, if one is due; they take turns."""
    if not every_turns or turn % every_turns:
        return []
    name = PROBES[(turn // every_turns - 1) % len(PROBES)]
    return [Idea(operator=name, params={}, diagnosis=None, foreseen=Foreseen(points=0.0, deviation=0.0))]
