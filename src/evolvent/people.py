"""Where people have a say beside the gate: what goes to the judge, and promotions beyond a limit of the plan.

A person's word is a request, which any process may write (`Ledger.request`), while the run works or stands still. The
loop looks for it at fixed places and writes down what it made of it: promoted, rejected, picked. That nobody spoke in
time is an event too, written once. So a resumed run reads what was decided and asks no clock again.

A candidate that the gate accepted beyond a limit is *held*: it is promoted only by a person's word, and only while the
champion is the one that it was judged against. No deadline promotes it. Its promotion is the gate's, with a person's
approval; it is not forced, and it earns error budget back when it is promoted, not before.

Not here: a person who overrides the gate (`run.py`), what exceeds a limit (`limits.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from evolvent import limits
from evolvent.building import STALE
from evolvent.errors import GateRefused, PersonAwaited, UsageError
from evolvent.ledger import Ledger
from evolvent.standing import Desk
from evolvent.state import State
from evolvent.types import Event, Proposal

__all__ = ["answer", "between_turns", "chosen", "conclude", "heed", "pick"]

_POLL_S = 0.2

Payload = dict[str, Any]


# -- what the gate accepted --------------------------------------------------------------------------------------------


def conclude(desk: Desk, proposal: Proposal, verdict: Payload) -> None:
    """What follows from a verdict that accepts, against the present champion: a promotion, or a candidate that is held.

    The judge's evidence is opened only where the plan declares a limit.
    """
    plan, id_ = desk.settings.plan, f"{proposal.turn}.{proposal.index}"
    case: Payload = {
        "id": id_, "version": verdict["candidate"], "parent": proposal.parent, "plan": plan.hash,
        "clause": f"operators.{proposal.operator}", "evidence": verdict["evidence"],
    }  # fmt: skip
    if plan.jump_points or plan.drift_percent:
        opened, screened = desk.ledger.get(f"{id_}/slot"), desk.ledger.get(f"{id_}/screened")
        assert opened is not None
        gains = limits.gains_over_anchor(opened.payload["question"], desk.judge.evidence(verdict["evidence"]))
        drift = screened.payload.get("drift", {}).get("counts") if screened else None
        if why := limits.exceeded(plan, gains, drift):
            held = {**case, "incumbent": desk.state.champion, "why": why, "gains": gains, "drift": drift}
            desk.once("held", f"{id_}/held", lambda: held)
            return
    desk.once("promoted", f"{id_}/decided", lambda: _promotion(desk, case, by="gate"))


def _promotion(desk: Desk, case: Payload, **said: str) -> Payload:
    named = {name: case[name] for name in ("id", "version", "parent", "plan", "clause", "evidence")}
    return {**named, "forced": False, **said, **desk.state.versions[case["version"]]}


# -- what people said of it --------------------------------------------------------------------------------------------


def between_turns(desk: Desk) -> None:
    """Do what people said of held candidates; wait for a word on those that were not waited for yet.

    Raises:
        PersonAwaited: there is no deadline, and no word yet.
    """
    if not heed(desk) or not (waiting := _unanswered(desk)):
        return
    seconds = desk.settings.people.wait_seconds
    if not seconds:
        ids = " or ".join(waiting)
        raise PersonAwaited(
            waiting[0],
            f"a person's word on {ids} is awaited: `evolvent approve {waiting[0]}` or `evolvent decline {waiting[0]}`, "
            f"then `evolvent run` goes on",
        )
    desk.on_stage("wait", {"for": f"a word on {', '.join(waiting)}"})
    _wait(seconds, lambda: heed(desk) and not _unanswered(desk))
    for id_ in _unanswered(desk):
        desk.once("held.passed", f"{id_}/waited", lambda i=id_: {"id": i, "seconds": seconds})


def heed(desk: Desk) -> bool:
    """Promote what was approved, reject what was declined or is held against a champion of the past.

    Returns whether it is time for that: a turn that has begun keeps its champion for all of its candidates.
    """
    if desk.ledger.get(f"{desk.state.turn + 1}/start") is not None:
        return False
    for case in list(desk.state.held.values()):
        word = desk.ledger.get(f"request/{_word(case)}")
        if word is not None and case["incumbent"] == desk.state.champion:
            _follow(desk, case, word)
    for id_, case in list(desk.state.held.items()):
        if case["incumbent"] != desk.state.champion:
            stale = {"id": id_, "version": case["version"], "reason": STALE}
            desk.once("rejected", f"{id_}/decided", lambda s=stale: s)
    return True


def _follow(desk: Desk, case: Payload, word: Event) -> None:
    by, note, key = word.payload["by"], word.payload["note"], f"{case['id']}/decided"
    if word.kind == "request.approve":
        said = {"by": "gate+person", "approved_by": by, "note": note, "approval": word.content_hash}
        desk.once("promoted", key, lambda: _promotion(desk, case, **said))
    else:
        reason = f"declined by {by}: {note}".removesuffix(": ")
        desk.once("rejected", key, lambda: {"id": case["id"], "version": case["version"], "reason": reason, "by": by})


def _unanswered(desk: Desk) -> list[str]:
    """Ids of what is held still, and was not waited for."""
    return [id_ for id_, case in desk.state.held.items() if not case["waited"]]


def _word(case: Payload) -> str:
    """Key of the word on a case. It names the evidence, so that nobody can approve what has not been judged yet."""
    return f"{case['id']}/word/{case['evidence'][:16]}"


# -- picks -------------------------------------------------------------------------------------------------------------


def chosen(desk: Desk, turn: int, candidates: Sequence[Proposal]) -> list[Proposal]:
    """The candidates that go to the judge, in this order: all of them as they are, or a person's pick where one is due.

    Args:
        desk: the loop.
        turn: its turn.
        candidates: built and screened, not decided.

    Raises:
        PersonAwaited: there is no deadline, and no pick yet.
    """
    if not candidates:
        return []
    asked = desk.once("pick.asked", f"{turn}/pick", lambda: _presented(desk, turn, candidates))
    said = _picked(desk, turn, {row["id"] for row in asked["candidates"]})
    if said is None:
        return list(candidates)
    by_id = {f"{p.turn}.{p.index}": p for p in candidates}
    versions = {id_: (event.payload["version"] if (event := desk.ledger.get(f"{id_}/built")) else "") for id_ in by_id}
    for id_ in by_id:
        if id_ not in said["ids"]:
            left = {"id": id_, "version": versions[id_], "reason": f"not picked by {said['by']}", "by": said["by"]}
            desk.once("rejected", f"{id_}/decided", lambda p=left: p)
    return [by_id[id_] for id_ in said["ids"] if id_ in by_id]


def _presented(desk: Desk, turn: int, candidates: Sequence[Proposal]) -> Payload:
    """The best few on dev, with what is known of each."""
    rows: list[Payload] = []
    for proposal in candidates:
        id_ = f"{proposal.turn}.{proposal.index}"
        screened, built = desk.ledger.get(f"{id_}/screened"), desk.ledger.get(f"{id_}/built")
        assert screened is not None
        assert built is not None
        rows.append({
            "id": id_, "version": built.payload["version"], "operator": proposal.operator, "params": proposal.params,
            "predicted_gain": proposal.predicted_gain, "predicted_deviation": proposal.predicted_deviation,
            "skills": screened.payload["skills"], "target": screened.payload["target"],
            **{unit: built.payload[unit] for unit in ("flops", "tokens")},
        })  # fmt: skip
    rows.sort(key=lambda row: row["target"]["losses"] - row["target"]["wins"])
    return {"turn": turn, "candidates": rows[: desk.settings.people.pick_count]}


def _picked(desk: Desk, turn: int, known: set[str]) -> Payload | None:
    """What a person picked of `known`, or ``None`` if nobody did in time. Answered once."""
    key = f"{turn}/answer"
    if (old := desk.ledger.get(key)) is not None:
        return old.payload if old.kind == "picked" else None
    seconds, request = desk.settings.people.wait_seconds, f"request/{turn}/pick"
    if seconds and desk.ledger.get(request) is None:
        desk.on_stage("wait", {"for": f"a pick of {', '.join(sorted(known))}"})
        _wait(seconds, lambda: desk.ledger.get(request) is not None)
    word = desk.ledger.get(request)
    if word is not None:
        ids = [id_ for id_ in word.payload["ids"] if id_ in known]
        said = {"turn": turn, "ids": ids, "by": word.payload["by"], "note": word.payload["note"]}
        return desk.once("picked", key, lambda: {**said, "request": word.content_hash})
    if not seconds:
        raise PersonAwaited(
            "pick", f"a person's pick of {', '.join(sorted(known))} is awaited: `evolvent pick` shows them, "
            f"`evolvent pick ID...` or `evolvent pick --none` picks, then `evolvent run` goes on",
        )  # fmt: skip
    desk.once("pick.passed", key, lambda: {"turn": turn, "seconds": seconds})
    return None


def _wait(seconds: float, done: Callable[[], bool]) -> None:
    """Until `done`, for so long at most. By this process's clock: a run that was killed meanwhile waits anew."""
    until = time.monotonic() + seconds
    while not done() and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _POLL_S))


