"""SEAL's forgetting curve: eight passages are learned one after the other; what becomes of the first?

A passage is a handful of facts, a string of letters and three letters that belong to it, which nothing else predicts.
An edit trains on one passage. The arms differ in what stands beside it in each step, and in whether an edit is taken
back that costs earlier facts more than the margin; all spend the same steps and tokens. What the model could do before,
to reverse short strings, is watched and protected by no gate.
"""

from __future__ import annotations

import random

from evolvent.curate.cycle import answers_of
from evolvent.models.files import from_files, to_files
from evolvent.observe.solving import accuracy
from evolvent.recipes.base import Figures, Recipe, Unit
from evolvent.recipes.strings_seed import SMALL, TARGET, TASK, draw, gold, model_of
from evolvent.scaffold.tools import Generate
from evolvent.tasks.strings import ALPHABET, MARK
from evolvent.train.batches import Example, Source
from evolvent.train.fit import fit
from evolvent.types import derive_seed

EDITS, MARGIN = 8, 0.10


def passage(seed: int, number: int, facts: int) -> list[Example]:
    """Facts that nothing but having read them tells."""
    rng = random.Random(derive_seed("passage", seed, number))
    return [
        Example("".join(rng.choices(ALPHABET, k=10)) + MARK, "".join(rng.choices(ALPHABET, k=3))) for _ in range(facts)
    ]


def known(generate: Generate, facts: list[Example]) -> float:
    """Share of facts that greedy answers tell."""
    out = generate([fact.prompt for fact in facts], 1, 0.0, 0).outputs
    return sum(texts[0] == fact.answer for texts, fact in zip(out, facts, strict=True)) / len(facts)


def run(unit: Unit) -> Figures:
    """The edits in sequence; the first passage after each, and everything at the end."""
    settings, figures, kept, told = unit.settings, Figures(), 0, 0.0  # told: of all earlier facts
    model, codec = model_of(unit)
    easy = gold(unit.seed, settings["start"]["each"])
    short = draw(TASK.short, settings["test"], "test", unit.seed)
    passages = [passage(unit.seed, number, settings["facts"]) for number in range(EDITS)]
    figures["short strings before"] = accuracy(model, codec, TASK, short)
    for number, facts in enumerate(passages):
        earlier = [fact for one in passages[:number] for fact in one]
        beside = 2 / 3 if unit.arm.startswith("replay") else 0.0
        sources = [Source("passage", facts, 1 - beside), Source("gold", easy, beside / 2)]
        sources += [Source("earlier", earlier, beside / 2)]
        files = to_files(model, codec)
        fit(model, codec, sources, settings["edit"], derive_seed("edit", unit.seed, number))
        generate = answers_of(model, codec, TASK.max_output_tokens)
        if unit.arm.endswith("gate") and earlier and told - known(generate, earlier) > MARGIN:
            model, codec = from_files(files)
            generate = answers_of(model, codec, TASK.max_output_tokens)
        else:
            kept += 1
        told = known(generate, [*earlier, *facts])
        figures[f"first passage after edit {number + 1}"] = known(generate, passages[0])
    return {
        **figures,
        "all facts at the end": told,
        "short strings at the end": accuracy(model, codec, TASK, short),
        "edits kept": float(kept),
    }


FULL = {
    "seeds": [0, 1, 2, 3, 4], "version": 1, "start": SMALL, "facts": 12, "test": 300,
    "edit": {"steps": 120, "tokens": 384, "rate": "0.001"},
}  # fmt: skip
RECIPE = Recipe(
    name="seal_forgetting",
    title="SEAL's forgetting curve: self-edits in sequence",
    paper="arXiv:2506.10943, Continual-Intelligence/SEAL",
    claim="repository: the first passage after 1 to 8 edits .383 .364 .288 .272 .235 .233 .186 .189; untouched .331",
    expected="none falls to nearly nothing, replay holds most of it, the gate keeps the first and learns less",
    arms={
        "replay": "two thirds of each step are earlier passages and labelled short strings",
        "none": "each edit trains on its passage alone",
        "gate": "as none; an edit that costs more than ten points of the earlier facts is taken back",
        "replay, gate": "both",
    },
    mechanism="replay", control="none", metric="all facts at the end",
    traps=(
        "Facts of random letters share nothing, so nothing is transferred either.",
        "At equal steps, replay has a third of them left for the new passage.",
        "The gate here is a bare threshold on earlier facts, not the judge; what it does not look at is lost.",
    ),
    run=run, start=TARGET, full=FULL,
    quick={
        **FULL, "seeds": [10, 11, 12], "facts": 9, "test": 100,
        "edit": {"steps": 60, "tokens": 384, "rate": "0.001"},
    },
)  # fmt: skip
