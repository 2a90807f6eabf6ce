"""Proposers compete: who helps is asked more, nobody twice for the same, and only who is drawn is asked."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from places import A, B, situation, tried

from evolvent.memory.memory import Memory
from evolvent.propose.bandit import BanditProposer, RandomProposer
from evolvent.propose.base import Idea, OperatorSpec, Situation, fingerprint
from evolvent.propose.market import Market


class Stubborn:
    """Always the same idea; counts how often it was asked."""

    def __init__(self, x: int) -> None:
        self.x, self.asked = x, 0

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        self.asked += 1
        return [situation.idea(A, {"x": self.x})][:count]


def test_ideas_are_different_and_name_their_proposer() -> None:
    market = Market(proposers={"one": Stubborn(1), "two": Stubborn(2)})
    ideas = market.propose(situation(), [A, B], 5, random.Random(0))
    assert {(idea.proposer, idea.params["x"]) for idea in ideas} == {("one", 1), ("two", 2)}


def test_what_was_tried_on_this_champion_comes_again_only_where_nothing_is_new() -> None:
    market = Market(proposers={"bandit": BanditProposer()})
    old = [fingerprint("a", {"x": x}) for x in (1, 2)]
    ideas = market.propose(situation(tried=old), [A], 2, random.Random(0))
    assert ideas[0].params == {"x": 3}
    assert ideas[1].fingerprint in old


def test_who_helped_is_asked_more_and_who_is_not_drawn_is_not_asked() -> None:
    memory = tried("a", {"x": 1}, 15.0, times=10, proposer="good", memory=Memory())
    tried("a", {"x": 1}, -15.0, times=10, proposer="bad", memory=memory)
    good, bad = Stubborn(1), Stubborn(2)
    market = Market(proposers={"good": good, "bad": bad})
    winners = Counter(market.propose(situation(memory), [A], 1, random.Random(seed))[0].proposer for seed in range(200))
    assert winners["good"] > 180
    assert good.asked + bad.asked == 200


def test_the_same_draw_gives_the_same_ideas() -> None:
    market = Market(proposers={"bandit": BanditProposer(), "random": RandomProposer()})
    one, other = (market.propose(situation(), [A, B], 3, random.Random(5)) for _ in range(2))
    assert one == other
