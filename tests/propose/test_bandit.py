"""The bandit: what helped is tried more, cheap before dear; chance does not look."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from places import SCAFFOLD, A, B, situation, tried

from evolvent.memory.memory import Memory
from evolvent.propose.bandit import BanditProposer, RandomProposer, all_choices
from evolvent.propose.base import OperatorSpec


def firsts(memory: Memory, other: OperatorSpec = B) -> Counter[str]:
    draws = (BanditProposer().propose(situation(memory), [A, other], 1, random.Random(s)) for s in range(300))
    return Counter(ideas[0].operator for ideas in draws)


def test_what_helped_is_tried_more_and_the_other_still_now_and_then() -> None:
    assert 110 < firsts(Memory())["a"] < 190
    after = firsts(tried("a", {"x": 1}, 12.0, times=8))
    assert after["a"] > 200
    assert after["b"] > 5


def test_what_failed_is_tried_less() -> None:
    assert firsts(tried("a", {"x": 1}, -20.0, times=8))["a"] < 60


def test_of_equal_hopes_the_cheaper_is_tried_first() -> None:
    assert firsts(Memory(), replace(B, relative_cost=0.1))["b"] > 165


def test_an_operator_with_many_values_is_not_tried_more_for_it() -> None:
    many = replace(B, space={name: tuple(range(3)) for name in "uvwxy"})
    assert 110 < firsts(Memory(), many)["a"] < 190


def test_a_value_that_helped_is_chosen_more() -> None:
    memory = tried("a", {"x": 1}, 15.0, times=10)
    tried("a", {"x": 2}, -5.0, times=10, memory=memory)
    draws = (BanditProposer().propose(situation(memory), [A], 1, random.Random(s)) for s in range(200))
    chosen = Counter(ideas[0].params["x"] for ideas in draws)
    assert chosen[1] > 100
    assert chosen[2] < 20


def test_the_ideas_of_a_turn_do_not_share_one_lucky_value() -> None:
    """Seven of sixteen edits, nothing remembered: of one draw all seven would have its luckier direction."""
    edit = OperatorSpec(name="e", summary="", space={"direction": (-1, 1), "place": tuple(range(8))})
    one_sided = 0
    for seed in range(50):
        ideas = BanditProposer().propose(situation(), [edit], 7, random.Random(seed))
        assert len({idea.fingerprint for idea in ideas}) == 7
        one_sided += len({idea.params["direction"] for idea in ideas}) == 1
    assert one_sided < 5


def test_chance_does_not_look_at_memory() -> None:
    memory = tried("a", {"x": 1}, 25.0, times=10)
    draws = (RandomProposer().propose(situation(memory), [A, B], 1, random.Random(s)) for s in range(400))
    assert 160 < Counter(ideas[0].operator for ideas in draws)["a"] < 240


def test_a_large_space_is_sampled_each_choice_once() -> None:
    large = OperatorSpec(name="l", summary="", space={name: tuple(range(10)) for name in "uvwxyz"})
    choices = all_choices(large, situation(), random.Random(0))
    assert 200 < len(choices) <= 256
    assert len({str(choice) for choice in choices}) == len(choices)
    assert len(all_choices(SCAFFOLD, situation(), random.Random(0))) == 1, "today's program is no change"
