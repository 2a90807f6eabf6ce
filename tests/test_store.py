"""The store: a name says what is in it, and an altered file shows."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolvent.disk import write_atomic
from evolvent.errors import StoreError
from evolvent.store import Store
from evolvent.types import sha256_hex


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def alter(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_bytes_come_back_under_their_hash(store: Store) -> None:
    name = store.put_bytes(b"abc")
    assert name == sha256_hex(b"abc")
    assert store.put_bytes(b"abc") == name
    assert store.get_bytes(name) == b"abc"
    assert store.path(name) == store.root / name[:2] / name[2:]
    assert store.has(name)
    assert list((store.root / "tmp").iterdir()) == []


def test_json_is_named_by_its_canonical_bytes(store: Store) -> None:
    name = store.put_json({"b": 1, "a": ["é", None]})
    assert store.get_bytes(name) == '{"a":["é",null],"b":1}'.encode()
    assert store.get_json(name) == {"a": ["é", None], "b": 1}
    with pytest.raises(TypeError, match="float"):
        store.put_json({"x": 0.1})


def test_altered_bytes_are_refused_and_healed_by_writing_again(store: Store) -> None:
    name = store.put_bytes(b"abc")
    alter(store.path(name), b"abd")
    with pytest.raises(StoreError, match="altered"):
        store.get_bytes(name)
    assert store.put_bytes(b"abc") == name
    assert store.get_bytes(name) == b"abc"


def test_missing_and_malformed_names_are_told(store: Store) -> None:
    assert not store.has("0" * 64)
    with pytest.raises(StoreError, match="is not in the store"):
        store.get_bytes("0" * 64)
    for name in ("", "abc", "../" * 20 + "etc", "0" * 63 + "G", "0" * 64 + "\n"):
        with pytest.raises(StoreError, match="64 hex"):
            store.has(name)


def test_tree_keeps_files_under_one_name(store: Store, tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"\x00\x01"}
    name = store.put_tree(files, "model", {"params": 3})
    assert store.put_tree(dict(reversed(files.items())), "model", {"params": 3}) == name
    assert store.put_tree(files, "model", {"params": 4}) != name
    assert store.get_manifest(name) == {
        "kind": "model",
        "files": {f: {"sha256": sha256_hex(d), "size_bytes": len(d)} for f, d in files.items()},
        "meta": {"params": 3},
    }
    assert store.read_tree(name) == files
    store.export_tree(name, tmp_path / "out" / "model")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out" / "model").iterdir()} == files
    with pytest.raises(StoreError, match="not a tree"):
        store.read_tree(store.put_json({"files": {}}))


def test_tree_is_complete_only_with_all_its_files(store: Store) -> None:
    name = store.put_tree({"a.txt": b"a", "b.txt": b"b"}, "data", {})
    assert store.complete(name)
    store.path(sha256_hex(b"b")).unlink()
    assert not store.complete(name)
    assert store.has(name)
    with pytest.raises(StoreError, match="not in the store"):
        store.read_tree(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "/x", "a\\b", ".hidden", "a\0b", "a\n", "é", "x" * 201])
def test_file_names_that_could_leave_the_folder_are_refused(store: Store, tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="file name"):
        store.put_tree({name: b""}, "data", {})
    entry = {"sha256": store.put_bytes(b""), "size_bytes": 0}
    forged = store.put_json({"kind": "data", "files": {name: entry}, "meta": {}})
    with pytest.raises(StoreError, match="file name"):
        store.export_tree(forged, tmp_path / "out")


def test_full_disk_leaves_nothing_behind(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_atomic(tmp_path / "w" / "file", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="the disk is full; free space"):
        store.put_bytes(b"abc")
    with pytest.raises(StoreError, match="the disk is full"):
        write_atomic(tmp_path / "w" / "file", b"new")
    assert [p for p in store.root.rglob("*") if p.is_file()] == []
    assert [(p.name, p.read_bytes()) for p in (tmp_path / "w").iterdir()] == [("file", b"old")]


def test_bytes_are_synced_before_their_name_exists(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    sync, replace = os.fsync, Path.replace

    def noted_sync(descriptor: int) -> None:
        steps.append("sync")
        sync(descriptor)

    def noted_replace(self: Path, target: Any) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    store.put_bytes(b"abc")
    above = ["sync"] * 3  # of the folders made: root, root/ab, root/tmp
    assert steps == [*above, "sync", "rename", "sync"]  # file, rename, folder
    steps.clear()
    store.put_bytes(b"abc")
    assert steps == ["sync"], "what another wrote, perhaps not to the end, is made to last before it is named"


@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=200), position=st.integers(0, 199), flip=st.integers(1, 255))
def test_any_changed_byte_is_detected(tmp_path_factory: pytest.TempPathFactory, data: bytes, position: int, flip: int):
    store = Store(tmp_path_factory.mktemp("store"))
    name = store.put_bytes(data)
    assert store.get_bytes(name) == data
    changed = bytearray(data or b"\0")
    changed[position % len(changed)] ^= flip
    alter(store.path(name), bytes(changed))
    with pytest.raises(StoreError, match="altered"):
        store.get_bytes(name)
