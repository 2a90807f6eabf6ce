"""The process between us and an embedded server: starts it, and ends it when its own standard input ends.

``python -I -S keeper.py FOLDER BIN UID GID``: a script with nothing but the standard library, so that it starts fast
and reads no file of the run. Input ends when the parent closes it or is gone, however it died; then the server is
stopped by its id, and the folder is deleted. Says ``ready`` or an error on one line of standard output.

The server runs without root, without new privileges, in network and IPC namespaces of its own where the kernel gives
them (a socket in a folder is reached all the same), with limits on memory and on the size of a file.

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
import subprocess
import sys
import time
from pathlib import Path

START_S, STOP_S = 60.0, 5.0
MEMORY_BYTES = 2 << 30  # of each server process
FILE_BYTES = 64 << 20  # more than a log segment (16 MiB); a table that grows further is an error
_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
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
    try:
        server = _start(folder, binaries)
    except (OSError, RuntimeError, subprocess.SubprocessError) as exc:
        print(f"error {' '.join(str(exc).split())[:500]}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        return 1
    print("ready", flush=True)
    while server.poll() is None:
        readable, _, _ = select.select([sys.stdin], [], [], 0.5)
        if readable and not os.read(sys.stdin.fileno(), 1):
            break
    alone = server.poll() is not None
    _stop(server)
    shutil.rmtree(folder, ignore_errors=True)
    return int(alone)


def _start(folder: Path, binaries: Path) -> subprocess.Popen[bytes]:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC)
    data = folder / "data"
    options = ["-U", "evolvent", "--encoding=UTF8", "--locale=C", "--auth=reject", "--no-sync"]
    made = subprocess.run(
        [binaries / "initdb", "-D", data, *options],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=START_S, cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    if made.returncode != 0:
        raise RuntimeError(f"initdb: {made.stderr[-400:]}")
    (data / "pg_hba.conf").write_text("local all all trust\n")
    command: list[str | Path] = [binaries / "postgres", "-D", data, "-k", folder]
    for name, value in SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    _limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True,
            env={"PATH": "/usr/bin:/bin"},
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one thread here
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


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)  # immediate shutdown, children included


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
