"""The loop's side of the judge: asks, waits, checks what comes back.

A judge that died within a question is started again and asked again; it draws the same items. A question that fells it
each time is forfeited: its slot ends without a pass, and is never asked anew.

Not here: anything that decides; how a judge is reached (`process.py`, `remote.py`).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evolvent import errors
from evolvent.errors import EvolventError
from evolvent.judge.process import JudgeDied, Link, LocalJudge
from evolvent.judge.protocol import checked_evidence
from evolvent.judge.questions import Question, SealedQuestion, StandingQuestion
from evolvent.judge.separation import House
from evolvent.types import Candidate, Decision, Record, Verdict

__all__ = ["JudgeClient"]

Json = dict[str, Any]


class JudgeClient:
    """One judge. Use as a context manager.

    Args:
        folder: the judge's own folder; nothing else of the run may lie in it.
        store_root: root of the artifact store.
        task: registered task, or ``package.module:name``.
        secret_hex: injected secret, for tests; otherwise the judge draws one and keeps it.
        on_progress: told what the judge tells while it works: items drawn by skill, and the test in most doubt.
        worker: module of the rollout worker, or a path ending in .py.
        house: how its process is to live.
    """

    def __init__(
        self,
        folder: Path,
        store_root: Path,
        task: str,
        *,
        secret_hex: str | None = None,
        on_progress: Callable[[Json], None] | None = None,
        worker: str = "evolvent.observe.worker",
        house: House | None = None,
    ) -> None:
        house = house or House()
        self._link: Link = LocalJudge(folder, store_root, task, worker=worker, house=house, secret_hex=secret_hex)
        self._on_progress = on_progress or (lambda fields: None)

    @classmethod
    def over(cls, link: Link, on_progress: Callable[[Json], None] | None = None) -> Self:
        """A client of a judge that is reached in another way."""
        client = cls.__new__(cls)
        client._link, client._on_progress = link, on_progress or (lambda fields: None)
        return client

    @property
    def commitment(self) -> str:
        """SHA-256 of the judge's secret, in hex; belongs in the ledger before the first question."""
        return str(self.surroundings["commitment"])

    @property
    def surroundings(self) -> Json:
        """What the judge said of itself: ``commitment``, ``user``, ``network`` and ``tree``."""
        return self._link.hello()

    def decide(self, question: Question) -> Verdict:
        """May the candidate replace the incumbent?

        Raises:
            EvolventError: as the judge raised it; the slot is not finished, ask again.
        """
        answer = self._ask("decide", question)
        return Verdict(
            slot=question.slot,
            candidate=Candidate(**question.candidate).hash,
            decision=Decision(answer["decision"]),
            reason=answer["reason"],
            evidence=answer["evidence"],
            isolation=answer["isolation"],
        )

    def standing(self, question: StandingQuestion) -> Json:
        """Has the champion become worse? ``{alarm, evidence, isolation}``."""
        return self._ask("standing", question)

    def sealed(self, question: SealedQuestion) -> Json:
        """``{skills, evidence, isolation}``; counts of a skill as in `rows.SkillGain`."""
        return self._ask("sealed", question)

    def evidence(self, name: str) -> Json:
        """Evidence by hash, as a verdict names it; checked against it.

        Raises:
            StoreError: it is gone or was altered.
        """
        return checked_evidence(name, self.request({"op": "evidence", "hash": name}))

    def request(self, request: Json, on_progress: Callable[[Json], None] | None = None) -> Json:
        """One request of the protocol, also after the judge died of it.

        Raises:
            EvolventError: as the judge raised it.
            SandboxError: it died twice of a question that cannot be forfeited, or cannot be reached.
        """
        on_progress = on_progress or self._on_progress
        reply: Json = {}
        for attempt in range(3):
            try:
                reply = self._link.ask(request, on_progress)
                break
            except JudgeDied:
                if attempt == 2 or (attempt == 1 and request["op"] != "decide"):
                    raise
                if attempt == 1:  # it was felled twice: no third look, and no other question in its place
                    request = {**request, "op": "forfeit"}
        if "error" in reply:
            raise _typed(reply)
        return reply["answer"]

    def close(self) -> None:
        """End the judge's process; its worker dies with it. May be called again."""
        self._link.close()

    def __enter__(self) -> Self:
        self._link.hello()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, kind: str, question: Record) -> Json:
        return self.request({"op": kind, "question": question.plain()})

    @property
    def _process(self) -> subprocess.Popen[bytes] | None:
        return self._link.process


def _typed(answer: Json) -> EvolventError:
    """The error that the judge raised, by its name."""
    kind = getattr(errors, str(answer.get("kind")), None)
    # Some errors are built from parts, not from their message; those come back as the base.
    if isinstance(kind, type) and issubclass(kind, EvolventError) and "__init__" not in vars(kind):
        return kind(str(answer["error"]))
    return EvolventError(str(answer["error"]))
