"""The goal and its subgoals: one weak slice each, with a budget, opened, closed and given up by evidence from dev.

Pure: from what is open and what was just diagnosed to the events that follow, so that a resumed run makes the same
moves. A subgoal is worth what its slice could add to the goal, times the chance that a turn spent on it ends in a
promotion (Laplace's rule of succession, from what was spent on it and what that gave). The horizon's turns and the
run's operations that are left are divided by that worth, and a turn works on the subgoal that is worth most.

Not here: when these are asked (`steering.py`), operators (`propose/`), proof (`judge/`): all of it reads dev problems.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evolvent.observe.diagnose import SMALLEST_SLICE, wilson
from evolvent.types import Trace, dec

MS_AN_HOUR = 3_600_000
OPEN_LIMIT = 3
PATIENCE_TURNS = 8  # that a subgoal may cost without a promotion, and that a given-up slice is left alone
PACE_STRETCHES = (
    3  # none in three as long as what is left gained enough: the rule of three bounds the next one's chance
)

Json = Mapping[str, Any]
Subgoals = Mapping[str, Json]


@dataclass(frozen=True, kw_only=True)
class Move:
    """One event about subgoals: ``goal.opened``, ``goal.closed``, ``goal.abandoned`` or ``goal.planned``."""

    kind: str
    id: str
    payload: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Left:
    """What may still be spent on the goal.

    Attributes:
        turns: of the horizon, the present one included; at least 1.
        flops: of the run's budget; ``None`` where nothing limits them.
    """

    turns: int
    flops: int | None = None

    def plain(self) -> dict[str, int]:
        """As JSON; a unit without a limit is not named."""
        return {"turns": self.turns} | ({} if self.flops is None else {"flops": self.flops})


# -- slices ------------------------------------------------------------------------------------------------------------


def slice_id(skill: str, tags: Mapping[str, str]) -> str:
    """Name of a slice, such as ``multi,kind=retype``."""
    return ",".join([skill, *(f"{key}={value}" for key, value in sorted(tags.items()))])


def belongs(trace: Trace, skill: str, tags: Mapping[str, str]) -> bool:
    """Whether a trace lies in a slice."""
    return trace.skill == skill and all(trace.tags.get(key) == value for key, value in tags.items())


def slice_counts(traces: Sequence[Trace], goal: Json) -> dict[str, int]:
    """Traces and failures of a subgoal's slice."""
    members = [trace for trace in traces if belongs(trace, goal["skill"], goal["slice"])]
    return {"n": len(members), "failures": sum(not trace.correct for trace in members)}


# -- subgoals ----------------------------------------------------------------------------------------------------------


def finished(subgoals: Subgoals, weak: Sequence[Json], turn: int) -> list[Move]:
    """Subgoals to close (failure rate halved since they were opened) or to abandon, with the reason.

    Args:
        subgoals: what is open, with the counts of the diagnosis.
        weak: slices that may be opened in their place, worst first, as `opened` takes them.
        turn: the present one.
    """
    moves: list[Move] = []
    for id_, goal in sorted(subgoals.items()):
        if goal["n"] >= SMALLEST_SLICE and goal["failures"] * goal["n_at_start"] * 2 <= (
            goal["failures_at_start"] * goal["n"]
        ):
            reason, kind = "failure rate halved on dev", "goal.closed"
        else:
            reason, kind = _hopeless(goal), "goal.abandoned"
        if reason:
            moves.append(Move(kind=kind, id=id_, payload={**goal, "turn": turn, "reason": reason}))
    fresh = any(goal["turn"] == turn for goal in subgoals.values())  # a turn that was cut short has got further already
    if not moves and not fresh and len(subgoals) >= OPEN_LIMIT:
        moves = _displaced(subgoals, weak, turn)
    return moves


