"""A policy says how to look for improvements and nothing else: judge, plan and budgets are out of its reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evolvent import plan, policy
from evolvent.errors import UsageError
from evolvent.named import check_scaffold, load_operators
from evolvent.scaffold import grammar

META = Path(__file__).resolve().parents[1] / "recipes" / "meta"
policies = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in policy.SPACE.items()})
BASE: dict[str, Any] = {
    "task": "strings", "model": "none",
    "plan": {"operators": list(policy.OPERATORS), "target": "short", "protected": {"short": 5}},
}  # fmt: skip


@given(policies)
def test_it_is_read_as_it_was_written(chosen: policy.Policy) -> None:
    assert policy.read(policy.text_of(chosen)) == chosen
    check_scaffold({"kind": grammar.POLICY, **chosen})


@given(policies)
def test_it_sets_nothing_but_proposers_priors_and_builds(chosen: policy.Policy) -> None:
    patch = policy.settings(chosen)
    assert patch.keys() == {"proposers", "priors", "build"}
    settings, plain = plan.parse({**BASE, **patch}, "test"), plan.parse(BASE, "test")
    for untouched in ("plan", "budget", "judge", "dev", "probes", "people", "goal", "seed", "task", "model"):
        assert getattr(settings, untouched) == getattr(plain, untouched)
    assert settings.priors.keys() == set(settings.plan.operators)


@pytest.mark.parametrize(
    "stranger", ["max_items", "alpha_progress", "protected", "flops", "judge", "plan", "operators", "target"]
)
def test_there_is_no_word_for_judge_plan_and_budgets(stranger: str) -> None:
    with pytest.raises(ValueError, match=f"unknown \\['{stranger}'\\]"):
        policy.check({**policy.BY_HAND, stranger: 1})


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "1e999", "[" * 100_000, '{"proposer": "bandit"}',
     json.dumps({**policy.BY_HAND, "steps": 121}), json.dumps({**policy.BY_HAND, "steps": "120"}),
     json.dumps({**policy.BY_HAND, "steps": True}), json.dumps({**policy.BY_HAND, "proposer": "os:system"}),
     json.dumps({**policy.BY_HAND, "steps": [120]})],
    ids=range(12),
)  # fmt: skip
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^policy"):
        policy.read(text)


@given(policies, st.sampled_from([*policy.SPACE, *policy.TOGETHER]), st.sampled_from([-2, -1, 1, 2]))
def test_a_neighbour_differs_in_what_is_moved(chosen: policy.Policy, name: str, move: int) -> None:
    near = policy.neighbour(chosen, name, move)
    policy.check(near)
    assert {key for key in chosen if near[key] != chosen[key]} == set(policy.TOGETHER.get(name, [name]))


def test_a_faster_pace_is_smaller_builds_at_a_higher_rate() -> None:
    near = policy.neighbour(policy.BY_HAND, "pace", -1)
    assert {key: near[key] for key in near if near[key] != policy.BY_HAND[key]} == {
        "problems": 60, "steps": 60, "learning_rate": "0.01",
    }  # fmt: skip


def test_a_prior_is_of_an_operator_of_the_plan() -> None:
    operators = load_operators(["gold", "policy"], {"gold": 13})
    assert (operators["gold"].spec.prior_points, operators["policy"].spec.prior_points) == (13.0, 6.0)
    with pytest.raises(UsageError, match=r"priors: not in plan\.operators: scaffold"):
        load_operators(["gold"], {"scaffold": 1})


def test_the_recipe_begins_with_the_policy_by_hand() -> None:
    plain = yaml.safe_load((META / "evolvent.yaml").read_text("utf-8"))
    assert grammar.stated(plain["scaffold"]) == policy.BY_HAND
    settings = plan.load(META / "evolvent.yaml")
    assert (settings.task, settings.plan.operators) == ("improvement", ["policy_edit"])
