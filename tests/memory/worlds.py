"""Episodes for tests: one with everything usual, changed as asked."""

from __future__ import annotations

from typing import Any

from evolvent.memory.episodes import Episode
from evolvent.memory.memory import Memory


def episode(**changes: Any) -> Episode:
    """One rejected proposal that gained nothing."""
    base: dict[str, Any] = {
        "task": "strings", "run": "r", "id": "1.0", "operator": "gold", "params": {}, "proposer": "bandit",
        "skill": "short", "error": "wrong_letters", "errors": {"wrong_letters": 9, "wrong_length": 1},
        "band": "middle", "outcome": "rejected", "gain": 0, "mflops": 3, "signals": {},
    }  # fmt: skip
    return Episode(**{**base, **changes})


def remembered(*episodes: Episode) -> Memory:
    """Memory of these."""
    memory = Memory()
    for one in episodes:
        memory.learn(one)
    return memory
