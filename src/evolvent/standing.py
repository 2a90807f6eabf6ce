"""The standing check: is the champion still no worse than what it must not fall behind? If not, it is rolled back.

A champion is looked at when it is new, and every few turns. One that a person forced in is looked at before the turn
builds anything upon it. Each check spends alpha of its own (`asking.py`).

Not here: the test (`judge/`), the questions (`asking.py`), a person's rollback (`run.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from evolvent.asking import standing_question
from evolvent.judge.questions import StandingQuestion
from evolvent.ledger import Ledger
from evolvent.plan import Settings
from evolvent.state import State

Payload = dict[str, Any]


class StandingJudge(Protocol):
    """What is asked of the judge here."""

    def standing(self, question: StandingQuestion) -> dict[str, Any]:
        """``alarm``, ``isolation`` and the name of the ``evidence``."""
        ...

    def evidence(self, name: str) -> dict[str, Any]:
        """The evidence by its name."""
        ...


class Desk(Protocol):
    """What is needed of the loop, here and in `people.py`."""

    @property
    def ledger(self) -> Ledger:
        """What happened."""
        ...

    @property
    def judge(self) -> StandingJudge:
        """Who answers."""
        ...

    @property
    def settings(self) -> Settings:
        """The change plan inside."""
        ...

    @property
    def state(self) -> State:
        """Who is champion, and who was certified."""
        ...

    @property
    def max_new_tokens(self) -> int:
        """Room of an answer."""
        ...

    @property
    def on_stage(self) -> Callable[[str, Payload], None]:
        """Told what is going on."""
        ...

    def once(self, kind: str, key: str, make: Callable[[], Payload], actor: str = ..., spent_ms: int = ...) -> Payload:
        """The payload of the event `key`, made at most once."""
        ...


def before_turn(desk: Desk, turn: int) -> None:
    """Look at a champion that nobody certified, before anything is built upon it."""
    s, key = desk.state, _key(desk, turn, "before")
    if _begun(desk, key) or s.champion not in (s.certified, s.standing_of):
        check(desk, turn, key)


def after_turn(desk: Desk, turn: int) -> None:
    """Look at a champion that is new, or that was not looked at for some turns."""
    s, key = desk.state, _key(desk, turn, "after")
    due = s.champion != s.standing_of or turn - s.standing_at >= desk.settings.plan.standing_every
    if _begun(desk, key) or (s.champion != s.seed and due):
        check(desk, turn, key)


def settle(desk: Desk, turn: int) -> None:
    """Carry out what an alarm before an interruption demands: it costs nothing, and no budget may stand against it."""
    for when in ("before", "after"):
        key = _key(desk, turn, when)
        if (event := desk.ledger.get(key)) is not None:
            _follow(desk, key, event.payload)


def _key(desk: Desk, turn: int, when: str) -> str:
    """A check is of one champion: a person who puts another in its place ends it, and the other has its own."""
    return f"{turn}/standing/{when}/{desk.state.champion[:16]}"


def _opening(key: str) -> str:
    """Key of the event that commits the question of the check `key`."""
    return f"{key}/opened"


def _begun(desk: Desk, key: str) -> bool:
    return desk.ledger.get(_opening(key)) is not None


def check(desk: Desk, turn: int, key: str) -> bool:
    """Check the champion now, once for each key; returns whether there was an alarm."""

    def commitment() -> Payload:
        question, reference = standing_question(desk.state, desk.settings.plan, desk.max_new_tokens)
        return {
            "turn": turn, "number": question.number, "champion": desk.state.champion, "reference": reference,
            "question": question.plain(),
        }  # fmt: skip

    # Committed before it is asked: a person may act while the judge is at work, and the question stays what it was.
    opened = desk.once("standing.opened", _opening(key), commitment, actor="standing")

    def work() -> Payload:
        question = StandingQuestion.from_plain(opened["question"])
        desk.on_stage("standing", {"champion": opened["champion"], "reference": opened["reference"]})
        answer = desk.judge.standing(question)
        evidence = desk.judge.evidence(answer["evidence"])
        return {
            **{name: opened[name] for name in ("turn", "number", "champion", "reference")},
            "alpha": question.alpha, "alarm": answer["alarm"], "evidence": answer["evidence"],
            "isolation": answer["isolation"], "problems": sum(int(n) for n in evidence["items"].values()),
            "tokens": int(evidence["tokens"]),
        }  # fmt: skip

    checked = desk.once("standing.checked", key, work, actor="standing")
    _follow(desk, key, checked)
    return bool(checked["alarm"])


def _follow(desk: Desk, key: str, checked: Payload) -> None:
    """Roll back, if the alarm is of the present champion and what it fell behind is still what it must not fall behind.

    Otherwise a person acted in between, and the next check decides.
    """
    if not checked["alarm"] or checked["champion"] != desk.state.champion:
        return
    _, reference = standing_question(desk.state, desk.settings.plan, desk.max_new_tokens)
    if checked["reference"] == reference:
        desk.once("rolled_back", f"{key}/rolled_back", lambda: _rollback(desk.state, checked), actor="standing")


def _rollback(state: State, checked: Payload) -> Payload:
    to = checked["reference"]
    return {
        "from": checked["champion"], "to": to, "by": "standing check", "certified": to,
        "reason": "evidence of a loss beyond the margin", "evidence": checked["evidence"], **state.versions[to],
    }  # fmt: skip
