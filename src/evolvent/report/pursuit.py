"""What became of the goal and its subgoals.

Not here: deciding (`goals.py`, `steering.py`), the run's whole story (`story.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from evolvent.report.fields import Payload, counts, table, text, whole
from evolvent.types import Event

__all__ = ["Pursuit", "Subgoal"]

_ENDS = {"goal.closed": "closed", "goal.abandoned": "abandoned"}
_OUTCOMES = {"goal.reached": "reached", "goal.given_up": "given up"}


@dataclass(frozen=True, kw_only=True)
class Subgoal:
    """A part of the goal.

    Attributes:
        id: its id.
        skill: skill that it is about.
        slice: tags that narrow it.
        state: ``open``, ``closed`` or ``abandoned``.
        reason: why it was opened, then why it ended.
        opened: turn in which it was opened.
        ended: turn in which it ended, ``None`` while open.
        at_start: failures and dev problems of the slice when it was opened.
        now: the same at the last diagnosis while it was open.
    """

    id: str
    skill: str = ""
    slice: dict[str, Any] = field(default_factory=dict)
    state: str = "open"
    reason: str = ""
    opened: int = 0
    ended: int | None = None
    at_start: tuple[int, int] = (0, 0)
    now: tuple[int, int] = (0, 0)


@dataclass
class Pursuit:
    """The goal so far.

    Attributes:
        subgoals: in the order in which they were opened; an id may come again.
        outcome: ``reached`` or ``given up``, or ``""`` while it is pursued; `reason` says why.
        of: the champion that the outcome was said of.
        works_on: subgoal that the latest turn works on, or ``""``.
    """

    subgoals: list[Subgoal] = field(default_factory=list)
    outcome: str = ""
    reason: str = ""
    of: str = ""
    works_on: str = ""

    def add(self, event: Event, turn: int) -> None:
        """Take in the next event, of this turn; most change nothing."""
        p = event.payload
        match event.kind:
            case "diagnosed":
                self._counted(p)
            case "goal.opened":
                self._opened(p, turn)
            case "goal.closed" | "goal.abandoned":
                self._ended(p, _ENDS[event.kind], turn)
            case "goal.reached" | "goal.given_up":
                self.outcome, self.reason, self.of = _OUTCOMES[event.kind], text(p, "reason"), text(p, "champion")
            case "planned":
                self.works_on = text(p, "subgoal")
            case "promoted" | "rolled_back" if event.kind == "rolled_back" or p.get("forced") is True:
                if self.outcome == "reached":  # as the loop's own fold has it: another champion, not by the gate's word
                    self.outcome = self.reason = self.of = ""
            case _:
                pass

    def _opened(self, p: Payload, turn: int) -> None:
        made = Subgoal(
            id=text(p, "id"), skill=text(p, "skill"), slice=table(p, "slice"), reason=text(p, "reason"), opened=turn,
            at_start=(whole(p, "failures_at_start"), whole(p, "n_at_start")),
            now=(whole(p, "failures"), whole(p, "n")),
        )  # fmt: skip
        self.subgoals.append(made)

    def _ended(self, p: Payload, state: str, turn: int) -> None:
        self._change(text(p, "id"), state=state, reason=text(p, "reason"), ended=turn)

    def _counted(self, p: Payload) -> None:
        found = table(p, "subgoals")
        for name in found:
            if seen := counts(found, name):
                self._change(name, now=(seen.get("failures", 0), seen.get("n", 0)))

    def _change(self, name: str, **changes: Any) -> None:
        for i, goal in enumerate(self.subgoals):
            if goal.id == name and goal.state == "open":
                kept = {**changes, "reason": changes.get("reason") or goal.reason}
                self.subgoals[i] = replace(goal, **kept)
