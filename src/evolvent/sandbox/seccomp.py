"""The system call filter, as a program for the kernel.

Refuses, with EPERM, everything by which a process reaches others or changes files: sockets, new processes, signals to
others, tracing, namespaces, mounts, opening for writing, System V memory. Calls newer than this list get ENOSYS, so
that libraries fall back and what we do not know stays shut. A program of another architecture is killed.

Not here: which files may be read (`isolate.py`, Landlock).
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct
import sys

__all__ = [
    "ALLOW",
    "ERRNO",
    "JUMP_EQ",
    "JUMP_GE",
    "JUMP_SET",
    "LOAD_WORD",
    "NUMBERS",
    "RETURN",
    "build_filter",
    "install",
    "load",
    "machine",
    "prologue",
    "step",
]

LOAD_WORD, JUMP_EQ, JUMP_GE, JUMP_SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_SET_MODE_FILTER, _FLAG_TSYNC = 1, 1
_NR_AT, _ARCH_AT, _ARGS_AT = 0, 4, 16

_O_WRITE = 0x1 | 0x2 | 0x40 | 0x200 | 0x400  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND: the same on both machines
_O_TMPFILE = 0x400000
_CLONE_THREAD = 0x00010000
# From 424 on numbers are the same on every architecture: pidfd, io_uring, clone3, openat2, Landlock.
# Known harmless ones: close_range, faccessat2, epoll_pwait2, futex_waitv.
_FIRST_UNIFIED = 424
_UNIFIED_ALLOWED = (436, 439, 441, 449)

# name: (x86_64, aarch64); 0 where the architecture has no such call (0 is read on x86_64 and io_setup on aarch64, and
# neither is ever refused).
_REFUSED: dict[str, tuple[int, int]] = {
    "socket": (41, 198), "connect": (42, 203), "accept": (43, 202), "sendto": (44, 206), "sendmsg": (46, 211),
    "bind": (49, 200), "listen": (50, 201), "socketpair": (53, 199), "accept4": (288, 242), "sendmmsg": (307, 269),
    "fork": (57, 0), "vfork": (58, 0), "execve": (59, 221), "execveat": (322, 281),
    "kill": (62, 129), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280), "userfaultfd": (323, 282),
    "perf_event_open": (298, 241), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    # The older asynchronous I/O: io_setup has no number to refuse on aarch64, where nothing can be submitted to it.
    "io_setup": (206, 0), "io_submit": (209, 2),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60), "syslog": (103, 116),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171),
    "sethostname": (170, 161), "setdomainname": (171, 162), "personality": (135, 92), "iopl": (172, 0),
    "ioperm": (173, 0), "setrlimit": (160, 164), "memfd_create": (319, 279),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    "creat": (85, 0), "truncate": (76, 45), "rename": (82, 0), "renameat": (264, 38), "renameat2": (316, 276),
    "mkdir": (83, 0), "mkdirat": (258, 34), "rmdir": (84, 0), "link": (86, 0), "linkat": (265, 37),
    "unlink": (87, 0), "unlinkat": (263, 35), "symlink": (88, 0), "symlinkat": (266, 36),
    "chmod": (90, 0), "fchmod": (91, 52), "fchmodat": (268, 53), "chown": (92, 0), "fchown": (93, 55),
    "lchown": (94, 0), "fchownat": (260, 54), "mknod": (133, 0), "mknodat": (259, 33),
    "utime": (132, 0), "utimes": (235, 0), "utimensat": (280, 88), "futimesat": (261, 0),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
}  # fmt: skip
_LIMITED: dict[str, tuple[int, int]] = {
    "open": (2, 0),
    "openat": (257, 56),
    "clone": (56, 220),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
}
_OWN: dict[str, tuple[int, int]] = {
    "seccomp": (317, 277),
    "capset": (126, 91),
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
}
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

NUMBERS = {**_REFUSED, **_LIMITED, **_OWN}


def machine() -> int | None:
    """Column of `NUMBERS` for this machine: 0 on 64-bit x86, 1 on 64-bit ARM, ``None`` where there is no filter."""
    name = os.uname().machine if sys.platform == "linux" else ""
    return _MACHINES[name][0] if name in _MACHINES and sys.maxsize > 1 << 32 else None


def build_filter(column: int, own_pid: int) -> bytes:
    """The filter as an array of ``sock_filter``.

    Args:
        column: column of `NUMBERS`, from `machine`.
        own_pid: process that may still signal its own threads (``abort``).
    """
    refuse = ERRNO | errno.EPERM
    program = prologue(column)
    # The call that installs this filter is not needed after it.
    for pair in (*_REFUSED.values(), _OWN["seccomp"]):
        if pair[column]:
            program += [step(JUMP_EQ, pair[column], 0, 1), step(RETURN, refuse)]
    for name, argument, ask in (("open", 1, _O_WRITE | _O_TMPFILE), ("openat", 2, _O_WRITE | _O_TMPFILE)):
        program += _when(_LIMITED[name][column], [load(argument), step(JUMP_SET, ask, 0, 1)], refuse)
    program += _when(_LIMITED["clone"][column], [load(0), step(JUMP_SET, _CLONE_THREAD, 1, 0)], refuse)
    program += _when(_LIMITED["tgkill"][column], [load(0), step(JUMP_EQ, own_pid, 1, 0)], refuse)
    # prlimit64 may ask (new limit NULL), not set: both halves of the pointer must be zero.
    for half in (0, 4):
        program += _when(_LIMITED["prlimit64"][column], [load(2, half), step(JUMP_EQ, 0, 1, 0)], refuse)
    return b"".join([*program, step(RETURN, ALLOW)])


def prologue(column: int) -> list[bytes]:
    """The head of a filter: only this machine's architecture, and of the newest calls only the known harmless ones."""
    arch = next(value for index, value in _MACHINES.values() if index == column)
    program = [
        step(LOAD_WORD, _ARCH_AT),
        step(JUMP_EQ, arch, 1, 0),
        step(RETURN, _KILL_PROCESS),
        step(LOAD_WORD, _NR_AT),
    ]
    for number in _UNIFIED_ALLOWED:
        program += [step(JUMP_EQ, number, 0, 1), step(RETURN, ALLOW)]
    # Also catches the x32 calls of x86_64, whose numbers carry bit 30.
    return [*program, step(JUMP_GE, _FIRST_UNIFIED, 0, 1), step(RETURN, ERRNO | errno.ENOSYS)]


