"""How well a run foresees: the gains and costs that proposals stated, against what trying them gave.

A proposal states its gain on the target's dev problems, that gain's standard deviation and its build's cost before
anything is built; the screen and the build then measure them. Who foresees nothing useful is off by as much as one who
always says that nothing will help.

Not here: making predictions (`memory/effects.py`), whether a gain is real (the judge's alone).
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from evolvent.propose.base import PROBES
from evolvent.report.rows import Attempt
from evolvent.report.story import Story
from evolvent.report.words import number, percent

__all__ = ["SHARE", "Foresight", "foresight", "measured_gain", "sentence"]

SHARE = 0.8  # of the measured gains that should lie in the range foreseen
_REACH = statistics.NormalDist().inv_cdf((1 + SHARE) / 2)


@dataclass(frozen=True, kw_only=True)
class Foresight:
    """Scores of the predictions.

    Attributes:
        n: gains that were foreseen and then measured.
        error: mean distance of foreseen and measured, points.
        idle_error: the same had no gain ever been foreseen.
        inside: how many lay within the range that should hold `SHARE` of them.
        builds: builds whose cost was foreseen.
        cost_ratio: median of what they cost over what was foreseen; 0 without builds.
    """

    n: int
    error: float
    idle_error: float
    inside: int
    builds: int
    cost_ratio: float


def measured_gain(attempt: Attempt) -> float | None:
    """Gain over its parent on the target's dev problems, points; ``None`` where there was no screen."""
    seen = attempt.over_parent or attempt.screen
    return 100 * (seen["wins"] - seen["losses"]) / seen["n"] if seen.get("n") else None


def foresight(story: Story) -> Foresight:
    """Over the run so far; probes state nothing and are left out."""
    tried = [attempt for attempt in story.attempts.values() if attempt.operator not in PROBES]
    scored: list[tuple[float, float, float]] = []
    for attempt in tried:
        gain, foreseen = measured_gain(attempt), number(attempt.predicted_gain)
        if gain is not None and foreseen is not None:
            scored.append((foreseen, gain, number(attempt.predicted_deviation) or 0.0))
    costs = [attempt.flops / attempt.predicted_flops for attempt in tried if attempt.predicted_flops and attempt.flops]
    n = len(scored)
    return Foresight(
        n=n,
        error=sum(abs(foreseen - gain) for foreseen, gain, _ in scored) / max(n, 1),
        idle_error=sum(abs(gain) for _, gain, _ in scored) / max(n, 1),
        inside=sum(abs(foreseen - gain) <= _REACH * deviation for foreseen, gain, deviation in scored),
        builds=len(costs),
        cost_ratio=statistics.median(costs) if costs else 0.0,
    )


def sentence(seen: Foresight) -> str:
    """For people; ``""`` while nothing can be scored."""
    if not seen.n:
        return ""
    gains = "a gain" if seen.n == 1 else f"{seen.n} gains"
    off = f"off by {seen.error:.1f} points on average, {seen.idle_error:.1f} had none been foreseen"
    inside = f"{seen.inside} of {seen.n} within the range that should hold {percent(SHARE, 0)} of them"
    cost = f"; builds cost {seen.cost_ratio:.2f} of what was foreseen (median of {seen.builds})" if seen.builds else ""
    return f"{gains} {off}; {inside}{cost}"
