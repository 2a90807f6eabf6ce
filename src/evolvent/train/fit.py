"""One training from a mix of sources, in a call: what recipes and experiments do again and again.

Not here: training as a job with an allowance (`jobs.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evolvent.models.codec import Codec
from evolvent.train.batches import Source, batches
from evolvent.train.optimise import Schedule, Trained, optimise

__all__ = ["fit"]


def fit(model: Any, codec: Codec, sources: Sequence[Source], settings: Mapping[str, Any], seed: int) -> Trained:
    """Train in place.

    Args:
        model: in memory.
        codec: its codec.
        sources: examples with their shares of the tokens.
        settings: ``steps``, ``tokens`` (padded, of a step), ``rate`` (peak, a number or decimal text).
        seed: of the order of the examples.

    Raises:
        ValueError: nothing to learn from.
        JobFailed: ``diverged``.
    """
    schedule = Schedule(steps=int(settings["steps"]), learning_rate=float(settings["rate"]), final=0.05)
    return optimise(model, batches(sources, codec, schedule.steps, int(settings["tokens"]), seed), schedule)
