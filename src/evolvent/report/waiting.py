"""What waits for a person: candidates that the gate accepted and the loop holds, and the pick that is asked for.

Not here: deciding (`people.py`), the run's whole story (`story.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from evolvent.report.fields import counts, table, text
from evolvent.types import Event

__all__ = ["Held", "Waiting"]


@dataclass(frozen=True, kw_only=True)
class Held:
    """A candidate that the gate accepted beyond a limit of the plan.

    Attributes:
        attempt: id of the proposal.
        version: the candidate.
        incumbent: champion that it was judged against.
        why: the limits that it exceeds, in words.
        gains: ``n``, ``wins`` and ``losses`` against the anchor by skill.
        drift: ``n`` dev problems that both solve, ``differ`` of them in another way; empty if not measured.
        since_ns: wall clock, for people.
        passed: the loop waited for a word in vain, and went on.
        word: what a person said of it, who and why; empty before.
    """

    attempt: str
    version: str
    incumbent: str
    why: tuple[str, ...]
    gains: dict[str, dict[str, int]]
    drift: dict[str, int]
    since_ns: int
    passed: bool = False
    word: str = ""


@dataclass
class Waiting:
    """What waits now.

    Attributes:
        held: by id of the proposal, oldest first.
        asked: rows of the pick that is asked for, best on dev first; empty if none is.
        pick: who picked already what the loop has not read yet, or ``""``.
    """

    held: dict[str, Held] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    pick: str = ""

    def add(self, event: Event) -> None:
        """Take in the next event; most change nothing."""
        p = event.payload
        id_ = text(p, "id")
        held = self.held.get(id_)
        match event.kind:
            case "held":
                self.held[id_] = _case(event)
            case "held.passed" if held is not None:
                self.held[id_] = replace(held, passed=True)
            case "request.approve" | "request.decline" if held is not None:
                said = "approved" if event.kind == "request.approve" else "declined"
                word = f"{said} by {text(p, 'by')}: {text(p, 'note')}".removesuffix(": ")
                self.held[id_] = replace(held, word=word)
            case "promoted" if p.get("forced") is not True:
                self.held.pop(id_, None)
            case "rejected":
                self.held.pop(id_, None)
            case "pick.asked":
                rows = p.get("candidates")
                self.asked = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
                self.pick = ""
            case "request.pick":
                self.pick = text(p, "by")
            case "picked" | "pick.passed":
                self.asked, self.pick = [], ""
            case _:
                pass


def _case(event: Event) -> Held:
    p, gains = event.payload, table(event.payload, "gains")
    why = p.get("why")
    return Held(
        attempt=text(p, "id"),
        version=text(p, "version"),
        incumbent=text(p, "incumbent"),
        why=tuple(str(line) for line in why) if isinstance(why, list) else (),
        gains={skill: counts(gains, skill) for skill in gains},
        drift=counts(p, "drift"),
        since_ns=event.time_ns,
    )
