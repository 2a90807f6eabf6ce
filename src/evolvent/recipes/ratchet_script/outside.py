"""What stands outside of the edited script: the text, the run, and the measurement.

The script gets a folder with a training and a validation text, a seed, and a descriptor to write its model to. It runs
in a process that can open nothing else (Landlock), under a limit of processor time. Its model is loaded here by a fixed
loader and scored here, on text that lies outside of that folder. So what the script says of itself counts for nothing.

The text is Python's own: the source files of the standard library's top level, in the order of their names, each wholly
in one of four parts. It is the same for the same version of Python only, so its hash belongs to each figure.

Not here: what is concluded from a score.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evolvent.sandbox import landlock

__all__ = ["FAILED", "LEAD", "SCORED", "Model", "Run", "Texts", "Workbench", "bits", "load", "sample", "texts"]

FAILED = 8.0  # bits a byte of a uniform guess: what a run without a model within the rules scores
LEAD, SCORED = 16, 64  # of a chunk: bytes that are only seen, bytes that are predicted
_MOST_PARAMETERS = 200_000
_VALIDATION_CHUNKS = 32
_HARD_CPU_S = 20  # a run that hangs ends here
_SCRIPT_RUNNER = Path(__file__).with_name("walled.py")
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Four parts of one source, which share no file.

    Attributes:
        train: what the script learns from.
        validation: the pinned text that it scores itself on.
        judged: where a judge's items are drawn.
        truth: where the truth is measured.
        name: of the whole, the start of its SHA-256.
    """

    train: bytes
    validation: bytes
    judged: Bytes
    truth: Bytes
    name: str


