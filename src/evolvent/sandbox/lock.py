"""What binds a child of the zygote: the kernel's calls in their order, made ready before the child is born.

A forked child pays for each page that it touches, so it makes nothing up: it runs down this list (`worker.py`). Each
call must give exactly what the list says. Descriptors are counted out beforehand, and one that comes under another
number means that the child does not stand where it should.

Not here: the world that the zygote moved into (`namespaces.py`), which calls the filter allows (`allowlist.py`).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from evolvent.sandbox import landlock, namespaces, seccomp
from evolvent.sandbox.namespaces import SCRATCH, Births, libc
from evolvent.sandbox.orders import Bounds

__all__ = ["REQUEST", "RESULT", "Lock", "Step"]

REQUEST, RESULT = 3, 4  # the zygote keeps these two free, so what it is handed comes to lie there
# First a child's way to its user map, then the rules of files; and the root folder, for these rules.
_HELD, _ROOT = 5, 6
_MAX_SCRATCH_FILES = 1024
_MAX_OPEN_FILES = 64
_MOST_DESCRIPTORS = 1 << 16
_AT_FDCWD = -100
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CAPABILITY_VERSION_3 = 0x20080522


# What the tiers call it, and the steps that make it.
_NAMES = {"limits": "limits", "namespaces": "namespaces", "landlock": "files", "seccomp": "system calls"}


class Step(NamedTuple):
    """One call: what it is for, the function, its arguments, and what it must give."""

    what: str
    call: Callable[..., Any]
    args: tuple[Any, ...]
    gives: Any


class Lock:
    """What binds every child of one zygote. Made in the zygote, whose descriptors 5 and 6 it takes.

    Args:
        births: how a child gets namespaces of its own; ``None`` where the kernel gives none.
        folders: of the standard library, for the rules of files where there are no namespaces.
        filters: the system call filter by whether threads are allowed; empty where there is none.
    """

    def __init__(self, births: Births | None, folders: list[Path], filters: Mapping[bool, bytes]) -> None:
        self._births, self._filters = births, filters
        self._known: dict[Bounds, tuple[Step, ...]] = {}
        held = births.proc if births else landlock.ruleset(libc, _library_rules(folders))
        handled = landlock.handled(libc)
        self._files: list[Step] = []
        if handled and held is not None:
            self._files = _world_rules(*handled) if births else _restrict()
        for handle, place in ((held, _HELD), (os.open("/", os.O_PATH | os.O_DIRECTORY), _ROOT)):
            if handle is None:
                os.closerange(place, place + 1)
                continue
            high = namespaces.out_of_the_way(handle)  # it may lie where another belongs
            os.dup2(high, place, inheritable=False)
            os.close(high)

    def holds(self, bounds: Bounds) -> list[str]:
        """What binds a child that has run down its list, as the tiers name it."""
        there = {step.what for step in self.steps(bounds)}
        return [name for name, what in _NAMES.items() if what in there]

    def steps(self, bounds: Bounds) -> tuple[Step, ...]:
        """The list for a child of these bounds; the same one each time."""
        if bounds not in self._known:
            self._known[bounds] = (
                Step("session", os.setsid, (), None),
                *_descriptors(),
                *(_own_world(bounds) if self._births else _same_world()),
                _prctl("dumpable", _PR_SET_DUMPABLE, 0),  # no other process of this user may look in
                *_limits(bounds, own_world=self._births is not None),
                _prctl("no new privileges", _PR_SET_NO_NEW_PRIVS, 1),
                *_no_capabilities(),
                *self._files,
                Step("root folder", os.close, (_ROOT,), None),
                *(_filter(self._filters[bounds.num_tasks > 1]) if self._filters else []),
            )
        return self._known[bounds]


def _descriptors() -> list[Step]:
    """Nothing is open but the task's pipe, the answer's pipe, and what the next steps still need."""
    return [
        # The zygote's input and output are the null device, its error output is a pipe to the judge.
        Step("error output", os.dup2, (1, 2), 2),
        Step("descriptors", os.closerange, (_ROOT + 1, _MOST_DESCRIPTORS), None),
    ]


def _own_world(bounds: Bounds) -> list[Step]:
    """Namespaces of its own and a fresh scratch folder, in which it then stands."""
    taken = _ROOT + 1
    steps = [Step("namespaces", libc.unshare, (namespaces.CHILD,), 0)]
    for name, inner in ((b"self/uid_map", os.geteuid()), (b"self/gid_map", os.getegid())):
        text = f"{inner} {inner} 1".encode()
        steps += [
            Step("user map", libc.openat, (_HELD, name, os.O_WRONLY | os.O_CLOEXEC), taken),
            Step("user map", libc.write, (taken, text, len(text)), len(text)),
            Step("user map", os.close, (taken,), None),
        ]
    flags = namespaces.scratch_flags(bounds.scratch_bytes)
    room = f"size={max(bounds.scratch_bytes, 4096)},nr_inodes={_MAX_SCRATCH_FILES},mode=700"
    mount = namespaces.mount_arguments("scratch", SCRATCH, "tmpfs", flags, room)
    return [
        *steps,
        Step("scratch folder", libc.mount, mount, 0),
        Step("scratch folder", os.chdir, (SCRATCH,), None),
        Step("way to the user map", os.close, (_HELD,), None),
        _dies_with_parent(),
    ]


def _same_world() -> list[Step]:
    return [
        Step("folder", os.chdir, ("/",), None),
        _dies_with_parent(),
        Step("parent", os.getppid, (), os.getpid()),  # it may have died before that was asked for
    ]


def _limits(bounds: Bounds, *, own_world: bool) -> list[Step]:
    wanted = {
        resource.RLIMIT_CPU: bounds.cpu_s,
        resource.RLIMIT_AS: bounds.memory_bytes,
        resource.RLIMIT_FSIZE: bounds.scratch_bytes if own_world else 0,
        resource.RLIMIT_NOFILE: _MAX_OPEN_FILES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    if own_world:  # elsewhere it counts all that this user runs; the filter and the address space must do
        wanted[resource.RLIMIT_NPROC] = bounds.num_tasks
    steps: list[Step] = []
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]  # the zygote's, which its children inherit
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        steps.append(Step("limits", resource.setrlimit, (kind, (least, least)), None))
    return steps


def _no_capabilities() -> list[Step]:
    column = seccomp.machine()
    if column is None:
        return []
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    return [Step("capabilities", libc.syscall, (seccomp.NUMBERS["capset"][column], header, bytes(24)), 0)]


def _world_rules(rights: int, attributes: bytes) -> list[Step]:
    """Landlock in a world of its own: read what is in it, write in the scratch folder alone."""
    beneath = _ROOT + 1
    rules = [landlock.rule(landlock.READ & rights, _ROOT), landlock.rule(landlock.SCRATCH & rights, beneath)]
    adding = [Step("files", libc.syscall, (landlock.ADD, _HELD, landlock.PATH_BENEATH, rule, 0), 0) for rule in rules]
    return [
        Step("files", libc.syscall, (landlock.CREATE, attributes, ctypes.c_size_t(len(attributes)), 0), _HELD),
        Step("files", libc.openat, (_AT_FDCWD, SCRATCH.encode(), os.O_PATH | os.O_CLOEXEC), beneath),
        *adding,
        Step("files", os.close, (beneath,), None),
        *_restrict(),
    ]


def _restrict() -> list[Step]:
    return [
        Step("files", libc.syscall, (landlock.RESTRICT, _HELD, 0), 0),
        Step("files", os.close, (_HELD,), None),
    ]


def _filter(code: bytes) -> list[Step]:
    return [Step("system calls", libc.syscall, seccomp.arguments(code), 0)]


def _prctl(what: str, option: int, value: int) -> Step:
    return Step(what, libc.prctl, (option, value, 0, 0, 0), 0)


def _dies_with_parent() -> Step:
    return _prctl("death with its parent", _PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _library_rules(folders: list[Path]) -> list[tuple[str | Path, int]]:
    """Read below each entry of the standard library but not in packages installed beside it; list its folders."""
    rules: list[tuple[str | Path, int]] = [(folder, landlock.LIST) for folder in folders]
    for folder in folders:
        own = [entry for entry in folder.iterdir() if entry.name not in namespaces.FOREIGN]
        rules += [(entry, landlock.READ_FILE if entry.is_file() else landlock.READ) for entry in own]
    return rules
