"""The story of a run: an incremental fold over its events.

``Story.of(events)`` reads a run; ``add`` takes one event more, so a live page or a status line never starts again. It
may stop anywhere: an empty ledger and a run cut off in the middle of a turn are stories too. Payload text is kept as it
is and escaped where it is shown; a field that is missing or of another type counts as absent, so that one odd event
cannot keep the rest from being read.

Not here: decisions (the loop's folds make them), drawing (`page.py`, `terminal.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Self

from evolvent.report.fields import Payload, counts, table, text, whole
from evolvent.report.pursuit import Pursuit, Subgoal
from evolvent.report.rows import (
    FUNNEL,
    Attempt,
    Cost,
    DevScore,
    Outcome,
    Promotion,
    Rollback,
    Run,
    SkillGain,
    Standing,
    Turn,
    Version,
)
from evolvent.report.waiting import Waiting
from evolvent.state import COSTLY, UNITS
from evolvent.types import Event

__all__ = ["Story"]


_VERDICTS = {"accept": Outcome.ACCEPTED, "reject": Outcome.REJECTED, "abstain": Outcome.ABSTAINED}
_REFUSED = (
    Outcome.REJECTED,
    Outcome.ABSTAINED,
    Outcome.SCREENED_OUT,
    Outcome.DROPPED,
    Outcome.OUT_OF_PLAN,
    Outcome.BUILD_FAILED,
    Outcome.DECLINED,
)


@dataclass
class Story:
    """What has happened so far. Rows are in the order of their events.

    Attributes:
        run: what the run was asked for.
        versions: by candidate hash.
        attempts: proposals by id.
        turns: by number.
        scores: dev scores of the champions, in order.
        promotions: in order.
        rollbacks: in order.
        waiting: what waits for a person.
        standing: later looks at the champion, in order.
        pursuit: what became of the goal and its subgoals.
        measured: by version, seed against that version by skill: sealed problems were opened while it was champion.
        champion: version that serves now.
        seed_version: version that the run began with.
        unheard: what a language model said that does not count, by kind; `unheard_last` is the last of it, with reason.
        head: chain hash of the last event.
        num_events: events read.
        now_ns: wall clock of the last event, for people.
    """

    run: Run = field(default_factory=Run)
    versions: dict[str, Version] = field(default_factory=dict)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    turns: dict[int, Turn] = field(default_factory=dict)
    scores: list[DevScore] = field(default_factory=list)
    promotions: list[Promotion] = field(default_factory=list)
    rollbacks: list[Rollback] = field(default_factory=list)
    waiting: Waiting = field(default_factory=Waiting)
    standing: list[Standing] = field(default_factory=list)
    pursuit: Pursuit = field(default_factory=Pursuit)
    measured: dict[str, dict[str, SkillGain]] = field(default_factory=dict)
    champion: str = ""
    seed_version: str = ""
    unheard: Counter[str] = field(default_factory=Counter)
    unheard_last: str = ""
    head: str = ""
    num_events: int = 0
    now_ns: int = 0

    @property
    def subgoals(self) -> list[Subgoal]:
        """In the order in which they were opened; an id may come again."""
        return self.pursuit.subgoals

    @property
    def gains(self) -> Mapping[str, SkillGain]:
        """Seed against the present champion by skill; empty while this champion was not measured."""
        return self.measured.get(self.champion, {})

    @classmethod
    def of(cls, events: Iterable[Event]) -> Self:
        """The story of these events, in their order."""
        story = cls()
        for event in events:
            story.add(event)
        return story

    def add(self, event: Event) -> None:
        """Take in the next event. Kinds that a report does not show only move the head."""
        self.head, self.num_events, self.now_ns = event.chain_hash, event.seq, event.time_ns
        self.waiting.add(event)
        self.pursuit.add(event, self.turn)
        handler = _HANDLERS.get(event.kind)
        if handler is not None:
            handler(self, event.payload)
        if event.kind == "run.started":
            self.run = replace(self.run, run=event.run, started_ns=event.time_ns)
        if turn := self.turns.get(self.turn):
            units = {u: whole(event.payload, u) for u in UNITS} if event.kind in COSTLY else {}
            self.turns[self.turn] = replace(turn, cost=turn.cost + Cost(**units, milliseconds=whole(event.cost, "ms")))

    @property
    def turn(self) -> int:
        """The latest turn, 0 before the first."""
        return max(self.turns, default=0)

    @property
    def funnel(self) -> dict[str, int]:
        """Totals over all builds: drawn, sampled, executed, correct, kept."""
        return {name: sum(attempt.funnel.get(name, 0) for attempt in self.attempts.values()) for name in FUNNEL}

    @property
    def cost(self) -> Cost:
        """Total over the turns."""
        return sum((turn.cost for turn in self.turns.values()), Cost())

    @property
    def refused(self) -> list[Attempt]:
        """Proposals that did not become champion: rejected, abstained, screened out or not built."""
        return [attempt for attempt in self.attempts.values() if attempt.outcome in _REFUSED]

    @property
    def judged(self) -> list[Attempt]:
        """Proposals for which the judge was asked, by slot."""
        return sorted((a for a in self.attempts.values() if a.slot), key=lambda a: a.slot)

    @property
    def alpha_spent(self) -> Decimal:
        """Error budget of harmful promotions spent so far: the sum of the slots' non-inferiority levels."""
        total = Decimal(0)
        for attempt in self.judged:
            try:
                level = Decimal(attempt.alpha_ni)
            except InvalidOperation:
                continue
            total += level if level.is_finite() else 0
        return total

    @property
    def isolation(self) -> list[str]:
        """Tiers of the sandbox in which candidates ran, each once."""
        return sorted({attempt.isolation for attempt in self.attempts.values() if attempt.isolation})

    def count(self, *outcomes: Outcome) -> int:
        """Proposals that ended in one of these ways."""
        return sum(attempt.outcome in outcomes for attempt in self.attempts.values())

    def update(self, attempt_id: str, **changes: Any) -> None:
        """Change what is known of a proposal; an unknown id makes a row, so nothing is silently dropped."""
        self.attempts[attempt_id] = replace(self.attempts.get(attempt_id, Attempt(id=attempt_id)), **changes)


