"""The gate: from outcomes on paired items to a ruling.

A candidate is accepted iff it is proven better than the incumbent on the target, and proven not worse by more than the
margin on every protected skill, against the incumbent and against the frozen anchor. All must hold
(intersection-union), so the number of skills costs no error budget. It is rejected once the gain is shown to be below
what is of interest, or a loss beyond the margin is shown. If the items run out first, that is no answer: abstain.

Target items come first, since most candidates fail there; then each protected pair gets one block, and after that the
pair with the least evidence so far. Every test is an e-process over one sequence of items, so where to look next may
depend on everything seen.

Not here: drawing items, running models (`server.py`); which slot spends how much of the budget is arithmetic on the
ledger (`slot_levels`), the ledger itself is the loop's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from evolvent.judge import stats
from evolvent.judge.questions import Protected, Question, StandingQuestion
from evolvent.types import Decision, dec

__all__ = ["Gate", "Outcomes", "Pair", "PairedGate", "Ruling", "Stage", "items_used", "slot_levels", "standing_stages"]

Against = Literal["incumbent", "anchor"]
Outcome = Literal["proven", "futile", "inferior", "open"]
_LEVEL_DIGITS = 6
_REMEMBERED = 64  # stages: the pairs of one question, a few blocks back


@dataclass(frozen=True, order=True)
class Pair:
    """One sequence of differences: candidate against one other version on one skill."""

    skill: str
    against: Against


Outcomes = Mapping[Pair, NDArray[np.int8]]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One test, as far as it has come.

    Attributes:
        name: ``superiority``, ``ni:<skill>:<against>`` or ``standing:<skill>``.
        pair: whose differences it reads.
        alpha: its level, decimal text.
        threshold_log_e: natural log of the e-value at which it is proven.
        path: running log e up to the item at which it ended, or the last one.
        wins: items up to there that only the candidate got right.
        losses: items up to there that only the other version got right.
        outcome: ``proven``, ``futile``, ``inferior``, or ``open``.
    """

    name: str
    pair: Pair
    alpha: str
    threshold_log_e: float
    path: NDArray[np.float64]
    wins: int
    losses: int
    outcome: Outcome

    @property
    def num_items(self) -> int:
        """Items read."""
        return len(self.path)

    @property
    def shortfall(self) -> float:
        """Log e still missing; larger is more doubtful."""
        return self.threshold_log_e - (float(self.path[-1]) if self.num_items else 0.0)


@dataclass(frozen=True, kw_only=True)
class _Test:
    """A test before any outcome: what it is called, what it reads, its level."""

    name: str
    pair: Pair
    alpha: str

    @property
    def threshold(self) -> float:
        return math.log(1 / float(self.alpha))

    def read(self, differences: NDArray[np.int8], path: NDArray[np.float64], ends: Mapping[Outcome, int]) -> Stage:
        """The stage, cut at the first item at which one of its ends was reached."""
        outcome, end = min(ends.items(), key=lambda item: item[1])
        if end >= len(path):
            outcome, end = "open", len(path) - 1
        read = differences[: end + 1]
        return Stage(
            name=self.name,
            pair=self.pair,
            alpha=self.alpha,
            threshold_log_e=self.threshold,
            path=path[: end + 1],
            wins=int((read > 0).sum()),
            losses=int((read < 0).sum()),
            outcome=outcome,
        )


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What the outcomes so far say: a decision with its reason, or the pair that needs items next."""

    decision: Decision | None
    reason: str
    draw: Pair | None
    stages: tuple[Stage, ...]


class Gate(Protocol):
    """Reads outcomes, and rules.

    Implementers guarantee: pure; the same question and outcomes give the same ruling; a ruling with a decision stays
    the same whatever is drawn later; no accept without the error rates that the question states.
    """

    def rule(self, question: Question, outcomes: Outcomes) -> Ruling:
        """The ruling on the outcomes so far (a pair that is missing has none)."""
        ...


def slot_levels(
    *,
    alpha: float,
    slot: int,
    promotions: int,
    spend: Callable[[int], float | NDArray[np.float64]] = stats.spend_epochs,
) -> tuple[str, str]:
    """Levels of a slot: superiority by e-LOND (false discoveries), non-inferiority by spending (no harm, ever).

    Args:
        alpha: the whole error budget of each kind.
        slot: its number, from 1.
        promotions: promotions before it.
        spend: share of the budget by slot, summing to at most 1.

    Returns:
        `alpha_sup` and `alpha_ni` as decimal text, rounded down so that the budget is never overdrawn.
    """
    share = float(spend(slot))
    return _floor_text(stats.e_lond_level(alpha, share, promotions)), _floor_text(alpha * share)


@dataclass(frozen=True, kw_only=True)
class PairedGate:
    """The default gate: paired e-processes, see the module."""

    def rule(self, question: Question, outcomes: Outcomes) -> Ruling:
        """The ruling on the outcomes so far."""
        stages = _stages(question, outcomes)
        for stage in stages:
            if stage.outcome == "futile":
                return Ruling(decision=Decision.REJECT, reason="futile", draw=None, stages=stages)
            if stage.outcome == "inferior":
                reason = f"inferior:{stage.pair.skill}"
                return Ruling(decision=Decision.REJECT, reason=reason, draw=None, stages=stages)
        still_open = [stage for stage in stages if stage.outcome == "open"]
        if not still_open:
            return Ruling(decision=Decision.ACCEPT, reason="superior", draw=None, stages=stages)
        # The superiority test is the first; until it is proven nothing else is worth an item.
        chosen = still_open[0] if still_open[0] is stages[0] else _most_doubtful(still_open)
        if not _room(question, outcomes, chosen.pair):
            return Ruling(decision=Decision.ABSTAIN, reason="insufficient", draw=None, stages=stages)
        return Ruling(decision=None, reason="", draw=chosen.pair, stages=stages)


def standing_stages(question: StandingQuestion, outcomes: Outcomes) -> tuple[Stage, ...]:
    """Per protected skill, evidence that the champion is *worse* than the reference by more than the margin.

    A stage ends ``inferior`` when it alarms (the level is split over the skills, since any one raises the alarm) and
    ``proven`` when the skill counts as kept. Pairs are keyed against ``anchor``.
    """
    alpha = _floor_text(float(question.alpha) / len(question.protected))
    stop = math.log(1 / float(question.beta))
    stages: list[Stage] = []
    for entry in question.protected:
        test = _Test(name=f"standing:{entry.skill}", pair=Pair(entry.skill, "anchor"), alpha=alpha)
        differences = _of(outcomes, test.pair)
        worse = stats.inferiority_path(differences, entry.margin, float(entry.discordance))
        kept = stats.non_inferiority_path(differences, entry.margin, float(entry.discordance))
        ends: dict[Outcome, int] = {"inferior": _crossing(worse, test.threshold), "proven": _crossing(kept, stop)}
        stages.append(test.read(differences, worse, ends))
    return tuple(stages)


def items_used(outcomes: Outcomes) -> int:
    """Problems drawn: both versions of a skill's pairs share them."""
    longest: dict[str, int] = {}
    for pair, differences in outcomes.items():
        longest[pair.skill] = max(longest.get(pair.skill, 0), len(differences))
    return sum(longest.values())


