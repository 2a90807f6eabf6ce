"""Text to token ids and back.

`SqlCodec` gives each identifier and literal of a prompt one *slot* token, chosen by the prompt's own hash, so that a
migration is a few dozen tokens, a name is copied by pointing at it, and names never seen cost nothing
(delexicalisation). The slot table belongs to one prompt, which is why `encode` returns it and `decode` wants it.

Not here: a subword tokenizer. A Hugging Face model brings its own (`TokenizerCodec`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from evolvent.models.codec_base import EOS, PAD, Codec, Encoded, draw_slots
from evolvent.models.codec_python import PythonCodec

__all__ = ["EOS", "PAD", "CharCodec", "Codec", "Encoded", "PythonCodec", "SqlCodec", "TokenizerCodec", "from_plain"]

MARKS = ("-- from", "-- to", "-- renamed", "-- migration", "->")
PUNCTUATION = ("(", ")", ",", ";", ".", "=")
PHRASES = (
    "CREATE TABLE", "CREATE INDEX", "CREATE UNIQUE INDEX", "DROP TABLE", "DROP INDEX", "ALTER TABLE", "ADD COLUMN",
    "DROP COLUMN", "RENAME COLUMN", "RENAME TO", "INSERT INTO", "PRIMARY KEY", "NOT NULL",
)  # fmt: skip
WORDS = (
    "ON", "TO", "DEFAULT", "REFERENCES", "SELECT", "FROM", "_REBUILT", "NULL",
    "INTEGER", "TEXT", "REAL", "NUMERIC", "BLOB", "BOOLEAN", "BIGINT", "TIMESTAMP",
)  # fmt: skip
_LEXEME = re.compile(
    r"-- from|-- to|-- renamed|-- migration|--[^\n]*|/\*.*?\*/|->"
    r"|\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'|`[^`]*`|\[[^\]]*\]"
    r"|[A-Za-z]\w*\(\s*\d+(?:\s*,\s*\d+)?\s*\)|-?\d+(?:\.\d+)?|\w+|[^\s\w]",
    re.DOTALL,
)
_ALIASES = {"INT": "INTEGER"}


class SqlCodec:
    """Keywords are tokens, common phrases are one token, and everything else is a slot.

    Args:
        num_slots: how many distinct names and literals a prompt may hold.
    """

    eos, pad = EOS, PAD

    def __init__(self, num_slots: int = 96) -> None:
        self.num_slots = num_slots
        self._words = ["<pad>", "<eos>", *MARKS, *PUNCTUATION, *PHRASES, *WORDS]
        self._ids = {word: i for i, word in enumerate(self._words)}
        self._first_slot = len(self._words)
        self._longest = max(len(phrase.split()) for phrase in PHRASES)

    @property
    def size(self) -> int:
        """Vocabulary size, slots included."""
        return self._first_slot + self.num_slots

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {"kind": "sql", "num_slots": self.num_slots}

    def _lex(self, text: str) -> list[str]:
        raw = [w for w in _LEXEME.findall(text) if w in MARKS or not w.startswith(("--", "/*"))]
        upper = [w.upper() for w in raw]
        words, i = [], 0
        while i < len(raw):
            for size in range(self._longest, 0, -1):
                phrase = " ".join(upper[i : i + size])
                if size > 1 and phrase in self._ids:
                    words.append(phrase)
                    i += size
                    break
            else:
                word = _ALIASES.get(upper[i], upper[i])
                words.append(word if word in self._ids else raw[i])
                i += 1
        return words

    def encode(self, prompt: str, variant: int = 0) -> Encoded:
        """A prompt's ids; each distinct name or literal gets a slot by a permutation drawn from the prompt's hash."""
        words = self._lex(prompt)
        names = list(dict.fromkeys(word for word in words if word not in self._ids))
        slots = draw_slots(names, self.num_slots, self._first_slot, prompt, variant)
        return Encoded([self._ids.get(word) or slots[word] for word in words], slots)

    def encode_answer(self, answer: str, encoded: Encoded) -> list[int]:
        """An answer's ids with the prompt's slots."""
        ids = []
        for word in self._lex(answer):
            token = self._ids.get(word) or encoded.slots.get(word)
            if token is None:
                raise ValueError(f"answer: {word!r} is neither a known word nor in the prompt")
            ids.append(token)
        return [*ids, EOS]

    def decode(self, ids: Sequence[int], encoded: Encoded) -> str:
        """SQL text; a slot that the prompt does not use becomes ``?``, which no engine accepts."""
        names = {token: name for name, token in encoded.slots.items()}
        words = []
        for token in ids:
            if token == EOS:
                break
            words.append(self._words[token] if token < self._first_slot else names.get(token, "?"))
        return " ".join(words).replace(" ;", ";").replace("( ", "(").replace(" )", ")").replace(" ,", ",")


class CharCodec:
    """One token a character, over a declared alphabet; the separator ends the prompt."""

    eos, pad = EOS, PAD

    def __init__(self, alphabet: str) -> None:
        self.alphabet = alphabet
        self._ids = {char: i + 2 for i, char in enumerate(alphabet)}

    @property
    def size(self) -> int:
        """Vocabulary size."""
        return len(self.alphabet) + 2

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {"kind": "char", "alphabet": self.alphabet}

    def _encode(self, text: str) -> list[int]:
        unknown = sorted(set(text) - self._ids.keys())
        if unknown:
            raise ValueError(f"text: {unknown[0]!r} is not in the alphabet {self.alphabet!r}")
        return [self._ids[char] for char in text]

    def encode(self, prompt: str, variant: int = 0) -> Encoded:
        """One id a character; there is only one encoding, so `variant` changes nothing."""
        return Encoded(self._encode(prompt), {})

    def encode_answer(self, answer: str, encoded: Encoded) -> list[int]:
        """One id a character, then the end mark."""
        return [*self._encode(answer), EOS]

    def decode(self, ids: Sequence[int], encoded: Encoded) -> str:
        """Text up to the end mark."""
        chars = []
        for token in ids:
            if token == EOS:
                break
            chars.append(self.alphabet[token - 2] if token > EOS else "")
        return "".join(chars)


class TokenizerCodec:
    """A Hugging Face tokenizer behind the codec contract."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        if tokenizer.eos_token_id is None:
            raise ValueError("tokenizer: expected an eos_token, got none; set one in tokenizer_config.json")
        self.eos: int = tokenizer.eos_token_id
        self.pad: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id

    @property
    def size(self) -> int:
        """Vocabulary size."""
        return len(self.tokenizer)

    def plain(self) -> dict[str, Any]:
        """As JSON; the tokenizer's own files lie beside the weights."""
        return {"kind": "tokenizer"}

    def encode(self, prompt: str, variant: int = 0) -> Encoded:
        """The tokenizer's ids of the prompt, with its own start marks."""
        return Encoded(list(self.tokenizer(prompt)["input_ids"]), {})

    def encode_answer(self, answer: str, encoded: Encoded) -> list[int]:
        """The answer's ids without start marks, then the end mark."""
        return [*self.tokenizer(answer, add_special_tokens=False)["input_ids"], self.eos]

    def decode(self, ids: Sequence[int], encoded: Encoded) -> str:
        """Text up to the end mark."""
        kept = list(ids)
        if self.eos in kept:
            kept = kept[: kept.index(self.eos)]
        return str(self.tokenizer.decode(kept, skip_special_tokens=True))


def from_plain(data: dict[str, Any]) -> Codec:
    """A codec from its JSON (`codec.json` beside the weights).

    Raises:
        ValueError: unknown kind.
    """
    if data.get("kind") == "sql":
        return SqlCodec(int(data["num_slots"]))
    if data.get("kind") == "char":
        return CharCodec(str(data["alphabet"]))
    if data.get("kind") == "python":
        return PythonCodec([str(word) for word in data["words"]], int(data["num_slots"]))
    raise ValueError(f"codec: expected kind sql, char or python, got {json.dumps(data)[:80]}")
