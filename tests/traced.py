"""A debugger of a kind: numbers the system calls by which a process changes files, and strikes at one of them.

The steps that `evolvent.disk` announces are ours; what SQLite does between them only the kernel sees. Here the kernel
stops a child at each call (ptrace), so a fault can be put at every one, and one that nobody announced is found too.

Linux on x86_64, where tracing is permitted (`permitted`). Not here: threads of the child.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import sys

_TRACEME, _PEEK, _POKE, _SYSCALL, _SETOPTIONS = 0, 3, 6, 24, 0x4200
_SYSGOOD, _EXITKILL = 0x1, 0x100000
_RAX, _RDX, _RDI, _ORIG_RAX = 80, 96, 112, 120  # offsets in `struct user_regs_struct`
_O_CREAT = 0o100
_OPENAT, _WRITES = 257, {1: "write", 18: "pwrite"}
_CALLS = {
    **_WRITES, 74: "fsync", 75: "fdatasync", 77: "ftruncate", 82: "rename", 83: "mkdir", 84: "rmdir", 86: "link",
    87: "unlink", 91: "fchmod", 257: "create", 263: "unlinkat", 264: "renameat", 265: "linkat", 285: "fallocate",
    316: "renameat2",
}  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def _ptrace(request: int, pid: int, where: int = 0, what: int = 0) -> int:
    ctypes.set_errno(0)
    value = _libc.ptrace(request, pid, where, what & (2**64 - 1))
    if value == -1 and (number := ctypes.get_errno()):
        raise OSError(number, os.strerror(number))
    return value


def be_traced() -> None:
    """In the child: stop until `follow` takes over."""
    _ptrace(_TRACEME, 0)
    os.kill(os.getpid(), signal.SIGSTOP)


def follow(pid: int, fault: str, at: int, ignored: int) -> tuple[int, int, str]:
    """In the parent: let a child that will call `be_traced` run to its end, with a fault at one of its calls.

    Args:
        pid: the child.
        fault: ``kill``; ``ENOSPC`` or ``EIO``, returned in place of the call; ``short``, which writes half.
        at: number of the call that it strikes; 0 for none.
        ignored: a descriptor, writes to which are not counted.

    Returns:
        The child's exit code (minus the signal's number if it was killed), how many calls were counted, and the name of
        the one that was struck.
    """
    os.waitpid(pid, 0)
    _ptrace(_SETOPTIONS, pid, 0, _SYSGOOD | _EXITKILL)
    count, struck, entering, answer, passed = 0, "", True, 0, 0
    while True:
        _ptrace(_SYSCALL, pid, 0, passed)
        _, status = os.waitpid(pid, 0)
        passed = 0
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status), count, struck
        if os.WSTOPSIG(status) != signal.SIGTRAP | 0x80:
            passed = os.WSTOPSIG(status)
        elif not entering:
            entering = True
            if answer:
                _ptrace(_POKE, pid, _RAX, answer)
                answer = 0
        else:
            entering = False
            name = _changes_a_file(pid, ignored)
            count += bool(name)
            if name and count == at:
                struck = name
                if fault == "kill":
                    os.kill(pid, signal.SIGKILL)
                    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), count, name
                answer = _strike(pid, fault, name)


def _changes_a_file(pid: int, ignored: int) -> str:
    number = _ptrace(_PEEK, pid, _ORIG_RAX)
    if number == _OPENAT and not _ptrace(_PEEK, pid, _RDX) & _O_CREAT:
        return ""
    if number in _WRITES and _ptrace(_PEEK, pid, _RDI) == ignored:
        return ""
    return _CALLS.get(number, "")


def _strike(pid: int, fault: str, name: str) -> int:
    """Do it; returns what the call shall answer instead, 0 for its own answer."""
    if fault == "short":
        if name in _WRITES.values():
            _ptrace(_POKE, pid, _RDX, max(1, _ptrace(_PEEK, pid, _RDX) // 2))
    else:
        _ptrace(_POKE, pid, _ORIG_RAX, -1)  # no such call: nothing is done
        return -(errno.EIO if fault == "EIO" else errno.ENOSPC)
    return 0


def permitted() -> bool:
    """Whether a child can be traced here: by doing it."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    pid = os.fork()
    if pid == 0:
        try:
            be_traced()
            os._exit(0)
        finally:
            os._exit(1)
    try:
        return follow(pid, "kill", 0, -1) == (0, 0, "")
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return False
