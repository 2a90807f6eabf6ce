"""Questions to the judge: who is compared with whom, and how the error budgets are spent."""

from __future__ import annotations

import itertools
from typing import Any

from evolvent.asking import promotion_question, standing_question
from evolvent.plan import ChangePlan
from evolvent.state import State

PLAN = ChangePlan(target="a", protected={"a": 5, "b": 8}, first_epoch_slots=4)


def version(name: str) -> dict[str, Any]:
    return {"candidate": {"model": name, "scaffold": {"kind": "direct"}, "genome": "g"}, "policy": {}}


def state(**fields: Any) -> State:
    names = ("seed", "champion", "child")
    base: dict[str, Any] = {"seed": "seed", "champion": "champion", "certified": "champion"}
    return State(versions={name: version(name) for name in names}, **{**base, **fields})


def test_a_child_is_held_against_champion_and_seed() -> None:
    question = promotion_question(state(), PLAN, "child", 96)
    assert question.candidate["model"] == "child"
    assert question.incumbent["model"] == "champion"
    assert question.anchor["model"] == "seed"
    assert {(p.skill, p.margin_points) for p in question.protected} == {("a", 5), ("b", 8)}
    assert question.max_new_tokens == 96


def test_safety_alpha_of_all_slots_ever_stays_in_its_budget() -> None:
    levels = [float(promotion_question(state(slots=n), PLAN, "child", 96).alpha_ni) for n in range(4000)]
    assert 0.9 * 0.05 < sum(levels) <= 0.05
    assert all(a >= b for a, b in itertools.pairwise(levels))


def test_promotions_earn_alpha_for_progress_only() -> None:
    before = promotion_question(state(slots=5), PLAN, "child", 96)
    after = promotion_question(state(slots=5, promotions=3), PLAN, "child", 96)
    assert float(after.alpha_sup) > float(before.alpha_sup)
    assert after.alpha_ni == before.alpha_ni
    assert after.slot == 6


def test_standing_alpha_of_all_checks_ever_stays_in_its_budget() -> None:
    levels = [float(standing_question(state(standing=n), PLAN, 96)[0].alpha) for n in range(4000)]
    assert 0.9 * 0.05 < sum(levels) <= 0.05


def test_a_certified_champion_is_held_against_the_seed_a_forced_one_against_the_last_certified() -> None:
    assert standing_question(state(), PLAN, 96)[1] == "seed"
    question, reference = standing_question(state(champion="child"), PLAN, 96)
    assert reference == "champion"
    assert (question.reference["model"], question.champion["model"]) == ("champion", "child")
