"""The judge's end of a conversation: one request after the other, until the asker is gone.

Not here: the answers (`server.py`), what a request may hold (`protocol.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, Protocol

from evolvent.errors import EvolventError, SandboxError
from evolvent.judge.folder import JudgeFolder
from evolvent.judge.protocol import MAX_REQUEST_BYTES, QUESTIONS, checked_request, only_known, told
from evolvent.judge.questions import Question, SealedQuestion, StandingQuestion
from evolvent.sandbox import FrameRefused, read_json, write_json

__all__ = ["Answers", "serve"]

Json = dict[str, Any]


class Answers(Protocol):
    """Who answers the questions."""

    def decide(self, question: Question) -> Json:
        """Decision, reason, evidence hash and isolation."""
        ...

    def forfeit(self, question: Question) -> Json:
        """The end of a slot without a pass."""
        ...

    def standing(self, question: StandingQuestion) -> Json:
        """Alarm or none."""
        ...

    def sealed(self, question: SealedQuestion) -> Json:
        """Counts by skill."""
        ...


def serve(server: Answers, folder: JudgeFolder, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until the stream ends. Whatever is asked, the answer is one of the known frames."""
    while True:
        try:
            request = read_json(requests, MAX_REQUEST_BYTES)
        except FrameRefused as exc:  # its bytes were read to the end: the next frame is whole
            write_json(answers, told(exc))
            continue
        except SandboxError as exc:  # no frame, or too long to be one: what follows could be read as anything
            with suppress(OSError):  # the asker may be gone
                write_json(answers, told(exc))
            return
        if request is None:
            return
        try:
            answer = _dispatch(server, folder, request)
        except EvolventError as exc:
            answer = told(exc)
        except Exception as exc:  # no request fells the judge
            print(f"judge: {type(exc).__name__}: {exc}", file=sys.stderr)
            answer = told(SandboxError(f"judge: could not answer: {type(exc).__name__}"))
        write_json(answers, answer)


def _dispatch(server: Answers, folder: JudgeFolder, request: Json) -> Json:
    operation = checked_request(request)["op"]
    if operation == "evidence":
        return {"answer": folder.evidence(request["hash"])}
    question: Any = QUESTIONS[operation].from_plain(request["question"])
    answers: dict[str, Callable[[Any], Json]] = {
        "decide": server.decide, "forfeit": server.forfeit, "standing": server.standing, "sealed": server.sealed,
    }  # fmt: skip
    return {"answer": only_known(operation, answers[operation](question))}
