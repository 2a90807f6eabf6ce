"""What recipes about repairs start from: the shipped model, fresh bugs, and the model's own first traces of them.

Functions with one bug and with two take turns: of one bug alone too few second attempts pass to learn from
(`docs/log.md`). The traces of the first round are made here once, since all arms of a seed would make the same.
Training data beside them is what the model was shipped with; true fixes are for declared oracle arms.

Not here: what a recipe does with it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from evolvent.curate.cycle import answers_of
from evolvent.curate.repairs import Trace, repair_traces
from evolvent.inputs import plain_lines, seed_files, shipped_gold
from evolvent.jobs import JobContext
from evolvent.models.codec import Codec
from evolvent.models.files import from_files
from evolvent.observe.solving import correct
from evolvent.recipes.base import Figures, Unit
from evolvent.tasks.python_fix import PythonFix
from evolvent.tasks.python_fix.prompts import CODE
from evolvent.tasks.python_fix.reference import reference
from evolvent.train.batches import Example
from evolvent.types import Problem, derive_seed

__all__ = ["TARGET", "before", "fresh", "gold", "made", "model_of", "python_start", "solved", "true_turns"]

TASK = PythonFix()
SEED, SKILLS = "python-seed", ("single", "double")
TARGET = "evolvent.recipes.python_start:python_start"
ROOM = 48  # tokens of an answer: three changed lines; what is longer seldom ends at all
WARM = 0.7


def python_start(ctx: JobContext) -> dict[str, str]:
    """The job. Params ``rounds, problems`` (of a round), ``test``; returns ``model, rounds, traces, test, before``."""
    model, codec = from_files(seed_files(SEED))
    rounds = [_draw(ctx.params["problems"], ctx.seed, "round", number) for number in range(ctx.params["rounds"])]
    test = _draw(ctx.params["test"], ctx.seed, "test")
    return {
        "model": ctx.store.put_tree(seed_files(SEED), "model", {}),
        "rounds": ctx.store.put_json([[problem.plain() for problem in problems] for problems in rounds]),
        "traces": ctx.store.put_json([asdict(trace) for trace in made(model, codec, rounds[0], ctx.seed, 0)]),
        "test": ctx.store.put_json([problem.plain() for problem in test]),
        "before": ctx.store.put_bytes(json.dumps(solved(model, codec, test)).encode()),
    }


def _draw(count: int, seed: int, *path: object) -> list[Problem]:
    each = [TASK.generate(s, random.Random(derive_seed("repairs", s, seed, *path)), count // 2) for s in SKILLS]
    return [problem for pair in zip(*each, strict=True) for problem in pair]


def model_of(unit: Unit) -> tuple[Any, Codec]:
    """A copy of the shipped model, to train on."""
    return from_files(unit.store.read_tree(unit.start["model"]))


def made(model: Any, codec: Codec, problems: Sequence[Problem], seed: int, number: int) -> list[Trace]:
    """A model's sampled traces of the problems of a round."""
    generate = answers_of(model, codec, ROOM)
    prompts = [problem.prompt for problem in problems]
    return list(repair_traces(TASK, generate, prompts, WARM, derive_seed(seed, "traces", number)).traces)


def fresh(unit: Unit) -> tuple[list[list[Problem]], list[Trace], list[Problem]]:
    """Problems by round, the shipped model's traces of the first round, and problems to measure on."""
    rounds, traces, test = (unit.store.get_json(unit.start[name]) for name in ("rounds", "traces", "test"))
    first = [Trace(**{**trace, "faults": tuple(trace["faults"])}) for trace in traces]
    return [[Problem(**p) for p in problems] for problems in rounds], first, [Problem(**p) for p in test]


def before(unit: Unit) -> Figures:
    """What the shipped model solves of the problems to measure on."""
    figures = json.loads(unit.store.get_bytes(unit.start["before"]))
    return {f"{name}, before": value for name, value in figures.items()}


def gold() -> list[Example]:
    """The repairs among the data that the model was shipped with."""
    rows = [json.loads(line) for line in plain_lines(shipped_gold(SEED))]
    return [Example(row["prompt"], row["answer"]) for row in rows if f"{CODE}\n" in row["prompt"]]


def true_turns(problem: Problem, trace: Trace) -> list[Example]:
    """The turns of a trace with true fixes in place of the model's; for declared oracle arms."""
    return [Example(prompt, reference(replace(problem, prompt=prompt))) for prompt in (trace.prompt, trace.asked)]


def solved(model: Any, codec: Codec, problems: Sequence[Problem]) -> Figures:
    """Shares that a greedy attempt solves by the hidden tests, and that it does with one fix after it."""
    traced = repair_traces(TASK, answers_of(model, codec, ROOM), [p.prompt for p in problems], 0.0, 0).traces
    right = correct(TASK, problems, [[trace.first, trace.answer] for trace in traced], 0)
    figures = {"pass@1": [one for one, _ in right], "solved within two attempts": [two for _, two in right]}
    for place, name in enumerate(("one bug", "two bugs")):
        figures[f"pass@1, {name}"] = figures["pass@1"][place :: len(SKILLS)]
    return {name: sum(flags) / len(flags) for name, flags in figures.items()}
