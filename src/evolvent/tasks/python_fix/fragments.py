"""Pieces that a function's sketch leaves open: conditions, changes, constants and names.

A piece has code, with ``?`` for what it is applied to, and the words by which a sentence names it; ``#`` in both is one
constant, drawn when the piece is drawn.

Not here: whole functions (`families.py`).
"""

from __future__ import annotations

import keyword
import random
from collections.abc import Collection
from dataclasses import dataclass

CHARS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Piece:
    """Code with ``?`` for its subject, and words for it."""

    code: str
    words: str

    def of(self, subject: str) -> str:
        """The code about a subject; a compound one is put into brackets, which parsing drops where they do nothing."""
        return "(" + self.code.replace("?", subject if subject.strip("$").isidentifier() else f"({subject})") + ")"


_NUMBER_IS = (
    ("? > #", "greater than #"), ("? < #", "less than #"), ("? >= #", "at least #"), ("? <= #", "at most #"),
    ("? == #", "equal to #"), ("? != #", "different from #"), ("? % # == 0", "divisible by #"),
    ("? % # != 0", "not divisible by #"), ("? % 2 == 0", "even"), ("? % 2 == 1", "odd"), ("? > 0", "positive"),
    ("? < 0", "negative"), ("? * ? > #", "greater than # when squared"), ("? < 0 or ? > #",
    "negative or greater than #"),
    ("0 < ? and ? < #", "positive and less than #"), ("? % 2 == 0 and ? > #", "even and greater than #"),
)  # fmt: skip
_NUMBER_TO = (
    ("? + #", "increased by #"), ("? - #", "decreased by #"), ("? * #", "multiplied by #"), ("? * ?", "squared"),
    ("-?", "negated"), ("abs(?)", "without its sign"), ("? // #", "divided by # and rounded down"), ("? % #",
    "modulo #"),
    ("# - ?", "subtracted from #"), ("max(?, #)", "raised to at least #"), ("min(?, #)", "cut to at most #"),
    ("? * 2 + #", "doubled and increased by #"), ("? * ? - #", "squared and decreased by #"),
)  # fmt: skip
_CHAR_IS = (
    ("?.isdigit()", "digits"), ("?.isalpha()", "letters"), ("?.isupper()", "upper case"), ("?.islower()", "lower case"),
    ("? == @", "equal to @"), ("? != @", "different from @"), ("? in 'aeiou'", "in 'aeiou'"),
    ("? not in 'aeiou'", "not in 'aeiou'"), ("?.isspace()", "spaces"), ("? > @", "after @ in order"),
)  # fmt: skip
_TEXT_TO = (
    ("?.upper()", "in upper case"), ("?.lower()", "in lower case"), ("?[::-1]", "in reverse"), ("? + @",
    "with @ after it"),
    ("@ + ?", "with @ before it"), ("?.replace(@, '')", "without @"), ("?.strip()", "without spaces at its ends"),
    ("? * #", "written # times"), ("?[1:]", "without its first character"), ("?[:-1]", "without its last character"),
    ("?.swapcase()", "with upper and lower case swapped"), ("?[:#]", "cut to # characters"),
)  # fmt: skip
_WORD_IS = (
    ("len(?) > #", "longer than # characters"), ("len(?) < #", "shorter than # characters"),
    ("len(?) == #", "exactly # characters long"), ("?.startswith(@)", "starting with @"), ("?.endswith(@)",
    "ending with @"),
    ("@ in ?", "containing @"), ("@ not in ?", "not containing @"), ("? == ?[::-1]", "the same backwards"),
    ("len(?) % 2 == 0", "of even length"), ("? != ''", "not empty"), ("?.islower()", "in lower case"),
)  # fmt: skip
_KINDS = {"p": _NUMBER_IS, "g": _NUMBER_TO, "h": _NUMBER_TO, "q": _CHAR_IS, "u": _TEXT_TO, "v": _WORD_IS}

