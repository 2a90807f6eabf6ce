"""A child process that is not trusted: started bare, spoken to in frames, killed with all that it started.

The child gets an empty environment apart from what is listed, its own session, no inherited descriptors, its own user,
network and IPC namespaces where the kernel gives them, and dies with its parent. It must then call
`evolvent.sandbox.isolate` on itself; until it has reported so, do not send it anything that a candidate made.

Not here: what the child may do once it runs (`isolate.py`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from evolvent.errors import SandboxError
from evolvent.sandbox.frames import MAX_FRAME_BYTES, read_json, write_bytes, write_json
from evolvent.sandbox.isolate import HIDDEN_VARIABLE

__all__ = ["IsolatedProcess"]

_GONE_AFTER_S = 5.0
_STDERR_BYTES = 8192
# Runs before the real program in the same process, while it still has one thread: only then may a user namespace be
# entered. Order matters: entering a namespace changes credentials, which clears the death signal.
_LAUNCHER = """
import ctypes, os, sys
parent = int(sys.argv[1])
if sys.platform == "linux":
    libc = ctypes.CDLL(None, use_errno=True)
    libc.unshare(0x10000000 | 0x40000000 | 0x08000000)
    libc.prctl(1, 9, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class IsolatedProcess:
    """One child, one request at a time.

    Args:
        argv: program and arguments; the program as a full path.
        env: what the child's environment holds besides PATH, thread counts and the package's own source folder.
        hidden: paths that the child's `isolate` must prove unreadable, such as the judge's folder.
        threads: threads that its numeric libraries may use.
        max_frame_bytes: longest answer accepted.
        cwd: folder in which it starts; the root by default, so that nothing of the run lies at hand.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        hidden: Sequence[str | Path] = (),
        threads: int = 1,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        cwd: str | Path = "/",
    ) -> None:
        self.argv = tuple(argv)
        self._max_frame_bytes = max_frame_bytes
        self._stderr: deque[bytes] = deque()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**_bare_environment(threads), HIDDEN_VARIABLE: os.pathsep.join(map(str, hidden)), **(env or {})},
            cwd=cwd,
            start_new_session=True,
            close_fds=True,
        )
        self._drain = threading.Thread(target=self._keep_stderr, daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """The child has not ended."""
        return self._process.poll() is None

    def call(
        self,
        request: dict[str, Any],
        blobs: Sequence[bytes] = (),
        *,
        timeout_s: float,
        answer: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """Send one request, its blobs after it, and wait for the answer.

        Args:
            request: JSON object.
            blobs: raw frames that follow it.
            timeout_s: seconds until the child is killed, questions included.
            answer: replies to what the child asks on its way (a frame that holds ``question``); without it a child that
                asks has failed.

        Raises:
            SandboxError: the child died, ran out of time, or answered something that is not a strict JSON frame. It has
                been killed then.
        """
        return self._bounded(lambda: self._exchange(request, blobs, answer), timeout_s)

    def receive(self, *, timeout_s: float) -> dict[str, Any]:
        """Wait for a frame that the child sends by itself, such as its first message.

        Raises:
            SandboxError: as `call`.
        """
        return self._bounded(self._read, timeout_s)

    def close(self) -> None:
        """Kill the child and everything in its session, and wait until it is gone. May be called again."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()
        try:
            self._process.wait(_GONE_AFTER_S)
        except subprocess.TimeoutExpired as exc:
            raise SandboxError(f"child {self._process.pid} is still there {_GONE_AFTER_S} s after SIGKILL") from exc
        self._drain.join(_GONE_AFTER_S)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                _close_quietly(stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(
        self,
        request: dict[str, Any],
        blobs: Sequence[bytes],
        answer: Callable[[dict[str, Any]], dict[str, Any]] | None,
    ) -> dict[str, Any]:
        stdin = self._process.stdin
        assert stdin is not None
        write_json(stdin, request)
        for blob in blobs:
            write_bytes(stdin, blob)
        told = self._read()
        while "question" in told:
            question = told["question"]
            if answer is None or not isinstance(question, dict):
                raise SandboxError("it asked a question that nobody answers")
            write_json(stdin, answer(question))
            told = self._read()
        return told

    def _read(self) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        answer = read_json(stdout, self._max_frame_bytes)
        if answer is None:
            raise SandboxError("it ended without an answer")
        return answer

    def _bounded(self, action: Callable[[], dict[str, Any]], timeout_s: float) -> dict[str, Any]:
        # A timer that kills unblocks both a read and a write to a full pipe, which a timeout on reading would not.
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _kill_group(self._process.pid)

        timer = threading.Timer(timeout_s, expire)
        timer.daemon = True
        timer.start()
        try:
            return action()
        except (SandboxError, OSError, ValueError) as exc:
            self.close()
            cause = f"no answer within {timeout_s} s" if expired.is_set() else str(exc)
            raise SandboxError(f"sandboxed process {' '.join(self.argv)[:80]!r}: {cause}{self._stderr_tail()}") from exc
        finally:
            timer.cancel()

    def _keep_stderr(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        size = 0
        while chunk := os.read(stderr.fileno(), 4096):
            self._stderr.append(chunk)
            size += len(chunk)
            while size > _STDERR_BYTES and len(self._stderr) > 1:
                size -= len(self._stderr.popleft())

    def _stderr_tail(self) -> str:
        text = b"".join(self._stderr).decode(errors="replace").strip()
        return f"; its last words: {text[-1500:]}" if text else ""


def _bare_environment(threads: int) -> dict[str, str]:
    count = str(threads)
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/",
        # The package's own source, and where the parent finds a person's task (`module:function`).
        "PYTHONPATH": os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")))),
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _close_quietly(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except OSError:
        pass  # unsent bytes for a dead child