def texts(data: Path | None = None) -> Texts:
    """The standard library's top level, or the text files below `data`, in the order of their names.

    A source of fewer than eight files is cut into 64 stretches first, so that each part has some of it.
    """
    folder, pattern = (Path(os.__file__).parent, "*.py") if data is None else (data, "**/*.txt")
    files = [path.read_bytes() for path in sorted(folder.glob(pattern)) if path.is_file()]
    if not sum(map(len, files)):
        raise SystemExit(f"{folder}: expected files {pattern} with text; leave --data out for Python's own")
    if len(files) < 8:
        whole = b"".join(files)
        files = [whole[k * len(whole) // 64 : (k + 1) * len(whole) // 64] for k in range(64)]
    parts = [b"".join(files[k::4]) for k in range(4)]
    step = len(parts[1]) // _VALIDATION_CHUNKS
    return Texts(
        train=parts[0],
        validation=b"".join(parts[1][k * step : k * step + 4 * SCORED] for k in range(_VALIDATION_CHUNKS)),
        judged=np.frombuffer(parts[2], np.uint8),
        truth=np.frombuffer(parts[3], np.uint8),
        name=hashlib.sha256(b"".join(files)).hexdigest()[:12],
    )


def sample(text: Bytes, rng: np.random.Generator, count: int) -> Bytes:
    """Chunks drawn from a text, ``(count, LEAD + SCORED)``."""
    starts = rng.integers(0, len(text) - LEAD - SCORED, count)
    return text[starts[:, None] + np.arange(LEAD + SCORED)]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A trained model, as the script declared it: bytes seen, embedding, layers with biases, head with its bias."""

    context: int
    weights: tuple[Floats, ...]


def load(raw: bytes) -> Model | None:
    """The model that a script wrote, or None if it is not one: wrong shapes, too large, numbers that are none."""
    line, _, body = raw.partition(b"\n")
    try:
        described = json.loads(line)
        context, shapes = int(described["context"]), [tuple(map(int, shape)) for shape in described["shapes"]]
        values = np.frombuffer(body, np.float32)
    except (ValueError, TypeError, KeyError):
        return None
    sizes = [int(np.prod(shape)) for shape in shapes]
    if not 0 < context <= LEAD or not _fit(context, shapes) or not sum(sizes) == len(values) <= _MOST_PARAMETERS:
        return None
    if not np.isfinite(values).all():
        return None
    ends = np.cumsum([0, *sizes])
    arrays = [values[a:b].reshape(shape) for (a, b), shape in zip(pairwise(ends), shapes, strict=True)]
    return Model(context=context, weights=tuple(arrays))


def _fit(context: int, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether these are an embedding of bytes, matrices that chain from it to 256, and a bias each."""
    depth = (len(shapes) - 1) // 2
    if depth < 1 or len(shapes) != 2 * depth + 1 or any(min(shape, default=0) < 1 for shape in shapes):
        return False
    embedding, matrices, biases = shapes[0], shapes[1 : depth + 1], shapes[depth + 1 :]
    if len(embedding) != 2 or embedding[0] != 256 or any(len(matrix) != 2 for matrix in matrices):
        return False
    chained = [(context * embedding[1], 0)[:1], *(matrix[1:] for matrix in matrices)]
    return [m[:1] for m in matrices] == chained[:-1] and list(biases) == chained[1:] and biases[-1] == (256,)


def bits(model: Model | None, chunks: Bytes) -> Floats:
    """Bits a byte of each chunk, ``(len(chunks),)``; `FAILED` for no model."""
    if model is None:
        return np.full(len(chunks), FAILED, np.float32)
    places = np.arange(LEAD, LEAD + SCORED)[:, None] + np.arange(-model.context, 0)
    depth = (len(model.weights) - 1) // 2
    embedding, matrices, biases = model.weights[0], model.weights[1 : depth + 1], model.weights[depth + 1 :]
    values = embedding[chunks[:, places]].reshape(len(chunks) * SCORED, -1)
    for matrix, bias in zip(matrices[:-1], biases[:-1], strict=True):
        values = np.tanh(values @ matrix + bias)
    logits = values @ matrices[-1] + biases[-1]
    logits -= logits.max(1, keepdims=True)
    wanted = logits[np.arange(len(logits)), chunks[:, LEAD:].ravel()]
    lost = np.log(np.exp(logits).sum(1)) - wanted
    return (lost.reshape(len(chunks), SCORED).mean(1) / np.log(2)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run.

    Attributes:
        printed: the metric that the script printed, or None.
        model: what it wrote, as bytes.
        cpu_s: processor time of the whole process.
    """

    printed: float | None
    model: bytes
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """Where scripts run: a folder of its own with the two texts that a script may read."""

    folder: Path
    source: Texts

    def __post_init__(self) -> None:
        """Lay the two texts out."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "train.txt").write_bytes(self.source.train)
        (self.folder / "validation.txt").write_bytes(self.source.validation)

    @cached_property
    def walled(self) -> bool:
        """Whether this kernel has the wall."""
        return bool(landlock.version(ctypes.CDLL(None)))

    def run(self, script: str, seed: int) -> Run:
        """Train once, in a process of its own that is gone when this returns."""
        libc = ctypes.CDLL(None, use_errno=True)
        rules = landlock.ruleset(libc, [(self.folder, landlock.READ)]) if self.walled else None
        with tempfile.NamedTemporaryFile("w", suffix=".py") as code, tempfile.TemporaryFile() as out:
            with tempfile.TemporaryFile() as model:
                code.write(script)
                code.flush()
                passed = [model.fileno(), *([] if rules is None else [rules])]
                words = [_HARD_CPU_S, -1 if rules is None else rules, landlock.RESTRICT, self.folder, seed, passed[0]]
                process = subprocess.Popen(
                    [sys.executable, "-I", str(_SCRIPT_RUNNER), code.name, *map(str, words)],
                    stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL, pass_fds=passed,
                    env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
                )  # fmt: skip
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                if rules is not None:
                    os.close(rules)
                out.seek(0)
                model.seek(0)
                said = re.search(rb"^val_bpb: (\d+\.\d+)$", out.read(), re.MULTILINE)
                written = model.read() if process.returncode == 0 else b""
        printed = float(said[1]) if said and process.returncode == 0 else None
        return Run(printed=printed, model=written, cpu_s=usage.ru_utime + usage.ru_stime)
