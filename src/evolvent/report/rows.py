"""The rows of a story: what the report knows of each thing that happened.

Frozen; the fold replaces a row when a later event adds to it.

Not here: how events become rows (`story.py`), how rows are shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from evolvent.judge import stats

__all__ = [
    "FUNNEL",
    "Attempt",
    "Cost",
    "DevScore",
    "Outcome",
    "Promotion",
    "Rollback",
    "Run",
    "SkillGain",
    "Standing",
    "Turn",
    "Version",
]

FUNNEL = ("drawn", "sampled", "executed", "correct", "kept")


class Outcome(StrEnum):
    """How far a proposal came."""

    PROPOSED = "proposed"
    BUILD_FAILED = "build failed"
    BUILT = "built"
    OUT_OF_PLAN = "out of plan"
    SCREENED_OUT = "screened out"
    DROPPED = "dropped"
    SCREENED = "screened"
    AT_JUDGE = "at the judge"
    REJECTED = "rejected"
    ABSTAINED = "abstained"
    ACCEPTED = "accepted"
    HELD = "held for a person"
    DECLINED = "declined by a person"
    FORCED = "forced"
    PROMOTED = "promoted"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the run was asked for.

    Attributes:
        run: run id.
        task: name of the task.
        goal: plain form of the goal.
        seed: the run's seed, as text.
        plan_hash: hash of the resolved plan.
        config: the resolved configuration.
        commitment: hash of the judge's secret, sealed before the first item.
        started_ns: wall clock of the start, for people.
        stopped: reason of the stop; ``None`` while it runs.
    """

    run: str = ""
    task: str = ""
    goal: dict[str, Any] = field(default_factory=dict)
    seed: str = ""
    plan_hash: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    commitment: str = ""
    started_ns: int = 0
    stopped: str | None = None


@dataclass(frozen=True, kw_only=True)
class Version:
    """One node of the lineage.

    Attributes:
        version: candidate hash.
        parents: versions that it was made from; none for the seed.
        genome: hash of its genome.
        turn: turn in which it was built, 0 for the seed.
        operator: what made it, ``seed`` for the seed.
        attempt: id of the proposal, ``""`` for the seed.
        num_params: weights, where the event says.
        scaffold: the program by which it answers.
    """

    version: str
    parents: tuple[str, ...] = ()
    genome: str = ""
    turn: int = 0
    operator: str = "seed"
    attempt: str = ""
    num_params: int = 0
    scaffold: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One proposal and what became of it.

    Attributes:
        id: the proposal's id.
        turn: its turn.
        index: place within the turn.
        operator: name of the operator.
        params: the operator's parameters.
        parent: version that it starts from.
        diagnosis: plain form of the diagnosis that it answers; empty if none.
        predicted_gain: on the target's dev problems, points, decimal text.
        predicted_deviation: its standard deviation, points, decimal text.
        predicted_flops: cost of the build foreseen, 0 if none was.
        outcome: how far it came.
        reason: why it ended there, in the judge's or the loop's words.
        version: what was built, ``""`` before.
        funnel: counts of `FUNNEL`.
        flops: what the build cost.
        screen: ``n``, ``wins``, ``losses`` against the champion on the target's dev problems; empty if there was no
            screen.
        over_parent: the same against its parent, where that was champion no more; otherwise empty.
        slot: slot that it used, 0 if none.
        alpha_sup: level of the superiority test, decimal text.
        alpha_ni: level of each non-inferiority test, decimal text.
        evidence: hash of the judge's evidence.
        isolation: tier of the sandbox.
    """

    id: str
    turn: int = 0
    index: int = 0
    operator: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    parent: str = ""
    diagnosis: dict[str, Any] = field(default_factory=dict)
    predicted_gain: str = ""
    predicted_deviation: str = ""
    predicted_flops: int = 0
    outcome: Outcome = Outcome.PROPOSED
    reason: str = ""
    version: str = ""
    funnel: dict[str, int] = field(default_factory=dict)
    flops: int = 0
    screen: dict[str, int] = field(default_factory=dict)
    over_parent: dict[str, int] = field(default_factory=dict)
    slot: int = 0
    alpha_sup: str = ""
    alpha_ni: str = ""
    evidence: str = ""
    isolation: str = ""


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A version became champion.

    Attributes:
        turn: turn in which it happened.
        version: the new champion.
        parent: the champion before it.
        attempt: id of the proposal.
        forced: a person overrode the gate; outside the error guarantee.
        by: who decided: the gate, the gate with a person's approval, or the person who forced it.
        clause: clause of the change plan, or the person's reason, on which it rests.
        objection: what the judge had said, where a person overrode it.
    """

    turn: int
    version: str
    parent: str
    attempt: str
    forced: bool
    by: str
    clause: str
    objection: str = ""


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """The champion was taken back.

    Attributes:
        turn: turn in which it happened.
        source: version that was taken back.
        target: version that serves again.
        reason: why.
        by: who or what did it.
    """

    turn: int
    source: str
    target: str
    reason: str
    by: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A later look at the champion.

    Attributes:
        turn: turn in which it happened.
        champion: version looked at.
        reference: version that it was held against.
        alarm: evidence that it is worse by more than the margin.
        evidence: hash of the evidence.
        alpha: chance, at most, of a false alarm, decimal text.
    """

    turn: int
    champion: str
    reference: str
    alarm: bool
    evidence: str
    alpha: str


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What something cost. Seconds are for people; no decision reads them.

    Attributes:
        flops: floating-point operations.
        tokens: tokens read and written.
        problems: problems drawn.
        milliseconds: measured time.
    """

    flops: int = 0
    tokens: int = 0
    problems: int = 0
    milliseconds: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Sum, unit by unit."""
        return Cost(
            flops=self.flops + other.flops,
            tokens=self.tokens + other.tokens,
            problems=self.problems + other.problems,
            milliseconds=self.milliseconds + other.milliseconds,
        )


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One turn of the loop.

    Attributes:
        turn: its number, from 1.
        start: champion at its start.
        end: champion at its end, ``""`` while it runs.
        cost: what it cost.
        done: it has ended.
    """

    turn: int
    start: str = ""
    end: str = ""
    cost: Cost = Cost()
    done: bool = False


