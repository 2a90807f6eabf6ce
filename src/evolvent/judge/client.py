"""The loop's side of the judge: starts its process, asks, waits.

A judge that died is started again at the next question; it answers a repeated question as it would have.

Not here: anything that decides.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evolvent import errors
from evolvent.errors import EvolventError, SandboxError
from evolvent.judge.questions import Question, SealedQuestion, StandingQuestion
from evolvent.sandbox import read_json, write_json
from evolvent.types import Candidate, Decision, Record, Verdict

__all__ = ["JudgeClient"]

_END_AFTER_S = 1.0
_SECRET_VARIABLE = "EVOLVENT_JUDGE_SECRET_HEX"


class JudgeClient:
    """One judge's process. Use as a context manager.

    Args:
        folder: the judge's own folder; nothing else of the run may lie in it.
        store_root: root of the artifact store.
        task: registered task, or ``package.module:name``.
        secret_hex: injected secret, for tests; otherwise the judge draws one and keeps it.
        on_progress: told what the judge tells while it works: items drawn by skill, and the test in most doubt.
        worker: module of the rollout worker, or a path ending in .py.
        threads: threads of a rollout worker.
        workers: rollout workers, 1 or 2: two run both versions of a pair at once.
    """

    def __init__(
        self,
        folder: Path,
        store_root: Path,
        task: str,
        *,
        secret_hex: str | None = None,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
        worker: str = "evolvent.observe.worker",
        threads: int = 1,
        workers: int = 2,
    ) -> None:
        options = {"folder": folder.absolute(), "store": store_root.absolute(), "task": task, "worker": worker}
        self._argv = [
            sys.executable,
            "-m",
            "evolvent.judge.server",
            "--threads",
            str(threads),
            "--workers",
            str(workers),
        ]
        for name, value in options.items():
            self._argv += [f"--{name}", str(value)]
        self._secret_hex = secret_hex
        self._on_progress = on_progress or (lambda fields: None)
        self._process: subprocess.Popen[bytes] | None = None
        self._commitment = ""

    @property
    def commitment(self) -> str:
        """SHA-256 of the judge's secret, in hex; belongs in the ledger before the first question."""
        self._started()
        return self._commitment

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

    def standing(self, question: StandingQuestion) -> dict[str, Any]:
        """Has the champion become worse? ``{alarm, evidence, isolation}``."""
        return self._ask("standing", question)

    def sealed(self, question: SealedQuestion) -> dict[str, Any]:
        """``{skills, evidence, isolation}``; counts of a skill as in `rows.SkillGain`."""
        return self._ask("sealed", question)

    def evidence(self, name: str) -> dict[str, Any]:
        """Evidence by hash, as a verdict names it.

        Raises:
            StoreError: it is gone or was altered.
        """
        return self._request({"op": "evidence", "hash": name})

    def close(self) -> None:
        """End the judge's process; its worker dies with it. May be called again."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            try:
                stream.close()
            except OSError:
                pass  # it died with a request unread
        try:
            process.wait(_END_AFTER_S)
        except subprocess.TimeoutExpired:  # still warming, or at work for nobody: nothing is lost by ending it
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self._started()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, kind: str, question: Record) -> dict[str, Any]:
        return self._request({"op": kind, "question": question.plain()})

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self._started()
        assert process.stdin is not None
        try:
            write_json(process.stdin, request)
            while "progress" in (answer := self._receive(process)):
                self._on_progress(answer["progress"])
        except (BrokenPipeError, SandboxError):
            self.close()
            raise SandboxError("the judge's process died; ask again, the answer will be the same") from None
        if "error" in answer:
            raise _typed(answer)
        return answer["answer"]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        source = str(Path(__file__).parents[2])
        paths = filter(None, (source, os.environ.get("PYTHONPATH")))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        if self._secret_hex is not None:
            environment[_SECRET_VARIABLE] = self._secret_hex
        # Its own session: a person's Ctrl-C stops the loop, which then ends the judge in order.
        self._process = subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )
        hello = self._receive(self._process)
        if self._commitment not in ("", hello["commitment"]):
            self.close()
            raise SandboxError("the judge came back with another secret; its folder was changed within a run")
        self._commitment = hello["commitment"]
        return self._process

    @staticmethod
    def _receive(process: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert process.stdout is not None
        answer = read_json(process.stdout)
        if answer is None:
            raise SandboxError("the judge's process ended; see its messages above")
        return answer


def _typed(answer: dict[str, Any]) -> EvolventError:
    """The error that the judge raised, by its name."""
    kind = getattr(errors, str(answer.get("kind")), None)
    # Some errors are built from parts, not from their message; those come back as the base.
    if isinstance(kind, type) and issubclass(kind, EvolventError) and "__init__" not in vars(kind):
        return kind(answer["error"])
    return EvolventError(answer["error"])
