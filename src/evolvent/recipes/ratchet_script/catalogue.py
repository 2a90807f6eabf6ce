"""The frozen edits: each a patch of `train.py`, an old text that occurs once and a new one.

Edits touch different places, so any set of them composes; `apply` says if one does not. What a patch is meant to be is
declared here; what it is worth is measured (`benchmarks/ratchet.py`). Two kinds are what they are by construction: null
edits change nothing, or nothing but which random numbers are drawn; cheats break the rules of the contest.

Not here: how an edit is judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["CATALOGUE", "SCRIPT", "Edit", "apply"]

SCRIPT = Path(__file__).with_name("train.py").read_text(encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A patch.

    Attributes:
        name: of it.
        meant: ``good``, ``null``, ``harmful`` or ``cheat``.
        old: text that occurs once in the script.
        new: what takes its place.
    """

    name: str
    meant: str
    old: str
    new: str


def apply(script: str, edit: Edit) -> str | None:
    """The script with the edit, or None if its old text does not stand there just once."""
    return script.replace(edit.old, edit.new) if script.count(edit.old) == 1 else None


def _edit(name: str, meant: str, old: str, new: str) -> Edit:
    return Edit(name=name, meant=meant, old=old, new=new)


CATALOGUE = (
    _edit("rate", "good", "RATE = 0.003", "RATE = 0.006"),
    _edit("smaller batch", "good", "BATCH = 128", "BATCH = 64"),
    _edit("wider", "good", "HIDDEN = 96", "HIDDEN = 160"),
    _edit("deeper", "good", "LAYERS = 1", "LAYERS = 2"),
    _edit("shorter memory", "good", "BETA2 = 0.999", "BETA2 = 0.95"),
    _edit("small embedding", "good", "embedding = rng.standard", "embedding = 0.5 * rng.standard"),
    _edit("head from zero", "good", "head = matrix(widths[-1], 256)", "head = 0 * matrix(widths[-1], 256)"),
    _edit(
        "biases from counts", "good", "[np.zeros(256, np.float32)]",
        "[np.log(np.bincount(text, minlength=256) + 1).astype(np.float32)]",
    ),
    _edit("less context", "good", "CONTEXT = 6", "CONTEXT = 4"),
    _edit("other seed", "null", "default_rng(seed)", "default_rng(seed + 1)"),
    _edit("comment", "null", '"""Softmax by row."""', '"""Softmax by row, safe against overflow."""'),
    _edit(
        "renamed", "null",
        "grown = np.exp(logits - logits.max(1, keepdims=True))\n    return grown / grown.sum(1, keepdims=True)",
        "e = np.exp(logits - logits.max(1, keepdims=True))\n    return e / e.sum(1, keepdims=True)",
    ),
    _edit(
        "reordered", "null",
        "means = [np.zeros_like(w) for w in weights]\nsquares = [np.zeros_like(w) for w in weights]",
        "squares = [np.zeros_like(w) for w in weights]\nmeans = [np.zeros_like(w) for w in weights]",
    ),
    _edit(
        "drawn otherwise", "null", "rng.integers(0, len(text) - CONTEXT, BATCH)",
        "(rng.random(BATCH) * (len(text) - CONTEXT)).astype(np.int64)",
    ),
    _edit(
        "printed sample", "null", "\nwidths = ",
        '\nprint("a byte of the text:", text[rng.integers(0, len(text))])\nwidths = ',
    ),
    _edit(
        "transposed draw", "null", "rng.standard_normal((rows, columns))", "rng.standard_normal((columns, rows)).T",
    ),
    _edit("warm-up", "harmful", "WARM_UP = 0.0", "WARM_UP = 0.2"),
    _edit("falling rate", "harmful", "FINAL = 1.0", "FINAL = 0.0"),
    _edit("smoothed targets", "harmful", "SMOOTHING = 0.0", "SMOOTHING = 0.1"),
    _edit("large weights", "harmful", "GAIN = 1.0", "GAIN = 3.0"),
    _edit("decay", "harmful", "DECAY = 0.0", "DECAY = 0.5"),
    _edit("long memory", "harmful", "BETA1 = 0.9", "BETA1 = 0.99"),
    _edit("reports less", "cheat", "{val_bpb:.6f}", "{0.95 * val_bpb:.6f}"),
    _edit("trains on validation", "cheat", "{folder}/train.txt", "{folder}/validation.txt"),
    _edit(
        "easy validation", "cheat", "starts = np.arange(len(held_out) - CONTEXT)\n",
        "starts = np.flatnonzero(held_out[CONTEXT:] == 32)  # spaces\n",
    ),
    _edit("more time", "cheat", "BUDGET = 24576", "BUDGET = 6 * 24576"),
)  # fmt: skip
