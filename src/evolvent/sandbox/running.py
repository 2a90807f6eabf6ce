"""Who runs model-written code in this process: a sandbox of its own, or whoever it asks.

A task's verifier and its scratch runs call `runner`. It starts one `CodeSandbox` a process when it is first needed. The
judge's rollout worker may start nothing once it is locked in, so it names a runner that asks the judge (`use`).

Not here: the sandbox (`code.py`), the asking (`process.py`).
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from evolvent.errors import SandboxError
from evolvent.sandbox.code import CallResult, CodeSandbox, Outcome
from evolvent.sandbox.tiers import PROMOTING
from evolvent.types import Json

__all__ = ["Runner", "answer", "insist", "outcome_of", "runner", "tiers", "use"]


class Runner(Protocol):
    """Loads a module and calls one of its functions, as `CodeSandbox.call` does."""

    def call(self, source: str, function: str, calls: Sequence[Sequence[Json]]) -> Outcome:
        """What became of it.

        Raises:
            SandboxError: nothing can be said about the task.
        """
        ...


class _Shared:
    """One sandbox for all threads of a process, started when it is first needed; one call at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sandbox: CodeSandbox | None = None
        self._owner = 0
        self.judging = False
        self.tiers: set[str] = set()
        self._tier = ""
        self.hidden: tuple[Path, ...] = ()

    def call(self, source: str, function: str, calls: Sequence[Sequence[Json]]) -> Outcome:
        with self._lock:
            try:
                told = self._started().call(source, function, calls)
            except SandboxError:
                self.close()  # once more with a fresh one; what fails again is told
                told = self._started().call(source, function, calls)
            self.tiers.add(told.tier)
            return told

    def close(self) -> None:
        if self._sandbox is not None and self._owner == os.getpid():
            self._sandbox.close()
        self._sandbox = None

    def _started(self) -> CodeSandbox:
        if self._sandbox is None or self._owner != os.getpid():  # a forked child has a zygote of its own
            sandbox = CodeSandbox(hidden=self.hidden)
            if self.judging and sandbox.tier not in PROMOTING:
                sandbox.close()
                raise SandboxError(
                    f"code sandbox: expected a tier that may promote, one of {', '.join(sorted(PROMOTING))}; "
                    f"this machine gives '{sandbox.tier}', see `evolvent doctor`"
                )
            if self.judging and self._tier not in ("", sandbox.tier):
                sandbox.close()
                raise SandboxError(f"code sandbox: tier changed from {self._tier} to {sandbox.tier} within a run")
            self._sandbox, self._owner, self._tier = sandbox, os.getpid(), sandbox.tier
            atexit.register(self.close)
        return self._sandbox


_shared = _Shared()
_chosen: list[Runner] = [_shared]


def runner() -> Runner:
    """This process's runner."""
    return _chosen[-1]


def use(chosen: Runner) -> None:
    """Name another runner, for the rest of this process."""
    _chosen[:] = [chosen]


def insist(hidden: Sequence[Path]) -> None:
    """From now on this process's own sandbox must hold well enough to judge in, and must not read `hidden`."""
    _shared.judging, _shared.hidden = True, tuple(hidden)


def tiers(*, forget: bool = False) -> list[str]:
    """Tiers in which this process's own sandbox has run code since they were last forgotten; none if it ran none."""
    if forget:
        _shared.tiers.clear()
    return sorted(_shared.tiers)


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Run what a locked-in process asks for, as JSON; it may ask for anything, and gets what any output would get.

    Raises:
        SandboxError: the question has another form, or nothing can be said.
    """
    source, function, calls = (question.get(name) for name in ("source", "function", "calls"))
    if not (isinstance(source, str) and isinstance(function, str) and isinstance(calls, list)):
        raise SandboxError("question: expected source, function and calls")
    if not all(isinstance(call, list) for call in calls):
        raise SandboxError("question: expected a list of argument lists")
    try:
        told = runner().call(source, function, calls)
    except (RecursionError, TypeError) as exc:
        raise SandboxError(f"question: its calls cannot be sent on: {exc}") from exc
    results = [[result.value, result.error] for result in told.results]
    return {
        "status": told.status, "results": results, "detail": told.detail, "tier": told.tier, "seconds": told.seconds,
    }  # fmt: skip


def outcome_of(told: dict[str, Any]) -> Outcome:
    """The outcome behind the JSON of `answer`."""
    results = tuple(CallResult(value=value, error=error) for value, error in told["results"])
    rest = {name: told[name] for name in ("status", "detail", "tier", "seconds")}
    return Outcome(results=results, **rest)
