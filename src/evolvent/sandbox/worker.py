"""One child of the zygote: lock in, say so, run one task, answer once, die.

It says that it is locked in before a byte of the task is sent. From the task's first byte on nothing in this process is
to be believed, this code included: what it writes is judged by the reader alone (`outcome.py`).

Not here: what the lock is made of (`lock.py`); what the answer is worth. Code that runs in this process can forge the
answer; it gains nothing, because an answer holds only values, and the expected ones are not in here.
"""

from __future__ import annotations

import ctypes
import gc
import io
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from evolvent.sandbox import plain
from evolvent.sandbox.frames import read_json, write_json
from evolvent.sandbox.lock import REQUEST, RESULT, Step

__all__ = ["EXIT_LOCK", "EXIT_MEMORY", "LOCKED_WELL", "framed", "live", "rehearse"]

EXIT_LOCK, EXIT_MEMORY, EXIT_LOST = 70, 71, 72
LOCKED_WELL = "locked"
_MAX_REQUEST_BYTES = 64 << 20
_MAX_DETAIL = 300
_REHEARSALS = 20  # CPython begins to specialize code on its eighth run
_REHEARSED = {
    "source": "import re\ndef same(x):\n    return [*x]\n",
    "function": "same",
    "calls": [[plain.encode([1, 2.5, "a", (None, True), {"b": [3]}])]],
}


def live(steps: Sequence[Step], hello: bytes, output_bytes: int) -> NoReturn:
    """The whole life of a child after its fork.

    Args:
        steps: that lock it in.
        hello: what it says once each of them gave what it must.
        output_bytes: longest answer.
    """
    code = EXIT_LOCK
    try:
        for what, call, args, gives in steps:
            got = call(*args)
            if got != gives:
                raise OSError(f"{what}: expected {gives}, got {got} ({os.strerror(ctypes.get_errno())})")
        _write(hello)
        code = EXIT_LOST
        code = _work(output_bytes)
    except MemoryError:
        code = EXIT_MEMORY
    except BaseException as exc:
        if code == EXIT_LOCK:
            _last_words(exc)
    finally:
        os._exit(code)


def _work(output_bytes: int) -> int:
    # To the end of the frame, not of the pipe: whatever was forked from the caller holds the pipe's other end too.
    with io.FileIO(REQUEST) as stream:
        task = read_json(stream, _MAX_REQUEST_BYTES)
    if task is None:
        return 0
    answer = framed(run(task["source"], task["function"], task["calls"]))
    if len(answer) > output_bytes:
        answer = framed({"status": "output", "detail": f"more than {output_bytes} bytes of results"})
    _write(answer)
    return 0


def run(source: str, function: str, calls: list[list[Any]]) -> dict[str, Any]:
    """Execute a module and call one of its functions, in this very process.

    Args:
        source: of the module.
        function: its name.
        calls: argument lists in the encoding of `plain`.

    Returns:
        ``{status, results, detail}`` as `outcome.Outcome` has them.
    """
    gc.enable()  # the zygote had it off
    module = ModuleType("candidate")
    sys.modules["candidate"] = module  # dataclasses and typing look a class's module up there
    try:
        exec(compile(source, "<candidate>", "exec", dont_inherit=True), module.__dict__)
        target = module.__dict__[function]
    except MemoryError:
        return {"status": "memory", "results": [], "detail": "while it was loaded"}
    except BaseException as exc:
        return {"status": "error", "results": [], "detail": _describe(exc)}
    results: list[list[Any]] = []
    for arguments in calls:
        try:
            value = target(*[plain.decode(argument) for argument in arguments])
            results.append([plain.encode(value), ""])
        except MemoryError:
            return {"status": "memory", "results": results, "detail": f"in call {len(results)}"}
        except BaseException as exc:
            results.append([None, _describe(exc)])
    return {"status": "ok", "results": results, "detail": ""}


def _describe(exc: BaseException) -> str:
    name = plain.name_of(type(exc))
    try:
        text = str.__getitem__(str(exc), slice(_MAX_DETAIL))
        return f"{name}: {text}".encode("utf-8", "replace").decode()[:_MAX_DETAIL]
    except BaseException:
        return name  # its own text raises


def rehearse() -> None:
    """In the zygote, do often what each child does once: the interpreter learns short cuts, which children inherit."""
    for _ in range(_REHEARSALS):
        task = read_json(io.BytesIO(framed(_REHEARSED)), _MAX_REQUEST_BYTES)
        assert task is not None
        told = run(task["source"], task["function"], task["calls"])
        assert told["results"] == [[_REHEARSED["calls"][0][0], ""]], f"the rehearsal failed: {told}"
        framed(told)
    del sys.modules["candidate"]


def framed(value: dict[str, Any]) -> bytes:
    """One frame of the pipe to the judge."""
    buffer = io.BytesIO()
    write_json(buffer, value)
    return buffer.getvalue()


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(RESULT, data) :]


def _last_words(exc: BaseException) -> None:
    """Why the lock did not close."""
    words = framed({"failed": f"{type(exc).__name__}: {exc}"[:_MAX_DETAIL]})
    try:
        os.write(RESULT, words)
    except OSError:
        pass  # nobody listens
