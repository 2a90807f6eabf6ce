import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolvent.errors import UsageError
from evolvent.judge import PairedGate, Protected, Question, SealedQuestion, StandingQuestion, slot_levels
from evolvent.judge.gate import Pair, Ruling, items_used, standing_stages
from evolvent.types import Candidate, Decision

SKILLS = ("a", "b")


def version(name: str) -> dict[str, Any]:
    return Candidate(model=name * 64, scaffold={"kind": "direct"}, genome="0" * 64).plain()


def question(**changes: Any) -> Question:
    fields: dict[str, Any] = {
        "slot": 1,
        "candidate": version("c"),
        "incumbent": version("1"),
        "anchor": version("2"),
        "target": "a",
        "protected": tuple(Protected(skill=skill, margin_points=5) for skill in SKILLS),
        "alpha_sup": "0.01",
        "alpha_ni": "0.01",
        "max_items": 6000,
    }
    return Question(**{**fields, **changes})


def play(
    asked: Question, gains: dict[Pair, float], seed: int, discordance: float = 0.2
) -> tuple[Ruling, dict[Pair, Any]]:
    """Feed the gate from true gains until it rules; as the server does, with simulated items."""
    rng, gate = np.random.default_rng(seed), PairedGate()
    outcomes: dict[Pair, Any] = {}
    drawn: dict[str, int] = {}
    while (ruling := gate.rule(asked, outcomes)).decision is None:
        pair = ruling.draw
        assert pair is not None
        known = outcomes.get(pair, np.zeros(0, np.int8))
        if len(known) == drawn.get(pair.skill, 0):
            drawn[pair.skill] = len(known) + min(asked.block_items, asked.max_items - items_used(outcomes))
        size = min(asked.block_items, drawn[pair.skill] - len(known))
        assert size > 0
        gain = gains.get(pair, 0.0)
        chances = [(discordance - gain) / 2, 1 - discordance, (discordance + gain) / 2]
        outcomes[pair] = np.concatenate([known, rng.choice(np.array([-1, 0, 1], np.int8), size, p=chances)])
    return ruling, outcomes


BETTER = {Pair("a", "incumbent"): 0.15, Pair("a", "anchor"): 0.15}


def test_a_clear_gain_without_loss_is_accepted() -> None:
    ruling, outcomes = play(question(), BETTER, seed=1)
    assert (ruling.decision, ruling.reason) == (Decision.ACCEPT, "superior")
    assert all(stage.outcome == "proven" and stage.path[-1] >= stage.threshold_log_e for stage in ruling.stages)
    assert [stage.name for stage in ruling.stages] == [
        "superiority",
        "ni:a:incumbent",
        "ni:a:anchor",
        "ni:b:incumbent",
        "ni:b:anchor",
    ]
    assert items_used(outcomes) < 2500


@pytest.mark.parametrize("against", ["incumbent", "anchor"])
def test_a_loss_on_one_skill_against_either_is_rejected(against: Any) -> None:
    ruling, _ = play(question(), {**BETTER, Pair("b", against): -0.15}, seed=2)
    assert (ruling.decision, ruling.reason) == (Decision.REJECT, "inferior:b")


def test_no_gain_is_futile_and_costs_no_other_skill() -> None:
    ruling, outcomes = play(question(), {}, seed=3)
    assert (ruling.decision, ruling.reason) == (Decision.REJECT, "futile")
    assert set(outcomes) == {Pair("a", "incumbent")}


def test_out_of_items_is_no_pass() -> None:
    ruling, outcomes = play(question(max_items=100), BETTER, seed=4)
    assert (ruling.decision, ruling.reason) == (Decision.ABSTAIN, "insufficient")
    assert items_used(outcomes) == 100


def test_an_anchor_that_is_the_incumbent_is_tested_once() -> None:
    ruling, _ = play(question(anchor=version("1")), BETTER, seed=5)
    assert ruling.decision is Decision.ACCEPT
    assert [stage.pair.against for stage in ruling.stages] == ["incumbent"] * 3


def test_nothing_seen_asks_for_the_target_first() -> None:
    ruling = PairedGate().rule(question(), {})
    assert ruling.decision is None
    assert ruling.draw == Pair("a", "incumbent")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), gain=st.sampled_from([-0.1, 0.0, 0.1]), extra=st.integers(1, 100))
