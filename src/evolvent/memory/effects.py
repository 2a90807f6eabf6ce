"""Effect estimates per operator and failure class: how much did such a change help, on dev, and what did it cost?

Semantic memory in its first form: a fold over `screened` and `verdict` events in whole numbers, so that it is the same
after a crash and on each machine; it can be exported and handed to the next run. Estimates come from dev, never from
the judge's items: the judge gives one bit, which is counted too.

Not here: rules, episodes, shrinkage between operators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evolvent.errors import UsageError

MILLI = 1000  # gains are kept in thousandths of a percentage point
_UNSEEN_VARIANCE = 25.0  # of a gain about its prior mean, points squared, before anything was tried
_LEAST_VARIANCE = 4.0  # points squared: a few trials that agree prove no certainty, and dev problems are few
FORMAT = "evolvent-memory-1"


def arm(operator: str, params: Mapping[str, Any]) -> str:
    """What is learned about: an operator, and its ``kind`` where it has one (programs differ more than rates do)."""
    return f"{operator}:{params['kind']}" if "kind" in params else operator


@dataclass(kw_only=True)
class Effect:
    """Running sums of one operator on one failure class.

    Attributes:
        n: screened proposals.
        total: sum of dev gains on the target, milli-points.
        squares: sum of squared gains, in points (rounded), for the spread.
        accepted: promotions by the gate.
        judged: verdicts.
        mflops: sum of build costs, millions of operations.
    """

    n: int = 0
    total: int = 0
    squares: int = 0
    accepted: int = 0
    judged: int = 0
    mflops: int = 0

    def plain(self) -> dict[str, int]:
        """As JSON."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What a change should give, said before it is built.

    Attributes:
        points: gain on the target's dev problems.
        deviation: standard deviation of that gain, points: of one trial, not of the mean.
        flops: operations of its build; 0 where nothing of its kind was built yet.
    """

    points: float
    deviation: float
    flops: int = 0


@dataclass
class Effects:
    """All effects, by ``arm|class``; the class is the change kind or slice that a proposal answered."""

    by_key: dict[str, Effect] = field(default_factory=dict)

    def of(self, operator: str, failure: str) -> Effect:
        """The effect of an operator on a class, made empty when new."""
        return self.by_key.setdefault(f"{operator}|{failure}", Effect())

    def screened(self, operator: str, failure: str, wins: int, losses: int, n: int, flops: int) -> None:
        """Count one screening: paired wins and losses on the target's dev problems."""
        effect = self.of(operator, failure)
        gain = round(100 * MILLI * (wins - losses) / max(1, n))
        effect.n += 1
        effect.total += gain
        effect.squares += round((gain / MILLI) ** 2)
        effect.mflops += flops // 10**6

    def judged(self, operator: str, failure: str, accepted: bool) -> None:
        """Count one verdict."""
        effect = self.of(operator, failure)
        effect.judged += 1
        effect.accepted += int(accepted)

    def estimate(self, operator: str, prior_points: float, prior_weight: float = 2.0) -> tuple[float, float]:
        """Mean gain in points and its standard error, over all classes, from a prior worth `prior_weight` trials."""
        mean, variance, weight = self._moments(operator, prior_points, prior_weight)
        return mean, (variance / weight) ** 0.5

    def foresee(self, operator: str, prior_points: float, prior_weight: float = 2.0) -> Foreseen:
        """What the next trial of an operator should give: one more draw of what `estimate` gives the mean of."""
        mean, variance, weight = self._moments(operator, prior_points, prior_weight)
        seen = self._of(operator)
        n = sum(e.n for e in seen)
        mflops = sum(e.mflops for e in seen) // n if n else 0
        return Foreseen(points=mean, deviation=(variance + variance / weight) ** 0.5, flops=mflops * 10**6)

    def _of(self, operator: str) -> list[Effect]:
        return [effect for key, effect in self.by_key.items() if key.split("|")[0] == operator]

    def _moments(self, operator: str, prior_points: float, prior_weight: float) -> tuple[float, float, float]:
        """Mean and variance of one trial's gain, and how many trials they rest on, the prior's included."""
        effects = self._of(operator)
        weight = prior_weight + sum(e.n for e in effects)
        mean = (prior_points * prior_weight + sum(e.total for e in effects) / MILLI) / weight
        squares = sum(e.squares for e in effects) + prior_weight * (prior_points**2 + _UNSEEN_VARIANCE)
        return mean, max(squares / weight - mean**2, _LEAST_VARIANCE), weight

    def plain(self) -> dict[str, Any]:
        """As JSON, for snapshots and `memory export`."""
        return {"format": FORMAT, "effects": {key: e.plain() for key, e in sorted(self.by_key.items())}}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any], where: str = "memory") -> Effects:
        """From JSON.

        Raises:
            UsageError: not an exported memory.
        """
        try:
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']!r}")
            return cls({str(k): Effect(**{f: int(v) for f, v in e.items()}) for k, e in data["effects"].items()})
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise UsageError(
                f"{where}: expected a memory as `evolvent memory export` writes it ({FORMAT}): {exc}"
            ) from None
