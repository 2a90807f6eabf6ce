"""A policy over directives: what paid is drawn more often."""

from __future__ import annotations

import random

from evolvent.propose.directives import Directive, DirectivePolicy

OPTIONS = {"rate": ("1", "2", "3"), "filter": ("cycle", "none")}


def test_it_begins_even_and_draws_each_value() -> None:
    policy = DirectivePolicy(options=OPTIONS)
    assert (policy.weights("rate"), policy.weights("filter")) == ([1, 1, 1], [1, 1])
    rng = random.Random(0)
    assert {tuple(policy.draw(rng).values()) for _ in range(200)} == {
        (rate, kind) for rate in OPTIONS["rate"] for kind in OPTIONS["filter"]
    }
    assert policy.likeliest() == {"rate": "1", "filter": "cycle"}


def test_the_best_count_and_the_rest_do_not() -> None:
    tried: list[tuple[Directive, float]] = [
        ({"rate": "1", "filter": "none"}, 0.1),
        ({"rate": "3", "filter": "none"}, 0.9),
        ({"rate": "3", "filter": "cycle"}, 0.5),
    ]
    policy = DirectivePolicy(options=OPTIONS).learn(tried, 2)
    assert policy.weights("rate") == [1, 1, 3]
    assert policy.weights("filter") == [2, 2]
    assert policy.learn(tried, 1).likeliest() == {"rate": "3", "filter": "none"}


def test_it_finds_what_pays() -> None:
    """Ten rounds of six: the paying value is drawn in at least four fifths of draws, where an even one has a third."""
    rng, policy = random.Random(1), DirectivePolicy(options=OPTIONS)
    for _ in range(10):
        drawn = [policy.draw(rng) for _ in range(6)]
        policy = policy.learn([(d, float(d["rate"] == "2") + rng.gauss(0, 0.1)) for d in drawn], 2)
    assert sum(policy.draw(rng)["rate"] == "2" for _ in range(100)) >= 80
