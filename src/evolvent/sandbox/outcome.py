"""What a task is, what it may use, and what became of it.

A child's answer is read here by code that trusts nothing in it: strict JSON, the agreed fields, values in the one
spelling of `plain`. How the child ended is the kernel's to say.

Not here: who runs it (`code.py`), the bytes on the pipe (`spawn.py`).
"""

from __future__ import annotations

import io
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from evolvent.errors import SandboxError
from evolvent.sandbox import plain
from evolvent.sandbox.frames import parse_object, write_json
from evolvent.sandbox.orders import Bounds
from evolvent.sandbox.spawn import Child, End, Nursery, Reading
from evolvent.sandbox.worker import EXIT_MEMORY
from evolvent.types import Json

__all__ = ["CallResult", "Limits", "Outcome", "Task", "run_task"]

_MAX_DETAIL = 500
_STATUSES = ("ok", "error", "memory", "output")
# What is over before the child is: its status by what came over the pipe, and why.
_BY_US = {
    "late": ("timeout", "no end within {0.wall_s} s"),
    "long": ("output", "more than {0.output_bytes} bytes of results"),
    "trailing": ("crashed", "more than one answer"),
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one task may use.

    Attributes:
        cpu_s: processor seconds.
        wall_s: seconds from sending the task to the end of its answer.
        memory_bytes: address space, of which the interpreter takes about 40 MiB.
        output_bytes: the answer.
        scratch_bytes: files in its scratch folder, where the tier has one.
        num_tasks: threads, its first included; never another process. Above 1 it is exact only with namespaces.

    Raises:
        ValueError: one is not positive (only `scratch_bytes` may be 0), or is no whole number (only `wall_s` may be).
    """

    cpu_s: int = 1
    wall_s: float = 3.0
    memory_bytes: int = 256 << 20
    output_bytes: int = 1 << 16
    scratch_bytes: int = 16 << 20
    num_tasks: int = 1

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < (0 if name == "scratch_bytes" else 1e-9) or value >= 1 << 63:
                raise ValueError(f"Limits: {name}: expected more than 0 and less than 2**63, got {value}")
            if name != "wall_s" and not isinstance(value, int):
                raise ValueError(f"Limits: {name}: expected a whole number, got {value}")

    def bounds(self) -> Bounds:
        """What a child must know."""
        return Bounds(self.cpu_s, self.memory_bytes, self.output_bytes, self.scratch_bytes, self.num_tasks)


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
        seconds: on the wall that the task itself took, not what it waited for its turn; outcomes are equal without it.
    """

    status: str
    results: tuple[CallResult, ...]
    detail: str
    tier: str
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A function to call.

    Attributes:
        source: of its module.
        function: its name.
        calls: argument lists, each argument in the encoding of `plain`.
    """

    source: str
    function: str
    calls: Sequence[Sequence[Json]]

    def framed(self) -> bytes:
        """As it goes to a child.

        Raises:
            ValueError: the source is not Unicode text, or it is all too long.
        """
        buffer = io.BytesIO()
        calls = [list(call) for call in self.calls]
        write_json(buffer, {"source": self.source, "function": self.function, "calls": calls})
        return buffer.getvalue()


def run_task(nursery: Nursery, child: Child, task: Task, limits: Limits, tier: str) -> Outcome:
    """Give a child that is locked in its task, and end it.

    Args:
        nursery: of the child.
        child: locked in.
        task: what it is to do.
        limits: that it was born with.
        tier: for the record.

    Raises:
        SandboxError: the zygote is gone.
    """
    try:
        payload = task.framed()
    except ValueError as exc:
        nursery.end(child)
        return Outcome(status="error", results=(), detail=_legible(f"source: {exc}"), tier=tier)
    began = time.monotonic()
    reading = child.exchange(payload, limits.output_bytes, limits.wall_s)
    seconds = time.monotonic() - began
    end = nursery.end(child, at_once=reading.verdict in _BY_US)
    status, detail, results = _tell(reading, end, limits, len(task.calls))
    return Outcome(status=status, results=results, detail=_legible(detail), tier=tier, seconds=seconds)


_Told = tuple[str, str, tuple[CallResult, ...]]


def _tell(reading: Reading, end: End, limits: Limits, num_calls: int) -> _Told:
    """Status from what came over the pipe and how the child ended, which is not the child's to say."""
    if reading.verdict in _BY_US:
        status, how = _BY_US[reading.verdict]
        return status, how.format(limits), ()
    if end.killed:
        return "crashed", "closed its end of the answer's pipe and went on", ()
    if end.exit == -signal.SIGKILL:
        # Nothing inside may send signals. The kernel kills by its own count of ticks, which strays from the time that
        # it reports on a busy machine; what runs out of the machine's memory ends here too.
        return "timeout", f"killed at its limit of {limits.cpu_s} s of processor time (used {end.cpu_s:.2f})", ()
    if end.exit == EXIT_MEMORY:
        return "memory", f"more than {limits.memory_bytes} bytes", ()
    if end.exit != 0 or reading.verdict != "whole":
        how = f"signal {-end.exit}" if end.exit < 0 else f"exit code {end.exit}"
        return "crashed", f"{how}, {'an answer' if reading.payload else 'no answer'}", ()
    return _read(reading.payload, num_calls)


def _read(payload: bytes, num_calls: int) -> _Told:
    try:
        answer = parse_object(payload)
        status, detail, results = answer.get("status"), answer.get("detail", ""), answer.get("results", [])
        if status not in _STATUSES or not isinstance(detail, str) or not isinstance(results, list):
            raise SandboxError("answer: expected status, results and detail")
        told = tuple(map(_call_result, results))
        if len(told) > num_calls or (status == "ok" and len(told) != num_calls):
            raise SandboxError(f"answer: expected {num_calls} results, got {len(told)}")
    except (SandboxError, ValueError) as exc:
        return "output", str(exc), ()
    return status, detail, told


def _call_result(pair: Any) -> CallResult:
    if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], str):
        raise SandboxError("result: expected a value and an error")
    value, error = pair
    if error and value is not None:
        raise SandboxError("result: expected a value or an error")
    plain.decode(value)  # anything that `encode` would not write is refused
    return CallResult(value=value, error=_legible(error))


def _legible(text: str) -> str:
    """Text from inside, safe to store and to print: capped, no half surrogates, nothing that steers a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text[:_MAX_DETAIL])
