"""A challenger imitates first, and then writes what pays."""

from __future__ import annotations

import random

from evolvent.curate.challenger import Challenger
from evolvent.models.codec import CharCodec
from evolvent.tasks.strings import ALPHABET, MARK


def test_it_imitates_lengths_and_then_learns_which_pay() -> None:
    rng = random.Random(0)
    examples = ["".join(rng.choices(ALPHABET, k=rng.randint(1, 6))) for _ in range(400)]
    challenger = Challenger(CharCodec(ALPHABET + MARK), examples, MARK, 0)
    assert challenger.longest == 9
    before = challenger.write(100, 1)
    assert 2 < sum(map(len, before)) / 100 < 5  # examples have 3.5 letters on average
    assert challenger.write(100, 1) == before
    entropies = []
    for step in range(25):
        texts = challenger.write(48, 10 + step)
        entropies.append(challenger.learn(texts, [float(len(text) == 2) for text in texts]))
    after = challenger.write(100, 1)
    assert sum(len(text) == 2 for text in after) > 2 * sum(len(text) == 2 for text in before)
    assert len(set(after)) > 50  # varied still: what pays is a length, not a text
    assert all(entropy > 0 for entropy in entropies)
