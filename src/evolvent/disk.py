"""The disk: each step that a promise of durability rests on, in one place, and announced before it is taken.

A file appears whole or not at all: written beside its place, synced, named, and the folder synced. Whoever was told
that it is there finds it after a power loss. What a killed process left half-done is swept by the next one.

Each step raises the audit event ``evolvent.disk`` (PEP 578) with its name and what it is about to touch; so do the
ledger's commits. Nobody listens in a run, and then it costs nothing. Tests and `benchmarks/crash.py` listen, in
processes of their own: they number the steps, and at each in turn end the process, fail it, or record what a power loss
could undo.

Not here: SQLite's own writes, which are its own matter (`ledger/sqlite.py` sets how it syncs); network file systems.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from evolvent.errors import StoreError

EVENT = "evolvent.disk"
_PART = ".part-"


def step(name: str, path: Path, *more: object) -> None:
    """Announce a step that is about to be taken.

    Args:
        name: ``make`` (a folder), ``create``, ``write``, ``sync``, ``rename``, ``link``, ``unlink``, ``sync folder``,
            ``commit``; or ``committed``, the one that is told after the fact.
        path: what it touches.
        more: the new name, or descriptor and bytes of a write.
    """
    sys.audit(EVENT, name, path, *more)


def write_atomic(path: Path, data: bytes, *, scratch: Path | None = None, mode: int = 0o600) -> None:
    """Replace a file so that a reader, or a power loss, sees the old bytes or the new ones; on return, the new ones.

    Args:
        path: the file. Folders that are missing are made.
        data: all that it will hold.
        scratch: folder on the same file system where it is written first; beside `path` by default.
        mode: permissions.

    Raises:
        StoreError: the disk is full or cannot be written; the old bytes are still there.
    """
    with _telling(path):
        make_folder(path.parent)
        with _part(scratch or path.parent, data, mode) as part:
            step("rename", part, path)
            part.replace(path)
        sync_folder(path.parent)


def write_once(path: Path, data: bytes) -> None:
    """Write a file that is not there, readable by its owner alone. Of several writers one wins; read what lies there.

    Raises:
        StoreError: the disk is full or cannot be written.
    """
    with _telling(path):
        if not path.exists():
            make_folder(path.parent)
            with _part(path.parent, data, 0o600) as part:
                step("link", part, path)
                with suppress(FileExistsError):
                    os.link(part, path)  # unlike a rename, never replaces what is already there
        sync_folder(path.parent)  # also what another wrote, and was perhaps killed before it could sync


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file that others may read, made if it is not there. A line that a crash cut off stays as it is.

    Args:
        path: the file, in a folder that is there.
        line: without its end.

    Raises:
        StoreError: the disk is full or cannot be written; at most a part of the line is there, which the next one ends.
    """
    with _telling(path, "half a line at its end will be passed over"):
        if new := not path.exists():
            step("create", path)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            # Where one may only append, what was cut off cannot be taken back.
            start = b"" if not size or os.pread(descriptor, 1, size - 1) == b"\n" else b"\n"
            rest = memoryview(start + line + b"\n")
            while rest:
                step("write", path, descriptor, rest)
                rest = rest[os.write(descriptor, rest) :]
            step("sync", path)
            _sync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those missing above it, each synced into the one above: a file is no safer than its folder.

    Raises:
        StoreError: the disk is full or cannot be written.
    """
    with _telling(path):
        if path.is_dir():
            return
        make_folder(path.parent)
        step("make", path)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make what a file holds last. Raises `FileNotFoundError`, or `StoreError` when that fails."""
    descriptor = os.open(path, os.O_RDONLY)
    with _telling(path), os.fdopen(descriptor):
        step("sync", path)
        _sync(descriptor)


def sync_folder(path: Path) -> None:
    """Make the names in this folder last. Raises `StoreError` when that fails."""
    with _telling(path):
        step("sync folder", path)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            _sync(descriptor)
        finally:
            os.close(descriptor)


def sweep(folder: Path) -> None:
    """Clear up after killed writers: remove what they left half-done, and make what they named last.

    What a living one is writing is locked, and stays. Does nothing where there is no such folder.

    Raises:
        StoreError: it cannot be read or written.
    """
    if not folder.is_dir():
        return
    with _telling(folder):
        for part in folder.glob(f"{_PART}*"):
            with suppress(FileNotFoundError, BlockingIOError):
                descriptor = os.open(part, os.O_RDONLY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    step("unlink", part)
                    part.unlink()
                finally:
                    os.close(descriptor)
        sync_folder(folder)


def store_error(exc: OSError, doing: str, left: str = "nothing was half-written") -> StoreError:
    """What a person is told when the disk refuses; `left` is what it leaves behind."""
    if exc.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return StoreError(f"{doing}: the disk is full; free space and run again, {left}")
    return StoreError(f"{doing}: {exc.strerror or exc}; check that the path exists and may be written")


@contextmanager
def _telling(path: Path, left: str = "nothing was half-written") -> Generator[None, None, None]:
    try:
        yield
    except OSError as exc:
        raise store_error(exc, f"writing {path}", left) from exc


@contextmanager
def _part(folder: Path, data: bytes, mode: int) -> Generator[Path, None, None]:
    """A synced file with a passing name; gone at the end unless it was renamed."""
    make_folder(folder)
    while True:
        path = folder / f"{_PART}{secrets.token_hex(8)}"
        step("create", path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with suppress(OSError):  # a file system without locks: then `sweep` gets none either, and removes nothing
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            break
        os.close(descriptor)  # swept between being made and being locked
    try:
        rest = memoryview(data)
        while rest:
            step("write", path, descriptor, rest)
            rest = rest[os.write(descriptor, rest) :]
        os.fchmod(descriptor, mode)
        step("sync", path)
        _sync(descriptor)
        yield path
    finally:
        try:
            if path.exists():
                step("unlink", path)
                path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _sync(descriptor: int) -> None:
    """Have the bytes on the medium, not in a cache on the way; on macOS `fsync` alone stops at the drive's."""
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)
