"""Events in plain words, one line each, as they happen.

Not here: the whole story (`report/`), progress between events (`live.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evolvent.report import words
from evolvent.types import Event

__all__ = ["evidence_lines", "stage_line", "tell"]

Json = Mapping[str, Any]
Evidence = Callable[[str], Json]


def tell(event: Event, evidence: Evidence) -> list[str]:
    """Lines for people; none for kinds that only machines care for.

    Args:
        event: what happened.
        evidence: opens the judge's evidence by hash, after the verdict.
    """
    teller = _TELLERS.get(event.kind)
    if teller is not None:
        return [words.clean(line, 200) if not line.startswith(" ") else f"  {words.clean(line, 200)}"
                for line in teller(event.payload)]  # fmt: skip
    if event.kind == "verdict":
        said = event.payload["verdict"]
        head = f"{event.payload['id']}: the judge says {said['decision']} ({said['reason']})"
        lines = [f"{head} after {event.payload['problems']:,} fresh problems"]
        return [words.clean(line, 200) for line in lines] + evidence_lines(evidence(said["evidence"]))
    if event.kind == "standing.checked":
        p = event.payload
        alarm = "worse beyond its margin: alarm" if p["alarm"] else "no evidence of a loss"
        head = f"standing check of {words.short(p['champion'])}: {alarm} after {p['problems']:,} fresh problems"
        return [head, *evidence_lines(evidence(p["evidence"]))]
    return []


def evidence_lines(proof: Json) -> list[str]:
    """Each stage's evidence against its threshold."""
    lines: list[str] = []
    for stage in proof.get("stages", []):
        if stage["n"]:
            counts = f"{stage['wins']} won, {stage['losses']} lost of {stage['n']}"
            lines.append(f"  {stage_line(stage)}; {counts}: {words.stage_answer(stage)}")
    said = proof.get("consistency") or {}
    if said:
        n, repeated = said["n"], said["repeated"]
        right = f"right in {said['right_if_repeated']} of these, in {said['right_if_not']} of the other {n - repeated}"
        lines.append(f"  asked again, it repeats {repeated} of {n} answers; {right}")
    return lines


def stage_line(stage: Json) -> str:
    """One test: what it asks, its evidence, its threshold."""
    reached, needed = float(stage["path"][-1][1]), float(stage["threshold_log_e"])
    return f"{words.stage_words(stage)} log e {reached:+.2f}, {needed:.2f} needed"


def _started(p: Json) -> list[str]:
    return [f"run of {p['task']}: {words.goal_wanted(p['goal'])}"]


def _imported(p: Json) -> list[str]:
    return [f"seed {words.short(p['version'])}, {p['parameters']:,} parameters; it stays the anchor"]


def _turn(p: Json) -> list[str]:
    return [f"turn {p['turn']}: champion {words.short(p['champion'])}"]


def _diagnosed(p: Json) -> list[str]:
    shares = (f"{name} {words.percent(c['correct'] / max(1, c['n']))}" for name, c in sorted(p["skills"].items()))
    lines = [f"diagnosis on dev: {', '.join(shares)}"]
    if p["weaknesses"]:
        worst = p["weaknesses"][0]
        where = f"{worst['skill']} {words.pairs(worst['slice'])}".strip()
        lines.append(f"  weakest: {where}, {worst['failures']} of {worst['n']} failed. {worst['cause']}")
    return lines


def _budgets(p: Json) -> list[str]:
    turns = ", ".join(f"{id_} {row['budget']['turns']}" for id_, row in p["subgoals"].items())
    return [f"turns that subgoals may take: {turns or 'none is open'} ({p['reason']})"]


def _planned(p: Json) -> list[str]:
    lines = [f"works on subgoal {p['subgoal']}"] if p["subgoal"] else []
    if spent := [unit for unit, left in p["allowance"].items() if left == 0]:
        lines.append(f"nothing is left to build with: {', '.join(spent)} of subgoal, turn or run are spent")
    return lines


def _proposed(p: Json) -> list[str]:
    plan = p["proposal"]
    inside = f" ({words.pairs(plan['params'], 80)})" if plan["params"] else ""
    by = f" by {plan['proposer']}" if plan["proposer"] else ""
    return [f"{p['id']}: proposed {plan['operator']}{inside}{by}"]


