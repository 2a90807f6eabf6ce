"""The goal and its subgoals: are their events in order, and do counts, budgets and figures follow from what was seen?

What a subgoal was charged is added up again from what answered it; a goal that is said to be reached or given up is
held against the dev counts, turns, times and costs of the ledger. Rates are computed by the loop's own formulas.

Not here: whether dev counts follow from the traces; which slices a subgoal should have been opened for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evolvent import goals
from evolvent.state import COSTLY, UNITS
from evolvent.types import Event

if TYPE_CHECKING:
    from evolvent.audit import Findings

__all__ = ["Pursued"]

Json = Mapping[str, Any]


class Pursued:
    """Takes the events in order and notes what does not follow."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.goal: Json = {}
        self.limits: Json = {}
        self.margins: Mapping[str, int] = {}
        self.turns = self.worked_ms = 0
        self.units = dict.fromkeys(UNITS, 0)
        self.seed = ""
        self.anchor: Json = {}
        self.seen: Json = {}  # the last diagnosis or measurement
        self.counts: Json = {}  # of slices, by the last diagnosis
        self.open: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, str] = {}

    def take(self, event: Event) -> None:
        """Hold one event against what came before; raises what a malformed payload raises."""
        p, where = event.payload, f"event {event.seq} ({event.kind})"
        self.worked_ms += event.cost.get("wall_ms", 0)
        handler = getattr(self, "_on_" + event.kind.replace(".", "_"), None)
        if handler is not None:
            handler(p, where)
        if event.kind in COSTLY:
            for unit in UNITS:
                self.units[unit] += p.get(unit, 0)
            self._charge(self.answers.get(p.get("id", ""), ""), "flops", p.get("flops", 0))

    def _on_run_started(self, p: Json, where: str) -> None:
        config = p["config"]
        self.goal, self.limits, self.margins = p["goal"], config["budget"], config["plan"]["protected"]
        same = {**config["goal"], "skill": config["plan"]["target"]} == dict(self.goal)
        self.findings.expect(same, f"{where}: the goal is not that of the settings")

    def _on_seed_imported(self, p: Json, where: str) -> None:
        self.seed = p["version"]

    def _on_turn_ended(self, p: Json, where: str) -> None:
        self.turns = p["turn"]

    # -- what was measured ---------------------------------------------------------------------------------------------

    def _on_diagnosed(self, p: Json, where: str) -> None:
        self.counts = p["subgoals"]
        self._on_goal_measured(p, where)

    def _on_goal_measured(self, p: Json, where: str) -> None:
        self.seen = p
        if p["champion"] == self.seed:
            self.anchor = p["skills"]

    # -- subgoals ------------------------------------------------------------------------------------------------------

    def _on_goal_opened(self, p: Json, where: str) -> None:
        self.findings.count("subgoals")
        expect, id_ = self.findings.expect, p["id"]
        expect(id_ not in self.open, f"{where}: {id_} is open already")
        expect(len(self.open) < goals.OPEN_LIMIT, f"{where}: more than {goals.OPEN_LIMIT} are open")
        expect(id_ == goals.slice_id(p["skill"], p["slice"]), f"{where}: {id_} is not the name of its slice")
        narrowed = p["skill"] == self.goal["skill"] and dict(self.goal["slice"]).items() <= dict(p["slice"]).items()
        expect(narrowed, f"{where}: {id_} is no part of the goal")
        start = {"n": p["n_at_start"], "failures": p["failures_at_start"]}
        self._same_counts(id_, p, where)
        expect(start == {"n": p["n"], "failures": p["failures"]}, f"{where}: {id_} starts from other counts")
        self.open[id_] = {**p, "budget": {}, "spent": {"turns": 0, "flops": 0}, "total": dict(p["total"])}

    def _same_counts(self, id_: str, p: Json, where: str) -> None:
        counts = self.counts.get(id_)
        same = counts == {"n": p["n"], "failures": p["failures"]}
        self.findings.expect(same, f"{where}: {id_}: the diagnosis says {counts}")

    def _on_goal_closed(self, p: Json, where: str) -> None:
        halved = p["n"] > 0 and p["failures"] * p["n_at_start"] * 2 <= p["failures_at_start"] * p["n"]
        self.findings.expect(halved, f"{where}: {p['id']}: its failure rate has not halved")
        self._ended(p, where)

    def _on_goal_abandoned(self, p: Json, where: str) -> None:
        self.findings.expect(bool(p["reason"]), f"{where}: {p['id']} was given up without a reason")
        self._ended(p, where)

    def _ended(self, p: Json, where: str) -> None:
        goal = self.open.pop(p["id"], None)
        if not self.findings.expect(goal is not None, f"{where}: {p['id']} was not open") or goal is None:
            return
        self._same_counts(p["id"], p, where)
        for name in ("spent", "total", "promotions", "budget"):
            said, found = p[name], goal[name]
            self.findings.expect(said == found, f"{where}: {p['id']}: {name} is {said}, the events say {found}")

    def _on_goal_planned(self, p: Json, where: str) -> None:
        expect, left = self.findings.expect, p["left"]
        expect(set(p["subgoals"]) == set(self.open), f"{where}: divides among others than are open")
        expect(1 <= left["turns"] <= max(1, self.goal["turns"] - self.turns), f"{where}: so many turns are not left")
        limit = self.limits["flops"]
        right = {"flops": max(0, limit - self.units["flops"])} if limit else {}
        expect(
            {u: n for u, n in left.items() if u == "flops"} == right, f"{where}: operations left are {right or 'any'}"
        )
        shares = dict.fromkeys(left, 0)
        for id_, row in p["subgoals"].items():
            if (goal := self.open.get(id_)) is not None:
                goal["budget"] = row["budget"]
                for unit in left:
                    shares[unit] += row["budget"][unit] - goal["spent"][unit]
        over = [u for u, share in shares.items() if share > left[u] + (len(self.open) if u == "turns" else 0)]
        expect(not over, f"{where}: more {' and '.join(over)} are given out than are left")

    def _on_planned(self, p: Json, where: str) -> None:
        goal = self.open.get(p["subgoal"])
        self.findings.expect(not p["subgoal"] or goal is not None, f"{where}: {p['subgoal']} is not open")
        if goal is not None:
            able = all(goal["spent"][unit] < limit for unit, limit in goal["budget"].items())
            self.findings.expect(able, f"{where}: the budget of {p['subgoal']} was spent before")
        self._charge(p["subgoal"], "turns", 1)

    def _on_proposed(self, p: Json, where: str) -> None:
        answers = p["answers"]
        self.answers[p["id"]] = goals.slice_id(answers["skill"], answers["slice"]) if answers else ""

    def _charge(self, subgoal: str, unit: str, amount: int) -> None:
        if (goal := self.open.get(subgoal)) is not None:
            goal["spent"][unit] += amount
            goal["total"][unit] += amount

    def _on_promoted(self, p: Json, where: str) -> None:
        goal = self.open.get(self.answers.get(p["id"], ""))
        if goal is not None and not p["forced"]:
            goal["promotions"] += 1
            goal["spent"] = {"turns": 0, "flops": 0}

    # -- the goal ------------------------------------------------------------------------------------------------------

    def _on_goal_reached(self, p: Json, where: str) -> None:
        if (found := self._figures(p, where)) is not None:
            self.findings.expect(found.reached, f"{where}: by the dev counts it is not: {found.words}")

    def _on_goal_given_up(self, p: Json, where: str) -> None:
        self._figures(p, where)
        what, turns = p["what"], self.goal["turns"]
        match what:
            case "turns":
                true = self.turns >= turns
            case "hours":
                true = 0 < self.goal["hours"] * goals.MS_AN_HOUR <= self.worked_ms
            case "pace":
                true = bool(self.goal["hours"]) or self.turns >= goals.PACE_STRETCHES * (turns - self.turns)
            case _:
                true = what in UNITS and 0 < self.limits[what] <= self.units[what]
        self.findings.expect(true, f"{where}: given up for {what}, which the events do not bear out")

    def _figures(self, p: Json, where: str) -> goals.Measured | None:
        """The goal's figures from the ledger's counts; notes when the event says others."""
        self.findings.count("ends of the goal")
        seen = self.seen
        if not self.findings.expect(
            p["champion"] == seen.get("champion", ""), f"{where}: of a version not measured last"
        ):
            return None
        nothing = {"n": 0, "correct": 0}
        found = goals.Measured.of(
            self.goal, self.margins, self.anchor, seen.get("skills", {}), seen.get("goal", nothing)
        )  # fmt: skip
        same = found.plain() == {name: p[name] for name in ("goal", "rate", "gain", "kept")}
        self.findings.expect(same, f"{where}: the dev counts say {found.words}")
        return found
