"""Solved problems that travel with a program: which of them are like a new one, and how they are shown.

They stand in the scaffold itself, as ``[prompt, answer]`` pairs, so what a program knows is hashed, judged and shown
like its steps. Similarity is the cosine of character trigrams weighted by how rare they are in the bank (TF-IDF, Salton
and Buckley 1988): it needs no model, repeats exactly, and reads names and numbers as well as words.

Not here: where the pairs come from (`operators/examples.py`), what a step does with them (`programs.py`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from evolvent.scaffold import code

__all__ = ["MOST_CHARS", "MOST_EXAMPLES", "Bank", "Pair", "check", "fits", "shown"]

Pair = tuple[str, str]

MOST_EXAMPLES, MOST_CHARS = 64, 12_000  # a program stands whole in the genome, in the ledger and in a judge's questions
_GRAM = 3


def fits(pair: Sequence[Any]) -> bool:
    """Whether a pair can stand in a program: texts as the ledger keeps them, the prompt not empty."""
    return len(pair) == 2 and all(code.is_text(text, MOST_CHARS) for text in pair) and pair[0] != ""


def check(value: object) -> None:
    """Raise on anything but a bank.

    Raises:
        ValueError: no list of 1 to 64 pairs of texts with different prompts, or of more than 12,000 characters.
    """
    pairs: Any = value
    if not isinstance(pairs, list) or not 1 <= len(pairs) <= MOST_EXAMPLES:
        raise ValueError(f"scaffold.examples: expected a list of 1 to {MOST_EXAMPLES} pairs")
    for place, pair in enumerate(pairs):
        if not isinstance(pair, list) or not fits(pair):
            what = "expected [prompt, answer], printable texts and lines in Unicode's form NFC"
            raise ValueError(f"scaffold.examples[{place}]: {what}")
    if len({prompt for prompt, _ in pairs}) < len(pairs):
        raise ValueError("scaffold.examples: expected each prompt once")
    if (total := sum(len(text) for pair in pairs for text in pair)) > MOST_CHARS:
        raise ValueError(f"scaffold.examples: expected at most {MOST_CHARS} characters in all, got {total}")


def shown(prompt: str, examples: Sequence[Pair]) -> str:
    """The prompt after solved ones, each followed by its answer and an empty line, in the order given."""
    return "".join(f"{asked}{answer}\n\n" for asked, answer in examples) + prompt


class Bank:
    """Pairs, found by similarity.

    Args:
        pairs: as `check` accepts them, or none.
    """

    def __init__(self, pairs: Iterable[Sequence[str]]) -> None:
        self.pairs: list[Pair] = [(prompt, answer) for prompt, answer in pairs]
        counts = [_grams(prompt) for prompt, _ in self.pairs]
        among = Counter(gram for grams in counts for gram in grams)
        self._rare = {gram: math.log((1 + len(counts)) / (1 + n)) + 1 for gram, n in among.items()}
        self._vectors = [self._weighted(grams) for grams in counts]

    def alike(self, prompt: str) -> list[float]:
        """How much each pair's prompt is like this one: 0 to 1, in the bank's order."""
        asked = self._weighted(_grams(prompt))
        return [sum(weight * asked.get(gram, 0.0) for gram, weight in vector.items()) for vector in self._vectors]

    def nearest(self, prompt: str, n: int) -> list[Pair]:
        """The `n` pairs whose prompts are most like this one, most alike first; of equals the earlier."""
        alike = self.alike(prompt)
        return [self.pairs[i] for i in sorted(range(len(self.pairs)), key=lambda i: -alike[i])[:n]]

    def _weighted(self, grams: Counter[str]) -> dict[str, float]:
        """A vector of length one over the bank's trigrams."""
        found = {gram: n * self._rare[gram] for gram, n in grams.items() if gram in self._rare}
        length = math.sqrt(sum(weight * weight for weight in found.values()))
        return {gram: weight / length for gram, weight in found.items()}


def _grams(text: str) -> Counter[str]:
    padded = f" {text.lower()} "
    return Counter(padded[i : i + _GRAM] for i in range(len(padded) - _GRAM + 1))
