"""People's say: what is held waits for a word, picks decide what is judged; killed, a run ends with the same events.

The loop, its ledger, state and store are real; operators, dev problems and judge are the stand-ins of `test_resume`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from evolvent import people, plan
from evolvent.building import STALE
from evolvent.errors import GateRefused, PersonAwaited, UsageError
from evolvent.judge.questions import Question
from evolvent.ledger import Ledger
from evolvent.loop import Loop
from evolvent.state import State
from evolvent.store import Store
from evolvent.types import Event, Verdict
from test_resume import SKILLS, Change, Dev, Engine, InTurn, Judge, Killed, forced, kinds, seed

Person = Callable[[Ledger, State, Event], None]
JUMP, STEP = "+" * 40 + "0" * 60, "+" * 10 + "0" * 90
LIMIT = {"jump_points": 20}


class Telling(Judge):
    """Accepts everything; in the slots named, with a jump."""

    def __init__(self, taken: dict[str, Any], jumps: set[int]) -> None:
        super().__init__(alarm=False, taken=taken)
        self.jumps = jumps

    def decide(self, question: Question) -> Verdict:
        said = super().decide(question)
        return Verdict(**{**said.plain(), "decision": said.decision, "evidence": str(question.slot)})

    def evidence(self, name: str) -> dict[str, Any]:
        marks = JUMP if name.isdecimal() and int(name) in self.jumps else STEP
        pairs = [f"{skill}:{other}" for skill in SKILLS for other in ("incumbent", "anchor")]
        return {**super().evidence(name), "differences": dict.fromkeys(pairs, marks)}


def nobody(ledger: Ledger, state: State, event: Event) -> None:
    """A person who says nothing."""


def says(approve: bool, note: str = "") -> Person:
    """A person who answers whatever is held, at once."""

    def person(ledger: Ledger, state: State, event: Event) -> None:
        if event.kind == "held":
            people.answer(ledger, state, event.payload["id"], approve=approve, by="ada", note=note)

    return person


def picks(*ids: str) -> Person:
    """A person who picks these at once, and approves what is held."""

    def person(ledger: Ledger, state: State, event: Event) -> None:
        if event.kind == "pick.asked":
            people.pick(ledger, state, ids, by="ada", note="")

    return person


def session(
    folder: Path,
    *,
    limits: dict[str, int] = LIMIT,
    asks: dict[str, int] | None = None,
    operators: Sequence[str] = ("paid",),
    jumps: Sequence[int] = (1,),
    person: Person = nobody,
    turns: int = 2,
    kill_at: int = 0,
) -> tuple[list[Event], State]:
    """Start or resume and work, as `Run.go` does; killed after so many new events if asked."""
    settings = plan.parse(
        {
            "task": "strings", "model": "none", "goal": {"turns": turns}, "probes": {"every_turns": 0},
            "people": asks or {}, "proposals_per_turn": len(operators),
            "plan": {"operators": list(operators), "target": "easy", "protected": {"easy": 5, "hard": 5}, **limits},
        },
        "test",
    )  # fmt: skip
    store, new = Store(folder / "store"), 0
    with Ledger.open(folder / "ledger.sqlite", "run", create=True) as ledger:
        ledger.acquire()
        state = fold(ledger.events())

        def watch(event: Event) -> None:
            nonlocal new
            if event.kind in ("held", "pick.asked"):
                with Ledger.open(folder / "ledger.sqlite") as other:  # as a person's own process, without the token
                    person(other, fold(other.events()), event)
            new += 1
            if new == kill_at:
                raise Killed

        loop = Loop(
            ledger=ledger, store=store, engine=Engine(store),  # type: ignore[arg-type]
            judge=Telling({}, set(jumps)), settings=settings,
            operators={name: Change(name, 0 if name == "free" else 100) for name in ("paid", "free", "more")},
            proposer=InTurn(), state=state, gold="", dev=Dev(store), max_new_tokens=5,  # type: ignore[arg-type]
            on_event=watch,
        )  # fmt: skip

        loop.once("seed.imported", "seed", lambda: seed(store))
        reason, what = f"{turns} turns done", ""
        try:
            while loop.state.turn < turns:
                people.between_turns(loop)
                loop.turn()
            people.heed(loop)
        except PersonAwaited as exc:
            reason, what = str(exc), exc.what
        loop.once("run.stopped", f"stopped/{loop.state.turn}/{what}", lambda: {"reason": reason})
        assert fold(ledger.events()).plain() == loop.state.plain()
        return list(ledger.events()), loop.state


def fold(events: Any) -> State:
    state = State()
    for event in events:
        state.apply(event)
    return state


def one(events: Sequence[Event], kind: str) -> dict[str, Any]:
    (found,) = [event.payload for event in events if event.kind == kind]
    return found


def word(folder: Path, what: str, *, approve: bool, note: str = "") -> dict[str, Any]:
    """A person's word beside a run that stands still."""
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        return people.answer(ledger, fold(ledger.events()), what, approve=approve, by="ada", note=note)


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has not spoken when a wait begins is too late."""
    monkeypatch.setattr(people, "_wait", lambda seconds, done: done())


# -- limits ------------------------------------------------------------------------------------------------------------


def test_without_limits_nothing_is_held_or_asked(tmp_path: Path) -> None:
    events, state = session(tmp_path, limits={})
    assert state.promotions == 2
    assert not {"held", "pick.asked", "held.passed"} & set(kinds(events))


def test_a_jump_waits_and_the_run_says_how_to_go_on(tmp_path: Path) -> None:
    events, state = session(tmp_path)
    assert state.champion == state.seed
    assert (state.promotions, kinds(events)[-1]) == (0, "run.stopped")
    held = one(events, "held")
    assert held["why"] == [f"{skill}: +40.0 points over the anchor, 20 allowed" for skill in SKILLS]
    assert (held["incumbent"], held["gains"]["easy"]) == (state.seed, {"n": 100, "wins": 40, "losses": 0})
    assert "`evolvent approve 1.0`" in state.stopped
    again, _ = session(tmp_path)
    assert kinds(again) == kinds(events), "it goes no further, however often it is started"


def test_what_cannot_be_measured_waits(tmp_path: Path) -> None:
    events, _ = session(tmp_path, limits={"drift_percent": 50}, jumps=())  # the stand-in solves no dev problem
    assert one(events, "screened")["drift"]["counts"] == {"n": 0, "differ": 0}
    assert one(events, "held")["why"] == [
        "drift could not be measured: no dev problem that candidate and anchor both solve"
    ]


def test_an_approval_promotes_and_is_the_gates_promotion(tmp_path: Path) -> None:
    session(tmp_path)
    case = word(tmp_path, "1.0", approve=True, note="looked at forty answers")
    events, state = session(tmp_path)
    first = next(event.payload for event in events if event.kind == "promoted")
    said = next(event for event in events if event.kind == "request.approve")
    assert (first["by"], first["forced"], first["approved_by"]) == ("gate+person", False, "ada")
    assert (first["evidence"], first["approval"]) == (case["evidence"], said.content_hash), "both evidences are named"
    assert (first["version"], first["parent"], first["clause"]) == (case["version"], state.seed, "operators.paid")
    assert (state.promotions, state.turn, state.held) == (2, 2, {})
    assert state.certified == state.champion
    with pytest.raises(UsageError, match="nothing does"):
        word(tmp_path, "1.0", approve=True)


def test_a_decline_rejects_and_the_idea_does_not_come_again(tmp_path: Path) -> None:
    session(tmp_path)
    word(tmp_path, "1.0", approve=False, note="too good")
    events, state = session(tmp_path, turns=1)
    assert one(events, "rejected")["reason"] == "declined by ada: too good"
    assert (state.champion, state.promotions, state.barred) == (state.seed, 0, ["paid|{}"])


def test_the_first_word_counts(tmp_path: Path) -> None:
    session(tmp_path)
    word(tmp_path, "1.0", approve=False)
    with pytest.raises(GateRefused, match="declined by ada already"):
        word(tmp_path, "1.0", approve=True)


def test_a_word_needs_something_that_is_held(tmp_path: Path) -> None:
    events, _ = session(tmp_path)
    version = one(events, "held")["version"]
    for what in ("2.0", "", "zz"):
        with pytest.raises(UsageError, match=f"1.0 \\({version[:8]}\\) does"):
            word(tmp_path, what, approve=True)
    assert word(tmp_path, version[:6], approve=True)["id"] == "1.0"


def test_nothing_is_approved_beforehand(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite", "run", create=True) as ledger:
        for key in ("1.0/word", "1.0/word/"):
            ledger.request("request.approve", {"id": "1.0", "by": "eve", "note": ""}, key=key)
    _, state = session(tmp_path)
    assert (list(state.held), state.promotions) == (["1.0"], 0)


def test_evidence_against_a_champion_of_the_past_promotes_nothing(tmp_path: Path) -> None:
    events, state = session(tmp_path, operators=("paid", "free"), turns=1)  # the second is accepted without a jump
    assert kinds(events).index("held") < kinds(events).index("promoted")
    assert one(events, "rejected")["reason"] == STALE
    assert (state.promotions, state.held) == (1, {})
    assert state.barred == [], "its like may be proposed and judged anew"


def test_an_approval_is_refused_once_the_champion_is_another(tmp_path: Path) -> None:
    events, state = session(tmp_path)
    forced(tmp_path, next(event.payload for event in events if event.kind == "built"), state.seed)
    with pytest.raises(GateRefused, match="champion no more"):
        word(tmp_path, "1.0", approve=True)


def test_an_approval_that_was_overtaken_promotes_nothing(tmp_path: Path) -> None:
    events, state = session(tmp_path)
    word(tmp_path, "1.0", approve=True)
    forced(tmp_path, next(event.payload for event in events if event.kind == "built"), state.seed)
    events, _ = session(tmp_path, turns=1)
    assert one(events, "promoted")["forced"], "the person's own, and no other"
    assert one(events, "rejected")["reason"] == STALE


def test_of_two_that_are_held_one_is_promoted(tmp_path: Path) -> None:
    both: dict[str, Any] = {"operators": ("paid", "free"), "jumps": (1, 2), "turns": 1}
    _, state = session(tmp_path, **both)
    assert list(state.held) == ["1.0", "1.1"]
    word(tmp_path, "1.1", approve=True)
    events, state = session(tmp_path, **both)
    assert (one(events, "promoted")["id"], one(events, "rejected")["id"]) == ("1.1", "1.0")


def test_a_turn_keeps_its_champion_whatever_is_said_meanwhile(tmp_path: Path) -> None:
    at_once, _ = session(tmp_path / "whole", person=says(True), operators=("paid", "free"), jumps=(1, 2), turns=1)
    assert kinds(at_once)[-3:] == ["promoted", "rejected", "run.stopped"], "after the turn, not in it"
    folder = tmp_path / "killed"
    with pytest.raises(Killed):
        session(folder, operators=("paid", "free"), jumps=(1, 2), turns=1, kill_at=kinds(at_once).index("held") + 1)
    word(folder, "1.0", approve=True)
    events, _ = session(folder, operators=("paid", "free"), jumps=(1, 2), turns=1)
    assert one(events, "promoted")["id"] == "1.0"
    assert kinds(events).index("turn.ended") < kinds(events).index("promoted")


def test_a_deadline_promotes_nothing_and_the_run_goes_on(tmp_path: Path) -> None:
    events, state = session(tmp_path, asks={"wait_seconds": 1})
    assert one(events, "held.passed") == {"id": "1.0", "seconds": 1}
    assert [e.payload["id"] for e in events if e.kind == "promoted"] == ["2.0"], "in the next turn, without a jump"
    assert one(events, "rejected")["reason"] == STALE
    assert state.turn == 2


def test_a_word_in_time_is_heeded_at_once(tmp_path: Path) -> None:
    events, state = session(tmp_path, asks={"wait_seconds": 600}, person=says(True))
    assert (state.promotions, state.turn) == (2, 2)
    assert "held.passed" not in kinds(events)


# -- picks -------------------------------------------------------------------------------------------------------------

THREE: dict[str, Any] = {
    "limits": {}, "operators": ("paid", "free", "more"), "asks": {"pick_every": 2, "pick_count": 2}, "turns": 2,
}  # fmt: skip


def judged(events: Sequence[Event], turn: int) -> list[str]:
    return [e.payload["id"] for e in events if e.kind == "slot.opened" and e.payload["id"].startswith(f"{turn}.")]


def test_a_pick_decides_what_is_judged_and_in_which_order(tmp_path: Path) -> None:
    events, state = session(tmp_path, **THREE)
    assert judged(events, 1) == ["1.0", "1.1", "1.2"], "no pick is due in the first turn"
    asked = one(events, "pick.asked")
    assert (
        [row["id"] for row in asked["candidates"]] == ["2.0", "2.1"] == [row["id"] for row in state.asked["candidates"]]
    )
    assert asked["candidates"][0]["target"] == {"n": 10, "wins": 3, "losses": 0}
    assert "`evolvent pick ID...`" in state.stopped
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(UsageError, match=r"2\.2 is not presented; 2\.0, 2\.1 are"):
            people.pick(ledger, state, ["2.2"], by="ada", note="")
        people.pick(ledger, state, ["2.1", "2.0", "2.1"], by="ada", note="")
        with pytest.raises(GateRefused, match="ada picked already"):
            people.pick(ledger, state, ["2.0"], by="bo", note="")
    events, state = session(tmp_path, **THREE)
    assert judged(events, 2) == ["2.1", "2.0"]
    left = [event.payload for event in events if event.kind == "rejected" and event.payload["id"] == "2.2"]
    assert [p["reason"] for p in left] == ["not picked by ada"]
    assert (state.asked, state.turn) == ({}, 2)


def test_a_pick_of_none_judges_none_and_bars_none(tmp_path: Path) -> None:
    events, state = session(tmp_path, **THREE, person=picks())
    assert judged(events, 2) == []
    assert state.barred == [], "that others were picked says nothing of an idea's worth"


def test_without_a_pick_in_time_the_loop_keeps_its_own_order(tmp_path: Path, no_time: None) -> None:
    asks = {**THREE["asks"], "wait_seconds": 5}
    events, _ = session(tmp_path / "asked", **{**THREE, "asks": asks})
    plain, _ = session(tmp_path / "plain", **{**THREE, "asks": {}})
    assert one(events, "pick.passed") == {"turn": 2, "seconds": 5}
    assert judged(events, 2) == judged(plain, 2) == ["2.0", "2.1", "2.2"]


def test_no_pick_can_be_given_when_none_is_asked(tmp_path: Path) -> None:
    _, state = session(tmp_path)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger, pytest.raises(UsageError, match="asks for none now"):
        people.pick(ledger, state, ["1.0"], by="ada", note="")


# -- killed anywhere ---------------------------------------------------------------------------------------------------


CASES: dict[str, dict[str, Any]] = {
    "approved": {"person": says(True), "operators": ("paid", "free"), "jumps": (1, 2)},
    "declined": {"person": says(False)},
    "deadline": {"asks": {"wait_seconds": 9}, "turns": 2},
    "picked": {**THREE, "turns": 1, "asks": {"pick_every": 1}, "person": picks("1.1", "1.0")},
    "no pick": {**THREE, "turns": 1, "limits": LIMIT, "asks": {"pick_every": 1, "wait_seconds": 9}, "jumps": (1, 3)},
}


@pytest.mark.parametrize(
    "name", ["approved", *(pytest.param(n, marks=pytest.mark.slow) for n in CASES if n != "approved")]
)
def test_killed_after_any_event_it_ends_with_the_same_events(name: str, memory: Path, no_time: None) -> None:
    case, root = {"turns": 1, **CASES[name]}, memory / f"people {name}"
    whole, _ = session(root / "whole", **case)
    ours = [event for event in whole if not event.kind.startswith("request.")]
    assert set(kinds(whole)) & {"held", "pick.asked"}
    for kill_at in range(1, len(ours) + 1):
        folder = root / str(kill_at)
        with pytest.raises(Killed):
            session(folder, **case, kill_at=kill_at)
        again, _ = session(folder, **case)
        assert [e.content_hash for e in again] == [e.content_hash for e in whole], (
            f"killed after {ours[kill_at - 1].key}"
        )
