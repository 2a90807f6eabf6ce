"""A tiny model that is half-way there: what small whole runs begin with.

Not here: the shipped seeds (`scripts/`), answers (whoever asks hands the examples in, and says that it does).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evolvent.models.codec import CharCodec
from evolvent.models.files import to_files
from evolvent.models.transformer import EvolventConfig, fresh
from evolvent.train.batches import Example, Source, batches
from evolvent.train.optimise import Schedule, optimise
from evolvent.types import derive_seed

_STEPS = 10  # between looks; short, because some functions come at once


def seedling(
    examples: Sequence[Example],
    alphabet: str,
    seed: int,
    ready: Callable[[dict[str, bytes]], bool],
    *,
    width: int = 32,
    layers: int = 2,
    parts: int = 200,
) -> dict[str, bytes]:
    """Files of a model trained on `examples`, ten steps at a time, until it is `ready` or `parts` are over."""
    codec = CharCodec(alphabet)
    config = EvolventConfig(
        vocab_size=codec.size, hidden_size=width, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=2 * width,
    )  # fmt: skip
    model = fresh(config, derive_seed("seedling", seed) >> 1)
    schedule = Schedule(steps=_STEPS, learning_rate=2.5e-3, final=1.0, warmup=1)
    files = to_files(model, codec)
    for part in range(parts):
        optimise(model, batches([Source("gold", list(examples), 1.0)], codec, _STEPS, 512, part), schedule)
        files = to_files(model, codec)
        if ready(files):
            break
    return files
