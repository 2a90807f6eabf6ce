"""A placebo for memory: the same changes at the same costs, but what became of them is dealt anew.

A run that starts with it has as much memory as one with the true one, the same gains and verdicts in it, and does not
know which change they belong to; what each costs, which builds fail and how much changes gain on average it does know.
So what a true memory saves beyond it is what was learned of changes, and not that any memory makes a run choose
otherwise. Of very few episodes the deal may be the true one.

Not here: runs that compare them (`benchmarks/recursion.py`).
"""

from __future__ import annotations

import random
from dataclasses import replace

from evolvent.memory.episodes import DROPPED, FAILED
from evolvent.memory.memory import Memory

__all__ = ["dealt_anew"]


def dealt_anew(memory: Memory, seed: int) -> Memory:
    """A memory of the same episodes, in which outcome, reason, gain and signals go to another episode by chance.

    Episodes that were never looked at keep what they have; sums and rules are folded anew from the episodes, so what
    older episodes had left in them is gone.
    """
    tried = [place for place, e in enumerate(memory.episodes) if e.outcome not in (DROPPED, FAILED)]
    givers = random.Random(seed).sample(tried, len(tried))
    dealt = list(memory.episodes)
    for place, giver in zip(tried, givers, strict=True):
        other = memory.episodes[giver]
        dealt[place] = replace(
            memory.episodes[place], outcome=other.outcome, reason=other.reason, gain=other.gain, signals=other.signals
        )
    made = Memory()
    for episode in dealt:
        made.learn(episode)
    return made