@dataclass(frozen=True, kw_only=True)
class DevScore:
    """How the champion did on dev problems at the start of a turn. For diagnosis, never for a promotion.

    Attributes:
        turn: the turn.
        champion: version measured.
        skill: skill measured.
        n: problems.
        correct: solved.
    """

    turn: int
    champion: str
    skill: str
    n: int
    correct: int

    @property
    def rate(self) -> float:
        """Share solved."""
        return self.correct / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        low, high = stats.wilson(self.correct, self.n)
        return float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class SkillGain:
    """Seed against champion on the same sealed problems of one skill.

    Attributes:
        skill: the skill.
        n: problems.
        seed_correct: solved by the seed.
        champion_correct: solved by the champion.
        wins: solved by the champion alone.
        losses: solved by the seed alone.
        seed_tokens: tokens that the seed read and wrote for them.
        champion_tokens: tokens that the champion read and wrote.
    """

    skill: str
    n: int
    seed_correct: int
    champion_correct: int
    wins: int
    losses: int
    seed_tokens: int = 0
    champion_tokens: int = 0

    @property
    def before(self) -> float:
        """Share that the seed solved."""
        return self.seed_correct / self.n if self.n else 0.0

    @property
    def after(self) -> float:
        """Share that the champion solved."""
        return self.champion_correct / self.n if self.n else 0.0

    @property
    def gain(self) -> float:
        """Champion's share minus the seed's."""
        return (self.champion_correct - self.seed_correct) / self.n if self.n else 0.0

    @property
    def before_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the seed's share."""
        low, high = stats.wilson(self.seed_correct, self.n)
        return float(low), float(high)

    @property
    def after_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the champion's share."""
        low, high = stats.wilson(self.champion_correct, self.n)
        return float(low), float(high)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Newcombe's paired 95 % interval of the gain; ``None`` if the counts contradict each other."""
        both = self.champion_correct - self.wins
        neither = self.n - both - self.wins - self.losses
        if both != self.seed_correct - self.losses or min(both, neither, self.wins, self.losses) < 0 or not self.n:
            return None
        return stats.newcombe_paired(both, self.wins, self.losses, neither)
