"""A world of agents whose truth is known: for measuring how much of an archive's best score is luck.

Skill is the chance to pass a task. A child's skill differs from its parent's by its potential, which it inherits with
noise, and by noise of its own, so good lines of descent exist and can be found late. With ``spread`` 0 no child differs
from the root, and all gain that is claimed is luck.

Not here: that agents of any real kind drift like this.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["Hidden", "Simulated"]

_LEAST, _MOST = 0.02, 0.98


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """What a search does not see.

    Attributes:
        skill: chance to pass a task.
        potential: what a child gains on average.
    """

    skill: float
    potential: float


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """The world.

    Attributes:
        spread: standard deviation of a child's skill around what its potential says; that of its potential is half.
        start: skill of the root.
    """

    spread: float
    start: float = 0.2

    def root(self) -> Hidden:
        """The first agent, whose children gain nothing on average."""
        return Hidden(skill=self.start, potential=0.0)

    def child(self, agent: Hidden, rng: random.Random) -> Hidden:
        """A changed copy."""
        potential = agent.potential + rng.gauss(0, self.spread / 2)
        skill = agent.skill + rng.gauss(potential if self.spread else 0.0, self.spread)
        return Hidden(skill=min(_MOST, max(_LEAST, skill)), potential=potential)

    def test(self, agent: Hidden, rng: random.Random) -> bool:
        """Whether it passes a task."""
        return rng.random() < agent.skill
