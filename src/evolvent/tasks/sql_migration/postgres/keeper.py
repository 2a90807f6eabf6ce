"""The process between us and an embedded server: starts it, and ends it when its own standard input ends.

``python -I -S keeper.py FOLDER BIN UID GID``: a script with nothing but the standard library, so that it starts fast
and reads no file of the run. Its input is one line, the superuser's password, and ends when the parent closes it or is
gone, however it died; then the server is stopped by its id, and the folder is deleted. A descriptor that it was handed
keeps the folder locked as long as it lives, so that one which nobody keeps can be told. Says ``ready`` or an error on
one line of standard output.

The server runs without root, without new privileges, with limits on memory and on the size of a file. Where the kernel
gives them: in network and IPC namespaces of its own (a socket in a folder is reached all the same), and under Landlock,
by which it writes below its folder only, reads no more than that and the system's libraries, and starts no program.
Then it says ``ready confined``, which the engine tries.

Not here: roles, databases, what may be run (`engine.py`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

START_S, STOP_S = 60.0, 5.0
MEMORY_BYTES = 2 << 30  # of each server process
FILE_BYTES = 64 << 20  # more than a log segment (16 MiB); a table that grows further is an error
_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1, 2, 4, 8
_NO_TCP, _TCP_SINCE = 0b11, 4
SETTINGS = {
    "listen_addresses": "", "unix_socket_permissions": "0700", "max_connections": "20", "max_worker_processes": "0",
    "max_parallel_workers": "0", "max_prepared_transactions": "0", "shared_buffers": "16MB", "work_mem": "4MB",
    "maintenance_work_mem": "16MB", "temp_file_limit": "64MB", "dynamic_shared_memory_type": "mmap",
    "huge_pages": "off", "jit": "off", "ssl": "off", "autovacuum": "off", "wal_level": "minimal",
    "max_wal_senders": "0", "max_wal_size": "64MB", "min_wal_size": "32MB",
    # Nothing here is meant to survive, not even a crash.
    "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
    # Hostile statements fill no log.
    "log_min_messages": "fatal", "log_min_error_statement": "panic", "log_checkpoints": "off", "timezone": "UTC",
    "lc_messages": "C",
}  # fmt: skip


def main() -> int:
    """Run until standard input ends; the exit code is 0 unless the server did not start or ended by itself."""
    folder, binaries, uid, gid = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.umask(0o077)
    password = os.read(sys.stdin.fileno(), 128).strip()
    if folder.stat().st_gid != gid:
        SETTINGS["unix_socket_permissions"] = "0770"  # of the folder's group, whose member has started us
    try:
        server = _start(folder, binaries, password)
    except (OSError, RuntimeError, subprocess.SubprocessError) as exc:
        print(f"error {' '.join(str(exc).split())[:500]}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        return 1
    print("ready confined" if _landlock_version() else "ready", flush=True)
    while server.poll() is None:
        readable, _, _ = select.select([sys.stdin], [], [], 0.5)
        if readable and not os.read(sys.stdin.fileno(), 1):
            break
    alone = server.poll() is not None
    _stop(server)
    shutil.rmtree(folder, ignore_errors=True)
    return int(alone)


def _start(folder: Path, binaries: Path, password: bytes) -> subprocess.Popen[bytes]:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC)
    data = folder / "data"
    secret = folder / "password"
    secret.write_bytes(password)
    options = ["-U", "evolvent", "--encoding=UTF8", "--locale=C", "--auth=reject", "--no-sync", f"--pwfile={secret}"]
    made = subprocess.run(
        [binaries / "initdb", "-D", data, *options],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=START_S, cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    if made.returncode != 0:
        raise RuntimeError(f"initdb: {made.stderr[-400:]}")
    secret.unlink()
    (data / "pg_hba.conf").write_text("local all all scram-sha-256\n")
    command: list[str | Path] = [binaries / "postgres", "-D", data, "-k", folder]
    for name, value in SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    _limit(resource.RLIMIT_FSIZE, FILE_BYTES)

    def in_child() -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)  # at once, children included
            _confine(folder, binaries)

    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True,
            env={"PATH": "/usr/bin:/bin"},
            preexec_fn=in_child,  # noqa: PLW1509 - one thread here
        )  # fmt: skip
    until = time.monotonic() + START_S
    while "ready" not in _status(data):
        if server.poll() is not None or time.monotonic() > until:
            _stop(server)
            raise RuntimeError(f"postgres: {(folder / 'log').read_text(errors='replace')[-400:]}")
        time.sleep(0.02)
    return server


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _landlock_version() -> int:
    """Of the kernel's interface; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, ctypes.CDLL(None).syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1))


def _confine(folder: Path, binaries: Path) -> None:
    """Landlock for this process and what it forks: the last thing before the server's program."""
    version = _landlock_version()
    if not version:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    everything = (1 << 13) - 1
    for since, right in ((2, 1 << 13), (3, 1 << 14)):
        everything |= right if version >= since else 0
    words = [everything] + ([_NO_TCP] if version >= _TCP_SINCE else [])
    attributes = struct.pack(f"={len(words)}Q", *words)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    rules: list[tuple[Path, int]] = [(folder, everything), (Path("/dev/null"), _READ_FILE | _WRITE_FILE)]
    rules += [(Path(path), _READ_FILE | _READ_FOLDER) for path in ("/usr", "/lib", "/lib64", binaries.parent)]
    rules += [(Path(path), _READ_FILE) for path in ("/dev/urandom", "/dev/zero")]
    loaders = [path for place in ("/lib64", "/lib") for path in Path(place).glob("ld-*.so*")]
    rules += [(path, _READ_FILE | _EXECUTE) for path in (binaries / "postgres", *loaders)]
    for path, rights in rules:
        with contextlib.suppress(OSError):
            handle = os.open(path.resolve(), os.O_PATH | os.O_CLOEXEC)
            libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, handle), 0)
            os.close(handle)
    if ruleset < 0 or libc.syscall(_RESTRICT_SELF, ruleset, 0) != 0:
        raise OSError("Landlock: could not be set")


def _status(data: Path) -> str:
    with contextlib.suppress(OSError):
        lines = (data / "postmaster.pid").read_text().splitlines()
        return lines[7] if len(lines) > 7 else ""
    return ""


def _stop(server: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if server.poll() is not None:
            return
        server.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_S)


if __name__ == "__main__":
    sys.exit(main())
