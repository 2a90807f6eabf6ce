from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest
from synthetic_run import Builder, Synthetic, digest

from evolvent.judge import stats
from evolvent.report import Story, words
from evolvent.report.rows import Outcome, SkillGain


@pytest.fixture(scope="module")
def made() -> Synthetic:
    return Synthetic()


@pytest.fixture(scope="module")
def story(made: Synthetic) -> Story:
    return Story.of(made.events)


def test_fold_is_incremental(made: Synthetic) -> None:
    step = Story()
    for i, event in enumerate(made.events):
        step.add(event)
        if i % 7 == 0:
            assert step == Story.of(made.events[: i + 1])


def test_champion_follows_promotions_and_rollbacks(made: Synthetic, story: Story) -> None:
    assert story.champion == made.champion
    assert [p.forced for p in story.promotions] == [False, True, False]
    assert [p.by for p in story.promotions if p.forced] == ["dana"]
    assert [(r.turn, r.source) for r in story.rollbacks] == [(3, story.promotions[1].version)]
    assert [s.alarm for s in story.standing] == [True]


def test_each_proposal_ends_where_its_events_say(story: Story) -> None:
    assert [attempt.outcome for attempt in story.attempts.values()] == [
        Outcome.REJECTED, Outcome.PROMOTED, Outcome.SCREENED_OUT, Outcome.BUILD_FAILED, Outcome.REJECTED,
        Outcome.FORCED, Outcome.ABSTAINED, Outcome.SCREENED_OUT, Outcome.PROMOTED, Outcome.SCREENED_OUT,
        Outcome.REJECTED,
    ]  # fmt: skip
    assert len(story.refused) == 8
    failed = story.attempts["2.0"]
    assert failed.reason == "JobFailed: loss is not finite at step 212"
    assert failed.diagnosis["skill"] == "multi"


def test_totals_are_sums_of_events(made: Synthetic, story: Story) -> None:
    built = [event.payload for event in made.events if event.kind == "built"]
    assert story.funnel == {name: sum(b["funnel"][name] for b in built) for name in story.funnel}
    assert story.cost.flops == sum(b["flops"] for b in built)
    measured = sum(event.cost.get("ms", 0) for event in made.events)
    assert story.cost.milliseconds == measured
    assert story.alpha_spent == Decimal("0.00025") * 6
    assert (story.head, story.num_events) == (made.events[-1].chain_hash, len(made.events))


def test_subgoals_end_by_events(story: Story) -> None:
    assert {g.id: (g.state, g.opened, g.ended) for g in story.subgoals} == {
        "G1": ("closed", 0, 4),
        "G2": ("abandoned", 2, 3),
    }


def test_gain_interval_is_newcombe_paired(story: Story) -> None:
    gain = story.gains["multi"]
    assert gain.gain == pytest.approx(0.123)
    assert gain.interval == stats.newcombe_paired(335, 171, 48, 446)


@pytest.mark.parametrize("changes", [{"wins": 172}, {"n": 100}, {"losses": -1}, {"n": 0}])
def test_contradicting_counts_have_no_interval(changes: dict[str, int]) -> None:
    right = SkillGain(skill="x", n=1000, seed_correct=383, champion_correct=506, wins=171, losses=48)
    assert dataclasses.replace(right, **changes).interval is None


@pytest.mark.parametrize(
    "payload", [{}, {"skills": []}, {"id": 3, "proposal": "x", "slot": "y", "funnel": {"kept": "z"}}]
)
def test_odd_payloads_do_not_stop_the_fold(made: Synthetic, payload: dict[str, object]) -> None:
    log = Builder()
    for kind in sorted({event.kind for event in made.events} | {"kind.of.next.year"}):
        log.add(kind, dict(payload))
    assert Story.of(log.events).num_events == len(log.events)


def test_a_candidate_that_was_built_and_never_looked_at_was_dropped() -> None:
    log = Builder()
    for name, reason in (("1.0", "the turn's budget of tokens is spent"), ("1.1", "out of plan: too many parameters")):
        log.add("proposed", {"id": name, "proposal": {"turn": 1, "operator": "gold"}, "answers": None})
        log.add("built", {"id": name, "version": digest(name), "funnel": {}})
        log.add("rejected", {"id": name, "version": digest(name), "reason": reason})
    attempts = Story.of(log.events).attempts
    assert [attempts[name].outcome for name in ("1.0", "1.1")] == [Outcome.DROPPED, Outcome.OUT_OF_PLAN]


def test_what_a_turn_cost_is_known_before_it_ends() -> None:
    log = Builder()
    log.add("turn.started", {"turn": 1, "champion": "c"})
    log.add("diagnosed", {"turn": 1, "champion": "c", "skills": {}, "subgoals": {}, "tokens": 120, "flops": 7})
    log.add("reported", {"skills": {}, "tokens": 10**6})
    assert (Story.of(log.events).cost.tokens, Story.of(log.events).cost.flops) == (120, 7)


def test_a_subgoal_is_followed_by_its_counts() -> None:
    log = Builder()
    counts = {"n": 20, "failures": 15, "n_at_start": 20, "failures_at_start": 15}
    log.add("turn.started", {"turn": 1, "champion": "c"})
    log.add("goal.opened", {"id": "g", "skill": "multi", "slice": {"kind": "retype"}, "reason": "why", **counts})
    assert words.slice_counts(Story.of(log.events).subgoals[0]) == "15 of 20 failed"
    log.add("diagnosed", {"turn": 2, "champion": "c", "skills": {}, "subgoals": {"g": {"n": 18, "failures": 4}}})
    assert words.slice_counts(Story.of(log.events).subgoals[0]) == "15 of 20 failed, then 4 of 18 failed"


@pytest.mark.parametrize("subgoals", [[1], None, "x", {"g": [1]}, {"g": {"n": "3", "failures": None}}, {"g": 10**400}])
def test_odd_subgoals_do_not_stop_the_fold(subgoals: object) -> None:
    log = Builder()
    log.add("goal.opened", {"id": "g", "skill": "multi"})
    log.add("diagnosed", {"skills": [], "subgoals": subgoals})
    assert words.slice_counts(Story.of(log.events).subgoals[0]) == ""
