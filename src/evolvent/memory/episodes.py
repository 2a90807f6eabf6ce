"""Episodes: what was tried, under which circumstances, what it cost and what became of it. The first layer of memory.

An episode is plain data, so that the layers above can be made anew from it. The newest few hundred are kept; what
older ones taught lies in the sums of `effects.py`, `signals.py` and `rules.py`, so a run that goes on forever does not
grow.

Not here: what follows from episodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evolvent.types import Record, canonical_json

EPISODE_LIMIT = 400
_MOST = 10**18
MILLI = 1000  # gains are kept in thousandths of a percentage point, signals in thousandths of their unit
BANDS = ("low", "middle", "high")  # the regime: how much of the target is solved when a change is tried
ACCEPTED, REJECTED, SCREENED_OUT, FAILED, DROPPED, WITHDRAWN = OUTCOMES = (
    "accepted", "rejected", "screened out", "failed", "dropped", "withdrawn",
)  # fmt: skip


def arm(operator: str, params: Mapping[str, Any]) -> str:
    """What is learned about: an operator, and its ``kind`` where it has one (programs differ more than rates do).

    Bars and the first colon join names: none is left in a part, so ``package.module:Operator`` becomes
    ``package.module.Operator``.
    """
    own = operator.replace(":", ".")
    return (f"{own}:{params['kind']}" if "kind" in params else own).replace("|", "/")


def operator_of(name: str) -> str:
    """The operator of an arm, as the arm spells it."""
    return name.split(":", 1)[0]


def is_named(name: str, asked: str) -> bool:
    """Whether an arm is the one that is asked for, or one of the operator that is, spelled either way."""
    return asked == name or arm(asked, {}) == operator_of(name)


def band(correct: int, n: int) -> str:
    """The regime at `correct` of `n` solved; the middle one where nothing is known."""
    return BANDS[min(2, 3 * correct // n)] if n else BANDS[1]


def whole(value: object) -> int:
    """A whole number as memory keeps them, of at most eighteen digits: sums of it stay finite as floats.

    Raises:
        ValueError: it is something else.
    """
    if type(value) is not int or abs(value) > _MOST:
        raise ValueError(f"expected a whole number of at most 18 digits, got {str(value)[:40]!r}")
    return value


@dataclass(frozen=True, kw_only=True)
class Episode(Record):
    """One proposal and what became of it.

    Attributes:
        task: name of the run's task.
        run: the run's id.
        id: the proposal's id.
        operator: registered name.
        params: its parameters.
        proposer: who thought of it.
        skill: the skill that failed, ``""`` if it answers no weakness.
        error: kind of failure that was most frequent there: the failure class.
        errors: failures by kind.
        band: regime, one of `BANDS`.
        outcome: one of `OUTCOMES`: how far it came. What the judge accepted may still not have been promoted; what
            nobody looked at was dropped, and teaches nothing; what was promoted and made a champion that a standing
            check took down was withdrawn: its gain counts as none.
        reason: in the loop's or the judge's words.
        gain: over its parent on the target's dev problems, milli-points; ``None`` without a screen.
        overtaken: by the time of its screen its parent was champion no more, so that a refusal says nothing of it.
        predicted: the gain that was foreseen, milli-points.
        mflops: cost of the build, millions of operations.
        signals: cheap measurements before the verdict, in thousandths.
    """

    task: str
    run: str
    id: str
    operator: str
    params: dict[str, Any] = field(default_factory=dict)
    proposer: str = ""
    skill: str = ""
    error: str = ""
    errors: dict[str, int] = field(default_factory=dict)
    band: str = BANDS[1]
    outcome: str
    reason: str = ""
    gain: int | None = None
    overtaken: bool = False
    predicted: int = 0
    mflops: int = 0
    signals: dict[str, int] = field(default_factory=dict)

    @property
    def arm(self) -> str:
        """What it teaches about."""
        return arm(self.operator, self.params)

    @property
    def judged(self) -> bool:
        """The judge gave a verdict."""
        return self.outcome in (ACCEPTED, REJECTED, WITHDRAWN)

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Episode:
        """From JSON.

        Raises:
            TypeError, ValueError: it is no episode.
        """
        episode = cls(**data)
        texts = (episode.task, episode.run, episode.id, episode.operator, episode.proposer, episode.skill,
                 episode.error, episode.reason, episode.outcome)  # fmt: skip
        if not all(isinstance(text, str) for text in texts) or episode.outcome not in OUTCOMES:
            raise ValueError(f"an episode's outcome is one of {', '.join(OUTCOMES)}, got {episode.outcome!r}")
        if type(episode.overtaken) is not bool:
            raise ValueError(f"an episode was overtaken or not, got {episode.overtaken!r}")
        if episode.band not in BANDS or not isinstance(episode.params, dict):
            raise ValueError("an episode with an unknown band, or with parameters that are no table")
        counts = [*episode.signals.values(), *episode.errors.values(), episode.predicted, episode.mflops]
        for number in (*counts, episode.gain or 0):
            whole(number)
        return episode


def elites(episodes: Sequence[Episode], count: int) -> list[Episode]:
    """The best that was tried: accepted first, then by gain on dev; one of each operator and parameters."""
    best: dict[str, Episode] = {}
    for episode in sorted(episodes, key=lambda e: (e.outcome == ACCEPTED, e.gain or 0), reverse=True):
        if (episode.gain or 0) > 0:
            best.setdefault(f"{episode.operator}{canonical_json(episode.params)}", episode)
    return list(best.values())[:count]


def search(episodes: Iterable[Episode], text: str, count: int) -> list[tuple[float, Episode]]:
    """Episodes that share words with `text`, best first, by the share that they have; of equals the newest."""
    wanted = _words(text)
    found = []
    for place, episode in enumerate(episodes):
        share = len(wanted & _words(canonical_json(episode.plain()))) / max(1, len(wanted))
        if share:
            found.append((share, place, episode))
    found.sort(key=lambda hit: (-hit[0], -hit[1]))
    return [(share, episode) for share, _, episode in found[:count]]


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9_.]+", text.lower()))
