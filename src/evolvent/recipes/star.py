"""STaR, ReST-EM, RFT: sample solutions of problems with known answers, learn from those that come out right.

Training problems are strings of six to eight letters with a checker, which reads the truth: what these methods need,
and what self-labelling does without. A solution here is the answer itself, with no reasoning before it, so STaR's
second try with the answer in view is the true label, and its arm an oracle. Arms learn from as many problems, with as
many samples, steps and tokens; in the end pass@1 and pass@8 on fresh strings, eight samples each.
"""

from __future__ import annotations

from evolvent.curate.cycle import answers_of
from evolvent.observe.solving import correct, pass_at
from evolvent.recipes.base import Figures, Recipe, Unit
from evolvent.recipes.strings_seed import SMALL, TARGET, TASK, draw, gold, model_of, precision, truth
from evolvent.train.batches import Example, Source
from evolvent.train.fit import fit
from evolvent.types import derive_seed

LENGTHS, K, WARM = (6, 7, 8), 8, 0.7


def run(unit: Unit) -> Figures:
    """Rounds of sampling, keeping and training; then pass@1 and pass@8."""
    settings, seed, arm = unit.settings, unit.seed, unit.arm
    model, codec = model_of(unit)
    easy, pool = gold(seed, settings["start"]["each"]), list[Example]()
    new: list[Example] = []
    rounds = 1 if arm == "rft" else settings["rounds"]
    each = settings["rounds"] // rounds  # rft asks in one round what the others ask in all
    for number in range(rounds):
        problems = [p for n in LENGTHS for p in draw(n, settings["problems"] * each, "train", seed, number)]
        prompts = [problem.prompt for problem in problems]
        generate = answers_of(model, codec, TASK.max_output_tokens)
        tries = generate(prompts, settings["samples"], WARM, derive_seed(seed, "sample", number)).outputs
        right = correct(TASK, problems, tries, 0)
        kept = {
            prompt: some[flags.index(True)] if any(flags) else ""
            for prompt, some, flags in zip(prompts, tries, right, strict=True)
        }
        if arm == "unfiltered":
            new = [Example(prompt, some[0]) for prompt, some in zip(prompts, tries, strict=True)]
        elif arm == "star, rationalised":
            new = truth(problems)
        else:
            new = [Example(prompt, text) for prompt, text in kept.items() if text and arm != "seed data"]
        pool = [*pool, *new] if arm == "rest-em, pooled" else new
        if arm not in ("continued", "seed data"):
            model, codec = model_of(unit)  # from the start again: what one round got wrong does not stay
        sources = [Source("gold", easy, 0.3), Source("kept", pool, 0.7)]
        training = {**settings["training"], "steps": settings["training"]["steps"] * each}
        fit(model, codec, sources, training, derive_seed(seed, "training", number))
    fresh = [p for n in LENGTHS for p in draw(n, settings["test"], "test", seed)]
    out = answers_of(model, codec, TASK.max_output_tokens)([p.prompt for p in fresh], K, WARM, derive_seed(seed, "k"))
    solved = correct(TASK, fresh, out.outputs, 0)
    one, many = pass_at(1, solved), pass_at(K, solved)
    return {
        "pass@1": one, f"pass@{K}": many, "gap": many - one, "precision of what was kept": precision(pool),
        "kept in the last round": float(len(new)),
    }  # fmt: skip


FULL = {
    "seeds": [0, 1, 2, 3, 4], "version": 1, "start": SMALL, "rounds": 3, "problems": 1000, "samples": 4, "test": 300,
    "training": {"steps": 300, "tokens": 512, "rate": "0.002"},
}  # fmt: skip
RECIPE = Recipe(
    name="star",
    title="STaR, ReST-EM, RFT: keep what checks",
    paper="arXiv:2203.14465, arXiv:2312.06585, arXiv:2308.01825",
    claim="papers (from memory): STaR on CommonsenseQA 72.5 against 60.0; RFT on GSM8K 35.9 to about 41",
    expected="pass@1 rises above unfiltered, pass@8 less: part of the gain is sharpening",
    arms={
        "rest-em": "one right sample a problem; trains from the start again each round",
        "unfiltered": "as many samples, right or wrong",
        "continued": "as rest-em, but each round goes on from the last",
        "rest-em, pooled": "as rest-em, and keeps what earlier rounds kept",
        "rft": "all sampling in one round from the start, then all steps",
        "seed data": "as many steps on the labelled short strings",
        "star, rationalised": "true labels where the samples fail too",
    },
    mechanism="rest-em",
    control="unfiltered",
    oracles=("star, rationalised",),
    metric="pass@1",
    traps=(
        "The checker reads truth on training problems; a task without one cannot run this.",
        "A gap between pass@8 and pass@1 that closes while pass@8 stands still is sharpening, not ability.",
        "What is kept are the easier problems: fewer examples than the unfiltered arm has, more often repeated.",
        "Who restarts each round ends with the last round's steps alone; rft and continued end with all of them.",
    ),
    run=run, start=TARGET, full=FULL,
    quick={
        **FULL, "seeds": [10, 11, 12], "rounds": 2, "problems": 80, "test": 60,
        "training": {"steps": 45, "tokens": 512, "rate": "0.002"},
    },
)  # fmt: skip
