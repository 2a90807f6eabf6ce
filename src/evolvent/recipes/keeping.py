"""Rules that keep an edit or not, turn after turn: the gate, a ratchet on one reused dev set, a toss.

What a walk claims is what its own rule saw: of the ratchet the gain on its dev set; of the gate the mean difference
over the items that it read, which leans upwards, because it stops where the evidence is good. The gate vouches for a
gain's sign, not for its size.

Not here: edits and problems, which the caller brings; truth.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from evolvent.judge.rehearsal import rehearse
from evolvent.types import derive_seed

__all__ = ["Rule", "Walk"]

Agent = TypeVar("Agent")
Rule = Callable[[int, Agent], float]  # of a turn, from 0, and its child: the gain for which it stays, or 0


@dataclass(kw_only=True)
class Walk(Generic[Agent]):
    """A line of champions under one rule.

    Attributes:
        solved: which prompts an agent solves under a seed, and the tokens that it takes.
        seed: of the walk; what it does not draw from the champion is the same for each rule.
        champions: the first one, then each that was kept.
        claimed: gains that the rule saw in what it kept, summed.
        tokens: of all measuring.
    """

    solved: Callable[[Agent, Sequence[str], int], tuple[list[bool], int]]
    seed: int
    champions: list[Agent]
    claimed: float = 0.0
    tokens: int = 0

    def go(self, turns: int, edit: Callable[[Agent, random.Random], Agent], rule: Rule[Agent]) -> None:
        """So many turns: an edit of the champion, by a generator of the turn's own; it stays if a gain is seen."""
        for turn in range(turns):
            child = edit(self.champions[-1], random.Random(derive_seed(self.seed, "edit", turn)))
            gain = rule(turn, child)
            if gain > 0:
                self.champions.append(child)
                self.claimed += gain

    def gate(self, prompts: Sequence[str], items: int, block: int) -> Rule[Agent]:
        """The judge's rule on prompts drawn anew, at most `items` a turn; each turn is a slot of one error budget."""

        def rule(turn: int, child: Agent) -> float:
            rng, seen = random.Random(derive_seed(self.seed, "items", turn)), list[int]()

            def draw(count: int) -> NDArray[np.int8]:
                drawn, path = rng.choices(prompts, k=count), (turn, len(seen))
                found = self._share(child, drawn, "child", *path) - self._share(self.champions[-1], drawn, "old", *path)
                seen.extend(found.tolist())
                return found

            decision, read, _ = rehearse(draw, turn + 1, items, block, len(self.champions) - 1)
            return fmean(seen[:read]) if decision == "accept" else 0.0

        return rule

    def ratchet(self, prompts: Sequence[str]) -> Rule[Agent]:
        """Higher on the same prompts each time; a champion's score stays what it was when it was kept, luck and all."""
        best = int(self._share(self.champions[-1], prompts, "first").sum())

        def rule(turn: int, child: Agent) -> float:
            nonlocal best
            solved, before = int(self._share(child, prompts, "dev", turn).sum()), best
            best = max(best, solved)  # counts: of shares a tie may come out a hair higher
            return (solved - before) / len(prompts)

        return rule

    @staticmethod
    def toss(turns: Collection[int]) -> Rule[Agent]:
        """Whatever comes in these turns stays, unseen; the gain of 1 that it tells means nothing."""
        return lambda turn, child: float(turn in turns)

    def _share(self, agent: Agent, prompts: Sequence[str], *path: object) -> NDArray[np.int8]:
        solved, tokens = self.solved(agent, prompts, derive_seed(self.seed, *path))
        self.tokens += tokens
        return np.array(solved, np.int8)
