"""What cheap signals are worth: how well did each tell, before the verdict, what the judge would say?

For each signal, sums over the judged candidates that were accepted and those that were not. A signal's weight is its
slope in a linear discriminant, shrunk by the smaller of the two counts: one that is the same for both weighs nothing,
one that misled weighs against. `promise` adds the weighted signals up, the candidates seen as equally many.

Not here: how signals are measured (`state.py`), the verdict itself, which no signal replaces.

References:
    Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 1936.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evolvent.memory.episodes import ACCEPTED, MILLI, Episode, whole

_DOUBT = 4.0  # verdicts of the rarer kind at which a slope is half believed
_LEAST_VARIANCE = 0.01


@dataclass(kw_only=True)
class Sums:
    """Of one signal over candidates with the same verdict: number, sum (thousandths), sum of squares (units)."""

    n: int = 0
    total: int = 0
    squares: int = 0

    def learn(self, value: int) -> None:
        """Count one."""
        self.n += 1
        self.total += value
        self.squares += round(value * value / MILLI)

    def unlearn(self, value: int) -> None:
        """Take one back that was counted."""
        self.n -= 1
        self.total -= value
        self.squares -= round(value * value / MILLI)

    @property
    def mean(self) -> float:
        """In units."""
        return self.total / MILLI / max(1, self.n)

    def about_mean(self) -> float:
        """Sum of squares about the mean, units squared."""
        return max(0.0, self.squares / MILLI - self.n * self.mean**2)

    def plain(self) -> dict[str, int]:
        """As JSON."""
        return dict(vars(self))


@dataclass
class Signals:
    """By signal: ``{"accepted": Sums, "refused": Sums}``."""

    by_name: dict[str, dict[str, Sums]] = field(default_factory=dict)

    def learn(self, episode: Episode) -> None:
        """Count a judged episode; others say nothing of a verdict."""
        if not episode.judged:
            return
        side = "accepted" if episode.outcome == ACCEPTED else "refused"
        for name, value in sorted(episode.signals.items()):
            self.by_name.setdefault(name, {"accepted": Sums(), "refused": Sums()})[side].learn(value)

    def withdraw(self, episode: Episode) -> None:
        """An accepted episode, counted before, should have been refused: what spoke for it misled."""
        for name, value in sorted(episode.signals.items()):
            sides = self.by_name.get(name)
            if sides is not None and sides["accepted"].n:
                sides["accepted"].unlearn(value)
                sides["refused"].learn(value)

    def weight(self, name: str) -> float:
        """Log odds of acceptance per unit of the signal; 0 for one that was never seen with both verdicts."""
        if name not in self.by_name:
            return 0.0
        yes, no = self.by_name[name]["accepted"], self.by_name[name]["refused"]
        rarer = min(yes.n, no.n)
        free = yes.n + no.n - 2
        if not rarer or free < 1:
            return 0.0
        variance = max((yes.about_mean() + no.about_mean()) / free, _LEAST_VARIANCE)
        return (yes.mean - no.mean) / variance * rarer / (rarer + _DOUBT)

    def promise(self, signals: Mapping[str, int]) -> float:
        """Log odds of acceptance that a candidate's signals speak for; 0 where they say nothing."""
        total = 0.0
        for name, value in sorted(signals.items()):
            if weight := self.weight(name):
                sides = self.by_name[name]
                total += weight * (value / MILLI - (sides["accepted"].mean + sides["refused"].mean) / 2)
        return total

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            name: {side: sums.plain() for side, sums in sides.items()} for name, sides in sorted(self.by_name.items())
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Signals:
        """From JSON.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is something else.
        """
        return cls({
            str(name): {side: Sums(**{f: whole(v) for f, v in sides[side].items()}) for side in ("accepted", "refused")}
            for name, sides in data.items()
        })  # fmt: skip
