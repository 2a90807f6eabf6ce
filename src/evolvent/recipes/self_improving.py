"""Self-Improving Transformers: from easy to hard on the model's own answers, kept if it finds the way back from them.

Each round draws unlabelled strings one letter longer than before, and new ones of every length since the labelled ones;
the model answers; what the arm keeps is trained on beside the easy labels. Nothing old is kept, so an early mistake can
be unlearned. All arms of a seed see the same strings.
"""

from __future__ import annotations

from typing import Any

from evolvent.curate.cycle import answers_of, cycle_check
from evolvent.models.codec import Codec
from evolvent.observe.solving import accuracy
from evolvent.recipes.base import Figures, Recipe, Unit
from evolvent.recipes.strings_seed import SMALL, TARGET, TASK, draw, gold, model_of, precision, truth
from evolvent.train.batches import Example, Source
from evolvent.train.fit import fit
from evolvent.types import Problem, derive_seed


def labelled(arm: str, model: Any, codec: Codec, problems: list[Problem]) -> list[Example]:
    """What an arm believes of one draw."""
    if arm == "oracle":
        return truth(problems)
    generate = answers_of(model, codec, TASK.max_output_tokens)
    prompts = [problem.prompt for problem in problems]
    answers = [samples[0] for samples in generate(prompts, 1, 0.0, 0).outputs]
    if arm == "random":
        answers = [*answers[1:], answers[0]]
    keep = cycle_check(TASK, generate, prompts, answers).kept if arm == "cycle" else (True,) * len(answers)
    return [Example(p, a) for p, a, kept in zip(prompts, answers, keep, strict=True) if kept]


def collect(unit: Unit, model: Any, codec: Codec, length: int, wanted: int, number: int) -> list[Example]:
    """Draw until as many pairs of one length are believed as wanted, or the round's draws are used up."""
    found: list[Example] = []
    for part in range(unit.settings["draws"] if unit.arm != "none" else 0):
        if len(found) < wanted:
            problems = draw(length, unit.settings["keep"], "unlabelled", unit.seed, number, part)
            found += labelled(unit.arm, model, codec, problems)
    return found[:wanted]


def run(unit: Unit) -> Figures:
    """The rounds, then accuracy on fresh strings; precision of what was kept is for the report only."""
    settings, figures = unit.settings, Figures()
    model, codec = model_of(unit)
    easy = gold(unit.seed, settings["start"]["each"])
    lengths = range(TASK.short + 1, TASK.short + 1 + settings["rounds"])
    for number, length in enumerate(lengths):
        new = collect(unit, model, codec, length, settings["keep"], number)
        shorter = range(TASK.short + 1, length)
        again = [e for n in shorter for e in collect(unit, model, codec, n, settings["again"], number)]
        if unit.arm != "none":
            figures[f"precision of labels, round {number + 1}"] = precision(new)
        sources = [Source("gold", easy, 0.2), Source("new", new, 0.4), Source("again", again, 0.4)]
        fit(model, codec, sources, settings["round"], derive_seed("round", unit.seed, number))
    for name, length in (("last length", lengths[-1]), ("one beyond", lengths[-1] + 1)):
        figures[f"accuracy, {name}"] = accuracy(model, codec, TASK, draw(length, settings["test"], "test", unit.seed))
    return figures


FULL = {
    "seeds": [0, 1, 2, 3, 4], "version": 1, "start": SMALL,
    "rounds": 8, "keep": 2000, "again": 500, "draws": 10, "test": 300,
    "round": {"steps": 400, "tokens": 768, "rate": "0.003"},
}  # fmt: skip
RECIPE = Recipe(
    name="self_improving",
    title="Self-Improving Transformers: easy to hard on own answers",
    paper="Lee et al. 2025, arXiv:2502.01612",
    claim="paper, 14 M parameters: copying, reversal and addition climb from ten digits to dozens on own answers",
    expected="cycle near 1.00 at the last length, none and unfiltered near 0 (our pilot: 1.00 at 13, controls 0)",
    arms={
        "cycle": "own answers that the model maps back to the prompt",
        "none": "as many steps and tokens on the easy labels",
        "unfiltered": "all own answers",
        "random": "own answers to other prompts (placebo)",
        "oracle": "true labels",
    },
    mechanism="cycle",
    control="none",
    oracles=("oracle",),
    metric="accuracy, last length",
    traps=(
        "The schedule is fixed, a round a length: one that waits for accuracy at the next length reads truth.",
        "A wrong involution, such as plain copying, passes the cycle check; hence gold in each step.",
        "A share of wrong labels that looks small compounds: see the precision of `unfiltered` by round.",
    ),
    run=run,
    start=TARGET,
    full=FULL,
    quick={
        **FULL, "seeds": [10, 11, 12], "rounds": 2, "keep": 400, "again": 200, "draws": 3, "test": 150,
        "round": {"steps": 110, "tokens": 512, "rate": "0.003"},
    },
)  # fmt: skip
