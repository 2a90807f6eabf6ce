"""Proposers: pure, within the space, and what helped is tried more."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from evolvent.memory.effects import Effects
from evolvent.propose.bandit import BanditProposer, RandomProposer, fingerprint
from evolvent.propose.base import OperatorSpec, Proposer, Situation
from evolvent.types import Diagnosis

A = OperatorSpec(name="a", summary="", space={"x": (1, 2, 3)}, prior_points=2.0)
B = OperatorSpec(name="b", summary="", space={"x": (1, 2, 3)}, prior_points=2.0)
SCAFFOLD = OperatorSpec(name="s", summary="", space={"kind": ("direct", "vote"), "answers": (4,)})
WORST = Diagnosis(skill="multi", slice={}, n=10, failures=9, low="0.6", high="1")
each = pytest.mark.parametrize("proposer", [BanditProposer(), RandomProposer()])


def situation(effects: Effects | None = None, barred: frozenset[str] = frozenset(), **fields: Any) -> Situation:
    base: Mapping[str, Any] = {"turn": 1, "weaknesses": [WORST], "policy": {}, "scaffold": {"kind": "direct"}}
    return Situation(**{**base, "effects": effects or Effects(), "barred": barred, **fields})


@each
def test_ideas_lie_in_the_space_and_are_told_apart(proposer: Proposer) -> None:
    for seed in range(20):
        ideas = proposer.propose(situation(), [A, B], 4, random.Random(seed))
        assert len(ideas) == 4
        assert len({fingerprint(i.operator, i.params) for i in ideas}) == 4
        assert all(i.operator in "ab" and i.params["x"] in (1, 2, 3) and i.diagnosis == WORST for i in ideas)


@each
def test_the_same_situation_gives_the_same_ideas(proposer: Proposer) -> None:
    first, again = (proposer.propose(situation(), [A, B], 3, random.Random(7)) for _ in range(2))
    assert first == again


@each
def test_barred_ideas_and_todays_scaffold_are_left_out(proposer: Proposer) -> None:
    barred = frozenset({fingerprint("a", {"x": 1}), fingerprint("a", {"x": 2})})
    for seed in range(20):
        ideas = proposer.propose(situation(barred=barred), [A, SCAFFOLD], 5, random.Random(seed))
        assert all(i.params in ({"x": 3}, {"kind": "vote", "answers": 4}) for i in ideas)


@each
def test_nothing_left_is_no_idea(proposer: Proposer) -> None:
    barred = frozenset(fingerprint("a", {"x": x}) for x in (1, 2, 3))
    assert proposer.propose(situation(barred=barred), [A], 2, random.Random(0)) == []
    assert proposer.propose(situation(), [], 2, random.Random(0)) == []
    assert proposer.propose(situation(), [A], 0, random.Random(0)) == []


def firsts(effects: Effects) -> Counter[str]:
    draws = (BanditProposer().propose(situation(effects), [A, B], 1, random.Random(s)) for s in range(300))
    return Counter(ideas[0].operator for ideas in draws)


def test_what_helped_is_tried_more_and_nothing_is_given_up_at_once() -> None:
    assert 110 < firsts(Effects())["a"] < 190
    effects = Effects()
    for _ in range(3):
        effects.screened("a", "multi", 24, 0, 200, 0)
    after = firsts(effects)
    assert after["a"] > 200
    assert after["b"] > 0


def test_gain_is_weighed_against_cost() -> None:
    cheap = OperatorSpec(name="a", summary="", space={"x": (1, 2)}, prior_points=5.0, relative_cost=0.1)
    dear = OperatorSpec(name="b", summary="", space={"x": (1, 2)}, prior_points=5.0, relative_cost=3.0)
    draws = (BanditProposer().propose(situation(), [cheap, dear], 1, random.Random(s)) for s in range(200))
    assert Counter(ideas[0].operator for ideas in draws)["a"] > 150


def test_chance_does_not_look_at_effects() -> None:
    effects = Effects()
    for _ in range(30):
        effects.screened("a", "multi", 50, 0, 200, 0)
    draws = (RandomProposer().propose(situation(effects), [A, B], 1, random.Random(s)) for s in range(400))
    assert 150 < Counter(ideas[0].operator for ideas in draws)["a"] < 250
