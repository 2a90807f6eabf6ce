"""What a run knows, as a fold over its events.

`State.apply` takes one event and nothing else: no clock, no file, no generator. Reading the ledger from the start, or
from a snapshot, gives the same state, which is why a killed run resumes as if nothing had happened. It holds what the
next turn needs and stays the same size however long the run is; older versions are looked up in the ledger.

Not here: what people are shown (`report/`), which keeps the whole story.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from evolvent.goals import slice_id
from evolvent.memory.episodes import ACCEPTED, DROPPED, FAILED, MILLI, REJECTED, SCREENED_OUT, Episode, band
from evolvent.memory.memory import Memory
from evolvent.propose.base import PROBES, failure_class, fingerprint
from evolvent.types import Decision, Event

BARRED_LIMIT = 24
TRIED_LIMIT = 64
POOL_LIMIT = 6
PAST_LIMIT = 32  # more than can be given up while one of them still rests
PROGRESS_LIMIT = 64
UNITS = ("flops", "tokens", "problems")


@dataclass
class State:
    """The fold.

    Attributes:
        turn: turns finished.
        seed: the version that the run began with; the frozen anchor.
        champion: the version that serves.
        certified: the newest version that the gate promoted (or the seed).
        versions: plain form of the versions above and of this turn's.
        slots: slots opened so far; spending of the error budget follows it.
        promotions: promotions by the gate; `newest`: version and proposal's id of the last of them, empty if what it
            beat was not certified.
        standing: standing checks opened; `standing_at`: turn of the last; `standing_of`: version it looked at.
        run: the run's id; `task`, `target`: name of its task, and the skill that must get better.
        memory: what was tried and what it was worth, earlier runs' memory included.
        barred: fingerprints of ideas that make no sense under this champion.
        tried: fingerprints of the newest ideas tried on this champion.
        pool: data artifacts gathered, oldest first, the newest few.
        subgoals: open subgoals by id, with counts of the last diagnosis, budget and what was spent.
        past: subgoals that were closed or given up, the newest few; `ended` counts all of them by kind.
        division: how budgets were divided last.
        outcome: ``goal.reached`` or ``goal.given_up`` and its payload, or empty while the goal is pursued.
        aim: dev counts of the problems that the goal's rate counts, of `dev_of`.
        progress: ``[turns done, n, correct]`` of these for each champion, the newest few.
        worked_ms: wall time at work, over all processes.
        proposals: this turn's proposals by id, with what has happened to them.
        held: what the gate accepted and waits for a person, by id, oldest first.
        asked: the pick that a person is asked for now, or empty.
        dev: dev counts by skill of `dev_of`, the champion at the last diagnosis.
        anchor_dev: dev counts of the seed by skill.
        spent: units spent; `spent_before`: the part that is not of this turn's candidates.
        stopped: why the run ended, or ``""``.
    """

    turn: int = 0
    seed: str = ""
    champion: str = ""
    certified: str = ""
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    slots: int = 0
    promotions: int = 0
    newest: list[str] = field(default_factory=lambda: ["", ""])
    standing: int = 0
    standing_at: int = 0
    standing_of: str = ""
    run: str = ""
    task: str = ""
    target: str = ""
    memory: Memory = field(default_factory=Memory)
    barred: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    pool: list[str] = field(default_factory=list)
    subgoals: dict[str, dict[str, Any]] = field(default_factory=dict)
    past: list[dict[str, Any]] = field(default_factory=list)
    ended: dict[str, int] = field(default_factory=dict)
    division: dict[str, Any] = field(default_factory=dict)
    outcome: dict[str, Any] = field(default_factory=dict)
    aim: dict[str, int] = field(default_factory=lambda: {"n": 0, "correct": 0})
    progress: list[list[int]] = field(default_factory=list)
    worked_ms: int = 0
    proposals: dict[str, dict[str, Any]] = field(default_factory=dict)
    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    dev: dict[str, dict[str, int]] = field(default_factory=dict)
    dev_of: str = ""
    anchor_dev: dict[str, dict[str, int]] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(UNITS, 0))
    spent_before: dict[str, int] = field(default_factory=lambda: dict.fromkeys(UNITS, 0))
    stopped: str = ""

    def apply(self, event: Event) -> None:
        """Take one event in. Kinds that change nothing here are passed over."""
        self.run = event.run
        self.worked_ms += event.cost.get("wall_ms", 0)
        handler = getattr(self, "_on_" + event.kind.replace(".", "_"), None)
        if handler is not None:
            handler(event.payload)
        for unit in UNITS if event.kind in COSTLY else ():
            cost = int(event.payload.get(unit, 0))
            self.spent[unit] += cost
            # A standing check is the champion's, whatever turn it falls into: it leaves the candidates' budget alone.
            self.spent_before[unit] += cost if event.kind == "standing.checked" else 0

    def promise(self, id_: str) -> float:
        """What the signals of this turn's proposal say of its verdict: log odds, by how well each has told so far."""
        return self.memory.signals.promise(self.proposals[id_]["signals"])

    def plain(self) -> dict[str, Any]:
        """As JSON, for a snapshot."""
        return {**vars(self), "memory": self.memory.plain()}

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> State:
        """From a snapshot."""
        return cls(**{**data, "memory": Memory.from_plain(data["memory"], "snapshot")})

    @property
    def band(self) -> str:
        """Regime of the target under the champion that was diagnosed last."""
        counts = self.dev.get(self.target, {"correct": 0, "n": 0})
        return band(counts["correct"], counts["n"])

    def _on_run_started(self, p: dict[str, Any]) -> None:
        self.task, self.target = p["task"], p["config"]["plan"]["target"]

    def _on_seed_imported(self, p: dict[str, Any]) -> None:
        self.seed = self.champion = self.certified = p["version"]
        self.versions[p["version"]] = _version(p)

    def _on_memory_imported(self, p: dict[str, Any]) -> None:
        self.memory = Memory.from_plain(p["memory"])

    def _on_memory_forgotten(self, p: dict[str, Any]) -> None:
        self.memory.forget(arm=p["arm"], task=p["task"], everything=p["everything"])

    def _on_turn_started(self, p: dict[str, Any]) -> None:
        self.proposals, self.stopped = {}, ""
        self.spent_before = dict(self.spent)

    def _on_diagnosed(self, p: dict[str, Any]) -> None:
        self._measured(p, p["turn"] - 1)
        for id_, counts in p["subgoals"].items():
            if id_ in self.subgoals:
                self.subgoals[id_].update(counts)

    def _on_goal_measured(self, p: dict[str, Any]) -> None:
        self._measured(p, p["turn"])

    def _measured(self, p: dict[str, Any], turns_done: int) -> None:
        if p["champion"] != self.dev_of:
            self.progress = [*self.progress, [turns_done, p["goal"]["n"], p["goal"]["correct"]]][-PROGRESS_LIMIT:]
        self.dev, self.dev_of, self.aim = p["skills"], p["champion"], p["goal"]
        if p["champion"] == self.seed:
            self.anchor_dev = p["skills"]

    def _on_goal_opened(self, p: dict[str, Any]) -> None:
        self.subgoals[p["id"]] = {**p, "budget": {}, "spent": {"turns": 0, "flops": 0}, "total": dict(p["total"])}

    def _on_goal_closed(self, p: dict[str, Any], kind: str = "goal.closed") -> None:
        self.subgoals.pop(p["id"], None)
        self.past = [*self.past, {**p, "kind": kind}][-PAST_LIMIT:]
        self.ended[kind] = self.ended.get(kind, 0) + 1

    def _on_goal_abandoned(self, p: dict[str, Any]) -> None:
        self._on_goal_closed(p, "goal.abandoned")

    def _on_goal_planned(self, p: dict[str, Any]) -> None:
        self.division = p
        for id_, row in p["subgoals"].items():
            self.subgoals[id_]["budget"] = row["budget"]

    def _on_goal_reached(self, p: dict[str, Any]) -> None:
        self.outcome = {"kind": "goal.reached", **p}

    def _on_goal_given_up(self, p: dict[str, Any]) -> None:
        self.outcome = {"kind": "goal.given_up", **p}

    def _on_planned(self, p: dict[str, Any]) -> None:
        self._charge(p["subgoal"], "turns", 1)

    def _charge(self, subgoal: str, unit: str, amount: int) -> None:
        """A subgoal pays for what answers it, whether or not it helps."""
        if (goal := self.subgoals.get(subgoal)) is not None:
            goal["spent"][unit] += amount
            goal["total"][unit] += amount

    def _credit(self, subgoal: str) -> None:
        """A promotion is what a subgoal is paid for: it starts on a fresh budget."""
        if (goal := self.subgoals.get(subgoal)) is not None:
            goal["promotions"] += 1
            goal["spent"] = {"turns": 0, "flops": 0}

    def _on_proposed(self, p: dict[str, Any]) -> None:
        proposal, answers = p["proposal"], p["answers"] or {}
        known = {name: proposal[name] for name in ("operator", "params", "proposer")}
        self.proposals[p["id"]] = {
            **known,
            "skill": answers.get("skill", ""),
            "subgoal": slice_id(answers["skill"], answers["slice"]) if answers.get("slice") else "",
            "error": failure_class(answers.get("errors", {})),
            "errors": answers.get("errors", {}),
            "band": self.band,
            "predicted": round(MILLI * float(proposal["predicted_gain"])),
            "signals": {},
        }
        deviation = float(proposal["predicted_deviation"])
        if deviation:
            self.proposals[p["id"]]["signals"]["foreseen"] = round(
                MILLI * float(proposal["predicted_gain"]) / deviation
            )
        self.tried = [*self.tried, fingerprint(proposal["operator"], proposal["params"])][-TRIED_LIMIT:]

    def _on_built(self, p: dict[str, Any]) -> None:
        self.versions[p["version"]] = _version(p)
        proposal = self.proposals[p["id"]]
        proposal.update(version=p["version"], flops=p["flops"])
        self._charge(proposal["subgoal"], "flops", p["flops"])
        if p["data"]:
            self.pool = [*self.pool, p["data"]][-POOL_LIMIT:]
            proposal["signals"]["kept"] = round(MILLI * p["funnel"]["kept"] / max(1, p["funnel"]["drawn"]))

    def _on_build_failed(self, p: dict[str, Any]) -> None:
        # What ran out of a budget was not shown to fail; anything else that fails for nothing would fail again.
        tried = p["error"] != "over_budget"
        self.proposals[p["id"]].update(flops=p["flops"], tried=tried, outcome=FAILED if tried else DROPPED)
        self._charge(self.proposals[p["id"]]["subgoal"], "flops", p["flops"])

    def _on_screened(self, p: dict[str, Any]) -> None:
        proposal, target = self.proposals[p["id"]], p["target"]
        others = [counts for skill, counts in p["skills"].items() if skill != self.target]
        proposal["signals"] |= {"dev": _paired_z([target]), "others": _paired_z(others)}
        own = p.get("over_parent", target)  # what the change gained; the champion may have what its parent had not
        gain = round(100 * MILLI * (own["wins"] - own["losses"]) / max(1, own["n"]))
        proposal.update(tried=True, gain=gain, outcome=SCREENED_OUT, overtaken="over_parent" in p)
        self._charge(proposal["subgoal"], "flops", p["flops"])

    def _on_slot_opened(self, p: dict[str, Any]) -> None:
        self.slots = p["slot"]

    def _on_verdict(self, p: dict[str, Any]) -> None:
        accepted = p["verdict"]["decision"] == Decision.ACCEPT
        self.proposals[p["id"]].update(tried=True, outcome=ACCEPTED if accepted else REJECTED)

    def _on_held(self, p: dict[str, Any]) -> None:
        proposal = self.proposals[p["id"]]
        idea = fingerprint(proposal["operator"], proposal["params"])
        self.held[p["id"]] = {**p, "idea": idea, "waited": False, "subgoal": proposal["subgoal"]}
        self._bar(idea)  # its like would cost a slot, and wait beside it
        self._learn(p["id"], "", "held")

    def _on_held_passed(self, p: dict[str, Any]) -> None:
        self.held[p["id"]]["waited"] = True

    def _on_pick_asked(self, p: dict[str, Any]) -> None:
        self.asked = dict(p)

    def _on_picked(self, p: dict[str, Any]) -> None:
        self.asked, self.stopped = {}, ""

    _on_pick_passed = _on_picked

    def _bar(self, idea: str) -> None:
        self.barred = [*self.barred, idea][-BARRED_LIMIT:]

    def _on_promoted(self, p: dict[str, Any]) -> None:
        if not p["forced"]:
            case = self.held.pop(p["id"], None) or self.proposals.get(p["id"], {})
            self._credit(case.get("subgoal", ""))
        was = self.versions[self.champion]["candidate"]["model"]
        grounded = self.champion == self.certified
        self.champion = p["version"]
        self.versions[p["version"]] = _version(p)
        self.tried = []
        if p["candidate"]["model"] != was:
            self.barred = []  # under the same weights, what lost to a weaker champion need not meet a stronger one
        if p["forced"]:
            self._goal_in_doubt()
            self.standing_of = ""  # what was once looked at, and perhaps taken down, is looked at again
        else:
            self._learn(p["id"], "", "")
            self.promotions += 1
            self.newest = [p["version"], p["id"]] if grounded else ["", ""]
            if grounded:  # better than one that a person forced in says nothing of the last certified one
                self.certified = p["version"]

    def _on_rejected(self, p: dict[str, Any]) -> None:
        if (case := self.held.pop(p["id"], None)) is not None:
            if "by" not in p and case["idea"] in self.barred:  # no person declined it: the champion changed
                self.barred.remove(case["idea"])
            return
        proposal = self.proposals.get(p["id"])
        if proposal is None:
            return
        if "by" in p:  # a person picked others, which says nothing of its worth
            return self._learn(p["id"], DROPPED, p["reason"])
        self._learn(p["id"], "", p["reason"])
        if proposal.get("outcome", DROPPED) == DROPPED:  # nobody has looked at it
            mark = fingerprint(proposal["operator"], proposal["params"])
            self.tried = [other for other in self.tried if other != mark]
        looked_at = proposal.get("tried") and not proposal.get("overtaken")
        if looked_at and not proposal["flops"] and proposal["operator"] != "null":
            # It was tried on this champion, and costs nothing to build: nothing but the champion can change its worth.
            self._bar(fingerprint(proposal["operator"], proposal["params"]))

    def _on_standing_opened(self, p: dict[str, Any]) -> None:
        self.standing = p["number"]

    def _on_standing_checked(self, p: dict[str, Any]) -> None:
        self.standing_at, self.standing_of = p["turn"], p["champion"]

    def _on_rolled_back(self, p: dict[str, Any]) -> None:
        if "evidence" in p:  # a standing check's; a person's reasons are none
            self._misled(p["from"])
        self.champion = p["to"]
        self.versions[p["to"]] = _version(p)
        self.certified = p["certified"]
        self.barred, self.tried = [], []
        self._goal_in_doubt()

    def _misled(self, fallen: str) -> None:
        """What made a champion that fell had been accepted, and was not what it seemed.

        That the last step is to blame, and not an earlier one, is a convention: the champion before it was looked at
        when it was new, and stood. One that beat a version which a person had forced in was never said to be better
        than what it now fell behind.
        """
        version, id_ = self.newest
        if version == fallen:
            self.memory.withdraw(self.run, id_)

    def _goal_in_doubt(self) -> None:
        """Another champion than the one that reached the goal, and not by the gate's word: it is pursued again."""
        if self.outcome.get("kind") == "goal.reached":
            self.outcome = {}

    def _on_turn_ended(self, p: dict[str, Any]) -> None:
        self.turn = p["turn"]
        kept = {self.seed, self.champion, self.certified, *(case["version"] for case in self.held.values())}
        self.versions = {name: version for name, version in self.versions.items() if name in kept}

    def _learn(self, id_: str, outcome: str, reason: str) -> None:
        """The episode of a proposal is over; what probes show says nothing of real changes."""
        found = self.proposals.get(id_)
        if found is None or found["operator"] in PROBES or found.get("learned"):
            return
        found["learned"] = True
        told = ("operator", "params", "proposer", "skill", "error", "errors", "band", "predicted", "signals")
        episode = Episode(
            task=self.task, run=self.run, id=id_, outcome=outcome or found.get("outcome", DROPPED), reason=reason,
            gain=found.get("gain"), mflops=found.get("flops", 0) // 10**6, overtaken=found.get("overtaken", False),
            **{name: found[name] for name in told},
        )  # fmt: skip
        self.memory.learn(episode)

    def _on_run_stopped(self, p: dict[str, Any]) -> None:
        self.stopped = p["reason"]

    def _on_run_resumed(self, p: dict[str, Any]) -> None:
        self.stopped = ""


COSTLY = frozenset({
    "diagnosed", "goal.measured", "heard", "built", "build.failed", "screened", "verdict", "standing.checked",
})  # fmt: skip


def _paired_z(counts: Sequence[dict[str, int]]) -> int:
    """Wins minus losses over the root of their number, in thousandths: a z value of no difference."""
    wins, losses = (sum(c[side] for c in counts) for side in ("wins", "losses"))
    return round(MILLI * (wins - losses) / (wins + losses) ** 0.5) if wins + losses else 0


def _version(p: dict[str, Any]) -> dict[str, Any]:
    return {"candidate": p["candidate"], "policy": p["policy"]}
