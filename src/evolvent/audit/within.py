"""The change plan against what was done: each update of a kind, of a size and from sources that the plan allows.

Not here: error levels, margins and items (`__init__.py` holds them against the plan question by question).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evolvent.types import Event, content_hash

if TYPE_CHECKING:
    from evolvent.audit import Findings

__all__ = ["Within"]

PROBES = frozenset({"null", "planted_regression"})  # tried in every plan, promoted in none that does not name them

Json = Mapping[str, Any]


class Within:
    """Takes the events in order and notes what lies outside the plan of the run."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.plan: Json = {}
        self.hash = self.gold = ""
        self.weights: dict[str, str] = {}
        self.operators: dict[str, str] = {}
        self.data: set[str] = set()
        self.sizes: dict[str, int] = {}

    def take(self, event: Event) -> None:
        """Hold one event against the plan; raises what a malformed payload raises."""
        p, where = event.payload, f"event {event.seq} ({event.kind})"
        match event.kind:
            case "run.started":
                self.plan, self.hash = p["config"]["plan"], content_hash(p["config"]["plan"])
                self.findings.expect(p["plan"] == self.hash, f"{where}: names a plan that is not its own")
            case "seed.imported":
                self.gold = p.get("gold", "")
                self._version(p)
            case "proposed":
                self._proposed(p, where)
            case "built":
                self._built(p, where)
            case "promoted":
                self._promoted(p, where)
            case _:
                pass

    def _version(self, p: Json) -> None:
        self.weights[p["version"]], self.sizes[p["version"]] = p["candidate"]["model"], p["parameters"]

    def _proposed(self, p: Json, where: str) -> None:
        operator = self.operators[p["id"]] = p["proposal"]["operator"]
        if operator not in {*self.plan["operators"], *PROBES}:
            self.findings.notes.append(f"{where}: operator {operator} is not in the plan")  # must not be built

    def _built(self, p: Json, where: str) -> None:
        operator = self.operators.get(p["id"], "")
        listed = operator in {*self.plan["operators"], *PROBES}
        self.findings.expect(listed, f"{where}: built by {operator or 'nobody'}, which the plan does not name")
        known = {self.weights.get(p["parent"], ""), self.gold, *self.data}
        for job in p.get("jobs", ()):
            strange = sorted(name for name, artifact in job["inputs"].items() if artifact not in known)
            self.findings.expect(
                not strange, f"{where}: {job['function']} read {', '.join(strange)}, no source of the plan"
            )
            known.update(job["outputs"].values())
        if "jobs" in p:
            made = p["candidate"]["model"] in known
            self.findings.expect(made, f"{where}: its weights were made by no job")
        self.data.update([p["data"]] if p["data"] else [])
        self._version(p)

    def _promoted(self, p: Json, where: str) -> None:
        expect = self.findings.expect
        expect(p["plan"] == self.hash, f"{where}: names another plan than the run's")
        if p["forced"]:
            expect(p["clause"] == "person", f"{where}: forced, but not under the clause of a person")
            return
        operator = self.operators.get(p["id"], "")
        named = operator in self.plan["operators"] and p["clause"] == f"operators.{operator}"
        expect(named, f"{where}: clause {p['clause']} is not one of the plan for {operator or 'it'}")
        size = self.sizes.get(p["version"], 0)
        expect(
            size <= self.plan["max_parameters"],
            f"{where}: {size} parameters, the plan allows {self.plan['max_parameters']}",
        )
