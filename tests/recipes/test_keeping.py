"""Rules for keeping edits, where truth is known: an agent is the share that it solves."""

from __future__ import annotations

import random
from collections.abc import Sequence

from evolvent.recipes.keeping import Rule, Walk

PROMPTS = [str(i) for i in range(1000)]
TURNS = 40


def solved(skill: float, prompts: Sequence[str], seed: int) -> tuple[list[bool], int]:
    rng = random.Random(seed)
    return [rng.random() < skill for _ in prompts], 2 * len(prompts)


def null(skill: float, rng: random.Random) -> float:
    return skill


def changed(skill: float, rng: random.Random) -> float:
    return min(1.0, max(0.0, skill + rng.choice((-0.3, 0.0, 0.3))))


def walk(seed: int) -> Walk[float]:
    return Walk(solved=solved, seed=seed, champions=[0.3])


def test_the_gate_keeps_no_null_and_the_ratchet_does() -> None:
    """A correct gate keeps one of these 200 in at most one of twenty runs of this test; the seeds are fixed."""
    kept, claimed = 0, 0.0
    for seed in range(5):
        gated, ratcheted = walk(seed), walk(seed)
        gated.go(TURNS, null, gated.gate(PROMPTS, 300, 50))
        ratcheted.go(TURNS, null, ratcheted.ratchet(PROMPTS[:60]))
        assert gated.champions == [0.3]
        assert gated.claimed == 0
        kept, claimed = kept + len(ratcheted.champions) - 1, claimed + ratcheted.claimed
    assert kept >= 5, "the highest of 41 equal scores is seldom the first"
    assert claimed > 0


def test_the_gate_keeps_what_is_better_and_nothing_else() -> None:
    made = walk(0)
    made.go(TURNS, changed, made.gate(PROMPTS, 600, 50))
    assert made.champions[-1] > 0.85
    assert all(new > old for old, new in zip(made.champions, made.champions[1:], strict=False))
    assert made.tokens > 0


def test_a_walk_repeats_and_a_toss_keeps_its_turns() -> None:
    one, other, tossed = walk(3), walk(3), walk(3)
    rules: list[tuple[Walk[float], Rule[float]]] = [
        (one, one.ratchet(PROMPTS[:60])), (other, other.ratchet(PROMPTS[:60])), (tossed, tossed.toss([0, 7])),
    ]  # fmt: skip
    for made, rule in rules:
        made.go(TURNS, changed, rule)
    assert one == other
    assert len(tossed.champions) == 3
    assert tossed.tokens == 0


def test_edits_are_the_same_as_far_as_the_champion_allows() -> None:
    drawn: list[list[float]] = []
    for often in (0, TURNS):
        made, seen = walk(1), list[float]()
        made.go(TURNS, lambda skill, rng, seen=seen: seen.append(rng.random()) or skill, made.toss(range(often)))
        drawn.append(seen)
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == TURNS


def test_the_ratchet_keeps_no_tie() -> None:
    """For each count of a hundred: one step up to it, and nothing after."""

    def counted(agent: int, prompts: Sequence[str], seed: int) -> tuple[list[bool], int]:
        return [place < agent for place in range(len(prompts))], 0

    for first in range(0, 100, 7):
        for then in range(first + 1, 101):
            made = Walk(solved=counted, seed=0, champions=[first])
            made.go(3, lambda agent, rng, then=then: then, made.ratchet(PROMPTS[:100]))
            assert made.champions == [first, then]
