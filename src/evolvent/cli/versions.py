"""A version's whole story, gathered from the events that name it.

Not here: how it is drawn (`reading.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from evolvent.errors import UsageError

if TYPE_CHECKING:
    from evolvent.ledger import Ledger

__all__ = ["differences", "version_story"]

Json = dict[str, Any]


def version_story(ledger: Ledger, built: Json, evidence: Callable[[str], Mapping[str, Any]]) -> Json:
    """Everything the ledger and the judge's evidence say of a version.

    Args:
        ledger: the run's ledger.
        built: payload of its ``built`` or ``seed.imported`` event.
        evidence: opens the judge's evidence by hash.
    """
    version, id_ = built["version"], built.get("id", "")
    story: Json = {
        "version": version,
        "parents": [built["parent"]] if "parent" in built else [],
        "operator": "seed",
        "proposal": id_,
        **{name: built.get(name) for name in ("candidate", "policy", "parameters", "data", "funnel", "stats")},
    }
    if id_:
        proposed = _payload(ledger, f"{id_}/proposed")
        plan = proposed.get("proposal", {})
        story |= {
            name: plan.get(name) for name in ("turn", "operator", "params", "seed", "diagnosis", "predicted_gain")
        }
        story["answers"] = proposed.get("answers")
        story["cost"] = _cost(ledger, id_)
        story["screen"] = {
            name: v for name, v in _payload(ledger, f"{id_}/screened").items() if name in ("skills", "passed")
        }
        opened = _payload(ledger, f"{id_}/slot")
        story["slot"] = {name: opened.get(name) for name in ("slot", "alpha_sup", "alpha_ni")} if opened else None
        story["verdict"] = _payload(ledger, f"{id_}/verdict").get("verdict")
        story["evidence"] = _evidence(story["verdict"], evidence)
    story["history"] = _history(ledger, version, id_)
    return story


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


def _payload(ledger: Ledger, key: str) -> Json:
    event = ledger.get(key)
    return event.payload if event is not None else {}


def _cost(ledger: Ledger, id_: str) -> dict[str, int]:
    total = {"flops": 0, "tokens": 0, "problems": 0, "ms": 0}
    for step in ("built", "screened", "verdict"):
        event = ledger.get(f"{id_}/{step}")
        if event is not None:
            for unit in ("flops", "tokens", "problems"):
                total[unit] += int(event.payload.get(unit, 0))
            total["ms"] += int(event.cost.get("ms", 0))
    return total


def _evidence(verdict: Json | None, evidence: Callable[[str], Mapping[str, Any]]) -> Json | None:
    if not verdict:
        return None
    try:
        proof = evidence(verdict["evidence"])
    except UsageError as exc:
        return {"missing": str(exc)}
    return {
        "hash": verdict["evidence"],
        "items": proof["items"],
        "tokens": proof["tokens"],
        "stages": [{**stage, "path": stage["path"][-1:]} for stage in proof["stages"]],
    }


def _history(ledger: Ledger, version: str, id_: str) -> list[Json]:
    rows: list[Json] = []
    for event in ledger.events(kinds={"promoted", "rejected", "rolled_back", "standing.checked"}):
        p = event.payload
        if version in (p.get("version"), p.get("from"), p.get("to"), p.get("champion")) or (id_ and p.get("id") == id_):
            kept = ("forced", "by", "clause", "reason", "objection", "from", "to", "alarm", "alpha", "evidence")
            rows.append({"seq": event.seq, "kind": event.kind, **{name: p[name] for name in kept if name in p}})
    return rows


def _flat(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [pair for name, item in value.items() for pair in _flat(item, f"{path}.{name}" if path else name)]
    return [(path, value)]
