"""People's part: what lay beyond a limit of the plan waited for a word, and what was not picked was not judged.

Gains over the anchor are computed again from the judge's outcomes, drift from the traces that the screen names.

Not here: whether those traces are of the versions that they are said to be (a rollout is not run again).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolvent.audit.within import PROBES
from evolvent.errors import StoreError
from evolvent.store import Store
from evolvent.types import Event

if TYPE_CHECKING:
    from evolvent.audit import Findings

__all__ = ["Approved"]

Json = Mapping[str, Any]


class Approved:
    """Takes the events in order and notes what a person should have decided, and did not.

    Args:
        findings: where faults go.
        evidence: the judge's folder of evidence.
        store: holds the traces.
    """

    def __init__(self, findings: Findings, evidence: Path, store: Store) -> None:
        self.findings, self.folder, self.store = findings, evidence, store
        self.plan: Json = {}
        self.operators: dict[str, str] = {}
        self.questions: dict[str, Json] = {}
        self.drift: dict[str, dict[str, int]] = {}
        self.held: dict[str, Json] = {}
        self.words: dict[str, Event] = {}
        self.picked: dict[int, list[str]] = {}

    def take(self, event: Event) -> None:
        """Hold one event against what people said; raises what a malformed payload raises."""
        p, where = event.payload, f"event {event.seq} ({event.kind})"
        match event.kind:
            case "run.started":
                self.plan = p["config"]["plan"]
            case "proposed":
                self.operators[p["id"]] = p["proposal"]["operator"]
            case "screened" if "drift" in p:
                self._screened(p, where)
            case "slot.opened":
                self._slot(p, where)
            case "held":
                self._held(p, where)
            case "request.approve" | "request.decline" if p["id"] in self.held:  # a word beforehand is none
                self.words[event.key] = event
            case "request.pick":
                self.words[event.key] = event
            case "picked":
                self._picked(p, where)
            case "promoted" if not p["forced"]:
                self._promoted(p, where)
            case _:
                pass

    def _screened(self, p: Json, where: str) -> None:
        self.findings.count("drifts")
        traces, n, differ = p["drift"]["traces"], 0, 0
        try:
            for skill, name in traces["candidate"].items():
                mine, theirs = self.store.get_json(name), self.store.get_json(traces["anchor"][skill])
                for a, b in zip(mine, theirs, strict=True):
                    n += bool(a["correct"] and b["correct"])
                    differ += bool(a["correct"] and b["correct"] and a["output"] != b["output"])
        except StoreError:
            return  # the artifact is missed elsewhere; what cannot be measured exceeds
        self.drift[p["id"]] = {"n": n, "differ": differ}
        same = p["drift"]["counts"] == self.drift[p["id"]]
        self.findings.expect(same, f"{where}: drift is {p['drift']['counts']}, the traces say {self.drift[p['id']]}")

    def _slot(self, p: Json, where: str) -> None:
        self.questions[p["id"]] = p["question"]
        picked = self.picked.get(int(p["id"].partition(".")[0]))
        allowed = picked is None or p["id"] in picked or self.operators.get(p["id"]) in PROBES
        self.findings.expect(allowed, f"{where}: judged, though a person picked others")

    def _picked(self, p: Json, where: str) -> None:
        word = self.words.get(f"request/{p['turn']}/pick")
        said = word is not None and word.content_hash == p["request"] and set(p["ids"]) <= set(word.payload["ids"])
        self.findings.expect(said, f"{where}: no person's word before it that says so")
        self.picked[p["turn"]] = p["ids"]

    def _held(self, p: Json, where: str) -> None:
        self.findings.count("held for a person")
        self.held[p["id"]] = p
        gains = self._gains(p["id"], p["evidence"])
        self.findings.expect(gains in (None, p["gains"]), f"{where}: gains {p['gains']}, the outcomes say {gains}")

    def _promoted(self, p: Json, where: str) -> None:
        held, word = self.held.get(p["id"]), self.words.get(f"request/{p['id']}/word/{p['evidence'][:16]}")
        if p["by"] == "gate+person":
            self.findings.count("approvals")
            said = word is not None and word.kind == "request.approve" and word.content_hash == p["approval"]
            meant = word is not None and (word.payload["version"], word.payload["by"]) == (
                p["version"],
                p["approved_by"],
            )
            self.findings.expect(said and meant, f"{where}: no person's approval before it that says so")
            self.findings.expect(held is not None, f"{where}: approved by a person, but never held for one")
            return
        self.findings.expect(held is None, f"{where}: it was held for a person, and none approved it")
        for limit in self._exceeded(p):
            self.findings.expect(held is not None, f"{where}: {limit}, and no person approved it")

    def _exceeded(self, p: Json) -> list[str]:
        """Limits of the plan that a promotion exceeds; a plan of before there were any has none."""
        jump, most = self.plan.get("jump_points", 0), self.plan.get("drift_percent", 0)
        gains, drift = self._gains(p["id"], p["evidence"]) or {}, self.drift.get(p["id"])
        beyond = [s for s, c in sorted(gains.items()) if jump and 100 * (c["wins"] - c["losses"]) > jump * c["n"]]
        said = [f"more than {jump} points over the anchor on {skill}" for skill in beyond]
        if most and (drift is None or not drift["n"] or 100 * drift["differ"] > most * drift["n"]):
            said.append(f"drift of more than {most} %, or none measured")
        return said

    def _gains(self, id_: str, evidence: str) -> dict[str, dict[str, int]] | None:
        """Against the anchor by protected skill; ``None`` where question or evidence lacks it, a fault of its own."""
        path, question = self.folder / f"{evidence}.json", self.questions.get(id_)
        if question is None or not path.is_file():
            return None
        marks: dict[str, str] = json.loads(path.read_bytes())["differences"]
        other = "incumbent" if question["incumbent"] == question["anchor"] else "anchor"
        pairs = {entry["skill"]: f"{entry['skill']}:{other}" for entry in question["protected"]}
        if not marks.keys() >= set(pairs.values()):
            return None
        read = {skill: marks[pair] for skill, pair in pairs.items()}
        return {s: {"n": len(m), "wins": m.count("+"), "losses": m.count("-")} for s, m in read.items()}
