"""What is tried before a sandbox is trusted, and what counts as refused.

Each attempt is made by a task inside (`probe_task.py`). Three answers are possible: refused, got through, or broken,
and a broken one is an error. Beside the error numbers there is a second signal from another source: this side listens
on the ports, owns the process that is to be signalled, and looks for the files that were to be written.

Not here: which tier needs what (`tiers.py`).
"""

from __future__ import annotations

import errno
import os
import resource
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evolvent.errors import SandboxError
from evolvent.sandbox import namespaces, plain, probe_task, seccomp
from evolvent.sandbox.outcome import Outcome, Task

__all__ = ["Attempt", "GotThrough", "Watch", "task"]

_REFUSED = frozenset({errno.EPERM, errno.EACCES})
# What was seen to be there from outside is not there inside: another root, another network, other processes.
_ABSENT = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EROFS, errno.ESRCH, errno.ENETUNREACH, errno.ECONNREFUSED, errno.ENOSYS}
)
_RESULT_PIPE = 4
_NEW_USER = 0x10000000
_F_SETFL, _F_SETOWN, _F_SETPIPE_SZ = 4, 8, 1031
# Calls by number, with arguments that would do no harm if they were let through.
_CALLS: dict[str, tuple[int, ...]] = {
    "ptrace": (0,), "process_vm_readv": (1, 0, 0, 0, 0, 0), "unshare": (_NEW_USER,), "setns": (-1, 0),
    "umount2": (0, 0), "pivot_root": (0, 0), "bpf": (0, 0, 0), "userfaultfd": (0,), "keyctl": (0, -3, 0),
    "add_key": (0, 0, 0, 0, 0), "request_key": (0, 0, 0, 0), "perf_event_open": (0, 0, -1, -1, 0),
    "shmget": (0, 4096, 0o1600), "msgget": (0, 0o1600), "semget": (0, 1, 0o1600), "personality": (0xFFFFFFFF,),
    "sethostname": (0, 0), "kcmp": (1, 1, 0, 0, 0), "name_to_handle_at": (0, 0, 0, 0, 0), "fanotify_init": (0, 0),
    "seccomp": (0, 0, 0), "kexec_load": (0, 0, 0, 0), "init_module": (0, 0, 0),
}  # fmt: skip
# Numbers that every architecture shares.
_NEW_CALLS = {
    "io_uring_setup": (425, 1, 0), "pidfd_open": (434, 1, 0), "clone3": (435, 0, 0), "openat2": (437, 0, 0, 0, 0),
    "pidfd_getfd": (438, 0, 0, 0), "landlock_create_ruleset": (444, 0, 0, 1), "memfd_secret": (447, 0),
}  # fmt: skip


class GotThrough(SandboxError):
    """An attempt that had to be refused was not, or broke down."""


@dataclass(frozen=True)
class Attempt:
    """One thing that is tried.

    Attributes:
        name: for people.
        kind: function of `probe_task`.
        arguments: its arguments.
        core: has to be refused in the weakest tier too.
        works: has to work, so that a sandbox in which nothing works proves nothing.
        strict: absence is not enough, it has to be refused as such, in every tier that may promote.
    """

    name: str
    kind: str
    arguments: tuple[Any, ...] = ()
    core: bool = False
    works: bool = False
    strict: bool = False


