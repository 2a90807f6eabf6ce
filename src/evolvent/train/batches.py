"""Batches of equal cost from a mix of sources.

A step holds a fixed number of padded tokens, not of examples, so arms that train on short and on long examples spend
the same. Examples are drawn without replacement within a source until it is used up, then again.

Not here: which examples are worth a step (`curate/`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evolvent.models.codec import Codec

REFUSED_LIMIT = 1000  # examples; more than that, and more than batches made, is a wrong source
POOL = 8  # batches drawn together and sorted by length, so that padding stays under a tenth


@dataclass(frozen=True)
class Example:
    """One supervised pair."""

    prompt: str
    answer: str


@dataclass(frozen=True)
class Source:
    """A named set of examples and its share of each step's tokens."""

    name: str
    examples: Sequence[Example]
    share: float


def _stream(source: Source, rng: random.Random) -> Iterator[tuple[Example, int]]:
    epoch = 0
    while True:
        order = list(range(len(source.examples)))
        rng.shuffle(order)
        epoch += 1
        for i in order:
            yield source.examples[i], epoch


def batches(
    sources: Sequence[Source], codec: Codec, steps: int, tokens_per_step: int, seed: int, *, prompt_loss: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """`steps` batches of ``(input_ids, labels)``, each ``(rows, width)`` with rows * width <= tokens_per_step.

    Labels are -100 on padding and prompts. Each pass over a source encodes its prompts in a new variant.

    Args:
        sources: examples with their shares of the tokens.
        codec: the model's codec.
        steps: number of batches.
        tokens_per_step: padded tokens of a batch.
        seed: of the order.
        prompt_loss: also predict those prompt tokens that occurred before in the prompt: from scratch this teaches
            copying early, and nothing could predict a name's first occurrence. A fine-tuned model knows it, and is
            better taught by answers alone.

    Raises:
        ValueError: no source has both examples and a share above zero, or the codec cannot write what they hold.
    """
    live = [source for source in sources if source.examples and source.share > 0]
    if not live:
        raise ValueError("sources: expected at least one with examples and a share above 0")
    rng = random.Random(seed)
    streams = {source.name: _stream(source, rng) for source in live}
    drawn = dict.fromkeys(streams, 0)  # tokens by source, over all pools
    total = sum(source.share for source in live)
    made = refused = 0
    while made < steps:
        rows: list[tuple[list[int], int]] = []
        before = sum(drawn.values())
        while (now := sum(drawn.values())) - before < POOL * tokens_per_step:
            source = max(live, key=lambda s: s.share / total * (now + 1) - drawn[s.name])
            example, epoch = next(streams[source.name])
            try:
                encoded = codec.encode(example.prompt, variant=epoch)
                answer = codec.encode_answer(example.answer, encoded)
            except ValueError as exc:  # what the codec cannot write teaches nothing
                refused += 1
                if refused > REFUSED_LIMIT and refused > made:
                    raise ValueError(f"sources: the codec cannot write their examples: {exc}") from None
                continue
            rows.append((encoded.ids + answer, len(encoded.ids)))
            drawn[source.name] += len(encoded.ids) + len(answer)
        rows.sort(key=lambda row: len(row[0]))
        pool = list(_cut(rows, tokens_per_step))
        rng.shuffle(pool)
        for batch in pool[: steps - made]:
            made += 1
            yield _collate(batch, codec.pad, prompt_loss)


def _cut(rows: list[tuple[list[int], int]], tokens_per_step: int) -> Iterator[list[tuple[list[int], int]]]:
    batch: list[tuple[list[int], int]] = []
    for row in rows:  # ascending, so the newest row is the widest
        if batch and (len(batch) + 1) * len(row[0]) > tokens_per_step:
            yield batch
            batch = []
        batch.append(row)
    if batch and len(batch) * len(batch[-1][0]) > tokens_per_step // 2:
        yield batch


def _collate(batch: list[tuple[list[int], int]], pad: int, prompt_loss: bool) -> tuple[Tensor, Tensor]:
    width = max(len(ids) for ids, _ in batch)
    input_ids = torch.full((len(batch), width), pad, dtype=torch.long)
    labels = torch.full((len(batch), width), -100, dtype=torch.long)
    for i, (ids, prompt) in enumerate(batch):
        row = torch.tensor(ids)
        input_ids[i, : len(ids)] = row
        labels[i, prompt : len(ids)] = row[prompt:]
        seen: set[int] = set()
        for place, token in enumerate(ids[:prompt] if prompt_loss else ()):
            if token in seen:
                labels[i, place] = token
            seen.add(token)
    return input_ids, labels
