"""What a process may do by its birth: die with its parent, and give up the powers of root.

Root reads what belongs to others by a capability, not by being user 0. A worker without capabilities is an ordinary
user who owns root's files: it can work in a run of root's, and cannot open a folder that another user keeps to itself.

Not here: system calls and files of a process that runs hostile input (`isolate.py`); changing the user (the judge's
launcher, `judge/launch.py`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
from pathlib import Path

from evolvent.errors import SandboxError
from evolvent.sandbox import seccomp

__all__ = ["die_with", "drop_capabilities"]

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CAPABILITY_VERSION_3 = 0x20080522


def die_with(parent: int) -> None:
    """Ask the kernel for a SIGKILL when the parent dies; elsewhere than on Linux its closed pipe ends the process.

    Args:
        parent: process id of the parent as it was when we were started.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def drop_capabilities(workplace: Path) -> bool:
    """Give up every capability for good, if we are root and the workplace is root's own; returns whether it was done.

    In a folder of somebody else root needs them to work at all.

    Raises:
        SandboxError: the kernel refused.
    """
    column = seccomp.machine() if sys.platform == "linux" else None
    there = next(path for path in (workplace, *workplace.parents) if path.exists())  # it may be made later
    if column is None or os.geteuid() != 0 or there.stat().st_uid != 0:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    header, none = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24)
    # Without new privileges a program that is started does not get them back either.
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(seccomp.NUMBERS["capset"][column], header, none):
        raise SandboxError(f"root's worker cannot give up its powers: {os.strerror(ctypes.get_errno())}")
    return True
