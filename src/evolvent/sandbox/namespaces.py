"""Namespaces by the kernel's own calls: a world with one folder in it.

The zygote moves once, before it has read anything: own user, process, mount, network, IPC and host name namespaces. Its
root becomes a small file system in memory that holds the standard library, read only, and an empty ``/tmp``; no
``/proc``, no ``/dev``, no ``/etc``. Each child then gets all but the network's again for itself, as process 1 of its
own, with a fresh ``/tmp`` of limited size and number of files (`lock.py`). What it leaves behind, process or file, the
kernel takes away with it.

Follows what bubblewrap does (github.com/containers/bubblewrap), less what a Python function does not need.

Not here: system calls and files by permission (`allowlist.py`, `landlock.py`); control groups, which are delegated to
us almost nowhere.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "CHILD", "FOREIGN", "NOBODY", "SCRATCH", "Births", "enter", "mount_arguments", "out_of_the_way", "scratch_flags",
    "standard_library",
]  # fmt: skip

NOBODY = 65534
SCRATCH = "/tmp"

_NEW_NS, _NEW_UTS, _NEW_IPC, _NEW_USER, _NEW_PID, _NEW_NET = (
    0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
CHILD = _NEW_USER | _NEW_NS | _NEW_IPC | _NEW_UTS
# A network namespace costs as much as all the others, so the children of one zygote share its own, in which there is
# nothing: not even the loopback is up, and who may not open sockets leaves nothing in it.
_WORLD = CHILD | _NEW_NET
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = (
    1, 2, 4, 8, 32, 4096, 16384, 1 << 18,
)  # fmt: skip
# Flags that a user namespace may not take away when it mounts again, as `statvfs` and as `mount` name them.
_KEPT_FLAGS = ((2, _MS_NOSUID), (4, _MS_NODEV), (8, _MS_NOEXEC), (1024, 1 << 10), (2048, 1 << 11), (4096, 1 << 21))
_MNT_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_LOOK_S = 1.0
_FIRST_HIGH_FD = 16
# What stands in the standard library's folder and is none of it.
FOREIGN = ("site-packages", "dist-packages")

libc = ctypes.CDLL(None, use_errno=True)


class Births(NamedTuple):
    """What the zygote keeps open to give each child a process namespace of its own.

    Attributes:
        own: its own process namespace, to come back to after each birth.
        proc: a ``/proc`` outside of the world, through which a child writes its user map and which it then closes;
            `lock.Lock` moves it to a number of its own.
    """

    own: int
    proc: int

    def fork(self) -> int:
        """Fork a child that is process 1 of a new namespace; 0 in the child.

        Raises:
            OSError: the kernel gives no more.
        """
        _check(libc.unshare(_NEW_PID), "process namespace")
        try:
            pid = os.fork()
        except OSError:
            self._back()
            raise
        if pid:
            self._back()
        return pid

    def _back(self) -> None:
        _check(libc.setns(self.own, _NEW_PID), "back to the own process namespace")


def standard_library() -> list[Path]:
    """The folders of the running interpreter's standard library, most often one."""
    return list(dict.fromkeys(Path(module).resolve().parent for module in (os.__file__, _extension_file()) if module))


def enter(folders: Sequence[Path]) -> Births:
    """Move this process into a world that holds `folders`. It goes on as a child of the caller, who never returns.

    Started as root, it becomes nobody.

    Args:
        folders: shown read only at their own paths.

    Raises:
        OSError: the kernel refuses a step, named in the message; nothing was run.
    """
    parent = os.getppid()
    was_root = os.geteuid() == 0
    _map_by_helper(was_root)
    # Held open, since the new root may hide them, and nobody may not be allowed to walk there.
    sources = [(folder, os.open(folder, os.O_PATH | os.O_DIRECTORY)) for folder in folders]
    if was_root:
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # the change of user took away a child's right to its own user map
    _check(libc.unshare(_NEW_PID), "process namespace")
    pid = os.fork()
    if pid:
        _stand_by(pid, parent)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    births = Births(
        out_of_the_way(os.open("/proc/self/ns/pid", os.O_RDONLY)),
        out_of_the_way(os.open("/proc", os.O_PATH | os.O_DIRECTORY)),
    )
    _build_root(sources)
    return births