def install(libc: ctypes.CDLL, code: bytes) -> bool:
    """Put a filter on all threads of this process, for good: True once it holds."""
    return libc.syscall(*arguments(code)) == 0


def arguments(code: bytes) -> tuple[int, int, int, bytes]:
    """Of the system call that puts a filter on all threads; it gives 0 once the filter holds."""
    column = machine()
    assert column is not None, "a filter was built for a machine that has none"
    program = struct.pack("@HxxxxxxQ", len(code) // 8, ctypes.addressof(_buffer(code)))
    return NUMBERS["seccomp"][column], _SET_MODE_FILTER, _FLAG_TSYNC, program


@functools.cache
def _buffer(code: bytes) -> ctypes.Array[ctypes.c_char]:
    """The filter at a place that the kernel can be told, kept as long as the process."""
    return ctypes.create_string_buffer(code, len(code))


def _when(number: int, condition: list[bytes], refuse: int) -> list[bytes]:
    """Refuse call `number` if `condition` falls through; otherwise go on with the number loaded again."""
    if not number:
        return []
    body = [*condition, step(RETURN, refuse), step(LOAD_WORD, _NR_AT)]
    return [step(JUMP_EQ, number, 0, len(body)), *body]


def load(argument: int, half: int = 0) -> bytes:
    """Load half of a call's argument, the lower one by default."""
    return step(LOAD_WORD, _ARGS_AT + 8 * argument + half)  # both machines are little-endian


def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction; jumps count the instructions to skip."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
