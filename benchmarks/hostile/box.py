"""The box of the controls: ``python -I -S box.py SOURCE``, attempts as JSON on standard input, results on output.

It enters namespaces of its own (user, processes, mounts, network, IPC) whose root holds the standard library and an empty
``/tmp``, and becomes nobody there: that is the outer sandbox. In it stand decoys, and attempts run in a child that
nothing holds but resource limits: that is the weakened one. So an attempt that works in here proves that its charge is
live, and reaches nothing of ours.

Kinds: ``probe`` (``body``: the same code as in the real sandbox) and ``naive`` (a judge that runs hidden tests in the
candidate's own process and believes its exit code, as most harnesses do).

Not here: what may be concluded (`base.py`).
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import signal
import socket
import sqlite3
import struct
import sys
import time
import traceback
import unittest
from pathlib import Path
from typing import Any

_ATTEMPT_S = 4.0
_MIB = 1 << 20
_TOKEN = "token-of-the-box"
_WARM = (sqlite3, traceback, unittest)  # imported before the root changes: their libraries lie outside of it


def main() -> None:
    """Enter the box and make attempts until one of them works; say whether one did."""
    sys.path.insert(0, sys.argv[1])
    from evolvent.sandbox import namespaces, plain, worker  # noqa: PLC0415 - found by the path just given

    attempts = json.loads(sys.stdin.buffer.read())
    namespaces.enter(namespaces.standard_library())
    assert os.geteuid() == namespaces.NOBODY, "the box is not entered"
    assert not os.path.exists("/etc/passwd"), "the box is not entered"
    namespaces._mount("box", "/tmp", "tmpfs", 2 | 4, "size=96m,nr_inodes=20000,mode=777")
    _loopback()
    target = _decoys()
    worked = any(_attempt(kind, task, target, plain, worker) for kind, task in attempts)
    sys.stdout.write(json.dumps(worked))
    sys.stdout.flush()
    os._exit(0)


def _loopback() -> None:
    """Bring up ``lo``, which is down in a new network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, 0x8914, struct.pack("16sH14s", b"lo", 0x1 | 0x40, b""))


def _decoys() -> dict[str, Any]:
    """The same things that `base.Field` sets up outside, made anew in here."""
    for folder in ("/tmp/judge", "/tmp/package", "/tmp/outside", "/tmp/scratch", "/tmp/library/site-packages"):
        os.makedirs(folder)
    for name in ("judge/secret", "package/server.py", "library/os.py"):
        Path("/tmp", name).write_text(_TOKEN, encoding="utf-8")
    stream = socket.create_server(("127.0.0.1", 0), backlog=200)
    packet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    packet.bind(("127.0.0.1", 0))
    local = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(2)]
    for ear, place in zip(local, ("\0" + _TOKEN, "/tmp/socket"), strict=True):
        ear.bind(place)
        ear.listen(200)
    globals()["_kept"] = (stream, packet, local)
    pid = os.fork()
    if pid == 0:
        while True:
            time.sleep(60)
    return {
        "token": _TOKEN,
        "pid": pid,
        "parent": os.getpid(),
        "tcp": stream.getsockname()[1],
        "udp": packet.getsockname()[1],
        "unix": "/tmp/socket",
        "abstract": _TOKEN,
        "secrets": ["/tmp/judge/secret"],
        "sources": ["/tmp/package/server.py"],
        "files": ["/tmp/judge/secret"],
        "folders": ["/tmp/outside", "/tmp"],
        "library": "/tmp/library",
    }


def _attempt(kind: str, task: dict[str, Any], target: dict[str, Any], plain: Any, worker: Any) -> bool:
    """Make one attempt in a child of its own, and end all that it left behind."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            os.dup2(os.open("/tmp/scratch/null", os.O_RDWR | os.O_CREAT), 1)
            os.dup2(1, 2)
            os.chdir("/tmp/scratch")
            _limits(task)
            if kind == "probe":
                answer = worker.run(task["source"], "f", [[plain.encode(target)]])
                os.write(tell, json.dumps(answer).encode())
                code = 0
            else:
                code = _naive(task, plain)
        except BaseException:
            code = 1
        finally:
            os._exit(code)
    os.close(tell)
    said, late = _listen(told)
    os.close(told)
    used = _end(pid)
    if kind == "naive":
        return used[0] == 0
    if task.get("outlives"):  # a bomb works if it got past the limit that the real sandbox has
        return late or used[1] > float(task["outlives"])
    try:
        answer = json.loads(said)
        return plain.decode(answer["results"][0][0]) in (["done", True, ""], ["done", True])
    except (ValueError, KeyError, IndexError, TypeError):
        return False


def _limits(task: dict[str, Any]) -> None:
    for kind, value in (
        (resource.RLIMIT_CPU, 3),
        (resource.RLIMIT_AS, 1024 * _MIB),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 80 * _MIB),
        (resource.RLIMIT_NPROC, 200),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)  # noqa: PLW2901
        resource.setrlimit(kind, (value, hard if task.get("soft") else value))


def _naive(task: dict[str, Any], plain: Any) -> int:
    """What we do not do: the tests run beside the candidate, and its process says how they went."""
    space: dict[str, Any] = {"__name__": "candidate"}
    pairs = [
        (plain.decode(call), plain.decode(value)) for call, value in zip(task["calls"], task["expected"], strict=True)
    ]
    exec(task["source"], space)
    for arguments, expected in pairs:
        got = space[task["function"]](*arguments)
        if task.get("unittest"):
            unittest.TestCase().assertEqual(got, expected)  # noqa: PT009 - what a hook of a test runner patches
        elif not got == expected:
            return 1
    return 0


def _listen(told: int) -> tuple[bytes, bool]:
    deadline, said = time.monotonic() + _ATTEMPT_S, b""
    while (left := deadline - time.monotonic()) > 0:
        if select.select([told], [], [], left)[0]:
            chunk = os.read(told, 1 << 16)
            if not chunk:
                return said, False
            said += chunk
    return said, True


def _end(pid: int) -> tuple[int, float]:
    for end in (lambda: os.killpg(pid, signal.SIGKILL), lambda: os.kill(pid, signal.SIGKILL)):
        try:
            end()
        except (ProcessLookupError, PermissionError):
            pass
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
