"""A growing tree of agents, each a changed copy of its parent, tested on tasks that it passes or fails.

A policy spends a fixed number of tests on making children and on measuring what is there. What it believes of an agent
comes from those tests alone, so the one that looks best is on average worse than it looks, the more so the more agents
were compared.

Policies: ``best of n`` changes the root only; ``random parent`` anyone; ``dgm`` weighs a parent by its score and
against its children; these measure a child at once. ``hgm`` expands whose descendants do well and measures one test at
a time; ``hgm, root only`` is its control: the same schedule of measuring, and every child is the root's.

Not here: agents, tasks and truth (a `World`); a promise about the agent chosen (the judge's gate).

References:
    Zhang et al., "Darwin Goedel Machine", arXiv:2505.22954.
    Wang et al., "Huxley-Goedel Machine", arXiv:2510.21614.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["POLICIES", "Node", "Tree", "World", "chosen", "grow"]

Agent = TypeVar("Agent")
_FIRST, _MORE, _ENOUGH = 10, 50, 0.4  # DGM: ten tasks, fifty more for who solves two fifths of them
_EXPAND = 0.6  # HGM: as many agents as tests to this power
_SHARPNESS, _MIDDLE = 10, 0.5  # DGM: of the sigmoid of a parent's score


class World(Protocol[Agent]):
    """What agents are and how they fare."""

    def root(self) -> Agent:
        """The first agent."""
        ...

    def child(self, agent: Agent, rng: random.Random) -> Agent:
        """A changed copy."""
        ...

    def test(self, agent: Agent, rng: random.Random) -> bool:
        """Whether it passes one task, drawn now."""
        ...


@dataclass
class Node(Generic[Agent]):
    """An agent with its record.

    Attributes:
        agent: it.
        parent: place of its parent, -1 for the root.
        passed: tests passed.
        trials: tests.
        children: how many were made of it.
    """

    agent: Agent
    parent: int
    passed: int = 0
    trials: int = 0
    children: int = 0

    @property
    def belief(self) -> float:
        """Mean of the posterior under a uniform prior: one lucky test does not make an agent the best."""
        return (self.passed + 1) / (self.trials + 2)


class Tree(Generic[Agent]):
    """All agents of one search, and what is left of its tests."""

    def __init__(self, world: World[Agent], tests: int, rng: random.Random) -> None:
        self.world, self.left, self.rng = world, tests, rng
        self.nodes = [Node(world.root(), -1)]

    def measure(self, place: int, count: int) -> None:
        """Test an agent, as often as asked or as tests are left."""
        for _ in range(min(count, self.left)):
            self.nodes[place].passed += self.world.test(self.nodes[place].agent, self.rng)
            self.nodes[place].trials += 1
            self.left -= 1

    def expand(self, place: int) -> int:
        """Make a child; its place."""
        self.nodes[place].children += 1
        self.nodes.append(Node(self.world.child(self.nodes[place].agent, self.rng), place))
        return len(self.nodes) - 1

    def staged(self, place: int) -> None:
        """DGM's measurement: a few tests, and more for an agent that passes enough of them."""
        self.measure(place, _FIRST)
        node = self.nodes[place]
        if node.trials and node.passed >= _ENOUGH * node.trials:
            self.measure(place, _MORE)

    def clades(self) -> list[tuple[int, int]]:
        """Passed and failed tests of each agent with all its descendants; a child stands after its parent."""
        sums = [[node.passed, node.trials - node.passed] for node in self.nodes]
        for place in range(len(self.nodes) - 1, 0, -1):
            for i in (0, 1):
                sums[self.nodes[place].parent][i] += sums[place][i]
        return [(passed, failed) for passed, failed in sums]

    def thompson(self, counts: list[tuple[int, int]]) -> int:
        """Who draws the highest rate."""
        drawn = [self.rng.betavariate(1 + passed, 1 + failed) for passed, failed in counts]
        return drawn.index(max(drawn))


def grow(world: World[Agent], policy: str, tests: int, rng: random.Random) -> Tree[Agent]:
    """Spend the tests; all that was made, in the order in which it was made.

    Args:
        world: agents and tasks.
        policy: one of `POLICIES`.
        tests: how many in all.
        rng: draws parents, changes and tasks.

    Raises:
        ValueError: no such policy.
    """
    if policy not in POLICIES:
        raise ValueError(f"policy: expected one of {', '.join(POLICIES)}, got {policy!r}")
    tree = Tree(world, tests, rng)
    tree.staged(0)
    while tree.left > 0:
        POLICIES[policy](tree)
    return tree


def chosen(tree: Tree[Agent]) -> Node[Agent]:
    """The agent believed to be best, the older at a tie."""
    return max(tree.nodes, key=lambda node: node.belief)


def _child_of(pick: Callable[[Tree[Agent]], int]) -> Callable[[Tree[Agent]], None]:
    return lambda tree: tree.staged(tree.expand(pick(tree)))


def _by_score(tree: Tree[Agent]) -> int:
    scores = [node.passed / node.trials if node.trials else 0.0 for node in tree.nodes]
    weights = [
        1 / (1 + math.exp(-_SHARPNESS * (score - _MIDDLE))) / (1 + node.children)
        for score, node in zip(scores, tree.nodes, strict=True)
    ]
    return tree.rng.choices(range(len(weights)), weights)[0]


def _hgm(tree: Tree[Agent], parent: Callable[[Tree[Agent]], int]) -> None:
    if sum(node.trials for node in tree.nodes) ** _EXPAND >= len(tree.nodes):
        tree.measure(tree.expand(parent(tree)), 1)
    else:
        tree.measure(tree.thompson([(node.passed, node.trials - node.passed) for node in tree.nodes]), 1)


POLICIES: dict[str, Callable[[Tree[Any]], None]] = {
    "best of n": _child_of(lambda tree: 0),
    "random parent": _child_of(lambda tree: tree.rng.randrange(len(tree.nodes))),
    "dgm": _child_of(_by_score),
    "hgm": lambda tree: _hgm(tree, lambda tree: tree.thompson(tree.clades())),
    "hgm, root only": lambda tree: _hgm(tree, lambda tree: 0),
}