def _run_started(story: Story, payload: Payload) -> None:
    story.run = replace(
        story.run,
        task=text(payload, "task"),
        goal=table(payload, "goal"),
        seed=text(payload, "seed"),
        plan_hash=text(payload, "plan"),
        config=table(payload, "config"),
    )


def _judge_sealed(story: Story, payload: Payload) -> None:
    story.run = replace(story.run, commitment=text(payload, "commitment"))


def _seed_imported(story: Story, payload: Payload) -> None:
    version, candidate = text(payload, "version"), table(payload, "candidate")
    story.versions[version] = Version(
        version=version,
        genome=text(candidate, "genome"),
        num_params=whole(payload, "parameters"),
        scaffold=table(candidate, "scaffold"),
    )
    story.seed_version = story.champion = version


def _turn_started(story: Story, payload: Payload) -> None:
    number = whole(payload, "turn")
    story.champion = text(payload, "champion") or story.champion
    story.turns[number] = Turn(turn=number, start=story.champion)
    _goes_on(story, payload)


def _goes_on(story: Story, payload: Payload) -> None:
    story.run = replace(story.run, stopped=None)


def _turn_ended(story: Story, payload: Payload) -> None:
    number = whole(payload, "turn")
    turn = story.turns.get(number, Turn(turn=number))
    story.turns[number] = replace(turn, end=text(payload, "champion"), done=True)


def _diagnosed(story: Story, payload: Payload) -> None:
    skills = table(payload, "skills")
    for skill in skills:
        seen = table(skills, skill)
        at: dict[str, Any] = {"turn": whole(payload, "turn"), "champion": text(payload, "champion"), "skill": skill}
        story.scores.append(DevScore(**at, n=whole(seen, "n"), correct=whole(seen, "correct")))


def _proposed(story: Story, payload: Payload) -> None:
    proposal = table(payload, "proposal")
    story.update(
        text(payload, "id"),
        turn=whole(proposal, "turn"),
        index=whole(proposal, "index"),
        operator=text(proposal, "operator"),
        params=table(proposal, "params"),
        parent=text(proposal, "parent"),
        diagnosis=table(payload, "answers"),
        predicted_gain=text(proposal, "predicted_gain"),
        predicted_deviation=text(proposal, "predicted_deviation"),
        predicted_flops=whole(proposal, "predicted_flops"),
    )


def _built(story: Story, payload: Payload) -> None:
    name, version = text(payload, "id"), text(payload, "version")
    funnel, flops = counts(payload, "funnel"), whole(payload, "flops")
    story.update(name, outcome=Outcome.BUILT, version=version, funnel=funnel, flops=flops)
    attempt = story.attempts[name]
    # A version built again (same bytes, say by the null operator) keeps its first place in the lineage.
    story.versions.setdefault(
        version,
        Version(
            version=version,
            parents=(attempt.parent,) if attempt.parent else (),
            genome=text(table(payload, "candidate"), "genome"),
            num_params=whole(payload, "parameters"),
            turn=attempt.turn,
            operator=attempt.operator,
            attempt=name,
            scaffold=table(table(payload, "candidate"), "scaffold"),
        ),
    )


def _build_failed(story: Story, payload: Payload) -> None:
    reason = ": ".join(part for part in (text(payload, "error"), text(payload, "message")) if part)
    story.update(text(payload, "id"), outcome=Outcome.BUILD_FAILED, reason=reason)


def _screened(story: Story, payload: Payload) -> None:
    screen = {name: whole(table(payload, "target"), name) for name in ("n", "wins", "losses")}
    over_parent = (
        {name: whole(payload["over_parent"], name) for name in screen} if table(payload, "over_parent") else {}
    )
    outcome = Outcome.SCREENED if payload.get("passed") is True else Outcome.SCREENED_OUT
    story.update(text(payload, "id"), outcome=outcome, screen=screen, over_parent=over_parent)