def _hopeless(goal: Json) -> str:
    """Why a subgoal is given up for its own sake, or ``""``."""
    if goal["n"] < SMALLEST_SLICE:
        return f"{goal['n']} dev problems are of this slice, too few to see anything"
    spent, budget = goal["spent"], goal["budget"]
    for unit, name in (("turns", "turns"), ("flops", "operations")):
        if unit in budget and spent[unit] >= budget[unit]:
            return f"its budget is spent without a promotion: {spent[unit]:,} of {budget[unit]:,} {name}"
    return ""


def _displaced(subgoals: Subgoals, weak: Sequence[Json], turn: int) -> list[Move]:
    """Make room for a slice that is much worse: at least twice the failures, at a rate that is surely higher."""
    least = min(sorted(subgoals), key=lambda id_: subgoals[id_]["failures"])
    goal = subgoals[least]
    high = wilson(goal["failures"], goal["n"])[1]
    for row in weak:
        worse = row["failures"] >= 2 * goal["failures"] and wilson(row["failures"], row["n"])[0] > high
        if slice_id(row["skill"], row["slice"]) not in subgoals and worse:
            other = f"{slice_id(row['skill'], row['slice'])} is much worse: {row['failures']} of {row['n']} failed"
            payload = {**goal, "turn": turn, "reason": f"{other}, here {goal['failures']} of {goal['n']}"}
            return [Move(kind="goal.abandoned", id=least, payload=payload)]
    return []


def awake(weak: Sequence[Json], past: Sequence[Json], turn: int) -> list[Json]:
    """Slices but those that were given up a short while ago, or closed in this turn.

    One whose failure rate has risen beyond the interval that it had is back at once.

    Args:
        weak: slices, as `opened` takes them.
        past: what was closed and given up, oldest first.
        turn: the present one.
    """
    rest = {"goal.abandoned": PATIENCE_TURNS, "goal.closed": 1}
    last = {row["id"]: row for row in past if turn - row["turn"] < rest[row["kind"]]}

    def rests(row: Json) -> bool:
        old = last.get(slice_id(row["skill"], row["slice"]))
        return old is not None and wilson(row["failures"], row["n"])[0] <= wilson(old["failures"], old["n"])[1]

    return [row for row in weak if not rests(row)]


def opened(subgoals: Subgoals, past: Sequence[Json], weak: Sequence[Json], turn: int) -> list[Move]:
    """Subgoals to open: the worst slices that are none yet, at most `OPEN_LIMIT` in all.

    Args:
        subgoals: what is open.
        past: what was closed and given up, oldest first; a slice keeps its account.
        weak: slices of the goal's problems that do not rest, worst first, each with ``skill``, ``slice``, ``n``,
            ``failures`` and ``cause``.
        turn: the present one.
    """
    moves: list[Move] = []
    for row in weak:
        id_ = slice_id(row["skill"], row["slice"])
        if id_ in subgoals or len(subgoals) + len(moves) >= OPEN_LIMIT:
            continue
        before = next((old for old in reversed(past) if old["id"] == id_), {})
        payload = {
            "id": id_, "skill": row["skill"], "slice": row["slice"], "turn": turn, "n": row["n"],
            "failures": row["failures"], "n_at_start": row["n"], "failures_at_start": row["failures"],
            "total": before.get("total", {"turns": 0, "flops": 0}),
            "promotions": before.get("promotions", 0), "reason": row["cause"],
        }  # fmt: skip
        moves.append(Move(kind="goal.opened", id=id_, payload=payload))
    return moves


# -- budgets -----------------------------------------------------------------------------------------------------------


def worth(goal: Json, size: int) -> float:
    """Points of the goal that fail in its slice, times the chance that a turn on it ends in a promotion.

    Args:
        goal: a subgoal.
        size: dev problems that the goal counts.

    References:
        Laplace's rule of succession: (promotions + 1) / (turns + 2).
    """
    return 100 * goal["failures"] / max(1, size) * (goal["promotions"] + 1) / (goal["total"]["turns"] + 2)