def test_a_decision_is_pure_and_stays(seed: int, gain: float, extra: int) -> None:
    """Replayed on what it saw it is the same; later items turn no closed stage (abstaining may ask for more)."""
    asked = question(max_items=1500, alpha_sup="0.05", alpha_ni="0.05")
    ruling, outcomes = play(asked, {Pair("a", "incumbent"): gain}, seed)
    again = PairedGate().rule(asked, outcomes)
    assert (again.decision, again.reason) == (ruling.decision, ruling.reason)
    if ruling.decision is not Decision.ABSTAIN:
        first = next(iter(outcomes))
        longer = {**outcomes, first: np.concatenate([outcomes[first], np.full(extra, -1, np.int8)])}
        closed = [stage for stage in ruling.stages if stage.outcome != "open"]
        later = {stage.name: stage for stage in PairedGate().rule(asked, longer).stages}
        assert all(later[stage.name].outcome == stage.outcome for stage in closed)


def test_losses_at_twice_the_margin_are_not_promoted() -> None:
    """60 candidates that gain 15 points and lose 10 on the other skill, level .01: correct code promotes one of them in
    fewer than 45 of 100 seeds by the bound alone, and in practice never; the seed is fixed.
    """
    gains = {**BETTER, Pair("b", "incumbent"): -0.1, Pair("b", "anchor"): -0.1}
    decisions = [play(question(max_items=3000), gains, seed)[0].decision for seed in range(60)]
    assert Decision.ACCEPT not in decisions


def test_standing_alarms_on_a_loss_only() -> None:
    asked = StandingQuestion(
        number=1,
        reference=version("1"),
        champion=version("c"),
        protected=tuple(Protected(skill=skill, margin_points=2) for skill in SKILLS),
        alpha="0.02",
        max_items=100,
    )
    worse = {Pair("a", "anchor"): np.tile(np.array([-1, 0, 0], np.int8), 60)}
    assert [stage.outcome for stage in standing_stages(asked, worse)] == ["inferior", "open"]
    assert standing_stages(asked, worse)[0].threshold_log_e == pytest.approx(math.log(2 / 0.02))
    equal = {Pair("a", "anchor"): np.zeros(600, np.int8)}
    assert [stage.outcome for stage in standing_stages(asked, equal)] == ["proven", "open"]


def test_levels_of_a_slot() -> None:
    assert slot_levels(alpha=0.05, slot=1, promotions=0) == ("0.00025", "0.00025")
    assert slot_levels(alpha=0.05, slot=7, promotions=3) == ("0.001", "0.00025")
    assert slot_levels(alpha=0.05, slot=101, promotions=0)[1] == "4.16666e-05"  # rounded down


@given(slot=st.integers(1, 10**6), promotions=st.integers(0, 50))
def test_levels_are_never_rounded_up(slot: int, promotions: int) -> None:
    from evolvent.judge.stats import spend_epochs

    superiority, other = slot_levels(alpha=0.05, slot=slot, promotions=promotions)
    share = 0.05 * float(spend_epochs(slot))
    assert 0 < float(other) <= share
    assert float(superiority) <= share * (promotions + 1) * (1 + 1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "c"},
        {"protected": ()},
        {"protected": (Protected(skill="a", margin_points=1),) * 2},
        {"alpha_ni": "0"},
        {"alpha_sup": "five"},
        {"slot": 0},
        {"rule": "average"},
    ],
)
def test_a_question_without_meaning_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        question(**changes)


def test_questions_survive_their_plain_form() -> None:
    asked = question()
    assert Question.from_plain(asked.plain()) == asked
    assert Question.from_plain(asked.plain()).hash == asked.hash
    sealed = SealedQuestion(seed_candidate=version("1"), champion=version("c"), counts={"a": 3})
    assert SealedQuestion.from_plain(sealed.plain()) == sealed
    with pytest.raises(UsageError, match="unknown"):
        Question.from_plain({**asked.plain(), "alpha": "1"})
    with pytest.raises(UsageError, match="slot"):
        Question.from_plain({key: value for key, value in asked.plain().items() if key != "slot"})
