"""One child of the zygote: lock in, say so, run one task, answer once, die.

It says that it is locked in before a byte of the task is sent. From the task's first byte on nothing in this process is
to be believed, this code included: what it writes is judged by the reader alone (`outcome.py`).

Not here: what the answer is worth. Code that runs in this process can forge the answer; it gains nothing, because an
answer holds only values, and the expected ones are not in here.
"""

from __future__ import annotations

import gc
import io
import os
import resource
import signal
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from evolvent.sandbox import landlock, namespaces, plain, seccomp
from evolvent.sandbox.frames import read_json, write_json

__all__ = ["EXIT_LOCK", "EXIT_MEMORY", "LOCKED_WELL", "Leash", "live"]

EXIT_LOCK, EXIT_MEMORY, EXIT_LOST = 70, 71, 72
LOCKED_WELL = "locked"
_REQUEST, _RESULT = 3, 4
_MAX_REQUEST_BYTES = 64 << 20
_MAX_DETAIL = 300
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CAPABILITY_VERSION_3 = 0x20080522
_MAX_SCRATCH_FILES = 1024
_MAX_OPEN_FILES = 64
_WORLD_RULES = (("/", landlock.READ), (namespaces.SCRATCH, landlock.SCRATCH))


class Leash:
    """What binds every child of one zygote, made once before the first is born.

    All that can be made beforehand is: what a child makes and touches itself it pays for page by page.

    Attributes:
        births: how a child gets namespaces of its own; ``None`` where the kernel gives none.
        rules: Landlock's rules where there are no namespaces; with them each child makes its own two.
        landlocked: the kernel has Landlock.
        filters: the system call filter by whether threads are allowed; empty where there is none.
        capset: arguments of the call that gives up all capabilities; ``None`` on machines that we have no numbers of.
    """

    def __init__(self, births: namespaces.Births | None, folders: list[Path], filters: Mapping[bool, bytes]) -> None:
        self.births, self.filters = births, filters
        self.landlocked = landlock.handled(namespaces.libc) is not None
        for code in filters.values():
            seccomp.prepared(code)
        column = seccomp.machine()
        header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
        self.capset = None if column is None else (seccomp.NUMBERS["capset"][column], header, bytes(24))
        rules = None if births else landlock.ruleset(namespaces.libc, _library_rules(folders))
        self.rules = None if rules is None else namespaces.out_of_the_way(rules)


def live(leash: Leash, limits: Mapping[str, int], request: int, result: int, parent: int) -> NoReturn:
    """The whole life of a child after its fork.

    Args:
        leash: of the zygote.
        limits: fields of `outcome.Limits`.
        request: descriptor to read the task from.
        result: descriptor to write to.
        parent: the zygote's process id, where the child can see it.
    """
    code = EXIT_LOCK
    try:
        held = _lock(leash, limits, request, result, parent)
        _send({LOCKED_WELL: held})
        code = EXIT_LOST
        code = _work(limits)
    except MemoryError:
        code = EXIT_MEMORY
    except BaseException as exc:
        if code == EXIT_LOCK:
            _last_words(result, exc)
    finally:
        os._exit(code)


def _lock(leash: Leash, limits: Mapping[str, int], request: int, result: int, parent: int) -> list[str]:
    """Everything that binds this process, in the order in which it still can be done."""
    libc = namespaces.libc
    held = ["limits"]
    os.setsid()
    _only_descriptors(request, result, keep=(leash.births.proc if leash.births else -1, leash.rules or -1))
    if leash.births:
        namespaces.own_world(leash.births, limits["scratch_bytes"], _MAX_SCRATCH_FILES)
        os.close(leash.births.proc)
        held.append("namespaces")
    else:
        os.chdir("/")
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if not leash.births and os.getppid() != parent:
        os._exit(EXIT_LOCK)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # no other process of this user may look in
    _set_limits(limits, own_world=bool(leash.births))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError("no_new_privs was refused")
    if leash.capset is not None and libc.syscall(*leash.capset) != 0:
        raise OSError("capabilities were not given up")
    if leash.landlocked and _restrict_files(leash):
        held.append("landlock")
    if leash.filters and seccomp.install(libc, leash.filters[limits["num_tasks"] > 1]):
        held.append("seccomp")
    return held


def _restrict_files(leash: Leash) -> bool:
    libc = namespaces.libc
    if leash.births:
        handle = landlock.ruleset(libc, _WORLD_RULES)
    else:
        handle = leash.rules
    if handle is None:
        return False
    done = landlock.restrict(libc, handle)
    os.close(handle)
    return done


