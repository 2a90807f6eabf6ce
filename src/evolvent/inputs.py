"""What a run begins from: the files of its model, and the seed's own training data. Read and checked, never executed.

Not here: loading a model (`models/`, in a worker), what becomes of the files (`run.py`).
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from evolvent import precheck
from evolvent.errors import UsageError
from evolvent.plan import Settings

SEEDS = ("python-seed", "sql-seed")  # models shipped with the package, each a folder under data/
XZ = b"\xfd7zXZ"  # what a compressed file begins with


def check_inputs(settings: Settings, folder: Path) -> int:
    """Parameters of the model, after everything that a run will read was read once.

    Args:
        settings: of the run.
        folder: of the run; a relative path to gold starts here.

    Raises:
        UsageError: a file is missing or broken, or the model is larger than the change plan allows.
    """
    size = num_parameters(seed_files(settings.model))
    if size > settings.plan.max_parameters:
        raise UsageError(
            f"model: {size} parameters, the change plan allows {settings.plan.max_parameters}; "
            f"raise plan.max_parameters or name a smaller model"
        )
    gold_bytes(settings, folder)
    return size


def seed_files(model: str) -> dict[str, bytes]:
    """A model's files: one shipped with the package, or a local folder.

    Raises:
        ModelRefused: no safetensors in it, or a file breaks a rule of the pre-check.
        UsageError: no such folder, or a file that cannot be read.
    """
    if model in SEEDS:
        shipped = resources.files("evolvent") / "data" / model
        return {name: (shipped / name).read_bytes() for name in precheck.FILES if (shipped / name).is_file()}
    return precheck.read_folder(Path(model).expanduser())


def num_parameters(files: Mapping[str, bytes]) -> int:
    """Parameters by the safetensors header alone, after the pre-check; no tensor is built here.

    Raises:
        ModelRefused: a file breaks a rule of the pre-check.
    """
    return precheck.check_files(files)


def shipped_gold(model: str) -> bytes:
    """The training data of a model that is shipped with the package."""
    assert model in SEEDS
    return (resources.files("evolvent") / "data" / model / "gold.jsonl.xz").read_bytes()


def gold_bytes(settings: Settings, folder: Path) -> bytes:
    """The seed's own training data: a file of the user's, or what is shipped with the model; empty where there is none.

    Raises:
        UsageError: no such file, broken xz, or a line of it is not ``{"prompt": text, "answer": text}``.
    """
    if not settings.gold:
        return shipped_gold(settings.model) if settings.model in SEEDS else b""
    path = folder / settings.gold
    try:
        data = path.read_bytes()
    except OSError:
        raise UsageError(f"gold: no file {path}; expected JSON lines of {{prompt, answer}}") from None
    try:
        lines = plain_lines(data)
    except (lzma.LZMAError, EOFError):
        raise UsageError(f"{path}: is a broken xz file; compress it again") from None
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            well = isinstance(row["prompt"], str) and isinstance(row["answer"], str)
        except (ValueError, KeyError, TypeError):
            well = False
        if not well and line.strip():
            raise UsageError(f'{path}: line {number}: expected {{"prompt": text, "answer": text}}, got {line[:60]!r}')
    return data


def plain_lines(data: bytes) -> list[bytes]:
    """Lines of a data file, plain or xz.

    Raises:
        LZMAError: it begins like xz and is none.
    """
    return (lzma.decompress(data) if data.startswith(XZ) else data).splitlines()


def read_pairs(data: bytes) -> list[tuple[str, str]]:
    """Prompts and answers of a data artifact: JSON lines, plain or xz."""
    rows = (json.loads(line) for line in plain_lines(data) if line.strip())
    return [(str(row["prompt"]), str(row["answer"])) for row in rows]
