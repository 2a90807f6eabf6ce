"""The small model that recipes about string reversal start from: taught on labelled strings of one to five letters.

Its labels are the only reference answers that a recipe trains on outside of declared oracle arms. No positions, plain
keys: what is learned at one length carries further (`docs/log.md`).

Not here: what a recipe does with it.
"""

from __future__ import annotations

import random
from typing import Any

from evolvent.jobs import JobContext
from evolvent.models.codec import CharCodec, Codec
from evolvent.models.files import from_files, to_files
from evolvent.models.transformer import EvolventConfig, fresh
from evolvent.recipes.base import Unit
from evolvent.tasks.strings import ALPHABET, MARK, Strings
from evolvent.tasks.strings.reference import reference
from evolvent.train.batches import Example, Source
from evolvent.train.fit import fit
from evolvent.types import Problem, derive_seed

__all__ = ["SMALL", "TARGET", "TASK", "draw", "gold", "model_of", "precision", "strings_seed", "truth"]

TASK = Strings()
TARGET = "evolvent.recipes.strings_seed:strings_seed"
CODEC = CharCodec(ALPHABET + MARK)
# Solves about half of the strings of six letters and a seventh of those of seven: an edge to climb from.
SMALL = {"each": 1000, "steps": 1000, "tokens": 512, "rate": "0.003"}


def strings_seed(ctx: JobContext) -> dict[str, str]:
    """The job. Params ``each`` (labels of each length), ``steps, tokens, rate``; returns ``model``."""
    config = EvolventConfig(
        vocab_size=CODEC.size, hidden_size=64, num_hidden_layers=3, intermediate_size=128, positions="none", smear=False
    )
    model = fresh(config, derive_seed("init", ctx.seed))
    fit(model, CODEC, [Source("gold", gold(ctx.seed, ctx.params["each"]), 1.0)], ctx.params, ctx.seed)
    return {"model": ctx.store.put_tree(to_files(model, CODEC), "model", {})}


def model_of(unit: Unit) -> tuple[Any, Codec]:
    """A copy of the seed's model, to train on."""
    return from_files(unit.store.read_tree(unit.start["model"]))


def draw(length: int, count: int, *path: object) -> list[Problem]:
    """Fresh problems of one length; the same path gives the same ones."""
    return TASK.challenge({"length": str(length)}, random.Random(derive_seed("strings", length, *path)), count)


def truth(problems: list[Problem]) -> list[Example]:
    """True labels: of the seed's own data, and for declared oracle arms."""
    return [Example(problem.prompt, reference(problem)) for problem in problems]


def gold(seed: int, each: int) -> list[Example]:
    """Labelled strings of one to five letters, `each` of a length."""
    return truth([p for length in range(1, TASK.short + 1) for p in draw(length, each, "gold", seed)])


def precision(examples: list[Example]) -> float:
    """Share of examples with the true answer, 0 for none. For the report only."""
    given = {"function": TASK.function}
    asked = [Problem(task=TASK.name, skill="long", prompt=e.prompt, given=given) for e in examples]
    right = sum(made.answer == true.answer for made, true in zip(examples, truth(asked), strict=True))
    return right / len(examples) if examples else 0.0
