"""The system call filter for model-written code: what is not on the list gets EPERM.

A plain Python function reads and writes what it holds open, asks for memory and time, and looks into its library. That
is nearly all of this list. Calls newer than it get ENOSYS, so that libraries fall back; a program of another
architecture is killed. Files may be opened for writing, made and removed only where there is a scratch folder to do it
in, and threads only where the task may have some; processes never. Nothing that works on a descriptor may leave a mark
on what it stands for, since the null device is the host's: no flags, no times, no modes.

Not here: the longer leash of the rollout worker, whose libraries need more (`seccomp.py`); which files (`landlock.py`).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

from evolvent.sandbox import seccomp
from evolvent.sandbox.seccomp import ALLOW, ERRNO, JUMP_EQ, JUMP_GE, JUMP_SET, RETURN, load, step

__all__ = ["build_allowlist"]

# name: (x86_64, aarch64); -1 where the architecture has no such call.
_ALLOWED: dict[str, tuple[int, int]] = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "stat": (4, -1), "fstat": (5, 80), "lstat": (6, -1),
    "poll": (7, -1), "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "pread64": (17, 67),
    "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66), "access": (21, -1), "select": (23, -1),
    "sched_yield": (24, 124), "mremap": (25, 216), "madvise": (28, 233), "dup": (32, 23), "dup2": (33, -1),
    "pause": (34, -1), "nanosleep": (35, 101), "getitimer": (36, 102), "alarm": (37, -1), "setitimer": (38, 103),
    "getpid": (39, 172), "exit": (60, 93), "uname": (63, 160), "fsync": (74, 82), "fdatasync": (75, 83),
    "getcwd": (79, 17), "chdir": (80, 49), "fchdir": (81, 50), "readlink": (89, -1), "umask": (95, 166),
    "gettimeofday": (96, 169), "getrlimit": (97, 163), "getrusage": (98, 165), "sysinfo": (99, 179),
    "times": (100, 153), "getuid": (102, 174), "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177),
    "getppid": (110, 173), "getpgrp": (111, -1), "getgroups": (115, 158), "getresuid": (118, 148),
    "getresgid": (120, 150), "getpgid": (121, 155), "getsid": (124, 156), "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133), "sigaltstack": (131, 132), "statfs": (137, 43),
    "fstatfs": (138, 44), "gettid": (186, 178), "time": (201, -1), "futex": (202, 98), "sched_getaffinity": (204, 123),
    "getdents64": (217, 61), "set_tid_address": (218, 96), "restart_syscall": (219, 128), "clock_gettime": (228, 113),
    "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "exit_group": (231, 94), "newfstatat": (262, 79),
    "readlinkat": (267, 78), "faccessat": (269, 48), "pselect6": (270, 72), "ppoll": (271, 73),
    "set_robust_list": (273, 99), "dup3": (292, 24), "getrandom": (318, 278),
    "statx": (332, 291), "rseq": (334, 293),
}  # fmt: skip
_IN_SCRATCH: dict[str, tuple[int, int]] = {
    "truncate": (76, 45), "ftruncate": (77, 46), "rename": (82, -1), "mkdir": (83, -1), "rmdir": (84, -1),
    "unlink": (87, -1), "chmod": (90, -1), "mkdirat": (258, 34), "unlinkat": (263, 35),
    "renameat": (264, 38), "fchmodat": (268, 53), "renameat2": (316, 276),
}  # fmt: skip
_OPEN, _OPENAT, _CLONE, _PRLIMIT, _FCNTL = (2, -1), (257, 56), (56, 220), (302, 261), (72, 25)
_O_WRITE = 0x1 | 0x2 | 0x40 | 0x200 | 0x400  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND
_O_TMPFILE = 0x400000
_CLONE_THREAD, _CLONE_NEW = 0x00010000, 0x7E020080
_PIPE2, _PIPE_FLAGS = (293, 59), 0x80000 | 0x800  # O_CLOEXEC, O_NONBLOCK; others make pipes of other kinds
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC. F_SETOWN would send signals to others, F_SETPIPE_SZ take memory;
# the flags that F_SETFL sets belong to the open file, and the null device is opened once for all children: the next
# task would find them set.
_FCNTL_ALLOWED = (0, 1, 2, 3, 1030)


def build_allowlist(column: int, *, opens: bool = True, scratch: bool = True, threads: bool = False) -> bytes:
    """The filter as an array of ``sock_filter``.

    Args:
        column: of the tables, from `seccomp.machine`.
        opens: files may be opened at all. False where nothing else decides which.
        scratch: files may be opened for writing, made, renamed and removed.
        threads: threads may be started.
    """
    allow, refuse = step(RETURN, ALLOW), step(RETURN, ERRNO | errno.EPERM)
    program = seccomp.prologue(column)
    if opens:
        writes = [] if scratch else [step(JUMP_SET, _O_WRITE | _O_TMPFILE, 0, 1), refuse]
        program += _when(_OPEN[column], [load(1), *writes, allow])
        program += _when(_OPENAT[column], [load(2), *writes, allow])
    if threads:
        body = [load(0), step(JUMP_SET, _CLONE_NEW, 0, 1), refuse, step(JUMP_SET, _CLONE_THREAD, 0, 1), allow, refuse]
        program += _when(_CLONE[column], body)
    # prlimit64 may ask (new limit NULL), not set: both halves of the pointer must be zero.
    halves = [part for half in (0, 4) for part in (load(2, half), step(JUMP_EQ, 0, 1, 0), refuse)]
    program += _when(_PRLIMIT[column], [*halves, allow])
    program += _when(_PIPE2[column], [load(1), step(JUMP_SET, ~_PIPE_FLAGS & 0xFFFFFFFF, 0, 1), refuse, allow])
    commands = [part for command in _FCNTL_ALLOWED for part in (step(JUMP_EQ, command, 0, 1), allow)]
    program += _when(_FCNTL[column], [load(1), *commands, refuse])
    numbers = sorted(
        {pair[column] for pair in {**_ALLOWED, **(_IN_SCRATCH if scratch else {})}.values() if pair[column] >= 0}
    )
    # In rising order: a number below a range was in the gap before it. The kernel runs a filter once for each number
    # when it is put on, so a short one starts a child sooner.
    for low, high in _ranges(numbers):
        program += [step(JUMP_GE, high + 1, 3, 0), step(JUMP_GE, low, 1, 0), refuse, allow]
    return b"".join([*program, refuse])


def _ranges(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run without a gap, of sorted numbers."""
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    return zip(starts, ends, strict=True)


def _when(number: int, body: list[bytes]) -> list[bytes]:
    """For call `number` run `body`, which always returns."""
    return [step(JUMP_EQ, number, 0, len(body)), *body] if number >= 0 else []
