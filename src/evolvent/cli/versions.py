"""Versions and events side by side: what the reading commands look up.

Not here: a version's story (`provenance/origin.py`), how it is drawn (`report/biography.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolvent.errors import UsageError

if TYPE_CHECKING:
    from evolvent.ledger import Ledger

__all__ = ["differences", "event_at", "inclusion"]

Json = dict[str, Any]


def differences(mine: Json, theirs: Json) -> dict[str, tuple[Any, Any]]:
    """Where two stories differ, by path, what one may want to compare: not their names, events and costs."""
    compared = (
        "parents",
        "operator",
        "params",
        "seed",
        "candidate",
        "policy",
        "parameters",
        "data",
        "funnel",
        "screen",
        "verdict",
    )
    flat = [dict(_flat({name: story.get(name) for name in compared})) for story in (mine, theirs)]
    paths = sorted(flat[0].keys() | flat[1].keys())
    pairs = {path: (flat[0].get(path), flat[1].get(path)) for path in paths}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


def event_at(ledger: Ledger, seq: int) -> Any:
    """The event with that number.

    Raises:
        UsageError: there is none.
    """
    event = next(ledger.events(seq - 1), None) if seq > 0 else None
    if event is None:
        raise UsageError(f"event {seq}: there is none; the last one is {ledger.head()[0]}")
    return event


def inclusion(ledger: Ledger, signing: Path, seq: int) -> Json:
    """What shows, without the ledger, that an event is in the history whose head was signed last.

    Returns:
        ``index`` and ``path`` of the inclusion proof, ``previous`` (the chain hash before the event, from which its own
        is computed), and the signed ``head``.

    Raises:
        UsageError: no head was signed since the event.
    """
    from evolvent.ledger import GENESIS
    from evolvent.witness import HeadLog, event_leaf
    from evolvent.witness.merkle import Tree

    last = HeadLog(signing).last()
    if last is None or last.head.size < seq:
        raise UsageError(f"event {seq}: no head was signed since; the next turn of `evolvent run` signs one")
    chain = [event.chain_hash for event in ledger.events()][: last.head.size]
    path = [found.hex() for found in Tree().inclusion([event_leaf(name) for name in chain], seq - 1)]
    previous = chain[seq - 2] if seq > 1 else GENESIS
    return {"index": seq - 1, "path": path, "previous": previous, "head": json.loads(last.line())}


def _flat(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [pair for name, item in value.items() for pair in _flat(item, f"{path}.{name}" if path else name)]
    return [(path, value)]