_THINGS = (
    "xs", "ys", "zs", "items", "values", "nums", "data", "row", "points", "scores", "marks", "sizes", "ages", "prices",
    "levels", "rates", "steps", "codes", "bits", "parts", "loads", "costs", "heights", "votes", "weights", "seq", "arr",
)  # fmt: skip
_NUMBERS = (
    "n", "m", "k", "num", "number", "limit", "bound", "target", "size", "amount", "level", "step", "goal", "base",
    "top",
    "value", "quota", "width", "height", "age", "price", "score", "depth", "rank", "offset", "count", "total",
)  # fmt: skip
_TEXTS = (
    "s",
    "t",
    "text",
    "line",
    "name",
    "title",
    "phrase",
    "label",
    "message",
    "key",
    "token",
    "code",
    "entry",
    "string",
)
_NAMES: dict[str, tuple[str, ...]] = {
    "xs": _THINGS, "ys": _THINGS, "ws": ("words", "names", "lines", "labels", "tokens", "titles", "terms", "tags"),
    "n": _NUMBERS, "m": _NUMBERS, "a": _NUMBERS, "b": (*_NUMBERS, "best", "top", "winner", "chosen", "found"),
    "lo": ("lo", "low", "left", "start", "first", "floor", "lower"),
    "hi": ("hi", "high", "right", "end", "last", "ceiling", "upper"),
    "x": ("x", "v", "item", "value", "num", "e", "el", "entry", "cur", "current"),
    "y": ("y", "w", "other", "nxt", "second", "partner"),
    "c": ("c", "cnt", "count", "hits", "num", "tally", "found", "times"),
    "t": ("t", "total", "acc", "amount", "result", "s", "running"),
    "r": ("r", "out", "res", "result", "kept", "acc", "answer", "made", "output", "ret"),
    "q": ("rest", "others", "second", "left_over", "no"),
    "i": ("i", "k", "idx", "pos", "index", "p"), "j": ("j", "h", "end", "other", "q", "place"),
    "s": _TEXTS, "u": _TEXTS, "ch": ("ch", "c", "char", "letter", "sign", "symbol"), "dh": ("dh", "d", "other", "mate"),
    "w": ("w", "word", "term", "part", "piece"),
    "d": ("d", "table", "counts", "seen", "store", "known", "groups", "lookup", "book", "stock"),
    "e": ("e", "extra", "more", "update", "second", "added"), "k": ("k", "key", "name", "label"), "v": ("v", "val",
    "value", "amount"),
}  # fmt: skip
_VERBS = (
    "get", "make", "find", "compute", "calc", "build", "check", "pick", "read", "work_out", "solve", "do", "run",
    "give",
    "take", "see", "collect", "measure", "weigh", "score", "scan", "process", "handle", "apply", "derive", "fold",
)  # fmt: skip
_NOUNS = (
    "result", "answer", "values", "items", "part", "report", "view", "stage", "rule", "step", "batch", "entry", "group",
    "figure", "range", "share", "series", "sample", "level", "signal", "field", "record", "slice", "token", "chain",
)  # fmt: skip


def piece(kind: str, rng: random.Random) -> Piece:
    """A piece of a kind: its first letter says what it is (see ``_KINDS``), a digit tells two of one kind apart.

    ``k`` and ``m`` are whole numbers, ``l`` is one letter.

    Raises:
        KeyError: no such kind.
    """
    constant = str(rng.randint(2, 9) if rng.random() < 0.8 else rng.randint(10, 25))
    letter = repr(rng.choice(CHARS))
    if kind[0] in "km":
        return Piece(constant, constant)
    if kind[0] == "l":
        return Piece(letter, letter)
    code, words = rng.choice(_KINDS[kind[0]])
    return Piece(*(text.replace("#", constant).replace("@", letter) for text in (code, words)))


def name(role: str, rng: random.Random, taken: Collection[str]) -> str:
    """A free identifier for a role of a sketch, such as ``xs`` or ``i``."""
    pool = [word for word in _NAMES.get(role, (role,)) if word not in taken]
    word = rng.choice(pool) if pool else role
    while word in taken or keyword.iskeyword(word):
        word += "2"
    return word


def function_name(rng: random.Random) -> str:
    """A name for a function that tells nothing of what it does."""
    return f"{rng.choice(_VERBS)}_{rng.choice(_NOUNS)}"
