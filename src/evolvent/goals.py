"""Subgoals: one weak slice each, opened by diagnosis, closed or abandoned by evidence from dev.

Pure: from what is open and what was just diagnosed to the events that follow. And the run's own goal: whether it is
reached, as far as dev can tell.

Not here: the deadline (`plan.py`), operators (`propose/`), proof (`judge/`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evolvent.observe.diagnose import wilson
from evolvent.types import Trace

OPEN_LIMIT = 3
PATIENCE_TURNS = 8


@dataclass(frozen=True, kw_only=True)
class Move:
    """One event about a subgoal: ``goal.opened``, ``goal.closed`` or ``goal.abandoned``."""

    kind: str
    id: str
    payload: dict[str, Any]


def finished(open_goals: Mapping[str, Mapping[str, Any]], turn: int) -> list[Move]:
    """Subgoals to close (failure rate halved since they were opened) or to abandon (not so in `PATIENCE_TURNS`)."""
    moves = []
    for id_, goal in sorted(open_goals.items()):
        if goal["n"] and goal["failures"] * goal["n_at_start"] * 2 <= goal["failures_at_start"] * goal["n"]:
            reason, kind = "failure rate halved on dev", "goal.closed"
        elif turn - goal["turn"] >= PATIENCE_TURNS:
            reason, kind = f"no halving in {PATIENCE_TURNS} turns", "goal.abandoned"
        else:
            continue
        moves.append(Move(kind=kind, id=id_, payload={**goal, "turn": turn, "reason": reason}))
    return moves


def opened(open_goals: Mapping[str, Any], weaknesses: Sequence[Mapping[str, Any]], turn: int) -> list[Move]:
    """Subgoals to open: the worst slices that are none yet, at most `OPEN_LIMIT` in all."""
    moves: list[Move] = []
    for weakness in weaknesses:
        id_ = ",".join([weakness["skill"], *(f"{k}={v}" for k, v in sorted(weakness["slice"].items()))])
        if not weakness["slice"] or id_ in open_goals or len(open_goals) + len(moves) >= OPEN_LIMIT:
            continue
        n, failures = weakness["n"], weakness["failures"]
        payload = {
            "id": id_, "skill": weakness["skill"], "slice": weakness["slice"], "turn": turn, "n": n,
            "failures": failures, "n_at_start": n, "failures_at_start": failures, "reason": weakness["cause"],
        }  # fmt: skip
        moves.append(Move(kind="goal.opened", id=id_, payload=payload))
    return moves


def slice_counts(traces: Sequence[Trace], goal: Mapping[str, Any]) -> dict[str, int]:
    """Traces and failures of a subgoal's slice."""
    members = [
        t for t in traces if t.skill == goal["skill"] and all(t.tags.get(k) == v for k, v in goal["slice"].items())
    ]
    return {"n": len(members), "failures": sum(not t.correct for t in members)}


def gain_limits(anchor: Mapping[str, int], champion: Mapping[str, int]) -> tuple[float, float]:
    """Points between which champion's rate minus anchor's lies, 90 % by dev: Newcombe's interval of two samples.

    Seed and champion have dev problems of their own, so the two counts ``{n, correct}`` are independent.
    """
    (low_a, high_a), (low_c, high_c) = (
        wilson(anchor["correct"], anchor["n"]),
        wilson(champion["correct"], champion["n"]),
    )
    a, c = (counts["correct"] / max(1, counts["n"]) for counts in (anchor, champion))
    down, up = math.hypot(c - low_c, high_a - a), math.hypot(high_c - c, a - low_a)
    return 100 * (c - a - down), 100 * (c - a + up)
