"""A world small enough to be known whole: a tiny model, and its answers to every string of three letters.

There are 4,096 such strings. The start of a recipe asks the model each of them, once greedily and a few times at each
temperature that a program can name. After that programs run as ever, but their questions are answered out of this bank,
so that a hundred measurements cost little. A problem that is drawn anew is a new draw from all strings, as in any run
on strings this short; and what a program is worth can be read off over all of them.

Not here: longer strings; a model that changes. Answers of a sampling step are different ones of the bank, but a second
step at the same temperature may be given one of them again.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evolvent.jobs import JobContext
from evolvent.models.files import from_files
from evolvent.models.sampler import Sampled, sample
from evolvent.observe.solving import accuracy
from evolvent.recipes.base import Unit
from evolvent.recipes.strings_seed import TASK, draw, truth
from evolvent.scaffold import programs
from evolvent.scaffold.grammar import Step
from evolvent.scaffold.tools import Tools
from evolvent.tasks.strings import ALPHABET, MARK
from evolvent.train.seedling import seedling
from evolvent.types import Problem, derive_seed

__all__ = ["TARGET", "Bank", "bank_of", "strings_bank"]

TARGET = "evolvent.recipes.strings_bank:strings_bank"
LENGTH = 3
_TEMPERATURES = ("0", "0.3", "0.6", "0.9")  # all that a program can name
_LOOKS, _ROWS, _ROOM = 60, 512, 6  # problems that say when the model is ready; batch rows; tokens of an answer


def strings_bank(ctx: JobContext) -> dict[str, str]:
    """The job. Returns ``bank``: the prompts in a random order, and their answers by temperature.

    Params ``each`` (labels of each length), ``share`` (solved greedily when training ends, decimal text), ``answers``
    (at each temperature above 0), ``strings`` (how many are asked). Reference answers are read to train the model and
    to see when it is ready.
    """
    params, looks = ctx.params, draw(LENGTH, _LOOKS, "looks", ctx.seed)
    examples = truth([p for n in (2, 3, 4) for p in draw(n, params["each"], "gold", ctx.seed)])

    def ready(files: dict[str, bytes]) -> bool:
        return accuracy(*from_files(files), TASK, looks) >= float(params["share"])

    model, codec = from_files(seedling(examples, ALPHABET + MARK, ctx.seed, ready))
    prompts = ["".join(letters) + MARK for letters in itertools.product(ALPHABET, repeat=LENGTH)]
    random.Random(derive_seed("strings", ctx.seed)).shuffle(prompts)
    prompts = prompts[: params["strings"]]
    bank: dict[str, list[list[str]]] = {}
    for temperature in _TEMPERATURES:
        count = params["answers"] if temperature != "0" else 1
        seed, heat = derive_seed("bank", ctx.seed, temperature), float(temperature)
        way = {"temperature": heat, "seed": seed, "max_new_tokens": _ROOM, "rows": _ROWS}
        bank[temperature] = sample(model, codec, prompts, num_samples=count, **way).outputs
    return {"bank": ctx.store.put_bytes(json.dumps({"prompts": prompts, "answers": bank}, sort_keys=True).encode())}


def bank_of(unit: Unit) -> Bank:
    """What the unit's start asked."""
    told = json.loads(unit.store.get_bytes(unit.start["bank"]))
    given = {"function": TASK.function}
    return Bank(
        problems={p: Problem(task=TASK.name, skill="short", prompt=p, given=given) for p in told["prompts"]},
        answers={float(t): dict(zip(told["prompts"], rows, strict=True)) for t, rows in told["answers"].items()},
    )


@dataclass(frozen=True, kw_only=True)
class Bank:
    """The world.

    Attributes:
        problems: by prompt, in a random order.
        answers: by temperature and prompt, the model's.
    """

    problems: Mapping[str, Problem]
    answers: Mapping[float, Mapping[str, Sequence[str]]]

    def generate(self, prompts: Sequence[str], num_samples: int, temperature: float, seed: int) -> Sampled:
        """As a model's sampler: so many of each prompt's answers in a row, from a random one on, in a ring.

        Raises:
            ValueError: a step asks for more answers than the bank holds.
        """
        rng, known, outputs = random.Random(seed), self.answers[temperature], list[list[str]]()
        for prompt in prompts:
            some = known[prompt]
            if num_samples > len(some):
                raise ValueError(f"num_samples: expected at most {len(some)}, got {num_samples}")
            first = rng.randrange(len(some))
            outputs.append([*some[first:], *some[:first]][:num_samples])
        written = sum(len(text) + 1 for some in outputs for text in some)
        return Sampled(outputs, sum(map(len, prompts)), written)

    def solved(self, steps: list[Step], prompts: Sequence[str], seed: int) -> tuple[list[bool], int]:
        """Which prompts a program solves, and the tokens that it takes.

        The same seed hands two programs the same answers where they ask the same, so that of programs that come to the
        same none looks better.
        """
        tools = Tools(TASK.feedback, TASK.advance, TASK.revise)
        out = programs.run({"kind": "steps", "steps": steps}, self.generate, tools, prompts, seed)
        made = zip(prompts, out.outputs, strict=True)
        return [TASK.verify(self.problems[prompt], text, 0).correct for prompt, text in made], out.tokens
