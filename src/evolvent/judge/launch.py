"""Runs before the judge, in its process: ``python -I -S launch.py PARENT UID GID SPACES PROGRAM [ARGUMENT ...]``.

Enters namespaces of its own while there is one thread, drops to the judge's user, and becomes the program. SPACES is a
text of letters: ``n`` no network, ``t`` a process tree of its own: when its root dies, the kernel ends all that was
started below it, whatever session it hid in. UID -1 keeps the user. With ``probe`` for PROGRAM it only tries.

It is a script and not a module of the package: nothing but the standard library is read before the user is dropped.

Not here: which of it a machine gives (`separation.py`), what the judge's own workers do to themselves (`sandbox/`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
_MS_REC_PRIVATE, _MS_GUARDS = 0x4000 | 0x40000, 0xE  # no setuid, no devices, no programs
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
FAILED = 77  # exit code: this machine does not give what was asked for


def main() -> NoReturn:
    """Become the program, or end with `FAILED`."""
    parent, uid, gid = (int(text) for text in sys.argv[1:4])
    spaces, program = sys.argv[4], sys.argv[5:]
    if sys.platform != "linux":
        _become(program)
    libc = ctypes.CDLL(None, use_errno=True)
    _enter(libc, spaces, own_user=os.geteuid() != 0)
    first = os.fork() if "t" in spaces else 0
    if first:
        _drop(uid, gid)
        _die_with(libc, parent)
        _end_as(os.waitpid(first, 0)[1])
    if "t" in spaces:
        _own_processes(libc)
    _drop(uid, gid)
    _die_with(libc, 0 if "t" in spaces else parent)  # from inside a tree the parent outside is number 0
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    child = os.fork() if "t" in spaces else 0
    if child:
        _reap(child)
    _become(program)


def _enter(libc: ctypes.CDLL, spaces: str, *, own_user: bool) -> None:
    flags = (_NEWNET | _NEWIPC if "n" in spaces else 0) | (_NEWPID | _NEWNS if "t" in spaces else 0)
    if not flags:
        return
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(flags | (_NEWUSER if own_user else 0)) != 0:
        os._exit(FAILED)
    if own_user:  # the same user inside, so that the judge's workers can have namespaces of theirs
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            try:
                Path(f"/proc/self/{name}").write_text(text, encoding="ascii")
            except OSError:
                os._exit(FAILED)


def _own_processes(libc: ctypes.CDLL) -> None:
    """Show the processes of the new tree in /proc; with those of another tree nothing there would be right."""
    libc.mount(None, b"/", None, _MS_REC_PRIVATE, None)
    if libc.mount(b"proc", b"/proc", b"proc", _MS_GUARDS, None) != 0:
        os._exit(FAILED)


def _drop(uid: int, gid: int) -> None:
    if uid >= 0:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def _die_with(libc: ctypes.CDLL, parent: int) -> None:
    """A change of user clears the death signal, so it is asked for after it."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # what the environment holds is for the program alone
    if os.getppid() != parent:
        os._exit(1)


def _reap(child: int) -> NoReturn:
    """The first process of the tree: when it ends, the kernel ends the others."""
    for descriptor in (0, 1):
        os.close(descriptor)  # or the asker would wait for us where the judge has died
    while True:
        ended, status = os.wait()
        if ended == child:
            _end_as(status)


def _end_as(status: int) -> NoReturn:
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _become(program: list[str]) -> NoReturn:
    if program == ["probe"]:
        os._exit(0)
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
