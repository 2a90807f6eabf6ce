"""A codec for Python functions and the prompts about them, without loss: what is decoded is what was encoded.

Keywords, operators, common calls and the words of a stated list are tokens; each other name, number and text of a
prompt gets a *slot* token, chosen by the prompt's own hash, as in `codec.SqlCodec`. White space costs tokens only where
it differs from what `ast.unparse` would write: each pair of neighbours has a white space that goes without saying.

Not here: meaning. Any text can be written, if it has few enough names.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from typing import Any

from evolvent.models.codec_base import EOS, PAD, Encoded, draw_slots

MARKS = ("# code", "# fix", "# write", "# failed:")
MAX_LINE = 24  # lines of code whose numbers are tokens; later numbers are slots
INDENTS = (" " * 16, " " * 12, " " * 8, " " * 4)  # longest first
SPACES = (*INDENTS, " ", "\n", "\t")
_GLUE = 2  # its id; then come the white spaces
KEYWORDS = tuple(keyword.kwlist)
OPERATORS = (
    "(", ")", "[", "]", "{", "}", ",", ":", ".", ";", "#", "=", "==", "!=", "<", ">", "<=", ">=", "+", "-", "*", "/",
    "//",
    "%", "**", "+=", "-=", "*=", "//=", "%=", "?", "-1", "0", "1", "2", "3", "10", "26", "97", "''", "' '", "'('",
    "')'",
    "'aeiou'",
)  # fmt: skip
CALLS = (
    "abs", "all", "any", "bool", "chr", "dict", "enumerate", "int", "len", "list", "max", "min", "ord", "range",
    "reversed",
    "set", "sorted", "str", "sum", "tuple", "zip", "add", "append", "count", "endswith", "extend", "get", "index",
    "insert",
    "isalpha", "isdigit", "islower", "isspace", "isupper", "items", "join", "keys", "lower", "pop", "remove", "replace",
    "reverse", "sort", "split", "startswith", "strip", "swapcase", "upper", "values",
)  # fmt: skip
_LEXEME = re.compile(
    r"^\# (?:code|fix|write)$|^\# failed:"
    r"|^\d{1,4}[|+-]"
    r"|'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\""
    r"|-?\d+(?:\.\d+)?|\w+"
    r"|//=|\*\*=|==|!=|<=|>=|//|\*\*|\+=|-=|\*=|%=|->"
    r"|[^ \n\t]",
    re.MULTILINE,
)
_LINE = re.compile(r"\d{1,4}[|+-]")
_BREAKS_BEFORE = frozenset({*MARKS, "assert", "#"})


def usual_space(before: str, after: str) -> str:
    """The white space between two neighbours that goes without saying; ``""`` names the start and the end of a text."""
    if not before or _LINE.fullmatch(before):
        return ""
    if not after:
        return "\n" if before in ("# fix", "# write") else ""
    if _LINE.fullmatch(after) or after in _BREAKS_BEFORE:
        return "\n"
    word = before not in KEYWORDS and (before[-1].isalnum() or before[-1] in "_)]}'\"")
    tight = after in ")]},:." or before in ("(", "[", "{", ".") or (after in "([" and word)
    return "" if tight else " "


class PythonCodec:
    """See the module's text.

    Args:
        words: what else is a token, such as the words of the sentences.
        num_slots: how many other distinct names and literals a prompt may hold.
    """

    eos, pad = EOS, PAD

    def __init__(self, words: Sequence[str], num_slots: int = 64) -> None:
        self.words, self.num_slots = tuple(words), num_slots
        lines = [f"{number}{mark}" for mark in "|+-" for number in range(MAX_LINE + 1)]
        known = dict.fromkeys([*MARKS, *KEYWORDS, *OPERATORS, *CALLS, *lines, *self.words])
        self._texts = ["<pad>", "<eos>", "<glue>", *SPACES, *known]
        self._first_word = _GLUE + 1 + len(SPACES)
        self._ids = {text: i for i, text in enumerate(self._texts) if i >= self._first_word}
        self._spaces = {text: i for i, text in enumerate(self._texts) if _GLUE < i < self._first_word}
        self._first_slot = len(self._texts)

    @property
    def size(self) -> int:
        """Vocabulary size, slots included."""
        return self._first_slot + self.num_slots

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {"kind": "python", "words": list(self.words), "num_slots": self.num_slots}

    def encode(self, prompt: str, variant: int = 0) -> Encoded:
        """A prompt's ids; each distinct unknown lexeme gets a slot by a permutation drawn from the prompt's hash."""
        parts = self._parts(prompt)
        names = list(dict.fromkeys(part for part in parts if isinstance(part, str)))
        slots = draw_slots(names, self.num_slots, self._first_slot, prompt, variant)
        return Encoded([part if isinstance(part, int) else slots[part] for part in parts], slots)

    def encode_answer(self, answer: str, encoded: Encoded) -> list[int]:
        """An answer's ids with the prompt's slots."""
        ids = []
        for part in self._parts(answer):
            token = part if isinstance(part, int) else encoded.slots.get(part)
            if token is None:
                raise ValueError(f"answer: {part!r} is neither a known word nor in the prompt")
            ids.append(token)
        return [*ids, EOS]

    def decode(self, ids: Sequence[int], encoded: Encoded) -> str:
        """Text; a slot that the prompt does not use becomes ``?``, which is no Python."""
        names = {token: name for name, token in encoded.slots.items()}
        made: list[str] = []
        before, space = "", None
        for token in ids:
            if token == EOS:
                break
            if token < self._first_word:
                space = (space or "") + (self._texts[token] if token > _GLUE else "")
                continue
            word = self._texts[token] if token < self._first_slot else names.get(token, "?")
            made += [usual_space(before, word) if space is None else space, word]
            before, space = word, None
        return "".join([*made, usual_space(before, "") if space is None else space])

    def _parts(self, text: str) -> list[int | str]:
        """Ids of what is known, and the text of what needs a slot."""
        parts: list[int | str] = []
        before, place = "", 0
        for match in _LEXEME.finditer(text):
            parts += self._space(text[place : match.start()], usual_space(before, match[0]))
            parts.append(self._ids.get(match[0], match[0]))
            before, place = match[0], match.end()
        return parts + self._space(text[place:], usual_space(before, ""))

    def _space(self, actual: str, usual: str) -> list[int | str]:
        if actual == usual:
            return []
        if not actual:
            return [_GLUE]
        ids: list[int | str] = []
        while actual:
            first = next(space for space in SPACES if actual.startswith(space))
            ids.append(self._spaces[first])
            actual = actual[len(first) :]
        return ids