class Watch:
    """The attempts, and this side's ears while they are made.

    Args:
        hidden: paths that must be unreadable.
        scratch: the sandbox has a folder of its own to write in.
        opens: it lets files be opened.
    """

    def __init__(self, hidden: Sequence[Path], *, scratch: bool, opens: bool) -> None:
        self._token = f".evolvent-probe-{secrets.token_hex(8)}"
        self._stream = socket.create_server(("127.0.0.1", 0))
        self._packet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._packet.bind(("127.0.0.1", 0))
        self._abstract = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._abstract.bind("\0" + self._token)
        self._abstract.listen()
        for ear in (self._stream, self._packet, self._abstract):
            ear.setblocking(False)
        folders = {Path("/"), Path("/var/tmp"), Path("/dev/shm"), Path.home(), Path.cwd(), Path("/tmp")}
        if scratch:  # an empty one of its own stands in that place
            folders.discard(Path("/tmp"))
        self._folders = sorted(folder for folder in (*folders, *namespaces.standard_library()) if folder.is_dir())
        self.attempts = [
            *_works(scratch, opens), *self._network(), *self._reads(hidden), *self._writes(scratch), *_processes(),
            *_calls(),
        ]  # fmt: skip

    def judge(self, outcome: Outcome, *, complete: bool) -> None:
        """Hold the outcome against what had to happen.

        Args:
            outcome: of the task.
            complete: everything has to be refused, not only the core.

        Raises:
            GotThrough: an attempt got through or broke down, or something arrived here.
            SandboxError: the task brought no answer.
        """
        if outcome.status != "ok" or outcome.results[0].error:
            raise SandboxError(f"probes: the task did not run: {outcome}")
        got = plain.decode(outcome.results[0].value)
        if not isinstance(got, dict) or got.keys() != {attempt.name for attempt in self.attempts}:
            raise GotThrough("probes: not every attempt was made")
        faults = [fault for a in self.attempts if (fault := _fault(a, got[a.name], complete=complete))]
        faults += [f"{what} arrived" for what in self._arrived()]
        if faults:
            raise GotThrough(f"probes: {'; '.join(faults)}; this sandbox does not hold on this machine")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for ear in (self._stream, self._packet, self._abstract):
            ear.close()
        for path in self._written():
            with suppress(OSError):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()

    def _network(self) -> list[Attempt]:
        return [
            Attempt("tcp", "tcp", (self._stream.getsockname()[1],), core=True, strict=True),
            Attempt("udp", "udp", (self._packet.getsockname()[1],), core=True, strict=True),
            Attempt("abstract socket", "unix", (self._token,), core=True, strict=True),
            Attempt("socket pair", "pair", strict=True),
        ]

    def _reads(self, hidden: Sequence[Path]) -> Iterator[Attempt]:
        judge, library = os.getpid(), namespaces.standard_library()[0]
        files = ["/etc/passwd", "/proc/self/environ", f"/proc/{judge}/environ", f"/proc/{judge}/mem", __file__]
        climbs = [str(library.joinpath(*[".."] * len(library.parts), "etc/passwd")), "/proc/self/root/etc/passwd"]
        folders = ["/proc", "/root", "/home", "/dev", str(Path(__file__).parent)]
        files += [str(path) for folder in namespaces.standard_library() for path in _foreign(folder)]
        for path in dict.fromkeys([*files, *climbs, *folders, *map(str, hidden)]):
            # What is closed to us as well proves nothing about the sandbox.
            if not os.access(path, os.R_OK):
                continue
            if os.path.isdir(path):
                yield Attempt(f"list {path}", "list", (path, _names(Path(path))), core=True)
            else:
                yield Attempt(f"read {path}", "read", (path,), core=True)

    def _writes(self, scratch: bool) -> Iterator[Attempt]:
        for folder in self._folders:
            yield Attempt(f"write in {folder}", "write", (str(folder / self._token),), core=True)
            yield Attempt(f"folder in {folder}", "mkdir", (str(folder / f"{self._token}-d"),), core=True)
        library = namespaces.standard_library()[0]
        inside, other = str(library / self._token), str(library / f"{self._token}-r")
        yield Attempt("path file", "write", (str(library / "site-packages" / f"{self._token}.pth"),), core=True)
        yield Attempt("append to the library", "append", (os.__file__,), core=True)
        yield Attempt("rename in the library", "rename", (inside, other), core=True)
        yield Attempt("unlink in the library", "unlink", (inside,), core=True)
        yield Attempt("symbolic link", "symlink", ("/etc/passwd", "/tmp/l"), strict=True)
        yield Attempt("hard link", "link", (os.__file__, "/tmp/h"), strict=True)

    def _arrived(self) -> Iterator[str]:
        for what, take in (
            ("a connection", self._stream.accept),
            ("a packet", lambda: self._packet.recv(1)),
            ("a local connection", self._abstract.accept),
        ):
            try:
                take()
            except OSError:
                continue
            yield what
        yield from map(str, self._written())

    def _written(self) -> list[Path]:
        """What got through and lies on this machine now."""
        folders = {*self._folders, Path("/tmp"), namespaces.standard_library()[0] / "site-packages"}
        return [path for folder in folders for path in folder.glob(f"{self._token}*")]


