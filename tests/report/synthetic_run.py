"""A made-up run, for the tests of the report only: eleven proposals, two proven, one forced and rolled back."""

from __future__ import annotations

import math
import random
from typing import Any

from evolvent.types import Diagnosis, Event, Proposal, canonical_json, dec, sha256_hex

START_NS = 1_790_000_000_000_000_000
SKILLS = {"single": 0.71, "multi": 0.38}
PLANS: list[dict[str, Any]] = [
    # turn, operator, gain on multi, how it ends
    {"turn": 1, "op": "null", "gain": 0.0, "end": "futile"},
    {"turn": 1, "op": "star", "gain": 0.07, "end": "superior"},
    {"turn": 1, "op": "frontier", "gain": 0.01, "end": "screen"},
    {"turn": 2, "op": "repair", "gain": 0.0, "end": "failed"},
    {"turn": 2, "op": "planted_regression", "gain": -0.08, "end": "inferior:single"},
    {"turn": 2, "op": "frontier", "gain": 0.02, "end": "forced"},
    {"turn": 3, "op": "star", "gain": 0.03, "end": "insufficient"},
    {"turn": 3, "op": "scaffold_retry", "gain": 0.01, "end": "screen"},
    {"turn": 4, "op": "frontier", "gain": 0.05, "end": "superior"},
    {"turn": 4, "op": "merge", "gain": 0.0, "end": "screen"},
    {"turn": 5, "op": "repair", "gain": 0.01, "end": "futile"},
]
PARAMS = {"learning_rate": "0.0003", "steps": 400, "mix": {"gold": 60, "verified": 40}}


def digest(*parts: object) -> str:
    """A stand-in for a hash."""
    return sha256_hex("/".join(map(str, parts)))


class Builder:
    """Appends events with running hashes."""

    def __init__(self, run: str = "demo") -> None:
        self.run, self.events, self.chain = run, list[Event](), ""

    def add(self, kind: str, payload: dict[str, Any], **cost: int) -> None:
        seq = len(self.events) + 1
        self.chain = sha256_hex(self.chain + canonical_json(payload))
        self.events.append(
            Event(
                run=self.run,
                seq=seq,
                time_ns=START_NS + seq * 37 * 10**9,
                actor="controller",
                kind=kind,
                key=f"{kind}:{seq}",
                schema=1,
                payload=payload,
                cost=cost,
                content_hash=sha256_hex(canonical_json(payload)),
                chain_hash=self.chain,
            )
        )


def stage(name: str, rng: random.Random, *, drift: float, limit: float, n: int, outcome: str) -> dict[str, Any]:
    """One stage of evidence whose path ends where its outcome says."""
    skill = name.split(":")[1] if ":" in name else "multi"
    against = name.split(":")[2] if ":" in name else "incumbent"
    steps = 48
    path, noise = [], 0.0
    for i in range(1, steps + 1):
        noise = 0.82 * noise + rng.gauss(0, 0.55) * (1 - i / steps)
        path.append([round(n * i / steps), dec(drift * limit * (i / steps) ** 1.15 + noise)])
    wins, losses = round(0.11 * n * (1 + drift / 2)), round(0.11 * n * (1 - drift / 2))
    return {
        "name": name, "skill": skill, "against": against, "alpha": "0.00025", "threshold_log_e": dec(limit),
        "path": path, "n": n, "wins": wins, "losses": losses, "outcome": outcome,
    }  # fmt: skip


def evidence(slot: int, end: str, rng: random.Random) -> dict[str, Any]:
    """The judge's evidence for one verdict."""
    limit = math.log(4000)
    superiority = {"superior": (1.03, "proven"), "insufficient": (0.62, "open"), "futile": (-0.45, "futile")}
    drift, outcome = superiority.get(end, (-0.9, "open"))
    stages = [stage("superiority", rng, drift=drift, limit=limit, n=2304 if drift > 0 else 576, outcome=outcome)]
    for skill in SKILLS if end == "superior" else ["single"] if end.startswith("inferior") else []:
        for against in ("incumbent", "anchor"):
            good = end == "superior"
            stages.append(
                stage(f"ni:{skill}:{against}", rng, drift=1.02 if good else -0.95, limit=limit,
                      n=rng.randrange(640, 1300, 64), outcome="proven" if good else "inferior")
            )  # fmt: skip
    decision = {"superior": "accept", "insufficient": "abstain"}.get(end, "reject")
    return {
        "question": {"slot": slot}, "isolation": "kernel", "stages": stages, "items": sum(s["n"] for s in stages),
        "tokens": 812_000, "decision": decision, "reason": end,
    }  # fmt: skip


