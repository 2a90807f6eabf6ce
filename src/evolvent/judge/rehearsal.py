"""The gate on one skill, outside of a run: what it would say of differences that are drawn as it asks for them.

For experiments that ask how a change would fare: same tests, same levels of a slot, one skill that is both target and
protected, the incumbent as its own anchor. It opens no evidence and spends no run's budget.

Not here: judging. A candidate is judged on problems drawn after it was fixed, by a process that it cannot reach.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from evolvent.judge.gate import Pair, PairedGate, items_used, slot_levels
from evolvent.judge.questions import Protected, Question
from evolvent.types import Candidate

__all__ = ["rehearse"]

_SKILL = "target"


def rehearse(
    draw: Callable[[int], NDArray[np.int8]], slot: int, most: int, block: int, promotions: int = 0
) -> tuple[str, int, int]:
    """Ask the gate: margin and smallest gain of interest five points, a fifth of the items discordant.

    Args:
        draw: the next `count` differences, candidate minus incumbent, -1, 0 or 1.
        slot: whose share of an error budget of .05 is spent, from 1.
        most: items that may be drawn.
        block: items drawn at a time.
        promotions: before this slot.

    Returns:
        Decision (``accept``, ``reject``, ``abstain``), items read, items that differed.
    """
    sup, ni = slot_levels(alpha=0.05, slot=slot, promotions=promotions)
    one, two = (Candidate(model=c * 64, scaffold={"kind": "direct"}, genome="0" * 64).plain() for c in "ab")
    question = Question(
        slot=slot, candidate=one, incumbent=two, anchor=two, target=_SKILL,
        protected=(Protected(skill=_SKILL, margin_points=5, discordance="0.2"),), alpha_sup=sup, alpha_ni=ni,
        max_items=most, block_items=block, discordance="0.2", mei_points=5,
    )  # fmt: skip
    pair, seen = Pair(_SKILL, "incumbent"), np.zeros(0, np.int8)
    while True:
        ruling = PairedGate().rule(question, {pair: seen})
        if ruling.decision is not None:
            return str(ruling.decision.value), items_used({pair: seen}), int((seen != 0).sum())
        seen = np.concatenate([seen, draw(min(block, most - len(seen)))])
