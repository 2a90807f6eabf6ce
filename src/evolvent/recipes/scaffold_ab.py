"""Scaffold A/B: the same weights under other programs, on the same problems, and what the gate says of the difference.

The control asks five times and takes the first answer: it spends what the vote spends and chooses nothing. `renamed` is
the control under another seed, so each difference that it shows is noise, and each time the gate adopts it is an error.
"""

from __future__ import annotations

import numpy as np

from evolvent.judge.rehearsal import rehearse
from evolvent.observe.rollout import rollout
from evolvent.recipes.base import Figures, Recipe, Unit
from evolvent.recipes.strings_seed import SMALL, TARGET, TASK, draw, model_of
from evolvent.types import Problem, derive_seed

FIVE = {"do": "sample", "n": 5, "temperature": "0.6"}
PROGRAMS = {
    "first of five": [FIVE],
    "renamed": [FIVE],
    "greedy": [{"do": "sample", "n": 1, "temperature": "0"}],
    "vote": [FIVE, {"do": "vote", "by": "text"}],
    "check, vote": [FIVE, {"do": "check", "by": "feedback"}, {"do": "vote", "by": "text"}],
    "retry": [FIVE | {"n": 1}, {"do": "retry", "by": "feedback", "times": 4, "temperature": "0.6"}],
}


def tried(unit: Unit, arm: str, problems: list[Problem]) -> tuple[list[bool], int]:
    """Which problems a program solves, and its tokens. `perfect check` keeps the first right one of five (oracle)."""
    model, codec = model_of(unit)
    seed = derive_seed("rollout", unit.seed, arm == "renamed")
    prompts = [problem.prompt for problem in problems]
    tries = 5 if arm == "perfect check" else 1
    program = {"kind": "steps", "steps": [FIVE | {"n": 1}] if arm == "perfect check" else PROGRAMS[arm]}
    solved, tokens = [False] * len(problems), 0
    for number in range(tries):
        out = rollout(model, codec, TASK, program, prompts, seed if tries == 1 else derive_seed(seed, number))
        right = [TASK.verify(p, text, 0).correct for p, text in zip(problems, out.outputs, strict=True)]
        solved, tokens = [a or b for a, b in zip(solved, right, strict=True)], tokens + out.tokens
    return solved, tokens


def run(unit: Unit) -> Figures:
    """Accuracy, tokens, and whether the gate would adopt the program in place of the control."""
    count = unit.settings["test"] // 2
    problems = [p for pair in zip(*(draw(n, count, "test", unit.seed) for n in (6, 7)), strict=True) for p in pair]
    mine, tokens = tried(unit, unit.arm, problems)
    base, base_tokens = tried(unit, "first of five", problems)
    differences = np.array(mine, np.int8) - np.array(base, np.int8)
    left = list(differences)

    def draw_next(asked: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
        taken, left[:asked] = np.array(left[:asked], np.int8), []
        return taken

    decision, items, _ = rehearse(draw_next, slot=1, most=len(problems), block=50)
    return {
        "accuracy": sum(mine) / len(mine),
        "tokens in those of the control": tokens / base_tokens,
        "problems that differ": float(np.abs(differences).mean()),
        "adopted by the gate": float(decision == "accept"),
        "items that the gate read": float(items),
    }


FULL = {"seeds": [0, 1, 2, 3, 4], "version": 1, "start": SMALL, "test": 2000}
RECIPE = Recipe(
    name="scaffold_ab",
    title="Scaffold A/B: choose the program, keep the weights",
    paper="after ADAS (ShengranHu/ADAS) and Wang et al., arXiv:2203.11171",
    claim="ADAS repository, best on validation then on test: MMLU 78.9 to 69.1, GPQA 38.8 to 32.3",
    expected="at .6 a try, independent: vote of five .683, perfect check .990; renamed never adopted (calc)",
    arms={
        "vote": "the most frequent of five answers",
        "first of five": "the first of five answers: the vote's tokens without its choice",
        "renamed": "the control under another seed (A/A)",
        "greedy": "one answer at temperature 0",
        "check, vote": "a vote among those of five answers that have the right form",
        "retry": "asks again, up to four times, until the form is right",
        "perfect check": "five tries, right if any is",
    },
    mechanism="vote",
    control="first of five",
    oracles=("perfect check",),
    metric="accuracy",
    traps=(
        "Equal answers are not equal tokens; greedy and retry spend less than the others.",
        "Pair the arms: 70 to 74 percent takes about 1,970 problems an arm if they are not paired (calc).",
        "Choosing a program on the problems that report it claims too much; these programs were fixed beforehand.",
    ),
    run=run,
    start=TARGET,
    full=FULL,
    quick={**FULL, "seeds": [10, 11, 12], "test": 400},
)
