"""The store: bytes named by their SHA-256.

A name says what is in it, so a file never changes, equal artifacts are kept once, and a reader sees an altered file.
Bytes are on disk (written, synced, renamed, folder synced) before their name is returned, so an event never names bytes
that a power loss could take. An artifact of several files is a *tree*: a manifest, whose hash names the artifact.

Not here: what happened when (`ledger.py`); garbage collection; secrets (all that lies here may be read and exported).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from evolvent.errors import StoreError
from evolvent.types import canonical_json, sha256_hex

_HASH = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}"
)  # no separator, no "..", no hidden file, nothing a shell would read
_TREE_START = b'{"files":{'


@dataclass(frozen=True)
class Store:
    """A folder of content-addressed files. Any number of processes may share it.

    Attributes:
        root: the folder; made on the first write. A file lies at ``root/ab/cdef...``.
    """

    root: Path

    def put_bytes(self, data: bytes) -> str:
        """Keep bytes and return their name.

        Raises:
            StoreError: the disk is full or cannot be written; nothing was half-written.
        """
        name = sha256_hex(data)
        if not self._intact(name):
            with self._writing() as (file, temporary):
                file.write(data)
                self._publish(file, temporary, name)
        return name

    def put_json(self, obj: Any) -> str:
        """Keep canonical JSON. Raises `TypeError` for a float or something that is not JSON."""
        return self.put_bytes(canonical_json(obj).encode())

    def get_bytes(self, name: str) -> bytes:
        """The bytes of that name, checked.

        Raises:
            StoreError: they are missing or were altered.
        """
        path = self.path(name)
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise _store_error(exc, f"reading {path}") from exc
        if sha256_hex(data) != name:
            raise StoreError(
                f"artifact {name[:12]} was altered on disk ({path}); delete it and run again to make it anew"
            )
        return data

    def get_json(self, name: str) -> Any:
        """The JSON value of that name. Raises `StoreError` when missing, altered or not JSON."""
        try:
            return json.loads(self.get_bytes(name))
        except ValueError as exc:
            raise StoreError(f"artifact {name[:12]} is not JSON: {exc}") from exc

    def path(self, name: str) -> Path:
        """Where the bytes of that name lie.

        Raises:
            StoreError: `name` is not a SHA-256 in hex, or nothing is there.
        """
        path = self._place(name)
        if not path.is_file():
            raise StoreError(f"artifact {name[:12]} is not in the store {self.root}; run again to make it anew")
        return path

    def has(self, name: str) -> bool:
        """Whether bytes of that name are there (not whether they are intact: `get_bytes` checks)."""
        return self._place(name).is_file()

    def complete(self, name: str) -> bool:
        """Whether bytes of that name are there and, for a tree, all its files."""
        if not self.has(name):
            return False
        with self._place(name).open("rb") as file:
            if file.read(len(_TREE_START)) != _TREE_START:
                return True
        value = self.get_json(name)
        return not _is_manifest(value) or all(self.has(entry["sha256"]) for entry in value["files"].values())

    def put_tree(self, files: Mapping[str, bytes], kind: str, meta: Mapping[str, Any]) -> str:
        """Keep several files as one artifact.

        Args:
            files: contents by plain file name.
            kind: what the artifact is, such as ``model``.
            meta: plain JSON without floats.

        Returns:
            The manifest's hash, the artifact's name.

        Raises:
            StoreError: a name is not a plain file name, or the disk is full.
        """
        for name in files:
            _check_name(name)
        entries = {
            name: {"sha256": self.put_bytes(data), "size_bytes": len(data)} for name, data in sorted(files.items())
        }
        return self.put_json({"kind": kind, "files": entries, "meta": dict(meta)})

    def get_manifest(self, name: str) -> dict[str, Any]:
        """A tree's manifest: ``{kind, files: {file: {sha256, size_bytes}}, meta}``.

        Raises:
            StoreError: it is missing, altered, or not a manifest with plain file names.
        """
        value = self.get_json(name)
        if not _is_manifest(value):
            raise StoreError(f"artifact {name[:12]} is not a tree of files")
        for file in value["files"]:
            _check_name(file)
        return value

    def read_tree(self, name: str) -> dict[str, bytes]:
        """The contents of a tree by file name, checked. Raises `StoreError` when anything is missing or altered."""
        return {file: self.get_bytes(entry["sha256"]) for file, entry in self.get_manifest(name)["files"].items()}

    def export_tree(self, name: str, folder: Path) -> None:
        """Write a tree's files into `folder`, checked; files of the same name are replaced.

        Raises:
            StoreError: anything is missing or altered, or `folder` cannot be written.
        """
        entries = self.get_manifest(name)["files"]
        for file, entry in entries.items():
            data = self.get_bytes(entry["sha256"])
            try:
                folder.mkdir(parents=True, exist_ok=True)
                temporary = folder / f".{file}.part"
                temporary.write_bytes(data)
                temporary.replace(folder / file)
            except OSError as exc:
                raise _store_error(exc, f"writing {folder / file}") from exc

    def _place(self, name: str) -> Path:
        if not _HASH.fullmatch(name):
            raise StoreError(f"artifact name: expected 64 hex digits, got {name[:80]!r}")
        return self.root / name[:2] / name[2:]

    def _intact(self, name: str) -> bool:
        """Whether a good copy is already there, so that writing again also heals an altered one."""
        path = self._place(name)
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == name
        except OSError:
            return False

    @contextmanager
    def _writing(self) -> Generator[tuple[BinaryIO, Path], None, None]:
        """A new file beside its final place; gone again unless `_publish` renamed it."""
        temporary: Path | None = None
        try:
            folder = self.root / "tmp"
            folder.mkdir(parents=True, exist_ok=True)
            descriptor, text = tempfile.mkstemp(dir=folder)
            temporary = Path(text)
            with os.fdopen(descriptor, "wb") as file:
                yield file, temporary
        except OSError as exc:
            raise _store_error(exc, f"writing to the store {self.root}") from exc
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)

    def _publish(self, file: BinaryIO, temporary: Path, name: str) -> None:
        final = self._place(name)
        file.flush()
        os.fchmod(file.fileno(), 0o444)
        os.fsync(file.fileno())
        if not final.parent.is_dir():
            final.parent.mkdir(exist_ok=True)
            _sync_folder(self.root)
        temporary.replace(final)
        _sync_folder(final.parent)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file so that a reader, or a power loss, sees the old bytes or the new ones.

    Raises:
        StoreError: the disk is full or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, text = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(text).replace(path)
        finally:
            Path(text).unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as exc:
        raise _store_error(exc, f"writing {path}") from exc


def write_once(path: Path, data: bytes) -> None:
    """Write a file that is not there, readable by its owner alone; of several writers one wins, durably.

    Raises:
        StoreError: the disk is full or cannot be written.
    """
    try:
        handle, text = tempfile.mkstemp(dir=path.parent)  # mode 0600
        temporary = Path(text)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(temporary, path)  # unlike a rename, never replaces what is already there
        finally:
            temporary.unlink()
        _sync_folder(path.parent)
    except OSError as exc:
        raise _store_error(exc, f"writing {path}") from exc


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise StoreError(f"file name in a tree: expected letters, digits, '.', '_' or '-', got {name[:80]!r}")


def _is_manifest(value: Any) -> bool:
    return (
        _has_keys(value, {"kind", "files", "meta"})
        and isinstance(value["files"], dict)
        and all(_has_keys(entry, {"sha256", "size_bytes"}) for entry in cast("dict[str, Any]", value["files"]).values())
    )


def _has_keys(value: Any, keys: set[str]) -> bool:
    return isinstance(value, dict) and set(cast("dict[str, Any]", value)) == keys


def _store_error(exc: OSError, doing: str) -> StoreError:
    if exc.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StoreError(f"{doing}: the disk is full; free space and run again, nothing was half-written")
    return StoreError(f"{doing}: {exc.strerror or exc}; check that the path exists and may be written")
