"""Archives of agents: tests are spent exactly, and what looks best looks better than it is."""

from __future__ import annotations

import random

import pytest

from evolvent.archive.lineage import POLICIES, chosen, grow
from evolvent.archive.simulated import Simulated


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("tests", [1, 60, 150])
def test_every_test_is_spent_and_counted(policy: str, tests: int) -> None:
    tree = grow(Simulated(spread=0.06), policy, tests, random.Random(0))
    assert sum(node.trials for node in tree.nodes) == tests
    assert all(0 <= node.passed <= node.trials for node in tree.nodes)
    assert [node.parent < place for place, node in enumerate(tree.nodes)] == [True] * len(tree.nodes)
    assert sum(node.children for node in tree.nodes) == len(tree.nodes) - 1
    assert sum(tree.clades()[0]) == tests


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_generator_grows_the_same_tree(policy: str) -> None:
    one, other = (grow(Simulated(spread=0.06), policy, 100, random.Random(3)).nodes for _ in range(2))
    assert one == other


def test_best_of_n_changes_the_root_only() -> None:
    tree = grow(Simulated(spread=0.06), "best of n", 150, random.Random(1))
    assert {node.parent for node in tree.nodes[1:]} == {0}


def test_hgm_makes_as_many_agents_as_its_tests_allow() -> None:
    tree = grow(Simulated(spread=0.06), "hgm", 400, random.Random(1))
    assert 400**0.6 - 1 <= len(tree.nodes) <= 400**0.6 + 1


def test_a_flat_world_claims_gains_that_are_luck() -> None:
    """200 worlds: the mean claim is above truth by far more than its noise."""
    made = [chosen(grow(Simulated(spread=0.0), "hgm", 150, random.Random(seed))) for seed in range(200)]
    assert all(node.agent.skill == 0.2 for node in made)
    assert sum(node.passed / node.trials - 0.2 for node in made) / len(made) > 0.1


def test_an_unknown_policy_is_named() -> None:
    with pytest.raises(
        ValueError, match="policy: expected one of best of n, random parent, dgm, hgm, hgm, root only, got 'x'"
    ):
        grow(Simulated(spread=0.0), "x", 10, random.Random(0))
