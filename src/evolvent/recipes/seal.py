"""SEAL: learn to write one's own edits, here directives: which data, how much of them, how fast.

A directive is applied to the start, in equal steps whatever it says, and earns its accuracy on dev strings of six and
seven letters. A policy draws five, keeps the two best, is fitted to them, and again. Its control spends the same trials
on directives drawn evenly and takes the best. Both are then measured on fresh strings.
"""

from __future__ import annotations

import random
from functools import cache

from evolvent.curate.challenger import passing_answers
from evolvent.curate.cycle import answers_of
from evolvent.observe.solving import accuracy
from evolvent.propose.directives import Directive, DirectivePolicy
from evolvent.recipes.base import Figures, Recipe, Unit
from evolvent.recipes.strings_seed import SMALL, TARGET, TASK, draw, gold, model_of
from evolvent.train.batches import Example, Source
from evolvent.train.fit import fit
from evolvent.types import derive_seed

LENGTHS, EDIT = (6, 7), {"steps": 50, "tokens": 512}
OPTIONS = {
    "data": ("6", "7", "6 7", "6 7 8"),
    "filter": ("cycle", "none"),
    "share": ("0.2", "0.5", "0.8"),
    "rate": ("0.0003", "0.001", "0.003", "0.01"),
}


def run(unit: Unit) -> Figures:
    """Choose a directive as the arm does, apply it to the start, measure."""
    settings, seed, rng = unit.settings, unit.seed, random.Random(derive_seed("directives", unit.seed))
    easy = gold(seed, settings["start"]["each"])
    dev, fresh = ([p for n in LENGTHS for p in draw(n, settings[name], name, seed)] for name in ("dev", "test"))
    short = draw(TASK.short, settings["test"], "test", seed)

    @cache
    def own(length: int, kind: str) -> tuple[Example, ...]:
        model, codec = model_of(unit)
        prompts = [p.prompt for p in draw(length, settings["questions"], "unlabelled", seed)]
        generate = answers_of(model, codec, TASK.max_output_tokens)
        cycled = kind == "cycle"
        some = passing_answers(TASK, generate, prompts, 1, 0.0, 0) if cycled else generate(prompts, 1, 0.0, 0).outputs
        return tuple(Example(p, answers[0]) for p, answers in zip(prompts, some, strict=True) if answers)

    def applied(directive: Directive) -> list[float]:
        model, codec = model_of(unit)
        labels = [e for n in directive["data"].split() for e in own(int(n), directive["filter"])]
        share = float(directive["share"])
        sources = [Source("gold", easy, 1 - share), Source("own", labels, share)]
        fit(model, codec, sources, {**settings["edit"], "rate": directive["rate"]}, derive_seed("edit", seed))
        return [accuracy(model, codec, TASK, problems) for problems in (dev, fresh, short)]

    policy, tried = DirectivePolicy(options=OPTIONS), list[tuple[Directive, float]]()
    for _ in range(settings["rounds"] if unit.arm != "random" else 0):
        drawn = [policy.draw(rng) for _ in range(settings["draws"])]
        told = [(directive, applied(directive)[1 if unit.arm == "oracle" else 0]) for directive in drawn]
        tried += told
        policy = policy.learn(told, 2) if unit.arm == "learned" else policy
    best = max(tried, key=lambda pair: pair[1])[0] if tried else policy.draw(rng)
    chosen = policy.likeliest() if unit.arm == "learned" else best
    on_dev, on_fresh, on_short = applied(chosen)
    model, codec = model_of(unit)
    return {
        "gain": on_fresh - accuracy(model, codec, TASK, fresh),
        "dev minus fresh": on_dev - on_fresh,
        "gain on short strings": on_short - accuracy(model, codec, TASK, short),
        **{f"chosen {name}": float(OPTIONS[name].index(value)) for name, value in chosen.items()},
    }


FULL = {
    "seeds": [0, 1, 2, 3, 4], "version": 1, "start": SMALL, "rounds": 4, "draws": 5, "questions": 1000, "dev": 150,
    "test": 300, "edit": {**EDIT, "steps": 150},
}  # fmt: skip
RECIPE = Recipe(
    name="seal",
    title="SEAL: learned self-edits against the best fixed one",
    paper="arXiv:2506.10943, Continual-Intelligence/SEAL",
    claim="repository, passage 33.5, own text 39.7, after two rounds of RL 47.0; but a fixed prompt, no RL, 49.4",
    expected="learned equals the best fixed directive at equal trials; both above random",
    arms={
        "learned": "a policy over directives, fitted to the best two of five, in rounds; its likeliest directive",
        "fixed": "the best of as many directives drawn evenly",
        "random": "one directive drawn evenly, none tried",
        "oracle": "as fixed, chosen on the fresh strings themselves",
    },
    mechanism="learned",
    control="fixed",
    oracles=("oracle",),
    metric="gain",
    traps=(
        "A fixed directive found by as many trials is the control, not no directive.",
        "The best of many trials on dev looks better there than it is: see dev minus fresh.",
    ),
    run=run, start=TARGET, full=FULL,
    quick={**FULL, "seeds": [10, 11, 12], "rounds": 2, "questions": 100, "dev": 40, "test": 80, "edit": EDIT},
)  # fmt: skip
