"""What the gate can see, and what became of the changes that it had to refuse.

Not here: the tests themselves (`judge/`), a forecast by simulation (`evolvent check`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evolvent.judge.gate import slot_levels
from evolvent.judge.stats import clopper_pearson, smallest_effect, spend_epochs
from evolvent.propose.base import PROBES
from evolvent.report.rows import Outcome
from evolvent.report.story import Story

__all__ = ["Probed", "Sight", "probed", "sight"]


@dataclass(frozen=True, kw_only=True)
class Probed:
    """Nulls and planted regressions that the gate ruled on.

    Attributes:
        judged: how many.
        promoted: how many of them it promoted; each is a false promotion.
        limit: 95 % upper limit of the chance that it promotes one (Clopper-Pearson, one-sided).
    """

    judged: int
    promoted: int
    limit: float


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What the next slot can show, in 8 of 10 cases.

    Attributes:
        problems: that one verdict may cost.
        gain_points: smallest true gain on the target that is proven.
        loss_points: smallest margin within which a skill that lost nothing is proven kept.
    """

    problems: int
    gain_points: float
    loss_points: float


def probed(story: Story) -> Probed:
    """Counts over the run so far."""
    probes = [attempt for attempt in story.judged if attempt.operator in PROBES]
    promoted = sum(attempt.outcome in (Outcome.PROMOTED, Outcome.ACCEPTED) for attempt in probes)
    limit = float(clopper_pearson(promoted, len(probes), confidence=0.9)[1]) if probes else 1.0
    return Probed(judged=len(probes), promoted=promoted, limit=limit)


def sight(story: Story) -> Sight | None:
    """At the levels of the next slot; ``None`` before the run has a plan."""
    plan = story.run.config.get("plan")
    if not isinstance(plan, dict):
        return None
    slot, first = len(story.judged) + 1, int(plan["first_epoch_slots"])
    promotions = sum(not promotion.forced for promotion in story.promotions)

    def points(alpha: Any, number: int, promotions: int, level: int) -> float:
        levels = slot_levels(
            alpha=float(alpha), slot=number, promotions=promotions, spend=lambda k: spend_epochs(k, first)
        )
        return 100 * smallest_effect(int(plan["max_items"]), float(levels[level]), float(plan["discordance"]))

    return Sight(
        problems=int(plan["max_items"]),
        gain_points=points(plan["alpha_progress"], slot, promotions, 0),
        loss_points=points(plan["alpha_safety"], slot, 0, 1),
    )
