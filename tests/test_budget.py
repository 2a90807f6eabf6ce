"""Budgets: what is charged is counted everywhere, and each limit names its owner."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolvent.budget import BUILD_UNITS, UNITS, Budget, afford, allowance
from evolvent.errors import BudgetSpent, JobFailed, UsageError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_charge_reaches_every_budget_around() -> None:
    run = Budget("run", {"flops": 100})
    turn = Budget("turn", {"tokens": 50}, parent=run)
    build = Budget("build", {"flops": 60}, parent=turn)
    build.charge(flops=60, tokens=10)
    assert build.spent["flops"] == turn.spent["flops"] == run.spent["flops"] == 60
    assert (build.left("flops"), build.left("tokens"), build.left("problems")) == (0, 40, None)
    turn.charge(flops=30)
    assert (build.spent["flops"], run.left("flops")) == (60, 10)


@pytest.mark.parametrize(("flops", "owner", "limit"), [(61, "build", 60), (101, "build", 60)])
def test_crossed_limit_names_its_owner_and_stays_counted(flops: int, owner: str, limit: int) -> None:
    run = Budget("run", {"flops": 100})
    build = Budget("build", {"flops": 60}, parent=run)
    with pytest.raises(BudgetSpent) as caught:
        build.charge(flops=flops)
    error = caught.value
    assert (error.owner, error.unit, error.limit, error.wanted) == (owner, "flops", limit, flops)
    assert run.spent["flops"] == flops
    assert run.left("flops") == max(0, 100 - flops)


def test_outer_limit_stops_an_inner_budget() -> None:
    run = Budget("run", {"problems": 10})
    judge = Budget("judge", {}, parent=run)
    judge.charge(problems=10)
    with pytest.raises(BudgetSpent, match="'run'"):
        judge.check(problems=1)
    assert run.spent["problems"] == 10
    judge.check(tokens=10**9)


def test_seconds_are_measured_by_the_clock_besides_what_is_charged() -> None:
    clock = Clock()
    run = Budget("run", {"seconds": 10}, clock=clock)
    clock.now = 4.9
    run.charge(seconds=3)  # spent before a restart
    turn = Budget("turn", {"seconds": 5}, clock=clock, parent=run)
    clock.now = 7.9
    assert (run.spent["seconds"], turn.spent["seconds"]) == (10, 3)
    turn.check()
    clock.now = 8.0
    with pytest.raises(BudgetSpent, match="'run'") as caught:
        turn.check()
    assert caught.value.unit == "seconds"


@pytest.mark.parametrize("amounts", [{"dollars": 1}, {"flops": -1}, {"flops": 1.5}, {"flops": True}])
def test_unusable_amounts_are_refused(amounts: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="budget of 'x'"):
        Budget("x", amounts)
    budget = Budget("x", {})
    with pytest.raises(UsageError):
        budget.charge(**amounts)
    with pytest.raises(UsageError):
        budget.check(**amounts)
    assert budget.spent == dict.fromkeys(UNITS, 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(UNITS), st.integers(0, 50)), max_size=30))
def test_budget_counted_is_budget_spent(charges: list[tuple[int, str, int]]) -> None:
    chain = [Budget("0", {"flops": 100})]
    for depth in range(1, 4):
        chain.append(Budget(str(depth), {"tokens": 40 * depth}, parent=chain[-1]))
    for depth, unit, amount in charges:
        with suppress(BudgetSpent):
            chain[depth].charge(**{unit: amount})
    for depth, budget in enumerate(chain):
        for unit in UNITS:
            assert budget.spent[unit] == sum(a for d, u, a in charges if d >= depth and u == unit)


def test_what_was_spent_before_counts_here_and_not_twice_around() -> None:
    run = Budget("run", {"flops": 100}, spent={"flops": 90})
    turn = Budget("turn", {"flops": 50}, spent={"flops": 30}, parent=run)
    assert (turn.left("flops"), run.left("flops")) == (10, 10)
    with pytest.raises(UsageError):
        Budget("turn", {}, spent={"flops": -1})


@given(
    left=st.dictionaries(st.sampled_from(UNITS), st.integers(0, 10**6)),
    own=st.dictionaries(st.sampled_from(BUILD_UNITS), st.integers(0, 10**6)),
    builds=st.integers(1, 9),
)
def test_builds_side_by_side_cannot_cross_what_is_around_them(
    left: dict[str, int], own: dict[str, int], builds: int
) -> None:
    around = Budget("turn", left)
    each = allowance(around, own, builds)
    assert each.keys() == {unit for unit in BUILD_UNITS if unit in left or unit in own}
    for unit, limit in each.items():
        assert limit <= own.get(unit, limit)
        assert builds * limit <= left.get(unit, builds * limit)


def test_a_job_is_refused_the_step_that_crosses_its_allowance() -> None:
    params, spent = {"max_tokens": 10, "steps": 3}, {"flops": 7, "tokens": 9}
    afford(params, {"flops": 10**12, "tokens": 10}, spent)
    with pytest.raises(JobFailed, match="11 tokens wanted, 10 allowed") as caught:
        afford(params, {"flops": 8, "tokens": 11}, spent)
    assert (caught.value.kind, caught.value.flops, caught.value.tokens) == ("over_budget", 7, 9)
