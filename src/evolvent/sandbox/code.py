"""Run a function that a model wrote, on arguments of ours, where it can reach nothing.

``CodeSandbox`` keeps a zygote and a few children that are locked in and wait. A call takes one, sends it the source and
the arguments, reads one answer and ends it; nothing is used twice. The answer is data: values as they were returned
(`plain.py`), or how it failed. Expected values stay on this side.

Not here: whether the values are right; the rollout worker of the judge (`isolate.py`).
"""

from __future__ import annotations

import io
import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evolvent.errors import SandboxError
from evolvent.sandbox import plain
from evolvent.sandbox.frames import parse_object, write_json
from evolvent.sandbox.spawn import Child, End, Nursery, Reading
from evolvent.sandbox.worker import EXIT_MEMORY
from evolvent.types import Json

__all__ = ["CallResult", "CodeSandbox", "Limits", "Outcome"]

_MAX_DETAIL = 500
_STATUSES = ("ok", "error", "memory", "output")
_CPU_SLACK_S = 0.1  # the kernel counts ticks where it kills, and exactly where it reports


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one task may use.

    Attributes:
        cpu_s: processor seconds.
        wall_s: seconds from sending the task to the end of its answer.
        memory_bytes: address space, of which the interpreter takes about 40 MiB.
        output_bytes: the answer.
        scratch_bytes: files in its scratch folder, where the tier has one.
        num_tasks: threads, its first included; never another process.
    """

    cpu_s: int = 1
    wall_s: float = 3.0
    memory_bytes: int = 256 << 20
    output_bytes: int = 1 << 16
    scratch_bytes: int = 16 << 20
    num_tasks: int = 1

    def plain(self) -> dict[str, int]:
        """What a child must know; it has no say in `wall_s`."""
        return {name: value for name, value in asdict(self).items() if name != "wall_s"}


@dataclass(frozen=True, kw_only=True)
class CallResult:
    """One call that came back.

    Attributes:
        value: what it returned, in the encoding of `plain`; ``None`` if it raised.
        error: empty, or the exception's class and message.
    """

    value: Json
    error: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a task.

    Attributes:
        status: ``ok``; ``error`` (the source does not load, or has no such function); ``timeout``; ``memory``;
            ``crashed``; ``output`` (too much, or not in the agreed form).
        results: as many as calls on ``ok``; else what was finished, perhaps nothing.
        detail: for a person. Written by the task itself in part, so never to be believed.
        tier: of the sandbox.
    """

    status: str
    results: tuple[CallResult, ...]
    detail: str
    tier: str


class CodeSandbox:
    """Runs model-written functions, one task at a time. Not for several threads at once.

    Args:
        warm: children kept ready.
        hidden: paths that must be unreadable inside, such as the judge's folder; each is tried at the start.
        limits: of every call that names no others. A call with its own limits takes a new child.

    Attributes:
        tier: what was proven at the start.

    Raises:
        SandboxError: no tier holds on this machine, or a protection was let through by a probe.
    """

    def __init__(self, *, warm: int = 2, hidden: Sequence[Path] = (), limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._warm = warm
        self._ready: deque[Child] = deque()
        self.tier = "namespaces"
        self._nursery = Nursery({"namespaces": True, "seccomp": True, "opens": True})
        self._fill()

    def call(
        self, source: str, function: str, calls: Sequence[Sequence[Json]], limits: Limits | None = None
    ) -> Outcome:
        """Load a module and call one of its functions, each time with one list of arguments, in one process.

        Args:
            source: of the module.
            function: its name.
            calls: argument lists, each argument in the encoding of `plain`.
            limits: of this task, if they are not the sandbox's own.

        Raises:
            SandboxError: the sandbox itself failed; nothing can be said about the task.
        """
        limits = limits or self._limits
        task = io.BytesIO()
        try:
            write_json(task, {"source": source, "function": function, "calls": [list(call) for call in calls]})
        except ValueError as exc:
            return self._outcome("error", f"source: {exc}")
        child = self._take(limits)
        reading = child.exchange(task.getvalue(), limits.output_bytes, limits.wall_s)
        end = self._nursery.end(child)
        self._fill()
        return self._tell(reading, end, limits, len(calls))

    def close(self) -> None:
        """End everything. May be called again."""
        while self._ready:
            self._ready.popleft().close()
        self._nursery.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fill(self) -> None:
        while len(self._ready) < self._warm:
            self._ready.append(self._nursery.order(self._limits.plain()))

    def _take(self, limits: Limits) -> Child:
        wanted = limits.plain()
        if self._ready and self._ready[0].limits == wanted:
            child = self._ready.popleft()
        else:
            child = self._nursery.order(wanted)
        try:
            child.wait_locked()
        except SandboxError:
            child.close()
            raise
        return child

    def _tell(self, reading: Reading, end: End, limits: Limits, num_calls: int) -> Outcome:
        """Status from what came over the pipe and how the child ended, which is not the child's to say."""
        by_us = {
            "late": ("timeout", f"no end within {limits.wall_s} s"),
            "long": ("output", f"more than {limits.output_bytes} bytes of results"),
            "trailing": ("crashed", "more than one answer"),
        }
        if reading.verdict in by_us:
            return self._outcome(*by_us[reading.verdict])
        if end.exit == -signal.SIGKILL and end.cpu_s > limits.cpu_s - _CPU_SLACK_S:
            return self._outcome("timeout", f"more than {limits.cpu_s} s of processor time")
        if end.exit == EXIT_MEMORY:
            return self._outcome("memory", f"more than {limits.memory_bytes} bytes")
        if end.exit != 0 or reading.verdict != "whole":
            how = f"signal {-end.exit}" if end.exit < 0 else f"exit code {end.exit}"
            return self._outcome("crashed", f"{how}, {'an answer' if reading.payload else 'no answer'}")
        return self._read(reading.payload, num_calls)

    def _read(self, payload: bytes, num_calls: int) -> Outcome:
        try:
            answer = parse_object(payload)
            status, detail, results = answer.get("status"), answer.get("detail", ""), answer.get("results", [])
            if status not in _STATUSES or not isinstance(detail, str) or not isinstance(results, list):
                raise SandboxError("answer: expected status, results and detail")
            told = tuple(map(_call_result, results))
            if len(told) > num_calls or (status == "ok" and len(told) != num_calls):
                raise SandboxError(f"answer: expected {num_calls} results, got {len(told)}")
        except (SandboxError, ValueError) as exc:
            return self._outcome("output", str(exc))
        return self._outcome(status, detail, told)

    def _outcome(self, status: str, detail: str, results: tuple[CallResult, ...] = ()) -> Outcome:
        return Outcome(status=status, results=results, detail=detail[:_MAX_DETAIL], tier=self.tier)


def _call_result(pair: Any) -> CallResult:
    if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], str):
        raise SandboxError("result: expected a value and an error")
    value, error = pair
    if error and value is not None:
        raise SandboxError("result: expected a value or an error")
    plain.decode(value)  # anything that `encode` would not write is refused
    return CallResult(value=value, error=error[:_MAX_DETAIL])
