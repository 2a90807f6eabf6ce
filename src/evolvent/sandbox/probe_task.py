"""Tries what must not work, from inside: it runs as a task, just as hostile code would.

Its source is handed to the sandbox, so it uses nothing but the standard library. Each attempt reports the error number
that it got, 0 if it got through, or text if it broke down, which proves nothing.

Not here: what counts as refused (`tiers.py`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
import time
from collections.abc import Callable
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_F_SETOWN, _F_SETPIPE_SZ = 8, 1031
_MAX_FD = 256


def probe(attempts: list[list[Any]]) -> dict[str, int | str]:
    """Make each attempt ``[name, kind, arguments]``."""
    return {name: _errno_of(lambda kind=kind, rest=rest: _KINDS[kind](*rest)) for name, kind, rest in attempts}


def _errno_of(attempt: Callable[[], object]) -> int | str:
    try:
        attempt()
    except OSError as exc:
        return exc.errno if exc.errno else f"OSError without a number: {exc}"
    except BaseException as exc:
        return f"{type(exc).__name__}: {exc}"
    return 0


def _list(path: str, names: list[str]) -> None:
    if not set(names) & set(os.listdir(path)):
        raise FileNotFoundError(errno.ENOENT, "another folder of that name")


def _read(path: str) -> None:
    with open(path, "rb") as stream:
        stream.read(1)


def _write(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _append(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND))


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _tcp(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as reaching:
        reaching.settimeout(1)
        reaching.connect(("127.0.0.1", port))


def _udp(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reaching:
        reaching.sendto(b"x", ("127.0.0.1", port))


def _unix(name: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as reaching:
        reaching.connect("\0" + name)


def _pair() -> None:
    for end in socket.socketpair():
        end.close()


def _call(number: int, *arguments: int) -> None:
    if _libc.syscall(number, *map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def _control(descriptor: int, command: int, argument: int) -> None:
    if _libc.fcntl(descriptor, command, ctypes.c_long(argument)) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def _raise_limit(kind: int) -> None:
    pair = (ctypes.c_ulong * 2)(-1, -1)
    if _libc.setrlimit(kind, pair) != 0:
        raise OSError(ctypes.get_errno(), "refused")


def _descriptors(pipe: int) -> None:
    """Only the null device and the pipe of the answer are open."""
    for fd in range(_MAX_FD):
        try:
            found = os.fstat(fd)
        except OSError:
            continue
        is_null = stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3)
        if not (is_null if fd < 3 else fd == pipe and stat.S_ISFIFO(found.st_mode)):
            raise RuntimeError(f"descriptor {fd} is open: {found}")


def _mount(target: str) -> None:
    if _libc.mount(b"none", target.encode(), b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "refused")


_KINDS: dict[str, Callable[..., object]] = {
    "append": _append, "call": _call, "chmod": lambda path: os.chmod(path, 0o777), "chroot": os.chroot,
    "control": _control, "descriptors": _descriptors, "exec": lambda: os.execve("/nonexistent", ["x"], {}),
    "fork": _fork, "kill": lambda pid: os.kill(pid, 0), "link": os.link, "list": _list,
    "memfd": lambda: os.memfd_create("x"), "mkdir": os.mkdir, "mount": _mount, "pair": _pair,
    "raise_limit": _raise_limit, "read": _read, "rename": os.rename, "symlink": os.symlink, "tcp": _tcp,
    "time": time.time, "touch": os.utime, "udp": _udp, "unix": _unix, "unlink": os.unlink, "write": _write,
}  # fmt: skip