def _stages(question: Question, outcomes: Outcomes) -> tuple[Stage, ...]:
    stop = math.log(1 / float(question.beta))
    first = _Test(name="superiority", pair=Pair(question.target, "incumbent"), alpha=question.alpha_sup)
    differences = _of(outcomes, first.pair)
    path = stats.superiority_path(differences)
    futility = stats.futility_path(differences, question.mei_points / 100, float(question.discordance))
    ends: dict[Outcome, int] = {"proven": _crossing(path, first.threshold), "futile": _crossing(futility, stop)}
    stages = [first.read(differences, path, ends)]
    references: list[Against] = ["incumbent", "anchor"]
    if question.anchor == question.incumbent:
        references = ["incumbent"]
    for entry in question.protected:
        for against in references:
            pair = Pair(entry.skill, against)
            test = _Test(name=f"ni:{entry.skill}:{against}", pair=pair, alpha=question.alpha_ni)
            stages.append(_non_inferiority(entry, test, _of(outcomes, pair), stop))
    return tuple(stages)


def _non_inferiority(entry: Protected, test: _Test, differences: NDArray[np.int8], stop: float) -> Stage:
    return _read_non_inferiority(entry, test, np.asarray(differences, np.int8).tobytes(), stop)


@lru_cache(maxsize=_REMEMBERED)
def _read_non_inferiority(entry: Protected, test: _Test, raw: bytes, stop: float) -> Stage:
    """The stage on these differences, remembered: a block changes one pair, and the others' paths are long."""
    differences, discordance = np.frombuffer(raw, np.int8), float(entry.discordance)
    path = stats.non_inferiority_path(differences, entry.margin, discordance)
    mirror = stats.inferiority_path(differences, entry.margin, discordance)
    return test.read(
        differences, path, {"proven": _crossing(path, test.threshold), "inferior": _crossing(mirror, stop)}
    )


def _most_doubtful(still_open: Sequence[Stage]) -> Stage:
    untouched = [stage for stage in still_open if stage.num_items == 0]
    return untouched[0] if untouched else max(still_open, key=lambda stage: stage.shortfall)


def _room(question: Question, outcomes: Outcomes, pair: Pair) -> bool:
    drawn = max(len(_of(outcomes, Pair(pair.skill, against))) for against in ("incumbent", "anchor"))
    return len(_of(outcomes, pair)) < drawn or items_used(outcomes) < question.max_items


def _of(outcomes: Outcomes, pair: Pair) -> NDArray[np.int8]:
    return outcomes.get(pair, np.zeros(0, np.int8))


def _crossing(path: NDArray[np.float64], threshold: float) -> int:
    """Index of the first item at which the path is at the threshold, or past every item."""
    over = path >= threshold
    return int(over.argmax()) if over.any() else len(path)


def _floor_text(level: float) -> str:
    """Decimal text of `_LEVEL_DIGITS` significant digits that is not above `level`."""
    if level <= 0:
        raise ValueError(f"level: expected more than 0, got {level}")
    digits = Context(prec=_LEVEL_DIGITS, rounding=ROUND_FLOOR).create_decimal(repr(float(level)))
    return dec(float(digits), _LEVEL_DIGITS)