def replanned(subgoals: Subgoals, before: Json, champion: str, size: int, left: Left, turn: int) -> list[Move]:
    """The budgets divided anew, where what they rest on has changed since they were divided `before`; else nothing."""
    reason = _changed(subgoals, before, champion)
    if not reason:
        return []
    total = sum(worth(goal, size) for goal in subgoals.values())
    rows = {id_: _share(goal, worth(goal, size), total, left) for id_, goal in sorted(subgoals.items())}
    payload = {"turn": turn, "champion": champion, "size": size, "left": left.plain(), "subgoals": rows}
    return [Move(kind="goal.planned", id="budgets", payload={**payload, "reason": reason})]


def _share(goal: Json, value: float, total: float, left: Left) -> dict[str, Any]:
    """A subgoal's part: at least a turn, and never more turns without a promotion than our patience has."""
    part = value / total if total else 0.0
    spent = goal["spent"]
    budget = {"turns": min(PATIENCE_TURNS, spent["turns"] + max(1, int(left.turns * part)))}
    if left.flops is not None:
        budget["flops"] = spent["flops"] + int(left.flops * part)
    return {"n": goal["n"], "failures": goal["failures"], "worth": dec(value, 4), "budget": budget}


def _changed(subgoals: Subgoals, before: Json, champion: str) -> str:
    """What the last division did not know of, in words; ``""`` if nothing."""
    known = before.get("subgoals", {})
    said = ["the champion changed"] if before and before["champion"] != champion else []
    for id_, goal in sorted(subgoals.items()):
        if id_ not in known:
            said.append(f"{id_} opened")
        elif (old := known[id_])["n"] != goal["n"] or old["failures"] != goal["failures"]:
            counts = f"{old['failures']} of {old['n']} to {goal['failures']} of {goal['n']}"
            said.append(f"{id_} moved from {counts} failed")
    said += [f"{id_} ended" for id_ in sorted(known.keys() - subgoals.keys())]
    return "; ".join(said) if subgoals or known else ""


def chosen(subgoals: Subgoals, size: int) -> str:
    """The subgoal that a turn works on: worth most, of those with something left to spend; ``""`` if there is none."""
    able = [
        id_
        for id_, goal in sorted(subgoals.items())
        if goal["budget"] and all(goal["spent"][unit] < limit for unit, limit in goal["budget"].items())
    ]
    return max(able, key=lambda id_: worth(subgoals[id_], size)) if able else ""


def flops_left(goal: Json) -> int | None:
    """Operations that a subgoal may still spend; ``None`` where nothing limits them, or there is no subgoal."""
    budget = goal.get("budget", {})
    return max(0, budget["flops"] - goal["spent"]["flops"]) if "flops" in budget else None


# -- the goal itself ---------------------------------------------------------------------------------------------------