# -- saying it ---------------------------------------------------------------------------------------------------------


def answer(ledger: Ledger, state: State, what: str, *, approve: bool, by: str, note: str) -> Payload:
    """A person's word on a held candidate, for the loop to heed; returns the case.

    Args:
        ledger: the run's; the controller's token is not needed.
        state: its fold.
        what: the candidate's id, or first letters of its version.
        approve: promote it, or else reject it.
        by: who says so.
        note: why.

    Raises:
        UsageError: nothing that is held goes by that name, or more than one does.
        GateRefused: it was judged against a version that is champion no more, or a word was given already.
    """
    found = [case for id_, case in state.held.items() if what == id_ or (what and case["version"].startswith(what))]
    if len(found) != 1:
        names = ", ".join(f"{id_} ({case['version'][:8]})" for id_, case in state.held.items()) or "nothing"
        raise UsageError(f"'{what}': expected one candidate that waits for a person; {names} does")
    case = found[0]
    id_, kind = case["id"], "request.approve" if approve else "request.decline"
    if (old := ledger.get(f"request/{_word(case)}")) is not None:
        done = old.kind.removeprefix("request.").removesuffix("e") + "ed"
        raise GateRefused(f"{id_} was {done} by {old.payload['by']} already; the first word counts")
    if case["incumbent"] != state.champion:
        raise GateRefused(f"{id_} was {STALE}: its evidence says nothing of this one, and the next turn drops it")
    named = {name: case[name] for name in ("id", "version", "incumbent", "evidence")}
    ledger.request(kind, {**named, "by": by, "note": note}, key=_word(case))
    return case


def pick(ledger: Ledger, state: State, ids: Sequence[str], *, by: str, note: str) -> Payload:
    """A person's pick of the candidates that the loop presents, none if `ids` is empty; returns what was asked.

    Raises:
        UsageError: no pick is asked for, or one of the ids is not among those presented.
        GateRefused: somebody picked already.
    """
    asked = state.asked
    if not asked:
        raise UsageError("pick: the run asks for none now; `people.pick_every` says when it does")
    known = [row["id"] for row in asked["candidates"]]
    if strange := [id_ for id_ in ids if id_ not in known]:
        raise UsageError(f"pick: {', '.join(strange)} is not presented; {', '.join(known)} are")
    if (old := ledger.get(f"request/{asked['turn']}/pick")) is not None:
        raise GateRefused(f"pick: {old.payload['by']} picked already; the first word counts")
    said = {"turn": asked["turn"], "ids": list(dict.fromkeys(ids)), "by": by, "note": note}
    ledger.request("request.pick", said, key=f"{asked['turn']}/pick")
    return asked
