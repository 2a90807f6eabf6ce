"""The pre-check: a model's files are read as hostile bytes, and refused before any loader sees them.

Only safetensors and JSON, of known names, within known sizes. What passes here has tensors that fill the file exactly,
finite values, a configuration whose numbers fit those tensors, and nothing that asks for code. No tensor library is
needed, so a user's folder, a job's output and the judge's artifacts pass through the same rules.

Files are opened once, by descriptor, without following links; the bytes that were checked are the bytes returned.

Not here: loading (`models/files.py`, which calls this first), isolation of what runs the model (`sandbox/`), and a
judgement of what the weights do (`judge/`). A model that passes can still be bad; it cannot be a program.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from evolvent.errors import JobFailed, ModelRefused, StoreError, UsageError
from evolvent.precheck import texts, weights
from evolvent.store import Store
from evolvent.types import sha256_hex

__all__ = [
    "CODEC",
    "CONFIG",
    "FILES",
    "TOKENIZER",
    "WEIGHTS",
    "built_in",
    "check_files",
    "check_outputs",
    "read_artifact",
    "read_folder",
]

WEIGHTS, CONFIG, CODEC, TOKENIZER = "model.safetensors", "config.json", "codec.json", "tokenizer.json"
_MIB = 1 << 20
# Every file that a model may have, and the most bytes of it; no other name is ever opened.
FILES: Mapping[str, int] = {
    WEIGHTS: 16 << 30,
    CONFIG: _MIB,
    CODEC: _MIB,
    TOKENIZER: 64 * _MIB,
    "tokenizer_config.json": 16 * _MIB,
    "special_tokens_map.json": _MIB,
    "vocab.json": 64 * _MIB,
    "merges.txt": 64 * _MIB,
    "added_tokens.json": 16 * _MIB,
    "generation_config.json": _MIB,
}
_MAX_MANIFEST_BYTES = _MIB
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def check_files(files: Mapping[str, bytes], *, max_parameters: int | None = None) -> int:
    """Check a model's files against every rule that needs no loader.

    Args:
        files: contents by name.
        max_parameters: most elements of all tensors; the pre-check's own cap by default.

    Returns:
        Number of elements of all tensors.

    Raises:
        ModelRefused: a rule is broken; `kind` names it.
    """
    for name, data in files.items():
        if name not in FILES:
            raise ModelRefused("name", f"model: a file named {name[:80]!r} is no part of a model; remove it")
        _within(name, len(data))
    tensors = weights.read_header(_present(files, WEIGHTS))
    total = weights.num_elements(tensors)
    if max_parameters is not None and total > max_parameters:
        raise ModelRefused("too_large", f"model: {WEIGHTS} holds {total} parameters, at most {max_parameters} allowed")
    config = texts.check_config(_present(files, CONFIG), tensors)
    for name in sorted(files.keys() - {WEIGHTS, CONFIG}):
        texts.check_text(name, files[name], config)
    weights.check_values(files[WEIGHTS], tensors)  # last: it reads every byte
    return total


def built_in(files: Mapping[str, bytes]) -> bool:
    """Whether checked files are of the built-in transformer; others are of the `transformers` library."""
    return json.loads(files[CONFIG])["model_type"] == texts.BUILT_IN


def read_folder(folder: Path) -> dict[str, bytes]:
    """The model files of a local folder in `save_pretrained` layout, checked.

    Raises:
        ModelRefused: a file breaks a rule, is a link, or there are no safetensors.
        UsageError: no such folder, or a file cannot be read.
    """
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise UsageError(f"model: no folder {folder}; expected a local folder in save_pretrained layout") from None
    try:
        files = {name: data for name in FILES if (data := _read_one(folder, root, name)) is not None}
    finally:
        os.close(root)
    if WEIGHTS not in files:
        pickled = any(path for pattern in _PICKLES for path in folder.glob(pattern))
        hint = "pickled weights are never opened: save with safe_serialization=True"
        raise ModelRefused(
            "pickle" if pickled else "missing",
            f"model: {folder} holds no {WEIGHTS}; {hint if pickled else f'expected {WEIGHTS}'}",
        )
    check_files(files)
    return files


def read_artifact(store: Store, name: str) -> dict[str, bytes]:
    """The files of a model artifact, each held against its manifest's size and SHA-256, then checked.

    Raises:
        ModelRefused: a file breaks a rule.
        StoreError: a file is missing, is not what the manifest says, or cannot be read.
    """
    if store.path(name).stat().st_size > _MAX_MANIFEST_BYTES:
        raise ModelRefused("manifest", f"model: artifact {name[:12]} is no manifest: it is too long")
    entries = store.get_manifest(name)["files"]
    files: dict[str, bytes] = {}
    for file, entry in entries.items():
        if file not in FILES:
            raise ModelRefused("name", f"model: artifact {name[:12]} has a file {file!r}, which is no part of a model")
        size, digest = entry["size_bytes"], entry["sha256"]
        if type(size) is not int or type(digest) is not str:
            raise ModelRefused("manifest", f"model: artifact {name[:12]}: expected size and SHA-256 of {file}")
        _within(file, size)
        path = store.path(digest)
        data = _read_regular(os.fspath(path), None, expected=size)
        if len(data) != size or sha256_hex(data) != digest:
            raise StoreError(f"artifact {name[:12]}: {file} was altered on disk ({path}); run again to make it anew")
        files[file] = data
    check_files(files)
    return files


def check_outputs(store: Store, names: Iterable[str]) -> None:
    """Check those of a job's outputs that are models.

    Raises:
        JobFailed: ``model_refused``, with the broken rule in its message: the job's failure, not a crash.
        StoreError: an output is missing or altered.
    """
    for name in names:
        try:
            if _is_model(store, name):
                read_artifact(store, name)
        except ModelRefused as refused:
            raise JobFailed("model_refused", f"{refused.kind}: {refused}") from refused


def _present(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        found = ", ".join(sorted(files)) or "nothing"
        raise ModelRefused("missing", f"model: expected a file {name}, found {found}")
    return files[name]


def _is_model(store: Store, name: str) -> bool:
    """Whether an artifact is a tree that calls itself a model."""
    if store.path(name).stat().st_size > _MAX_MANIFEST_BYTES:
        return False
    with suppress(StoreError):
        return store.get_manifest(name)["kind"] == "model"
    return False


def _within(name: str, size: int) -> None:
    if not 0 <= size <= FILES[name]:
        raise ModelRefused("too_large", f"model: {name}: expected at most {FILES[name]} bytes, got {size}")


def _read_one(folder: Path, root: int, name: str) -> bytes | None:
    """A file of a folder that is held open, or None where there is none of that name."""
    try:
        return _read_regular(name, root, expected=None)
    except FileNotFoundError:
        return None
    except StoreError as exc:
        raise ModelRefused("not_a_file", f"model: {folder / name}: {exc}") from None
    except OSError as exc:
        raise UsageError(f"model: {folder / name}: cannot be read: {exc.strerror}") from None


def _read_regular(path: str, root: int | None, expected: int | None) -> bytes:
    """The bytes of a regular file: opened once, never through a link, never more than is allowed."""
    try:
        # A pipe in the file's place must not hold us up either.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=root)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise StoreError("is a link, which is never followed; copy the file itself (cp -L)") from None
        raise
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise StoreError("is no regular file; copy the file itself")
        if expected is None:
            _within(os.path.basename(path), found.st_size)
        elif found.st_size != expected:
            raise StoreError(f"{path}: expected {expected} bytes, got {found.st_size}; run again to make it anew")
        with os.fdopen(handle, "rb", closefd=False) as file:
            data = file.read(found.st_size + 1)
    finally:
        os.close(handle)
    if len(data) != found.st_size:
        raise StoreError("changed while it was read; try again")
    return data