def _built(p: Json) -> list[str]:
    counts = p["funnel"]
    made = f", kept {counts['kept']:,} of {counts['sampled']:,} answers" if {"kept", "sampled"} <= counts.keys() else ""
    return [f"{p['id']}: built {words.short(p['version'])}{made}"]


def _screened(p: Json) -> list[str]:
    target = p["target"]
    said = "goes to the judge" if p["passed"] else "no gain, goes no further"
    return [f"{p['id']}: screen on dev: {target['wins']} won, {target['losses']} lost of {target['n']}: {said}"]


def _held(p: Json) -> list[str]:
    name = words.short(p["version"])
    how = f"  it waits for a person: `evolvent approve {name}` or `evolvent decline {name}`"
    return [f"{p['id']}: {name} held: {'; '.join(p['why'])}", how]


def _asked(p: Json) -> list[str]:
    rows = [
        f"  {row['id']}: {row['operator']}, {row['target']['wins']} won, {row['target']['losses']} lost on dev"
        for row in p["candidates"]
    ]
    return ["a person may pick what goes to the judge: `evolvent pick` shows more", *rows]


def _word(said: str) -> Callable[[Json], list[str]]:
    return lambda p: [f"{p['id']}: {said} by {p['by']}: {p['note']}".removesuffix(": ")]


def _promoted(p: Json) -> list[str]:
    how = f"FORCED by {p['by']} against the judge's {p.get('objection') or 'silence'}" if p["forced"] else "promoted"
    how += f", approved by {p['approved_by']}" if "approved_by" in p else ""
    return [f"{p['id']}: {words.short(p['version'])} {how}"]


_TELLERS: dict[str, Callable[[Json], list[str]]] = {
    "run.started": _started,
    "judge.sealed": lambda p: [f"the judge sealed its secret: {p['commitment'][:16]}"],
    "seed.imported": _imported,
    "memory.imported": lambda p: [f"memory of earlier runs: {len(p['memory']['episodes'])} episodes"],
    "heard": lambda p: [
        f"the language model: {p['tokens']:,} tokens, {len(p['refused'])} refused"
        + "".join(f"; {row['kind']}: {row['reason']}" for row in p["refused"]),
    ],
    "memory.forgotten": lambda p: [f"forgotten by {p['by']}: {p['arm'] or p['task'] or 'everything'}"],
    "turn.started": _turn,
    "diagnosed": _diagnosed,
    "goal.opened": lambda p: [f"subgoal opened: {p['id']}"],
    "goal.closed": lambda p: [f"subgoal closed: {p['id']} ({p['reason']})"],
    "goal.abandoned": lambda p: [f"subgoal abandoned: {p['id']} ({p['reason']})"],
    "goal.planned": _budgets,
    "goal.reached": lambda p: [p["reason"]],
    "goal.given_up": lambda p: [p["reason"]],
    "planned": _planned,
    "proposed": _proposed,
    "built": _built,
    "build.failed": lambda p: [f"{p['id']}: could not be built: {p['error']}: {p['message']}"],
    "screened": _screened,
    "held": _held,
    "held.passed": lambda p: [f"{p['id']}: no word within {p['seconds']} s; it stays held, the run goes on without it"],
    "request.approve": _word("approved"),
    "request.decline": _word("declined"),
    "pick.asked": _asked,
    "request.pick": lambda p: [f"{p['by']} picks {', '.join(p['ids']) or 'none'}"],
    "picked": lambda p: [f"picked by {p['by']}: {', '.join(p['ids']) or 'none'}"],
    "pick.passed": lambda p: [f"no pick within {p['seconds']} s; all of them go to the judge"],
    "promoted": _promoted,
    "rejected": lambda p: [f"{p['id']}: rejected: {p['reason']}"],
    "rolled_back": lambda p: [
        f"rolled back from {words.short(p['from'])} to {words.short(p['to'])} by {p['by']}: {p['reason']}"
    ],
    "sealed.opened": lambda p: ["the sealed problems are opened, once for this champion"],
    "run.stopped": lambda p: [f"stopped: {p['reason']}"],
}
