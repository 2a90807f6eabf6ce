"""Who was champion, and who may be again: folds over the few events that change it.

Not here: everything else that a run knows (`state.py`), the rollback itself (`run.py`, `standing.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from evolvent.state import State
from evolvent.types import Event

CHANGES = frozenset({"seed.imported", "promoted", "rolled_back"})  # events that say who is champion


def certified_after(changes: Iterable[Event], *, leaving: str, to: str) -> str:
    """The version that the champion must not fall behind after a person's rollback.

    That is `to`, if the gate's word ever led there; else the certified version as before, unless that is the one which
    the person leaves: it must not come back by a standing check's hand, and the seed takes its place.

    Args:
        changes: the run's events of kind `CHANGES`, in order.
        leaving: champion until now.
        to: champion from now on.
    """
    state, certified = State(), [""]
    for event in changes:
        state.apply(event)
        certified.append(state.certified)
    if to in certified:
        return to
    return state.certified if state.certified != leaving else state.seed


def in_order(changes: Iterable[Event]) -> tuple[list[str], set[str]]:
    """Versions that were champion, in order, the present one last; and those that a standing check took down."""
    order: list[str] = []
    fell: set[str] = set()
    for event in changes:
        order.append(event.payload["to"] if event.kind == "rolled_back" else event.payload["version"])
        if event.kind == "rolled_back" and event.actor == "standing":
            fell.add(event.payload["from"])
    return order, fell
