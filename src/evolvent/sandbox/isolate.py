"""What a child does to itself after loading its libraries and before it reads one untrusted byte.

Resource limits, no new privileges, no capabilities, Landlock (reads only below the interpreter's and the libraries'
folders, no writes, no TCP, no signals outside), and a system call filter on every thread. Then it *tries* each
forbidden thing. What should be blocked and is not is an error; what this kernel cannot block gives the level `reduced`,
which is named in every verdict and never promotes.

Escapes that this does not stop:

- a bug in the kernel that a still allowed call reaches (the kernel is shared; use a virtual machine against that);
- timing, cache and power side channels, and eating processor time (the parent's timeout ends it);
- reading world-readable files below the system's library folders, and the kernel's version;
- file reads by threads that lived before `isolate` was called: Landlock binds the caller and what it starts later (the
  filter binds all). `process.py` starts children so that namespaces at least hold for every thread;
- devices that were opened before, such as an accelerator: another user of the same device may be disturbed.

Not here: starting and killing the child (`process.py`), the filter's program (`seccomp.py`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from evolvent.errors import SandboxError
from evolvent.sandbox import landlock, seccomp

__all__ = ["HIDDEN_VARIABLE", "KERNEL", "REDUCED", "isolate"]

# How the parent tells what must be unreadable, so that a child cannot forget to probe it.
HIDDEN_VARIABLE = "EVOLVENT_SANDBOX_HIDDEN"

KERNEL = "kernel"
REDUCED = "reduced"

_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_MAX_TASKS = 4096

_SYSTEM_FOLDERS = ("/usr", "/lib", "/lib64", "/bin", "/sys/devices/system", "/sys/fs/cgroup")
_SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
)


def isolate(
    *,
    readable: Sequence[str | Path] = (),
    hidden: Sequence[str | Path] = (),
    memory_bytes: int | None = None,
    max_open_files: int = 256,
) -> str:
    """Lock the calling process in, for good, and prove it by trying.

    Call it after importing every library that is needed, and after one small trial run, since some import late and
    write caches; later imports work only from the interpreter's own folders and those on ``sys.path``. Threads can
    still be started, also by native libraries. Output to a regular file stops too: use pipes.

    Args:
        readable: more folders whose files may be read.
        hidden: paths (such as the judge's folder) that must be unreadable afterwards, besides those that the parent
            named in `HIDDEN_VARIABLE`; each is tried.
        memory_bytes: limit of the address space; ``None`` sets none (libraries reserve far more than they use).
        max_open_files: limit of open file descriptors.

    Returns:
        `KERNEL` if filter and Landlock hold and every probe was blocked, else `REDUCED`: limits only.

    Raises:
        SandboxError: a protection was installed, and a probe got through all the same; or a hidden path lies below a
            readable folder.
    """
    hidden = [*hidden, *filter(None, os.environ.get(HIDDEN_VARIABLE, "").split(os.pathsep))]
    tempfile.gettempdir()  # found by writing and then remembered: libraries that import late ask for it
    folders = _readable_folders(readable)
    _check_hidden(hidden, folders)
    _set_limits(memory_bytes, max_open_files)
    if sys.platform != "linux":
        return REDUCED
    libc = ctypes.CDLL(None, use_errno=True)
    _drop_privileges(libc)
    landlocked = _restrict_files(libc, folders)
    filtered = _install_filter(libc)
    if not (landlocked and filtered):
        return REDUCED
    _probe(hidden)
    return KERNEL


def _readable_folders(extra: Sequence[str | Path]) -> list[Path]:
    cwd = Path.cwd()
    # The current folder and the root on sys.path would open the run's own files; libraries never live there.
    on_path = [Path(entry) for entry in sys.path if entry and Path(entry).resolve() not in (cwd, Path("/"))]
    # Where the environment's interpreter is the system's, its prefix is /usr; a prefix of / would open everything.
    prefixes = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix) if Path(prefix) != Path("/")]
    wanted = [*map(Path, _SYSTEM_FOLDERS), *prefixes, *on_path, *map(Path, extra)]
    return list(dict.fromkeys(path.resolve() for path in wanted if path.is_dir()))


def _check_hidden(hidden: Sequence[str | Path], folders: Sequence[Path]) -> None:
    for path in map(Path, hidden):
        for folder in folders:
            if path.resolve().is_relative_to(folder):
                raise SandboxError(
                    f"hidden path {path} lies below {folder}, which the sandbox must read; "
                    "keep runs outside of the interpreter's and the source folders"
                )


def _set_limits(memory_bytes: int | None, max_open_files: int) -> None:
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NOFILE: max_open_files}
    # NPROC counts all threads of the user on the host, so it stops a thread bomb only, not a modest excess.
    limits[resource.RLIMIT_NPROC] = _MAX_TASKS
    if memory_bytes is not None:
        limits[resource.RLIMIT_AS] = memory_bytes
    for kind, wanted in limits.items():
        _, hard = resource.getrlimit(kind)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(kind, (value, value))
        except (OSError, ValueError) as exc:
            raise SandboxError(f"resource limit {kind}: could not set {value}: {exc}") from exc


def _drop_privileges(libc: ctypes.CDLL) -> None:
    column = seccomp.machine()
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise SandboxError(f"no_new_privs: {os.strerror(ctypes.get_errno())}")
    if column is not None:
        header, none = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24)
        libc.syscall(seccomp.NUMBERS["capset"][column], header, none)


def _restrict_files(libc: ctypes.CDLL, folders: Sequence[Path]) -> bool:
    """Landlock: True once it holds, False where the kernel has none."""
    rules = [(p, landlock.READ) for p in folders] + [(Path(f), landlock.READ_FILE) for f in _SYSTEM_FILES]
    handle = landlock.ruleset(libc, rules)
    if handle is None:
        return False
    try:
        return landlock.restrict(libc, handle)
    finally:
        os.close(handle)


def _install_filter(libc: ctypes.CDLL) -> bool:
    """The system call filter on all threads: True once it holds, False where there is none for this machine."""
    column = seccomp.machine()
    return column is not None and seccomp.install(libc, seccomp.build_filter(column, os.getpid()))


def _probe(hidden: Sequence[str | Path]) -> None:
    home = os.environ.get("HOME", "/")
    probes: dict[str, Callable[[], object]] = {
        "internet socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "datagram socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "unix socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "fork": _try_fork,
        # No such file: a blocked call says EPERM, an allowed one ENOENT.
        "exec": lambda: os.execve("/nonexistent", ["x"], {}),
        "signal to the parent": lambda: os.kill(os.getppid(), 0),
        "memory of others": lambda: Path(f"/proc/{os.getppid()}/mem").open("rb"),
        "list of processes": lambda: os.listdir("/proc"),
        "password file": lambda: Path("/etc/passwd").read_bytes(),
    }
    for folder in dict.fromkeys((os.getcwd(), "/tmp", home, "/dev/shm")):
        probes[f"write in {folder}"] = lambda folder=folder: _try_write(Path(folder))
    for path in hidden:
        probes[f"read of {path}"] = lambda path=path: _try_read(Path(path))
    for name, attempt in probes.items():
        _must_be_refused(name, attempt)
    thread = threading.Thread(target=_must_be_refused, args=("fork in a thread", _try_fork))
    thread.start()  # also proves that threads still start
    thread.join()


def _must_be_refused(name: str, attempt: Callable[[], object]) -> None:
    try:
        attempt()
    except OSError as exc:
        if exc.errno in (errno.EPERM, errno.EACCES):
            return
        raise SandboxError(f"probe '{name}': expected a refusal, got {exc}") from exc
    raise SandboxError(f"probe '{name}' got through; this machine cannot isolate a candidate")


def _try_fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _try_write(folder: Path) -> None:
    path = folder / f".evolvent-probe-{os.getpid()}"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    path.unlink()


def _try_read(path: Path) -> object:
    return os.listdir(path) if path.is_dir() else path.read_bytes()