def out_of_the_way(fd: int) -> int:
    """The same descriptor under a high number, where a child's own two will not land on it."""
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_HIGH_FD)
    os.close(fd)
    return high


def scratch_flags(scratch_bytes: int) -> int:
    """How a child's scratch folder is mounted."""
    return _MS_NOSUID | _MS_NODEV | _MS_NOEXEC | (0 if scratch_bytes else _MS_RDONLY)


def mount_arguments(source: str, target: str, kind: str, flags: int, options: str) -> tuple[object, ...]:
    """Arguments of the C library's ``mount``."""
    return (source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode())


def _map_by_helper(root: bool) -> None:
    """New namespaces for this process. A helper that stays outside maps the one user that is in them."""
    uid, gid = (NOBODY, NOBODY) if root else (os.geteuid(), os.getegid())
    if root:
        os.setgroups([])
    told, tell = os.pipe()
    target = os.getpid()
    helper = os.fork()
    if helper == 0:
        code = 1
        try:
            os.close(tell)
            if os.read(told, 1):  # nothing if the namespaces were refused
                _write(f"/proc/{target}/setgroups", "deny")
                _write(f"/proc/{target}/uid_map", f"{NOBODY} {uid} 1")
                _write(f"/proc/{target}/gid_map", f"{NOBODY} {gid} 1")
                code = 0
        finally:
            os._exit(code)
    os.close(told)
    failed = libc.unshare(_WORLD)
    reason = ctypes.get_errno()
    if not failed:
        os.write(tell, b"x")
    os.close(tell)
    mapped = os.waitpid(helper, 0)[1] == 0
    if failed or not mapped:
        raise OSError(reason, "namespaces: " + (os.strerror(reason) if failed else "the user map was refused"))


def _stand_by(pid: int, parent: int) -> None:
    """Wait for the one that went on, and let it die with the process that asked for it. Does not return."""
    # The parent's death is looked for: a death signal would come when only the thread that started us ends.
    os.closerange(0, 1 << 16)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    while os.getppid() == parent:
        if os.waitpid(pid, os.WNOHANG)[0]:
            os._exit(0)
        signal.sigtimedwait([signal.SIGCHLD], _LOOK_S)
    os._exit(1)


def _build_root(sources: Sequence[tuple[Path, int]]) -> None:
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE, "")
    base = SCRATCH
    _mount("root", base, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,nr_inodes=512,mode=755")
    for folder, handle in sources:
        target = base + str(folder)
        os.makedirs(target, exist_ok=True)
        _mount(f"/proc/self/fd/{handle}", target, "", _MS_BIND | _MS_REC, "")
        _read_only(target)
        for name in FOREIGN:
            if os.path.isdir(f"{target}/{name}"):
                _mount("none", f"{target}/{name}", "tmpfs", _MS_RDONLY | _MS_NOSUID | _MS_NODEV, "size=4k,nr_inodes=2")
        os.close(handle)
    os.makedirs(base + SCRATCH, exist_ok=True)
    os.chdir(base)
    _check(libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "new root")
    _check(libc.umount2(b".", _MNT_DETACH), "leaving the old root")
    os.chdir("/")
    _read_only("/")


def _read_only(target: str) -> None:
    had = os.statvfs(target).f_flag
    kept = sum(flag for bit, flag in _KEPT_FLAGS if had & bit)
    _mount("none", target, "", _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | kept, "")


def _mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    code = libc.mount(*mount_arguments(source, target, kind, flags, options))
    _check(code, f"mount of {kind or 'a folder'} on {target}")


def _write(path: str, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def _check(code: int, what: str) -> None:
    if code != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _extension_file() -> str | None:
    module = sys.modules.get("_json") or sys.modules.get("math")
    return getattr(module, "__file__", None)
