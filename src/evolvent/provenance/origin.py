"""A version's whole story, gathered from the events that name it: from its parents to what became of it.

Not here: how it is drawn (`report/biography.py`), the run's story (`report/story.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evolvent.errors import UsageError
from evolvent.ledger import Ledger
from evolvent.provenance.rebuild import line_of, made_with
from evolvent.store import Store

__all__ = ["making_of", "statements_of", "version_story"]

Json = dict[str, Any]
Evidence = Callable[[str], Mapping[str, Any]]
_PROPOSAL = ("turn", "operator", "params", "seed", "diagnosis", "predicted_gain", "proposer", "why")
_BUILT = ("candidate", "policy", "parameters", "data", "funnel", "stats")
_HISTORY = ("held", "promoted", "rejected", "rolled_back", "standing.checked")
_TOLD = (
    "forced", "by", "approved_by", "note", "clause", "reason", "objection", "why", "plan", "from", "to", "alarm",
    "alpha", "evidence", "reference",
)  # fmt: skip


def version_story(ledger: Ledger, built: Mapping[str, Any], evidence: Evidence, store: Store | None = None) -> Json:
    """Everything that the ledger, the judge's evidence and the jobs' records say of a version.

    Args:
        ledger: the run's ledger.
        built: payload of its ``built`` or ``seed.imported`` event.
        evidence: opens the judge's evidence by hash.
        store: where the records of its jobs lie; ``None`` leaves out what they ran on.
    """
    story = making_of(ledger, built, evidence, store)
    story["line"] = [_ancestor(ledger, one) for one in line_of(ledger, built["version"])[1:]]
    story["history"] = _history(ledger, built["version"], built.get("id", ""), evidence)
    return story


def making_of(ledger: Ledger, built: Mapping[str, Any], evidence: Evidence, store: Store | None = None) -> Json:
    """The story up to the verdict; arguments as of `version_story`. Looks events up by key, however many there are."""
    id_, jobs = built.get("id", ""), list(built.get("jobs", ()))
    story: Json = {
        "version": built["version"],
        "parents": [built["parent"]] if "parent" in built else [],
        "operator": "seed",
        "proposal": id_,
        **{name: built.get(name) for name in _BUILT},
        "gold": built.get("gold", ""),
        "jobs": jobs,
        "environment": made_with(store, jobs[-1]["key"]) if store and jobs else {},
    }
    if not id_:
        return story
    proposed = _payload(ledger, f"{id_}/proposed")
    screened, opened = _payload(ledger, f"{id_}/screened"), _payload(ledger, f"{id_}/slot")
    plan = proposed.get("proposal", {})
    verdict = _payload(ledger, f"{id_}/verdict").get("verdict")
    return story | {
        **{name: plan.get(name) for name in _PROPOSAL},
        "answers": proposed.get("answers"),
        "cost": _cost(ledger, id_),
        "screen": {name: screened[name] for name in ("skills", "passed", "against") if name in screened},
        "slot": {name: opened.get(name) for name in ("slot", "alpha_sup", "alpha_ni")} if opened else None,
        "verdict": verdict,
        "evidence": _evidence((verdict or {}).get("evidence", ""), evidence),
    }


def statements_of(folder: Path, version: str) -> list[Path]:
    """Files of the signed statements about a version's promotions, oldest first."""
    return sorted((folder / "statements").glob(f"*-{version}.dsse.json"), key=lambda path: int(path.name.split("-")[0]))


def _ancestor(ledger: Ledger, built: Mapping[str, Any]) -> Json:
    plan = _payload(ledger, f"{built['id']}/proposed").get("proposal", {}) if "id" in built else {}
    named = {"version": built["version"], "model": built["candidate"]["model"]}
    return {**named, "operator": plan.get("operator", "seed"), "turn": plan.get("turn", 0)}


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


def _evidence(name: str, evidence: Evidence) -> Json | None:
    if not name:
        return None
    try:
        proof = evidence(name)
    except UsageError as exc:
        return {"missing": str(exc)}
    stages = [{**stage, "path": stage["path"][-1:]} for stage in proof["stages"]]
    return {"hash": name, "items": proof["items"], "tokens": proof["tokens"], "stages": stages}


def _history(ledger: Ledger, version: str, id_: str, evidence: Evidence) -> list[Json]:
    rows: list[Json] = []
    for event in ledger.events(kinds=_HISTORY):
        p = event.payload
        if version in (p.get("version"), p.get("from"), p.get("to"), p.get("champion")) or (id_ and p.get("id") == id_):
            row = {"seq": event.seq, "kind": event.kind, "time_ns": event.time_ns}
            row |= {name: p[name] for name in _TOLD if name in p}
            if event.kind == "standing.checked":
                row["tests"] = (_evidence(p.get("evidence", ""), evidence) or {}).get("stages", [])
            rows.append(row)
    return rows
