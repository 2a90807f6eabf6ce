"""The trusted end of the zygote: start it, order children, talk to one of them, see it gone.

A child is reached by two pipes that are made here and handed over, so the zygote never holds a task. What comes back is
read by a reader that trusts nothing: at most so many bytes, until so long, and then the pipe must have ended.

Not here: what the bytes mean (`code.py`), what runs at the other end (`zygote.py`, `worker.py`).
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evolvent.errors import SandboxError
from evolvent.sandbox import orders
from evolvent.sandbox.frames import parse_object
from evolvent.sandbox.orders import Bounds
from evolvent.sandbox.worker import LOCKED_WELL

__all__ = ["Child", "End", "Nursery", "Reading"]

_ENVIRONMENT = {"PYTHONHASHSEED": "0"}
# The package's front door stays shut: a zygote loads what it needs, since every page that it holds is paid for at each
# fork.
_BOOT = """
import sys, types
sys.path.insert(0, sys.argv[1])
package = types.ModuleType("evolvent.sandbox")
package.__path__ = [sys.argv[1] + "/evolvent/sandbox"]
sys.modules["evolvent.sandbox"] = package
from evolvent.sandbox.zygote import main
main()
"""
_START_S = 30.0
_LOCK_S = 10.0
_END_S = 10.0
_HEADER_BYTES = 5
_MAX_HELLO_BYTES = 4096
_MAX_REPLY_BYTES = 4096


@dataclass(frozen=True)
class Reading:
    """What came over the result pipe.

    Attributes:
        payload: the bytes after the header of the one frame; empty unless it came whole.
        verdict: ``whole`` (one frame, then the end), ``none`` (nothing), ``cut``, ``trailing``, ``long`` or ``late``.
    """

    payload: bytes
    verdict: str


@dataclass(frozen=True)
class End:
    """How a child ended.

    Attributes:
        exit: its exit code; minus the signal's number if one killed it.
        cpu_s: processor seconds that it used.
        killed: by the zygote, which found it alive.
    """

    exit: int
    cpu_s: float
    killed: bool


class Child:
    """One child, from its order to its end."""

    def __init__(self, number: int, bounds: Bounds, request: int, result: int) -> None:
        self.number = number
        self.bounds = bounds
        self._request: int | None = request
        self._result = result

    def wait_locked(self) -> list[str]:
        """Wait until it said that it is locked in; what holds it, such as ``seccomp``.

        Raises:
            SandboxError: it could not lock itself in.
        """
        deadline = time.monotonic() + _LOCK_S
        header = self._exactly(_HEADER_BYTES, deadline)
        size = int.from_bytes(header[1:], "big")
        if header[:1] != b"J" or size > _MAX_HELLO_BYTES:
            raise SandboxError(f"sandbox child: expected its first frame, got {header!r}")
        hello = parse_object(self._exactly(size, deadline))
        if LOCKED_WELL not in hello:
            raise SandboxError(f"sandbox child: could not lock itself in: {hello.get('failed')}")
        return list(hello[LOCKED_WELL])

    def exchange(self, payload: bytes, max_bytes: int, wall_s: float) -> Reading:
        """Send the task and read the one frame of the answer.

        Args:
            payload: the task, framed.
            max_bytes: longest frame taken.
            wall_s: seconds from now until it is late.
        """
        deadline = time.monotonic() + wall_s
        unsent = memoryview(payload)
        assert self._request is not None
        os.set_blocking(self._request, False)
        unsent = self._push(unsent)
        waiting = select.poll()
        waiting.register(self._result, select.POLLIN)
        if unsent:
            waiting.register(self._request, select.POLLOUT)
        got = bytearray()
        while (left := deadline - time.monotonic()) > 0:
            for fd, _ in waiting.poll(left * 1000):
                if fd != self._result:
                    unsent = self._push(unsent)
                    if not unsent:
                        waiting.unregister(fd)
                elif ended := self._take(got, max_bytes):
                    return ended
        return Reading(b"", "late")

    def _take(self, got: bytearray, max_bytes: int) -> Reading | None:
        """Read on; what was read once there is nothing more to expect."""
        chunk = os.read(self._result, 1 << 16)
        if not chunk:
            return _judge(bytes(got))
        got += chunk
        if len(got) >= _HEADER_BYTES and int.from_bytes(got[1:_HEADER_BYTES], "big") > max_bytes:
            return Reading(b"", "long")
        return Reading(b"", "trailing") if len(got) > max_bytes + _HEADER_BYTES else None

    def close(self) -> None:
        """Close both pipes. May be called again."""
        self._close_request()
        if self._result >= 0:
            os.close(self._result)
            self._result = -1

    def _push(self, unsent: memoryview) -> memoryview:
        """Send what the pipe takes, and close it behind the last byte."""
        assert self._request is not None
        try:
            unsent = unsent[os.write(self._request, unsent) :]
        except BlockingIOError:
            return unsent
        except BrokenPipeError:
            unsent = unsent[len(unsent) :]  # it died; the result pipe says so too
        if not unsent:
            self._close_request()
        return unsent

    def _close_request(self) -> None:
        if self._request is not None:
            os.close(self._request)
            self._request = None

    def _exactly(self, size: int, deadline: float) -> bytes:
        got = b""
        while len(got) < size:
            ready, _, _ = select.select([self._result], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise SandboxError(f"sandbox child: did not lock itself in within {_LOCK_S} s")
            chunk = os.read(self._result, size - len(got))
            if not chunk:
                raise SandboxError("sandbox child: died before it was locked in")
            got += chunk
        return got


class Nursery:
    """A zygote and its children.

    Args:
        settings: for `zygote.main`: ``namespaces``, ``seccomp``, ``opens``.
        prefix: program and arguments in front of the interpreter's, such as bubblewrap's.

    Raises:
        SandboxError: the zygote did not come up; the message holds its last words.
    """

    def __init__(self, settings: Mapping[str, Any], prefix: Sequence[str] = ()) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        self._next = 0
        with theirs:
            source = str(Path(__file__).parents[2])
            # -I, but for the environment, which holds the one value: the order of a set of texts must not differ from
            # one zygote to the next, or a run that goes on would see other answers. (Hashes of None, types and
            # functions follow their addresses all the same.)
            bare = [sys.executable, "-P", "-s", "-S", "-B", "-c", _BOOT]
            own = [*bare, source, json.dumps(settings), str(theirs.fileno())]
            self._process = subprocess.Popen(
                [*prefix, *own],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=_ENVIRONMENT,
                cwd="/",
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        try:
            self._receive(_START_S)
        except SandboxError as exc:
            words = self._last_words()
            self.close()
            raise SandboxError(f"sandbox zygote: did not start: {words or exc}") from exc

    @property
    def pid(self) -> int:
        """The process that was started; the zygote itself or one that stands by it."""
        return self._process.pid

    def order(self, bounds: Bounds) -> Child:
        """Order one more child; it locks itself in while we do something else.

        Raises:
            SandboxError: the zygote is gone.
        """
        self._next += 1
        order = orders.bear(self._next, bounds)
        request_out, request_in = os.pipe()
        result_out, result_in = os.pipe()
        child = Child(self._next, bounds, request_in, result_out)
        try:
            socket.send_fds(self._control, [order], [request_out, result_in])
        except OSError as exc:
            child.close()
            raise SandboxError(f"sandbox zygote: is gone: {exc}") from exc
        finally:
            os.close(request_out)
            os.close(result_in)
        return child

    def end(self, child: Child, *, at_once: bool = True) -> End:
        """Kill a child, or find it dead, and wait until nothing of it is left.

        Args:
            child: of this nursery.
            at_once: do not wait a moment for it to end by itself.

        Raises:
            SandboxError: the zygote is gone or does not answer.
        """
        child.close()
        try:
            self._control.send(orders.end(child.number, at_once=at_once))
        except OSError as exc:
            raise SandboxError(f"sandbox zygote: is gone: {exc}") from exc
        answer = self._receive(_END_S)
        try:
            number, code, cpu_s, killed = orders.read_ended(answer)
        except struct.error:
            raise SandboxError(f"sandbox zygote: expected how a child ended, got {answer[:40]!r}") from None
        if number != child.number or code == orders.NEVER_BORN:
            raise SandboxError(f"sandbox zygote: child {child.number} was never born; the machine is out of processes?")
        return End(code, cpu_s, killed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the zygote and all its children, and wait. May be called again."""
        self._control.close()  # it ends its children, then itself
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_END_S)
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _receive(self, timeout_s: float) -> bytes:
        self._control.settimeout(timeout_s)
        try:
            answer = self._control.recv(_MAX_REPLY_BYTES)
        except OSError as exc:
            raise SandboxError(f"sandbox zygote: no answer: {exc}") from exc
        if not answer:
            raise SandboxError("sandbox zygote: ended")
        return answer

    def _last_words(self) -> str:
        self._process.kill()
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        return (self._process.stderr.read() or b"").decode(errors="replace").strip()[-500:]


def _judge(got: bytes) -> Reading:
    if not got:
        return Reading(b"", "none")
    size = int.from_bytes(got[1:_HEADER_BYTES], "big")
    if len(got) < _HEADER_BYTES + size or len(got) < _HEADER_BYTES:
        return Reading(b"", "cut")
    if len(got) > _HEADER_BYTES + size or got[:1] != b"J":
        return Reading(b"", "trailing")
    return Reading(got[_HEADER_BYTES:], "whole")
