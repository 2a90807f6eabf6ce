"""The audit: is what the ledger says true of what lies in the folder, and does each verdict follow from its outcomes?

It reads events, artifacts and the judge's evidence, and computes every e-value again from the outcomes, in plain Python
and from the formulas alone (`recompute.py`).

Checked: the chain; artifacts present and intact; versions named by their content; the judge's commitment and each
question before its items; levels within the plan's error budget; evidence intact, its stages, decision and counts;
promotions and rollbacks grounded in a verdict, or named as forced; each change within the plan (`within.py`); people's
word where it is needed (`approved.py`); the goal (`pursued.py`); signed heads (`heads.py`); each promotion's statement.

Not here: drawing the items again (that needs the judge's secret, and gives the outcomes only on the same machine); a
ledger that was rewritten as a whole, where no witness was told of it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from evolvent.audit.approved import Approved
from evolvent.audit.heads import check_heads
from evolvent.audit.pursued import Pursued
from evolvent.audit.recompute import Test, decision, question_stages, share, standing_stages
from evolvent.audit.statements import check_statements
from evolvent.audit.within import Within
from evolvent.errors import LedgerCorrupt, StoreError
from evolvent.ledger import Ledger
from evolvent.store import Store
from evolvent.types import Candidate, Event, sha256_hex

__all__ = ["Findings", "audit"]

Json = Mapping[str, Any]

_BETA = "0.1"  # level at which a test gives up; part of the rule, not of a plan
_TOLERANCE = 1e-9  # of a log e-value, and of a threshold
_LEVEL_TOLERANCE = 1e-4  # levels are rounded down to six digits
_HASH = re.compile(r"[0-9a-f]{64}")
_ISOLATED = re.compile(r"kernel(\+(bubblewrap|namespaces|kernel))?")  # models, then the code that they wrote
_ARTIFACT_KEYS = {"model", "genome", "data", "gold", "traces", "pool"}


@dataclass
class Findings:
    """What was checked and what is wrong.

    Attributes:
        counts: how many of each thing were checked.
        worst_log_e: largest difference between a log e-value of the evidence and the one computed here.
        wrong: one sentence for each fault; empty when all is well.
        notes: what is no fault but should be known, such as a forced promotion.
    """

    counts: dict[str, int] = field(default_factory=dict)
    worst_log_e: float = 0.0
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def count(self, what: str, number: int = 1) -> None:
        """Count things checked."""
        self.counts[what] = self.counts.get(what, 0) + number

    def expect(self, holds: bool, otherwise: str) -> bool:
        """Note a fault unless `holds`."""
        if not holds:
            self.wrong.append(otherwise)
        return holds


def audit(
    ledger: Ledger, store: Store, judge_folder: Path, signing: Path | None = None, witnesses: Sequence[Path] = ()
) -> Findings:
    """Check a run. Reads everything, changes nothing.

    Args:
        ledger: the run's ledger.
        store: its artifacts.
        judge_folder: holds ``evidence/<hash>.json``.
        signing: the run's own signed heads and statements; ``None`` looks at neither.
        witnesses: folders elsewhere that were told of its heads.
    """
    findings = Findings()
    try:
        findings.count("events", ledger.verify())
    except LedgerCorrupt as exc:
        findings.wrong.append(str(exc))
        return findings  # what is read from a broken chain proves nothing
    walk = _Walk(findings, judge_folder / "evidence", store)
    chain: list[str] = []
    for event in ledger.events():
        chain.append(event.chain_hash)
        walk.take(event)
        findings.wrong.extend(walk.versions_named_wrongly(event))
    for name in sorted(walk.artifacts):
        _check_artifact(findings, store, name)
    if signing is not None:
        key = check_heads(findings, ledger.run, chain, signing, witnesses)
        check_statements(findings, ledger, store, judge_folder / "evidence", signing, key)
    return findings


def _check_artifact(findings: Findings, store: Store, name: str) -> None:
    findings.count("artifacts")
    try:
        data = store.get_bytes(name)
        if data.startswith(b'{"files":{'):  # a tree's manifest
            store.read_tree(name)
    except StoreError as exc:
        findings.wrong.append(str(exc))


class _Walk:
    """Goes through the events in order and holds each against what came before it."""

    def __init__(self, findings: Findings, evidence: Path, store: Store) -> None:
        self.findings, self.folder = findings, evidence
        self.beside = (Within(findings), Approved(findings, evidence, store), Pursued(findings))
        self.artifacts: set[str] = set()
        self.plan: Json = {}
        self.commitment = self.seed = self.champion = self.certified = ""
        self.candidates: dict[str, Json] = {}
        self.built: dict[str, str] = {}
        self.slots: dict[str, Json] = {}
        self.verdicts: dict[str, Json] = {}
        self.checks: list[Json] = []
        self.alarms: list[tuple[str, str, str]] = []
        self.sealed: Json | None = None
        self.certified_ever: set[str] = set()
        self.promotions = 0
        self.spent: dict[str, Fraction] = {"alpha_safety": Fraction(0), "alpha_standing": Fraction(0)}
        self._handlers: dict[str, Callable[[Json, str], None]] = {
            "run.started": self._started,
            "judge.sealed": self._judge_sealed,
            "seed.imported": self._imported,
            "built": self._built,
            "slot.opened": self._slot,
            "verdict": self._verdict,
            "promoted": self._promoted,
            "standing.opened": self._standing_opened,
            "standing.checked": self._standing,
            "rolled_back": self._rolled_back,
            "sealed.opened": self._sealed_opened,
            "reported": self._reported,
        }

    def take(self, event: Event) -> None:
        self.artifacts.update(_artifacts(event.payload))
        handler = self._handlers.get(event.kind, lambda payload, where: None)
        where = f"event {event.seq} ({event.kind})"
        try:
            for check in self.beside:
                check.take(event)
            handler(event.payload, where)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            self.findings.wrong.append(f"{where}: cannot be checked: {type(exc).__name__}: {exc}")

    def versions_named_wrongly(self, event: Event) -> Iterator[str]:
        candidate, version = event.payload.get("candidate"), event.payload.get("version")
        if isinstance(candidate, dict) and isinstance(version, str):
            self.findings.count("versions")
            if Candidate(**candidate).hash != version:
                yield f"event {event.seq} ({event.kind}): version {version[:12]} is not the hash of its candidate"

    def _started(self, p: Json, where: str) -> None:
        self.findings.expect(not self.plan, f"{where}: a run begins once, with one plan")
        self.plan = p["config"]["plan"]

    def _judge_sealed(self, p: Json, where: str) -> None:
        self.findings.expect(not self.slots, f"{where}: the judge committed after the first slot")
        self.findings.expect(not self.commitment, f"{where}: a judge commits once")
        self.commitment = p["commitment"]

    def _imported(self, p: Json, where: str) -> None:
        self.findings.expect(not self.seed, f"{where}: a run has one seed")
        self.seed = self.champion = self.certified = p["version"]
        self.certified_ever = {self.seed}
        self.candidates[p["version"]] = p["candidate"]

    def _built(self, p: Json, where: str) -> None:
        self.built[p["id"]] = p["version"]
        self.candidates[p["version"]] = p["candidate"]

    def _slot(self, p: Json, where: str) -> None:
        question, plan, expect = p["question"], self.plan, self.findings.expect
        self.findings.count("slots")
        expect(bool(self.commitment), f"{where}: opened before the judge's commitment")
        expect(p["slot"] == len(self.slots) + 1 == question["slot"], f"{where}: slot {p['slot']} is out of order")
        part = share(p["slot"], plan["first_epoch_slots"])
        allowed = Fraction(plan["alpha_progress"]) * part * (self.promotions + 1)
        for name, limit in (("alpha_sup", allowed), ("alpha_ni", Fraction(plan["alpha_safety"]) * part)):
            said = Fraction(question[name])
            expect(question[name] == p[name], f"{where}: {name} differs between event and question")
            expect(
                said <= limit, f"{where}: {name} {float(said):.6g} is above what the plan allows, {float(limit):.6g}"
            )
        self._spend("alpha_safety", Fraction(question["alpha_ni"]), where)
        fixed = {
            "target": plan["target"],
            **{name: plan[name] for name in ("max_items", "block_items")},
            "mei_points": plan["minimum_gain_points"],
            "beta": _BETA,
        }
        for name, value in fixed.items():
            expect(question[name] == value, f"{where}: {name} is {question[name]!r}, the plan says {value!r}")
        self._check_margins(question, where)
        people = {"candidate": self.built.get(p["id"], ""), "incumbent": self.champion, "anchor": self.seed}
        for name, version in people.items():
            expect(question[name] == self.candidates.get(version), f"{where}: {name} is not version {version[:12]}")
        self.slots[p["id"]] = p

    def _check_margins(self, question: Json, where: str) -> None:
        margins = {entry["skill"]: entry["margin_points"] for entry in question["protected"]}
        self.findings.expect(margins == dict(self.plan["protected"]), f"{where}: the margins are not the plan's")

    def _spend(self, budget: str, level: Fraction, where: str) -> None:
        self.spent[budget] += level
        whole = Fraction(self.plan[budget]) * (1 + Fraction(1, 10**6))
        self.findings.expect(self.spent[budget] <= whole, f"{where}: {budget} is overdrawn")

    def _verdict(self, p: Json, where: str) -> None:
        verdict, expect = p["verdict"], self.findings.expect
        self.findings.count("verdicts")
        self.verdicts[p["id"]] = verdict
        opened = self.slots.get(p["id"])
        if opened is None:
            self.findings.wrong.append(f"{where}: its question was never committed")
            return
        proof = self._evidence(verdict["evidence"], opened["question"], where)
        if proof is None:
            return
        for name in ("decision", "reason", "isolation"):
            expect(
                proof[name] == verdict[name], f"{where}: {name} is {verdict[name]!r}, the evidence says {proof[name]!r}"
            )
        expect(
            Candidate(**opened["question"]["candidate"]).hash == verdict["candidate"], f"{where}: of another candidate"
        )
        expect(sum(proof["items"].values()) <= opened["question"]["max_items"], f"{where}: more items than allowed")
        if verdict["reason"].startswith(("sandbox_failed", "model_refused", "judge_failed", "isolation:")):
            expect(verdict["decision"] == "abstain", f"{where}: {verdict['reason']} must be no answer")
            return
        expect(_ISOLATED.fullmatch(verdict["isolation"]) is not None, f"{where}: decided without isolation")
        stages = question_stages(opened["question"])
        outcomes = [self._stage(proof, test, where) for test in stages]
        self._same_names(proof, stages, where)
        computed = decision(stages, outcomes)
        found = (verdict["decision"], verdict["reason"])
        expect(computed == found, f"{where}: the outcomes say {' '.join(computed)}, the verdict {' '.join(found)}")

    def _same_names(self, proof: Json, stages: list[Test], where: str) -> None:
        same = [stage["name"] for stage in proof["stages"]] == [test.name for test in stages]
        self.findings.expect(same, f"{where}: the evidence has other stages than asked")

    def _evidence(self, name: str, question: Json, where: str) -> Json | None:
        path = self.folder / f"{name}.json"
        if not self.findings.expect(
            bool(_HASH.fullmatch(name)) and path.is_file(), f"{where}: evidence {name[:12]} is missing"
        ):
            return None
        data = path.read_bytes()
        if not self.findings.expect(sha256_hex(data) == name, f"{where}: evidence {name[:12]} was altered"):
            return None
        self.findings.count("evidence files")
        proof = json.loads(data)
        self.findings.expect(
            proof["question"] == question, f"{where}: the evidence answers another question than was committed"
        )
        self.findings.expect(proof["commitment"] == self.commitment, f"{where}: from a judge with another secret")
        return proof

    def _stage(self, proof: Json, test: Test, where: str) -> str:
        """Compute one test from its outcomes and hold the evidence against it; returns how the test really ended."""
        self.findings.count("e-values")
        marks = proof["differences"].get(test.pair, "")
        path, outcome, end = test.read(marks)
        said = next((stage for stage in proof["stages"] if stage["name"] == test.name), None)
        if not self.findings.expect(said is not None, f"{where}: no stage {test.name}") or said is None:
            return outcome
        read = marks[:end]
        right = (outcome, end, read.count("+"), read.count("-"))
        told = (said["outcome"], said["n"], said["wins"], said["losses"])
        self.findings.expect(right == told, f"{where}: stage {test.name}: computed {right}, the evidence says {told}")
        points = [(path[n - 1], float(log_e)) for n, log_e in said["path"] if 0 < n <= len(path)]
        apart = [abs(a - b) for a, b in points]
        self.findings.worst_log_e = max(self.findings.worst_log_e, *apart, 0.0)
        drawn = len(points) == len(said["path"]) and all(gap <= _TOLERANCE for gap in apart)  # NaN is no small gap
        self.findings.expect(drawn, f"{where}: stage {test.name}: its path is not that of its outcomes")
        close = abs(float(said["threshold_log_e"]) - test.threshold) <= _TOLERANCE
        self.findings.expect(close, f"{where}: stage {test.name}: the threshold is not ln(1 / {test.alpha})")
        same = math.isclose(float(said["alpha"]), float(test.alpha), rel_tol=_LEVEL_TOLERANCE)
        self.findings.expect(same, f"{where}: stage {test.name}: level {said['alpha']}, expected {test.alpha}")
        return outcome

    def _promoted(self, p: Json, where: str) -> None:
        self.findings.count("promotions")
        self.candidates[p["version"]] = p["candidate"]
        before, self.champion = self.champion, p["version"]
        if p["forced"]:
            self.findings.notes.append(f"{where}: forced by {p['by']}, outside the error guarantee")
            return
        verdict = self.verdicts.get(p["id"], {})
        grounded = verdict.get("decision") == "accept" and verdict.get("candidate") == p["version"]
        self.findings.expect(grounded, f"{where}: no accepting verdict for version {p['version'][:12]} before it")
        slot = self.slots.get(p["id"], {"question": {}})
        same = slot["question"].get("incumbent") == self.candidates.get(before)
        self.findings.expect(same, f"{where}: it was judged against a version that was champion no more")
        self.promotions += 1
        if before == self.certified:
            self.certified = p["version"]
            self.certified_ever.add(p["version"])

    def _standing_opened(self, p: Json, where: str) -> None:
        plan, expect, question = self.plan, self.findings.expect, p["question"]
        limit = Fraction(plan["alpha_standing"]) * share(p["number"], plan["first_epoch_slots"])
        level = Fraction(question["alpha"])
        expect(
            level <= limit * (1 + Fraction(1, 10**5)), f"{where}: alpha {float(level):.6g} is above {float(limit):.6g}"
        )
        self._spend("alpha_standing", level, where)
        expect(p["number"] == question["number"] == len(self.checks) + 1, f"{where}: out of order")
        reference = self.seed if self.champion == self.certified else self.certified
        expect(p["champion"] == self.champion, f"{where}: not of the champion")
        expect(p["reference"] == reference, f"{where}: held against the wrong version")
        self._check_margins(question, where)
        for name, planned in (*((name, plan[name]) for name in ("max_items", "block_items")), ("beta", _BETA)):
            expect(question[name] == planned, f"{where}: {name} is {question[name]}, expected {planned}")
        for name in ("champion", "reference"):
            expect(question[name] == self.candidates.get(p[name]), f"{where}: the question is of another {name}")
        self.checks.append(p)

    def _standing(self, p: Json, where: str) -> None:
        self.findings.count("standing checks")
        expect = self.findings.expect
        if p["alarm"] is True:
            self.alarms.append((p["champion"], p["reference"], p["evidence"]))
        opened = next((check for check in self.checks if check["number"] == p["number"]), None)
        expect(opened is not None, f"{where}: was not opened")
        if opened is None:
            return
        question = opened["question"]
        same = all(p[name] == opened[name] for name in ("champion", "reference")) and p["alpha"] == question["alpha"]
        expect(same, f"{where}: not what was opened")
        proof = self._evidence(p["evidence"], question, where)
        if proof is None:
            return
        stages = standing_stages(question)
        outcomes = [self._stage(proof, test, where) for test in stages]
        self._same_names(proof, stages, where)
        expect(
            ("inferior" in outcomes) == p["alarm"] == proof["alarm"],
            f"{where}: the outcomes contradict alarm={p['alarm']}",
        )

    def _rolled_back(self, p: Json, where: str) -> None:
        self.findings.count("rollbacks")
        expect = self.findings.expect
        expect(p["from"] == self.champion, f"{where}: {p['from'][:12]} was not the champion")
        expect(Candidate(**p["candidate"]).hash == p["to"], f"{where}: {p['to'][:12]} is not the hash of its candidate")
        if p["by"] == "standing check":
            grounded = (p["from"], p["to"], p["evidence"]) in self.alarms
            expect(grounded, f"{where}: no alarm before it that says so")
            certified = p["to"]
        else:
            if p["to"] not in self.certified_ever:
                self.findings.notes.append(f"{where}: by {p['by']}, to a version that the gate never accepted")
            kept = self.seed if self.certified == self.champion else self.certified
            certified = p["to"] if p["to"] in self.certified_ever else kept
        expect(p["certified"] == certified, f"{where}: certified is {p['certified'][:12]}, expected {certified[:12]}")
        self.champion, self.certified = p["to"], p["certified"]
        self.candidates[p["to"]] = p["candidate"]

    def _sealed_opened(self, p: Json, where: str) -> None:
        self.sealed = p["question"]

    def _reported(self, p: Json, where: str) -> None:
        self.findings.count("sealed reports")
        if not self.findings.expect(self.sealed is not None, f"{where}: before the sealed split was opened"):
            return
        assert self.sealed is not None
        proof = self._evidence(p["evidence"], self.sealed, where)
        if proof is not None:
            self.findings.expect(proof["skills"] == p["skills"], f"{where}: the evidence holds other counts")


def _artifacts(value: Any, key: str = "") -> Iterator[str]:
    """Store names in a payload: 64 hex digits below a key that names an artifact."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _artifacts(item, key if key in ("traces", "pool") else name)
    elif isinstance(value, list):
        for item in value:
            yield from _artifacts(item, key)
    elif isinstance(value, str) and key in _ARTIFACT_KEYS and _HASH.fullmatch(value):
        yield value
