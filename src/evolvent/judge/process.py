"""The judge's process as its asker sees it: started apart, spoken to in frames, ended with all that it started.

Not here: what is asked (`client.py`), what keeps it apart (`separation.py`), a judge on another host (`remote.py`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from evolvent.errors import SandboxError
from evolvent.judge.protocol import checked_reply
from evolvent.judge.separation import House, launch, needed_by, separate, sources
from evolvent.sandbox import read_json, write_json

__all__ = ["SECRET_VARIABLE", "JudgeDied", "Link", "LocalJudge"]

SECRET_VARIABLE = "EVOLVENT_JUDGE_SECRET_HEX"
_END_AFTER_S = 5.0  # it may have a database server to stop
_START_S = 180.0  # its libraries, on a busy machine
_MAX_REPLY_BYTES = 64 << 20  # evidence is the longest reply
Json = dict[str, Any]
_T = TypeVar("_T")


class JudgeDied(SandboxError):
    """The judge's process ended, or was ended for its silence; the same question may be asked again."""


class Link(Protocol):
    """A way to a judge."""

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """Its process, where it is one of this machine and runs."""
        ...

    def hello(self) -> Json:
        """Start or reach it: its ``commitment``, and what keeps it apart."""
        ...

    def ask(self, request: Json, on_progress: Callable[[Json], None]) -> Json:
        """One request; its reply, ``{answer}`` or ``{error, kind}``.

        Raises:
            JudgeDied: it ended within the question.
            SandboxError: it cannot be reached, or says what no judge says.
        """
        ...

    def close(self) -> None:
        """End the conversation, and the judge where it is ours. May be called again."""
        ...


class LocalJudge:
    """A judge's process on this machine.

    Args:
        folder: the judge's own folder; nothing else of the run may lie in it.
        store_root: root of the artifact store.
        task: registered task, or ``package.module:name``.
        worker: module of the rollout worker, or a path ending in .py.
        house: how it is to live.
        secret_hex: injected secret, for tests.
    """

    def __init__(
        self, folder: Path, store_root: Path, task: str, *, worker: str, house: House, secret_hex: str | None
    ) -> None:
        self._folder, self._store, self._house, self._secret_hex = folder.absolute(), store_root, house, secret_hex
        options = {"folder": self._folder, "store": store_root.absolute(), "task": task, "worker": worker}
        options |= {"threads": house.threads, "workers": house.workers}
        self._argv = [sys.executable, "-m", "evolvent.judge.server"]
        for name, value in options.items():
            self._argv += [f"--{name}", str(value)]
        self._process: subprocess.Popen[bytes] | None = None
        self._hello: Json = {}

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The launcher, which ends with the judge."""
        return self._process

    def hello(self) -> Json:
        """Start it where it does not run, and wait for its first words.

        Raises:
            SandboxError: it ended, or came back with another secret.
            UsageError: the user asked for cannot be had.
        """
        if self._process is not None and self._process.poll() is None:
            return self._hello
        self.close()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sources())}
        if self._secret_hex is not None:
            environment[SECRET_VARIABLE] = self._secret_hex
        apart = separate(self._house, self._folder, needed_by(self._store))
        self._process = launch(apart, self._argv, environment)
        hello = self._bounded(self._process, self._read, max(_START_S, self._house.silence_s))
        if self._hello and self._hello["commitment"] != hello.get("commitment"):
            self.close()
            raise SandboxError("the judge came back with another secret; its folder was changed within a run")
        self._hello = hello
        return hello

    def ask(self, request: Json, on_progress: Callable[[Json], None]) -> Json:
        """One request and its reply."""
        self.hello()
        process, operation = self._process, str(request["op"])
        assert process is not None
        self._bounded(process, lambda p: write_json(_pipe(p.stdin), request))
        while "progress" in (reply := self._bounded(process, lambda p: checked_reply(operation, self._read(p)))):
            on_progress(reply["progress"])
        return reply

    def close(self) -> None:
        """End it in order; it has nothing to lose, so one that takes long is killed with its workers."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):  # it died with a request unread
                _pipe(stream).close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_AFTER_S)
        _kill(process)

    def _read(self, process: subprocess.Popen[bytes]) -> Json:
        reply = read_json(_pipe(process.stdout), _MAX_REPLY_BYTES)
        if reply is None:
            raise SandboxError("the judge's process ended; see its messages above")
        return reply

    def _bounded(
        self, process: subprocess.Popen[bytes], action: Callable[[subprocess.Popen[bytes]], _T], silence_s: float = 0.0
    ) -> _T:
        """Do one thing on its pipes; a judge that is silent for too long is ended, which ends the wait."""
        silent, silence_s = threading.Event(), silence_s or self._house.silence_s

        def expire() -> None:
            silent.set()
            _kill(process)

        timer = threading.Timer(silence_s, expire)
        timer.daemon = True
        timer.start()
        try:
            return action(process)
        except (OSError, SandboxError) as exc:
            self.close()
            why = f"said nothing for {silence_s:g} s and was ended" if silent.is_set() else f"died ({exc})"
            raise JudgeDied(f"the judge's process {why}; ask again, the answer will be the same") from None
        finally:
            timer.cancel()


def _pipe(stream: Any) -> Any:
    assert stream is not None
    return stream


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The whole session; the kernel then ends the process tree, or each worker its parent's death."""
    if process.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