def task(attempts: Sequence[Attempt]) -> Task:
    """The attempts as a task for the sandbox."""
    order = [[attempt.name, attempt.kind, list(attempt.arguments)] for attempt in attempts]
    source = Path(probe_task.__file__).read_text(encoding="utf-8")
    return Task(source=source, function="probe", calls=((plain.encode(order),),))


def _works(scratch: bool, opens: bool) -> Iterator[Attempt]:
    yield Attempt("the clock", "time", works=True)
    yield Attempt("only its own descriptors", "descriptors", (_RESULT_PIPE,), works=True)
    if opens:
        yield Attempt("reading the library", "read", (os.__file__,), works=True)
    if scratch:
        yield Attempt("writing in the scratch folder", "write", (f"{namespaces.SCRATCH}/mine",), works=True)


def _processes() -> Iterator[Attempt]:
    yield Attempt("signal to the judge", "kill", (os.getpid(),), core=True)
    yield Attempt("signal to all", "kill", (-1,), core=True)
    yield Attempt("fork", "fork", strict=True)
    # No such file: a refused call says EPERM, an allowed one ENOENT.
    yield Attempt("exec", "exec", strict=True)


def _calls() -> Iterator[Attempt]:
    column = seccomp.machine()
    for name, arguments in _CALLS.items():
        number = 0 if column is None else seccomp.NUMBERS[name][column]
        if number:
            yield Attempt(name, "call", (number, *arguments))
    for name, arguments in _NEW_CALLS.items():
        yield Attempt(name, "call", arguments)
    yield Attempt("memory file", "memfd")
    yield Attempt("mount", "mount", ("/tmp",), strict=True)
    yield Attempt("another root", "chroot", ("/tmp",), strict=True)
    yield Attempt("signals by a pipe", "control", (_RESULT_PIPE, _F_SETOWN, os.getpid()))
    yield Attempt("a larger pipe", "control", (_RESULT_PIPE, _F_SETPIPE_SZ, 1 << 20))
    # The null device is the host's, and opened once for all children: what is left on it the next task would find.
    yield Attempt("flags on the null device", "control", (1, _F_SETFL, os.O_APPEND | os.O_WRONLY))
    yield Attempt("times on the null device", "touch", (1,))
    yield Attempt("a raised limit", "raise_limit", (resource.RLIMIT_NOFILE,), strict=True)


def _fault(attempt: Attempt, got: int | str, *, complete: bool) -> str:
    """Empty if it went as it had to."""
    if not (complete or attempt.core or attempt.works):
        return ""
    if attempt.works:
        return "" if got == 0 else f"'{attempt.name}' does not work ({_spelled(got)})"
    if not isinstance(got, int):
        return f"'{attempt.name}' broke down ({got})"
    accepted = _REFUSED if attempt.strict and complete else _REFUSED | _ABSENT
    return "" if got in accepted else f"'{attempt.name}' got through ({_spelled(got)})"


def _spelled(got: int | str) -> str:
    return os.strerror(got) if isinstance(got, int) and got else str(got)


def _names(folder: Path) -> list[str]:
    """What is in a folder, but for the way to the standard library, which stays."""
    way = {part for library in namespaces.standard_library() for part in library.parts}
    return sorted(path.name for path in folder.iterdir() if path.name not in way)


def _foreign(folder: Path) -> Iterator[Path]:
    """A file of each folder of installed packages. Their names may show, what is in them may not."""
    for name in namespaces.FOREIGN:
        found = next((path for path in (folder / name).rglob("*.*") if path.is_file()), None)
        if found is not None:
            yield found