def _slot_opened(story: Story, payload: Payload) -> None:
    levels = {name: text(payload, name) for name in ("alpha_sup", "alpha_ni")}
    story.update(text(payload, "id"), outcome=Outcome.AT_JUDGE, slot=whole(payload, "slot"), **levels)


def _verdict(story: Story, payload: Payload) -> None:
    verdict = table(payload, "verdict")
    story.update(
        text(payload, "id"),
        outcome=_VERDICTS.get(text(verdict, "decision"), Outcome.ABSTAINED),
        reason=text(verdict, "reason"),
        slot=whole(verdict, "slot"),
        evidence=text(verdict, "evidence"),
        isolation=text(verdict, "isolation"),
    )


def _promoted(story: Story, payload: Payload) -> None:
    approved = text(payload, "approved_by")
    promotion = Promotion(
        turn=story.turn,
        version=text(payload, "version"),
        parent=text(payload, "parent"),
        attempt=text(payload, "id"),
        forced=payload.get("forced") is True,
        by=f"gate, approved by {approved}" if approved else text(payload, "by"),
        clause=text(payload, "reason") or text(payload, "clause"),
        objection=text(payload, "objection"),
    )
    story.promotions.append(promotion)
    story.champion = promotion.version
    if (attempt := story.attempts.get(promotion.attempt)) is not None:
        outcome = Outcome.FORCED if promotion.forced else Outcome.PROMOTED
        reason = f"approved by {approved}" if approved else promotion.clause if promotion.forced else attempt.reason
        story.update(attempt.id, outcome=outcome, reason=reason)


def _rejected(story: Story, payload: Payload) -> None:
    name, reason = text(payload, "id"), text(payload, "reason")
    attempt = story.attempts.get(name, Attempt(id=name))
    if text(payload, "by") or attempt.outcome is Outcome.HELD:  # a person's word, or the champion changed before it
        outcome = Outcome.DECLINED if text(payload, "by") else Outcome.DROPPED
        return story.update(name, outcome=outcome, reason=reason)
    # The judge's or the screen's own word is finer than "rejected": keep it. What is just built was never judged.
    outcome = attempt.outcome
    if outcome is Outcome.BUILT:
        outcome = Outcome.OUT_OF_PLAN if reason.startswith("out of plan") else Outcome.DROPPED
    outcome = outcome if outcome in (*_REFUSED, Outcome.FORCED) else Outcome.REJECTED
    return story.update(name, outcome=outcome, reason=attempt.reason or reason)


def _held(story: Story, payload: Payload) -> None:
    why = payload.get("why")
    said = "; ".join(map(str, why)) if isinstance(why, list) else ""
    story.update(text(payload, "id"), outcome=Outcome.HELD, reason=said)


def _standing_checked(story: Story, payload: Payload) -> None:
    said = {name: text(payload, name) for name in ("champion", "reference", "evidence", "alpha")}
    story.standing.append(Standing(turn=story.turn, alarm=payload.get("alarm") is True, **said))


def _rolled_back(story: Story, payload: Payload) -> None:
    source, target = text(payload, "from"), text(payload, "to")
    story.rollbacks.append(
        Rollback(turn=story.turn, source=source, target=target, reason=text(payload, "reason"), by=text(payload, "by"))
    )
    story.champion = target


def _reported(story: Story, payload: Payload) -> None:
    skills = table(payload, "skills")
    names = tuple(f.name for f in fields(SkillGain) if f.name != "skill")
    story.measured[story.champion] = {
        skill: SkillGain(skill=skill, **{name: counts(skills, skill).get(name, 0) for name in names})
        for skill in skills
    }


def _heard(story: Story, payload: Payload) -> None:
    refused = payload.get("refused")
    for row in refused if isinstance(refused, list) else ():
        if isinstance(row, dict):
            story.unheard[text(row, "kind")] += 1
            story.unheard_last = f"{text(row, 'kind')}: {text(row, 'reason')}"


def _run_stopped(story: Story, payload: Payload) -> None:
    story.run = replace(story.run, stopped=text(payload, "reason") or None)  # a resumed run gives none


_HANDLERS: dict[str, Callable[[Story, Payload], None]] = {
    "build.failed": _build_failed,
    "built": _built,
    "diagnosed": _diagnosed,
    "heard": _heard,
    "held": _held,
    "judge.sealed": _judge_sealed,
    "pick.passed": _goes_on,
    "picked": _goes_on,
    "promoted": _promoted,
    "proposed": _proposed,
    "rejected": _rejected,
    "reported": _reported,
    "rolled_back": _rolled_back,
    "run.resumed": _run_stopped,
    "run.started": _run_started,
    "run.stopped": _run_stopped,
    "screened": _screened,
    "seed.imported": _seed_imported,
    "slot.opened": _slot_opened,
    "standing.checked": _standing_checked,
    "turn.ended": _turn_ended,
    "turn.started": _turn_started,
    "verdict": _verdict,
}
