"""One signed statement for each promotion: what was promoted, what it is made of, why, at which risk and cost, by whom.

An in-toto statement whose predicate has the form of SLSA's provenance, in a DSSE envelope: other people's tools can
check it without us. Everything in it comes from the ledger, the judge's evidence and the records of the jobs, so the
audit derives it again and compares.

Not here: the signature (`witness/signing.py`), when one is written (`keeper.py`).

References:
    in-toto Statement v1 (github.com/in-toto/attestation); SLSA provenance v1 (slsa.dev/spec/v1.0/provenance), whose
    rules for fields of one's own give ``evolvent_decision`` and ``evolvent_cost`` their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from evolvent.ledger import Ledger
from evolvent.provenance.origin import making_of
from evolvent.store import Store
from evolvent.types import Event, content_hash

__all__ = ["STATEMENT_KIND", "statement"]

STATEMENT_KIND = "application/vnd.in-toto+json"
_TYPE, _PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
_DECIDED = ("forced", "by", "clause", "reason", "objection", "approved_by", "note", "approval")
_BUILD_TYPE, _BUILDER = "urn:evolvent:promotion:1", "urn:evolvent:controller"

Json = dict[str, Any]


def statement(ledger: Ledger, promoted: Event, evidence: Callable[[str], Mapping[str, Any]], store: Store) -> Json:
    """The statement about one promotion. The same ledger, evidence and job records give the same one.

    Args:
        ledger: the run's ledger.
        promoted: its ``promoted`` event.
        evidence: opens the judge's evidence by hash.
        store: the run's; holds the records of the jobs.
    """
    p = promoted.payload
    built = _built(ledger, promoted)
    story = making_of(ledger, built, evidence, store)
    environment = dict(story["environment"])
    started = ledger.get("run")
    task = started.payload["task"] if started else ""
    model = p["candidate"]["model"]
    definition = {
        "buildType": _BUILD_TYPE,
        "externalParameters": {
            "task": task, "plan": p.get("plan", ""), "clause": p["clause"], "operator": story["operator"],
            "params": story.get("params") or {}, "scaffold": _program(p["candidate"]), "policy": p["policy"],
        },
        "internalParameters": {"run": promoted.run, "proposal": p["id"], "seed": story.get("seed") or 0,
                               "environment": environment},
        "resolvedDependencies": _dependencies(story),
    }  # fmt: skip
    details = {
        "builder": {"id": _BUILDER, "version": {name: environment.get(name, "") for name in ("evolvent", "code")}},
        "metadata": {"invocationId": f"{promoted.run}/{p['id']}", "finishedOn": _time(promoted.time_ns)},
        "byproducts": _byproducts(story),
    }
    return {
        "_type": _TYPE,
        "subject": [_resource("version", p["version"]), _resource("model", model)],
        "predicateType": _PREDICATE,
        "predicate": {
            "buildDefinition": definition,
            "runDetails": details,
            "evolvent_decision": _decision(promoted, story),
            "evolvent_cost": story.get("cost") or {},
        },
    }


def _built(ledger: Ledger, promoted: Event) -> Mapping[str, Any]:
    """The event that describes the version; the seed, promoted again by a person, has its import."""
    made = ledger.get(f"{promoted.payload['id']}/built") or ledger.get("seed")
    return made.payload if made is not None else promoted.payload


def _program(candidate: Json) -> Json:
    """The scaffold; of its examples, which are the user's prompts and answers, their number and hash."""
    scaffold = dict(candidate["scaffold"])
    if examples := scaffold.get("examples"):
        scaffold["examples"] = {"count": len(examples), "sha256": content_hash(examples)}
    return scaffold


def _dependencies(story: Json) -> list[Json]:
    """Everything that went in: the parent, and what its jobs read that no other job of it made."""
    made = {name for job in story["jobs"] for name in job["outputs"].values()}
    found = [_resource("parent", version) for version in story["parents"]]
    seen: set[str] = set()
    for job in story["jobs"]:
        for name, artifact in sorted(job["inputs"].items()):
            if artifact not in made | seen:
                seen.add(artifact)
                found.append(_resource(name, artifact))
    return found


def _byproducts(story: Json) -> list[Json]:
    found = [_resource(f"job {job['function']}", job["key"]) for job in story["jobs"]]
    found += [_resource("data", story["data"])] if story.get("data") else []
    proof = (story.get("evidence") or {}).get("hash", "")
    return found + ([_resource("evidence", proof)] if proof else [])


def _decision(promoted: Event, story: Json) -> Json:
    p, verdict = promoted.payload, story.get("verdict") or {}
    tests = [
        {
            **{name: stage[name] for name in ("name", "n", "wins", "losses", "outcome", "alpha", "threshold_log_e")},
            "log_e": stage["path"][-1][1] if stage["path"] else "0",
        }
        for stage in (story.get("evidence") or {}).get("stages", [])
    ]
    return {
        **{name: p[name] for name in _DECIDED if name in p},
        "plan": p.get("plan", ""),
        "slot": story.get("slot") or {},
        "verdict": {name: str(verdict[name]) for name in ("decision", "reason", "isolation") if name in verdict},
        "tests": tests,
        "event": {"seq": promoted.seq, "content_hash": promoted.content_hash, "chain_hash": promoted.chain_hash},
    }


def _resource(name: str, digest: str) -> Json:
    return {"name": name, "digest": {"sha256": digest}}


def _time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
