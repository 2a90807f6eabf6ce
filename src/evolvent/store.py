"""The store: bytes named by their SHA-256.

A name says what is in it, so a file never changes, equal artifacts are kept once, and a reader sees an altered file.
Bytes are on disk (written, synced, renamed, folder synced) before their name is returned, so an event never names bytes
that a power loss could take. An artifact of several files is a *tree*: a manifest, whose hash names the artifact.

Not here: what happened when (`ledger/`); garbage collection; secrets (all that lies here may be read and exported).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from evolvent.disk import store_error, sweep, sync_folder, write_atomic
from evolvent.errors import StoreError
from evolvent.types import canonical_json, sha256_hex

_HASH = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}"
)  # no separator, no "..", no hidden file, nothing a shell would read
_TREE_START = b'{"files":{'
_SCRATCH = "tmp"  # files on their way to their names


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
        place = self._place(name)
        if self._intact(name):
            sync_folder(place.parent)  # whoever wrote it may have been killed before it could
        else:
            write_atomic(place, data, scratch=self.root / _SCRATCH, mode=0o444)
        return name

    def sweep(self) -> None:
        """Clear up after killed writers, as a run's controller does at its start. Living ones are not disturbed."""
        for folder in (self.root.parent, self.root, self.root / _SCRATCH, self.root / "jobs"):
            sweep(folder)

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
            raise store_error(exc, f"reading {path}") from exc
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
            write_atomic(folder / file, data, mode=0o644)

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
