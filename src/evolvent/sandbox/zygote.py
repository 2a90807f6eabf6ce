"""The zygote: a bare interpreter that is ready, and gives birth to single-use children on request.

It starts as ``python -P -s -S`` in an environment that holds nothing but a fixed hash seed, imports what children need,
moves into a world of its own where the kernel gives one, and then does three things: fork a child that locks itself in,
end a child, report how it ended.
It is told numbers (`orders.py`) and handed the two pipe ends that a child needs; tasks and answers never pass through
it, so no child can find in its memory what another one was asked.

Its one connection is an unnamed pair of sockets to the process that started it, which a child closes before it does
anything else. When that pair closes, it goes, and the children with it.

Not here: the other end of the pair (`spawn.py`), what binds a child (`lock.py`) and what it does (`worker.py`).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import stat
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evolvent.sandbox import allowlist, namespaces, orders, seccomp, worker
from evolvent.sandbox.lock import REQUEST, RESULT, Lock

__all__ = ["LATER", "PRELOADED", "main"]

_MAX_ORDER = 4096
_MOMENT_MS = 200
# What a small function asks for most. A module that is not here is imported by the child, from the standard library's
# folder; one that is costs every child its part of the fork.
PRELOADED = (
    "abc", "bisect", "collections", "collections.abc", "contextlib", "copy", "datetime", "enum", "functools", "heapq",
    "io", "itertools", "json", "math", "operator", "re", "string", "struct", "time", "types", "typing", "warnings",
    "weakref",
)  # fmt: skip
# Extensions whose own libraries may lie where no child can open them (zlib, OpenSSL). Not every interpreter has them.
LINKED = ("binascii", "zlib", "_hashlib", "_decimal")
# `random` and `threading` put themselves in order after each fork besides, which costs more than their locks.
LATER = (
    "array", "ast", "base64", "calendar", "cmath", "colorsys", "csv", "dataclasses", "decimal", "difflib",
    "fnmatch", "fractions", "graphlib", "hashlib", "html", "inspect", "keyword", "numbers", "pprint", "queue", "random",
    "secrets", "statistics", "textwrap", "threading", "timeit", "traceback", "unicodedata", "urllib.parse", "uuid",
)  # fmt: skip


def main() -> None:
    """Serve until the other end of the pair closes. Argument 2 is the settings as JSON, 3 the pair's descriptor."""
    settings = json.loads(sys.argv[2])
    control = socket.socket(fileno=namespaces.out_of_the_way(int(sys.argv[3])))
    # Only the standard library from here on; our own modules are loaded.
    sys.path[:] = [entry for entry in sys.path if entry != sys.argv[1]]
    sys.argv[:] = sys.orig_argv[:] = [""]
    os.environ.clear()
    # Where children may open no file, nothing can be imported later.
    for name in PRELOADED if settings["opens"] else PRELOADED + LATER:
        importlib.import_module(name)
    for name in LINKED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    worker.rehearse()
    folders = namespaces.standard_library()
    try:
        births = namespaces.enter(folders) if settings["namespaces"] else None
    except OSError as exc:
        sys.exit(exc.strerror)
    lock = Lock(births, folders, _filters(settings, births))
    if births is None:
        _become_nobody(folders)
    gc.collect()
    gc.disable()
    gc.freeze()  # pages of what is shared stay shared
    free = [os.dup(0), os.dup(0)]
    if free != [REQUEST, RESULT]:
        sys.exit(f"descriptors {REQUEST} and {RESULT} are not free: {free} are")
    for handle in free:
        os.close(handle)
    control.send(orders.READY)
    Zygote(control, births, lock).serve()


class Zygote:
    """Children by the number that the other side gave them."""

    def __init__(self, control: socket.socket, births: namespaces.Births | None, lock: Lock) -> None:
        self._control = control
        self._fork = births.fork if births else os.fork
        self._lock = lock
        self._hellos: dict[orders.Bounds, bytes] = {}
        self._children: dict[int, int] = {}

    def serve(self) -> None:
        """Do as told until the pair closes."""
        while True:
            order, descriptors, _, _ = socket.recv_fds(self._control, _MAX_ORDER, 2)
            if not order:
                for child in tuple(self._children):
                    self._end(child, at_once=True)
                return
            if order[0] == orders.BEAR:
                self._bear(order, descriptors)
            else:
                self._control.send(self._end(orders.number_of(order), at_once=order[0] == orders.KILL))

    def _bear(self, order: bytes, descriptors: list[int]) -> None:
        if descriptors != [REQUEST, RESULT]:
            sys.exit(f"descriptors of an order: expected the lowest that are free, got {descriptors}")
        bounds = orders.read_bear(order)
        steps, hello = self._lock.steps(bounds), self._hello(bounds)
        try:
            pid = self._fork()
            if pid == 0:
                worker.live(steps, hello, bounds.output_bytes)
            self._children[orders.number_of(order)] = pid
        except OSError:
            pass  # the other side reads the end of a pipe that nobody holds
        finally:
            os.close(REQUEST)
            os.close(RESULT)

    def _hello(self, bounds: orders.Bounds) -> bytes:
        if bounds not in self._hellos:
            self._hellos[bounds] = worker.framed({worker.LOCKED_WELL: self._lock.holds(bounds)})
        return self._hellos[bounds]

    def _end(self, number: int, *, at_once: bool) -> bytes:
        pid = self._children.pop(number, None)
        if pid is None:
            return orders.ended(number, orders.NEVER_BORN, 0.0, killed=False)
        # Not yet waited for, so the number is still its own.
        killed = at_once or not _ends_by_itself(pid)
        if killed:
            os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        code, cpu_s = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        # A signal changes nothing for a process that was on its way out already.
        return orders.ended(number, code, cpu_s, killed=killed and code == -signal.SIGKILL)


def _ends_by_itself(pid: int) -> bool:
    """Whether a child that has closed its pipe, as the kernel does when a process ends, ends within a moment."""
    try:
        handle = os.pidfd_open(pid)
    except (AttributeError, OSError):  # before Linux 5.3, or refused
        until = time.monotonic() + _MOMENT_MS / 1000
        while not (done := os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and time.monotonic() < until:
            time.sleep(0.001)
        return done is not None
    try:
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        return bool(waiting.poll(_MOMENT_MS))
    finally:
        os.close(handle)


def _become_nobody(folders: Sequence[Path]) -> None:
    """Started as root and without a world of its own, go on as nobody, if nobody may read the standard library."""
    above = {parent for folder in folders for parent in (folder, *folder.parents)}
    if os.geteuid() == 0 and all(parent.stat().st_mode & stat.S_IXOTH for parent in above):
        os.setgroups([])
        os.setresgid(namespaces.NOBODY, namespaces.NOBODY, namespaces.NOBODY)
        os.setresuid(namespaces.NOBODY, namespaces.NOBODY, namespaces.NOBODY)


def _filters(settings: Mapping[str, Any], births: namespaces.Births | None) -> dict[bool, bytes]:
    column = seccomp.machine()
    if column is None or not settings["seccomp"]:
        return {}
    scratch = births is not None
    return {
        threads: allowlist.build_allowlist(column, opens=settings["opens"], scratch=scratch, threads=threads)
        for threads in (False, True)
    }