class Synthetic:
    """The whole run: `events` and `evidence` by hash. `hostile` stands wherever a name can stand."""

    def __init__(self, *, hostile: str = "", seed: int = 7) -> None:
        self.rng, self.log, self.evidence = random.Random(seed), Builder(), dict[str, dict[str, Any]]()
        self.name, self.spent = hostile, {"flops": 0, "tokens": 0, "problems": 0}
        self.champion, self.slots, self.rates = digest("seed"), 0, dict(SKILLS)
        self.before_forced: tuple[str, dict[str, float]] | None = None
        self._start()
        for turn in range(1, 6):
            self._turn(turn)
        self._report()

    @property
    def events(self) -> list[Event]:
        return self.log.events

    def _start(self) -> None:
        config = {
            "budget": {"flops": 9 * 10**15, "tokens": 60_000_000, "problems": 80_000},
            "plan": {
                "alpha_safety": "0.05", "alpha_progress": "0.05", "discordance": "0.15", "first_epoch_slots": 8,
                "max_items": 4000,
            },
            "versions": {"evolvent": "0.1.0", "python": "3.11.2", "torch": "2.13.0"},
        }  # fmt: skip
        goal = {"skill": "multi", "gain_points": 10, "turns": 5}
        start = {"config": config, "plan": digest("plan"), "seed": 11, "task": self.name or "sql_migration"}
        self.log.add("run.started", {**start, "goal": goal})
        self.log.add("judge.sealed", {"commitment": digest("secret")})
        imported = {"version": self.champion, "candidate": {"genome": digest("g0")}, "parameters": 3_150_000}
        self.log.add("seed.imported", imported)
        self.log.add(
            "goal.opened", {"id": "G1", "skill": "multi", "slice": {"changes": "3"}, "reason": "weakest slice"}
        )

    def _turn(self, turn: int) -> None:
        log, rng = self.log, self.rng
        log.add("turn.started", {"turn": turn, "champion": self.champion})
        weakness = Diagnosis(
            skill="multi", slice={"changes": str(2 + turn % 3), "tier": "rebuild"}, n=120, failures=93 - 4 * turn,
            low="0.66", high="0.81", errors={"lost_rows": 40, "syntax": 12},
            cause=self.name or "Rebuilt tables lose rows when a column is renamed in the same step.",
        )  # fmt: skip
        skills = {
            k: {"n": 400, "correct": sum(rng.random() < rate for _ in range(400))} for k, rate in self.rates.items()
        }
        diagnosed = {"turn": turn, "champion": self.champion, "traces": digest("t", turn), "skills": skills}
        log.add("diagnosed", {**diagnosed, "weaknesses": [weakness.plain()]}, ms=41_000)
        if turn == 2:
            log.add(
                "goal.opened", {"id": "G2", "skill": "multi", "slice": {"tier": "rebuild"}, "reason": "rows get lost"}
            )
        self.parent = self.champion
        for index, plan in enumerate(p for p in PLANS if p["turn"] == turn):
            self._attempt(turn, index, plan, weakness)
        if turn == 3 and self.before_forced:
            former, self.rates = self.before_forced
            check = {
                "champion": self.champion,
                "reference": former,
                "alarm": True,
                "evidence": digest("st"),
                "alpha": "0.01",
            }
            log.add("standing.checked", check)
            log.add("rolled_back", {"from": self.champion, "to": former, "reason": "inferior:single", "by": "standing"})
            self.champion = former
            log.add("goal.abandoned", {"id": "G2", "reason": "no operator helped in three turns"})
        if turn == 4:
            log.add("goal.closed", {"id": "G1", "reason": "gain reached on dev"})
        log.add("turn.ended", {"turn": turn, "champion": self.champion, "spent": dict(self.spent)})

    def _attempt(self, turn: int, index: int, plan: dict[str, Any], weakness: Diagnosis) -> None:
        log, rng, end = self.log, self.rng, plan["end"]
        name, version = f"{turn}.{index}", digest("v", turn, index)
        proposal = Proposal(
            turn=turn, index=index, operator=self.name or plan["op"], params={} if plan["op"] == "null" else PARAMS,
            parent=self.parent, diagnosis="" if plan["op"] == "null" else weakness.hash, seed=3,
            predicted_gain=dec(max(plan["gain"], 0) * 100), predicted_flops=6 * 10**14,
        )  # fmt: skip
        answers = weakness.plain() if proposal.diagnosis else None
        log.add("proposed", {"proposal": proposal.plain(), "id": name, "answers": answers})
        if end == "failed":
            log.add("build.failed", {"id": name, "error": "JobFailed", "message": "loss is not finite at step 212"})
            log.add("rejected", {"id": name, "version": "", "reason": "build failed"})
            return
        drawn = 0 if plan["op"] in ("null", "merge") else rng.randrange(1800, 2600)
        funnel = {"drawn": drawn, "sampled": drawn * 4, "executed": int(drawn * 2.9), "correct": int(drawn * 1.6),
                  "kept": int(drawn * 0.9)}  # fmt: skip
        flops = rng.randrange(3, 9) * 10**14 if drawn else 4 * 10**12
        tokens = drawn * 610 + 90_000
        recall = {"do": self.name or "recall", "n": 2}
        scaffold = {"kind": "steps", "steps": [recall], "examples": [[self.name or "asked", self.name or "told"]]}
        candidate = {"model": digest("m", name), "genome": digest("g", name), "scaffold": scaffold}
        built = {"id": name, "version": version, "candidate": candidate, "parameters": 3_150_000}
        log.add("built", {**built, "flops": flops, "tokens": tokens, "funnel": funnel}, ms=70_000 + drawn * 50)
        self.spent["flops"] += flops
        self.spent["tokens"] += tokens
        self.spent["problems"] += drawn + 512
        passed = end != "screen"
        wins = 38 if passed else 21
        log.add(
            "screened",
            {"id": name, "version": version, "target": {"n": 256, "wins": wins, "losses": 24}, "passed": passed},
        )
        if not passed:
            log.add("rejected", {"id": name, "version": version, "reason": "no gain on dev"})
            return
        if end == "forced":
            self.before_forced = (self.champion, dict(self.rates))
            clause = self.name or "override: demo wanted before the deadline"
            self._promote(name, version, forced=True, by=self.name or "dana", clause=clause)
            self.rates["single"] -= 0.05
            return
        self._judge(name, version, end)
        if end == "superior":
            self._promote(name, version, forced=False, by="gate", clause="proven")
            self.rates["multi"] += plan["gain"]

    def _judge(self, name: str, version: str, end: str) -> None:
        self.slots += 1
        proof = evidence(self.slots, end, self.rng)
        key = digest("evidence", self.slots)
        self.evidence[key] = proof
        opened = {"slot": self.slots, "id": name, "question": digest("q", self.slots)}
        self.log.add("slot.opened", {**opened, "alpha_sup": "0.00025", "alpha_ni": "0.00025"})
        answer = {"slot": self.slots, "candidate": version, "decision": proof["decision"], "reason": end}
        self.log.add("verdict", {"verdict": {**answer, "evidence": key, "isolation": "kernel"}, "id": name}, ms=212_000)
        if proof["decision"] != "accept":
            self.log.add("rejected", {"id": name, "version": version, "reason": end})

    def _promote(self, name: str, version: str, *, forced: bool, by: str, clause: str) -> None:
        payload = {
            "version": version,
            "parent": self.champion,
            "id": name,
            "forced": forced,
            "by": by,
            "clause": clause,
        }
        self.log.add("promoted", payload)
        self.champion = version

    def _report(self) -> None:
        self.log.add("sealed.opened", {"question": digest("sealed")})
        skills = {
            "multi": {
                "n": 1000,
                "seed_correct": 383,
                "champion_correct": 506,
                "wins": 171,
                "losses": 48,
                "seed_tokens": 100_000,
                "champion_tokens": 291_000,
            },
            "single": {"n": 1000, "seed_correct": 712, "champion_correct": 719, "wins": 58, "losses": 51},
        }
        self.log.add("reported", {"skills": skills})
        self.log.add("run.stopped", {"reason": "turns reached"})
