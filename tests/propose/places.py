"""Situations for tests of proposers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evolvent.memory.episodes import Episode
from evolvent.memory.memory import Memory
from evolvent.propose.base import OperatorSpec, Situation
from evolvent.types import Diagnosis

A = OperatorSpec(name="a", summary="", space={"x": (1, 2, 3)}, prior_points=2.0)
B = OperatorSpec(name="b", summary="", space={"x": (1, 2, 3)}, prior_points=2.0)
SCAFFOLD = OperatorSpec(name="s", summary="", space={"kind": ("direct", "vote"), "answers": (4,)})
WORST = Diagnosis(skill="multi", slice={}, n=10, failures=9, low="0.6", high="1", errors={"syntax": 9})


def situation(memory: Memory | None = None, **fields: Any) -> Situation:
    """Nothing remembered, a middling champion that answers directly."""
    base: Mapping[str, Any] = {
        "turn": 1, "weaknesses": [WORST], "policy": {}, "scaffold": {"kind": "direct"}, "band": "middle"
    }  # fmt: skip
    return Situation(**{**base, "memory": memory or Memory(), **fields})


def tried(operator: str, params: Mapping[str, Any], gain: float, times: int = 1, **fields: Any) -> Memory:
    """Memory of one change, tried some times."""
    memory = fields.pop("memory", Memory())
    for number in range(times):
        memory.learn(Episode(**{
            "task": "t", "run": "r", "id": f"{number}.0", "operator": operator, "params": dict(params),
            "skill": "multi", "error": "syntax", "errors": {"syntax": 9}, "gain": round(1000 * gain), "mflops": 10,
            "outcome": "accepted" if gain > 0 else "rejected", **fields,
        }))  # fmt: skip
    return memory