def gain_limits(anchor: Mapping[str, int], champion: Mapping[str, int]) -> tuple[float, float]:
    """Points between which champion's rate minus anchor's lies, 90 % by dev: Newcombe's interval of two samples.

    Seed and champion have dev problems of their own, so the two counts ``{n, correct}`` are independent.
    """
    (low_a, high_a), (low_c, high_c) = (
        wilson(anchor["correct"], anchor["n"]),
        wilson(champion["correct"], champion["n"]),
    )
    a, c = (counts["correct"] / max(1, counts["n"]) for counts in (anchor, champion))
    down, up = math.hypot(c - low_c, high_a - a), math.hypot(high_c - c, a - low_a)
    return 100 * (c - a - down), 100 * (c - a + up)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How far a champion is, by its dev problems. Limits are of 90 % intervals.

    Attributes:
        goal: plain form of the goal.
        aim: ``{n, correct}`` of the problems that its rate counts.
        rate: limits of that rate, percent.
        gain: limits of the target's gain over the anchor, points.
        kept: limits of the gain of every other protected skill, points.
        margins: points that a protected skill may lose.
    """

    goal: Json
    aim: Mapping[str, int]
    rate: tuple[float, float]
    gain: tuple[float, float]
    kept: Mapping[str, tuple[float, float]]
    margins: Mapping[str, int]

    @classmethod
    def of(
        cls,
        goal: Json,
        margins: Mapping[str, int],
        anchor: Mapping[str, Mapping[str, int]],
        champion: Mapping[str, Mapping[str, int]],
        aim: Mapping[str, int],
    ) -> Measured:
        """From dev counts by skill, of anchor and champion, and those that the goal's rate counts."""
        target = goal["skill"]
        gains = {skill: gain_limits(anchor[skill], champion[skill]) for skill in champion if skill in anchor}
        low, high = wilson(aim["correct"], aim["n"])
        return cls(
            goal=goal, aim=dict(aim), rate=(100 * low, 100 * high), gain=gains.get(target, (-100.0, 100.0)),
            kept={skill: gains[skill] for skill in sorted(gains) if skill in margins and skill != target},
            margins=dict(margins),
        )  # fmt: skip

    @property
    def lost(self) -> list[str]:
        """Protected skills that dev shows to have lost more than their margin."""
        return [skill for skill, (_, high) in self.kept.items() if high < -self.margins[skill]]

    @property
    def reached(self) -> bool:
        """The lower limits are at what is wanted, and no protected skill is lost."""
        there = self.rate[0] >= self.goal["rate"] and (
            not self.goal["gain_points"] or self.gain[0] >= self.goal["gain_points"]
        )
        return there and not self.lost

    @property
    def missing(self) -> float:
        """Points that are missing at best, by the upper limit; 0 if it may be there already."""
        if self.goal["rate"]:
            return max(0.0, self.goal["rate"] - self.rate[1])
        return max(0.0, self.goal["gain_points"] - self.gain[1])

    @property
    def words(self) -> str:
        """How far it is, for people."""
        said = []
        if self.goal["rate"]:
            what = slice_id(self.goal["skill"], self.goal["slice"])
            found = f"{self.aim['correct']} of {self.aim['n']} solved"
            said.append(f"{self.rate[0]:.1f} to {self.rate[1]:.1f} % of {what} ({found}), {self.goal['rate']} wanted")
        if self.goal["gain_points"]:
            span = f"{self.gain[0]:+.1f} to {self.gain[1]:+.1f} points on {self.goal['skill']}"
            said.append(f"{span}, {self.goal['gain_points']} wanted")
        said += [f"{skill} lost more than {self.margins[skill]} points" for skill in self.lost]
        return "; ".join(said) + "; on dev problems"

    def plain(self) -> dict[str, Any]:
        """Figures for an event: decimal text."""
        kept = {skill: [dec(end, 4) for end in ends] for skill, ends in self.kept.items()}
        rate, gain = ([dec(end, 4) for end in ends] for ends in (self.rate, self.gain))
        return {"goal": dict(self.aim), "rate": rate, "gain": gain, "kept": kept}


def too_slow(progress: Sequence[Sequence[int]], turn: int, left: int, missing: float) -> str:
    """Why the rest of the horizon does not suffice, or ``""``.

    Asked once the run is three times as old as what is left: if no stretch of that length has gained what is missing at
    best, the goal is out of reach. A rule of thumb that can err; at most a quarter of the horizon is saved by it.

    Args:
        progress: ``[turns done, n, correct]`` of each champion, oldest first.
        turn: turns done.
        left: turns left.
        missing: points that are missing at best.
    """
    if missing <= 0 or left < 1 or turn < max(PATIENCE_TURNS, PACE_STRETCHES * left):
        return ""
    rates = [100 * _at(progress, at) for at in range(turn + 1)]
    best = max(late - early for early, late in zip(rates, rates[left:], strict=False))
    if best >= missing:
        return ""
    return f"{missing:.1f} points are missing at best, and no {left} turns so far gained more than {max(0.0, best):.1f}"


def _at(progress: Sequence[Sequence[int]], turn: int) -> float:
    """Rate of the champion after so many turns."""
    known = [row for row in progress if row[0] <= turn] or list(progress[:1])
    return known[-1][2] / max(1, known[-1][1]) if known else 0.0
