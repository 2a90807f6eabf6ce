"""What every codec is: text to token ids and back.

Not here: codecs (`codec.py`, `codec_python.py`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evolvent.types import derive_seed

PAD, EOS = 0, 1


@dataclass(frozen=True)
class Encoded:
    """A prompt's ids and the slot table that its answer is read with (``{}`` for codecs that need none)."""

    ids: list[int]
    slots: dict[str, int]


class Codec(Protocol):
    """The contract: `decode(encode_answer(text, e), e)` equals `text` up to white space, or encoding raises."""

    @property
    def size(self) -> int:
        """Vocabulary size."""
        ...

    @property
    def eos(self) -> int:
        """Id of the end mark."""
        ...

    @property
    def pad(self) -> int:
        """Id of the padding."""
        ...

    def encode(self, prompt: str, variant: int = 0) -> Encoded:
        """A prompt's ids. `variant` > 0 gives another, equally valid encoding, for augmentation.

        Raises:
            ValueError: the prompt cannot be encoded (too many names, unknown characters).
        """
        ...

    def encode_answer(self, answer: str, encoded: Encoded) -> list[int]:
        """An answer's ids, end mark included.

        Raises:
            ValueError: the answer uses something that the prompt does not hold.
        """
        ...

    def decode(self, ids: Sequence[int], encoded: Encoded) -> str:
        """Ids up to the end mark as text."""
        ...

    def plain(self) -> dict[str, Any]:
        """The codec as JSON, for `from_plain`."""
        ...


def draw_slots(names: Sequence[str], num_slots: int, first: int, prompt: str, variant: int) -> dict[str, int]:
    """A slot token for each name, by a permutation drawn from the prompt's hash and the variant.

    Raises:
        ValueError: more names than slots.
    """
    if len(names) > num_slots:
        raise ValueError(f"prompt: expected at most {num_slots} distinct names and literals, got {len(names)}")
    order = list(range(num_slots))
    random.Random(derive_seed("slots", prompt, variant)).shuffle(order)
    return {name: first + order[i] for i, name in enumerate(names)}