def _library_rules(folders: list[Path]) -> list[tuple[str | Path, int]]:
    """Read below each entry of the standard library but not in packages installed beside it; list its folders."""
    rules: list[tuple[str | Path, int]] = [(folder, landlock.LIST) for folder in folders]
    for folder in folders:
        own = [entry for entry in folder.iterdir() if entry.name not in namespaces.FOREIGN]
        rules += [(entry, landlock.READ_FILE if entry.is_file() else landlock.READ) for entry in own]
    return rules


def _only_descriptors(request: int, result: int, keep: tuple[int, ...]) -> None:
    """Nothing is open but the task's pipe, the answer's pipe, and what `keep` still needs."""
    os.dup2(1, 2)  # the zygote's input and output are the null device, its error output is a pipe to the judge
    # Moved out of the way first: either may already stand where the other belongs.
    high = [os.dup(fd) for fd in (request, result)]
    for fd, target in zip(high, (_REQUEST, _RESULT), strict=True):
        os.dup2(fd, target)
    open_ones = sorted(fd for fd in keep if fd > _RESULT)
    below = _RESULT + 1
    for fd in [*open_ones, 1 << 16]:
        os.closerange(below, fd)
        below = fd + 1


def _set_limits(limits: Mapping[str, int], *, own_world: bool) -> None:
    wanted = {
        resource.RLIMIT_CPU: limits["cpu_s"],
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_FSIZE: limits["scratch_bytes"] if own_world else 0,
        resource.RLIMIT_NOFILE: _MAX_OPEN_FILES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    if own_world:  # elsewhere it counts all that this user runs; the filter and the address space must do
        wanted[resource.RLIMIT_NPROC] = limits["num_tasks"]
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (least, least))


def _work(limits: Mapping[str, int]) -> int:
    with open(_REQUEST, "rb") as stream:
        task = read_json(stream, _MAX_REQUEST_BYTES)
    if task is None:
        return 0
    answer = run(task["source"], task["function"], task["calls"])
    buffer = io.BytesIO()
    write_json(buffer, answer)
    if buffer.tell() > limits["output_bytes"]:
        buffer = io.BytesIO()
        write_json(buffer, {"status": "output", "detail": f"more than {limits['output_bytes']} bytes of results"})
    _write(buffer.getvalue())
    return 0


def run(source: str, function: str, calls: list[list[Any]]) -> dict[str, Any]:
    """Execute a module and call one of its functions, in this very process.

    Args:
        source: of the module.
        function: its name.
        calls: argument lists in the encoding of `plain`.

    Returns:
        ``{status, results, detail}`` as `outcome.Outcome` has them.
    """
    gc.enable()  # the zygote had it off
    module = ModuleType("candidate")
    sys.modules["candidate"] = module  # dataclasses and typing look a class's module up there
    try:
        exec(compile(source, "<candidate>", "exec", dont_inherit=True), module.__dict__)
        target = module.__dict__[function]
    except MemoryError:
        return {"status": "memory", "results": [], "detail": "while it was loaded"}
    except BaseException as exc:
        return {"status": "error", "results": [], "detail": _describe(exc)}
    results: list[list[Any]] = []
    for arguments in calls:
        try:
            value = target(*[plain.decode(argument) for argument in arguments])
            results.append([plain.encode(value), ""])
        except MemoryError:
            return {"status": "memory", "results": results, "detail": f"in call {len(results)}"}
        except BaseException as exc:
            results.append([None, _describe(exc)])
    return {"status": "ok", "results": results, "detail": ""}


def _describe(exc: BaseException) -> str:
    name = plain.name_of(type(exc))
    try:
        text = str.__getitem__(str(exc), slice(_MAX_DETAIL))
        return f"{name}: {text}".encode("utf-8", "replace").decode()[:_MAX_DETAIL]
    except BaseException:
        return name  # its own text raises


def _send(value: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    write_json(buffer, value)
    _write(buffer.getvalue())


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(_RESULT, data) :]


def _last_words(result: int, exc: BaseException) -> None:
    """Why the lock did not close, to whichever descriptor the answer's pipe has by now."""
    buffer = io.BytesIO()
    write_json(buffer, {"failed": f"{type(exc).__name__}: {exc}"[:_MAX_DETAIL]})
    for fd in (_RESULT, result):
        try:
            os.write(fd, buffer.getvalue())
            return
        except OSError:
            continue
