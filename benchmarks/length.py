"""Does a model climb to lengths that nobody labelled, on its own answers and the cycle check alone?

String reversal, labelled at lengths 1 to 5. Then eight rounds: draw *unlabelled* strings one letter longer than before,
let the model answer, keep an answer only if the model maps it back to the prompt (`evolvent.curate.cycle`); do the same
with new strings of each length in between, so that no early mistake is kept; train on what was kept and on easy gold.
The last round has length 13 and nearly thrice the steps, in all arms; 14 and 15 are never seen.

Arms: ``cycle``; ``none``: as many steps and tokens on the labelled base data; ``unfiltered``: all answers; ``random``:
answers that belong to other prompts (placebo); ``oracle``: true labels (declared: the only arm that reads a reference
beyond length 5). All arms of a seed start from the same weights. The schedule is fixed: one round, one length. Accuracy
and the precision of what was kept are measured for the report and reach neither the rounds nor the training.

Run ``python benchmarks/length.py [--quick]``; resumes where it was stopped.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from common import Results, Unit, bench_main, paired_interval, plot_bands  # the frame shared by all benchmarks

from evolvent.curate.cycle import answers_of, cycle_check
from evolvent.disk import write_atomic
from evolvent.models.codec import CharCodec
from evolvent.models.files import from_files, to_files
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.store import Store
from evolvent.tasks.strings import ALPHABET, MARK, Strings
from evolvent.tasks.strings.reference import reference  # seed training and the oracle arm, nowhere else
from evolvent.train.batches import Example, Source, batches
from evolvent.train.optimise import Schedule, optimise
from evolvent.types import Problem, content_hash, derive_seed

ARMS = ("cycle", "none", "unfiltered", "random", "oracle")
TASK = Strings()
CODEC = CharCodec(ALPHABET + MARK)
LENGTHS = range(1, 16)
# What a round may keep: (problems, model) -> pairs. No filter but the oracle's knows an answer.
Labels = Callable[[list[Problem], Decoder], list[Example]]


def _draw(length: int, rng: random.Random, count: int) -> list[Problem]:
    return TASK.challenge({"length": str(length)}, rng, count)


def _answers(problems: list[Problem], model: Decoder) -> list[str]:
    generate = answers_of(model, CODEC, TASK.max_output_tokens)
    return [texts[0] for texts in generate([p.prompt for p in problems], 1, 0.0, 0).outputs]


def _unfiltered(problems: list[Problem], model: Decoder) -> list[Example]:
    return [Example(p.prompt, text) for p, text in zip(problems, _answers(problems, model), strict=True)]


def _cycle(problems: list[Problem], model: Decoder) -> list[Example]:
    pairs = _unfiltered(problems, model)
    generate = answers_of(model, CODEC, TASK.max_output_tokens)
    checked = cycle_check(TASK, generate, [pair.prompt for pair in pairs], [pair.answer for pair in pairs])
    return [pair for pair, kept in zip(pairs, checked.kept, strict=True) if kept]


def _random(problems: list[Problem], model: Decoder) -> list[Example]:
    pairs = _unfiltered(problems, model)
    return [Example(pair.prompt, other.answer) for pair, other in zip(pairs, [*pairs[1:], pairs[0]], strict=True)]


def _oracle(problems: list[Problem], model: Decoder) -> list[Example]:
    return [Example(p.prompt, reference(p)) for p in problems]


LABELS: dict[str, Labels] = {"cycle": _cycle, "unfiltered": _unfiltered, "random": _random, "oracle": _oracle}


def plain_transformer(seed: int) -> Decoder:
    """No positions, plain keys, plain initialisation.

    Smeared keys and an initialisation that copies are made for finding names in a schema. Here they cost what the
    question is about, generalisation to one letter more (`docs/log.md`), so both are switched off.
    """
    torch.manual_seed(derive_seed("init", seed) % 2**31)
    return Decoder(
        EvolventConfig(
            vocab_size=CODEC.size,
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=128,
            positions="none",
            smear=False,
        )
    )


def _train(model: Decoder, sources: list[Source], settings: Mapping[str, Any], seed: int) -> int:
    """Train in place; `settings` holds steps, tokens a step, and rates. Returns the tokens spent."""
    schedule = Schedule(
        steps=settings["steps"],
        learning_rate=settings["rate"],
        warmup=settings["warmup"],
        final=settings["final"],
        weight_decay=settings["decay"],
    )
    made = batches(sources, CODEC, settings["steps"], settings["tokens"], seed)
    return optimise(model, made, schedule).tokens


def gold(seed: int, each: int) -> list[Example]:
    """Labelled easy problems, lengths 1 to 5 in equal parts."""
    rng = random.Random(derive_seed("gold", seed))
    problems = [p for length in range(1, TASK.short + 1) for p in _draw(length, rng, each)]
    return [Example(p.prompt, reference(p)) for p in problems]


def base_model(unit: Unit, easy: list[Example]) -> Decoder:
    """The model that all arms of a seed start from; trained once and kept beside the units."""
    cache = unit.folder.parent
    store = Store(cache / "store")
    note = (
        cache / f"base-{unit.seed}-{content_hash(json.dumps([unit.settings['base'], len(easy)], sort_keys=True))[:12]}"
    )
    if not note.exists():
        model = plain_transformer(unit.seed)
        _train(model, [Source("gold", easy, 1.0)], unit.settings["base"], derive_seed("base", unit.seed))
        write_atomic(note, store.put_tree(to_files(model, CODEC), "model", {}).encode())
    model, _ = from_files(store.read_tree(note.read_text(encoding="utf-8")))
    return model


def collect(arm: str, model: Decoder, length: int, keep: int, limit: int, seed: int) -> tuple[list[Example], int]:
    """Pairs of one length, and how many problems were drawn for them: until `keep` are kept, or the limit."""
    rng = random.Random(seed)
    kept: list[Example] = []
    drawn = 0
    while arm != "none" and len(kept) < keep and drawn < limit:
        problems = _draw(length, rng, keep)
        drawn += len(problems)
        kept += LABELS[arm](problems, model)
    return kept[:keep], drawn


def solved(model: Decoder, seed: int, count: int) -> dict[str, int]:
    """Fresh problems solved, by length; the same problems for all arms of a seed. For the report only."""
    counts = {}
    for length in LENGTHS:
        problems = _draw(length, random.Random(derive_seed("length benchmark", "test", seed, length)), count)
        texts = _answers(problems, model)
        counts[str(length)] = sum(TASK.verify(p, text, 0).correct for p, text in zip(problems, texts, strict=True))
    return counts


def right(pairs: list[Example]) -> int:
    """Pairs with the true answer. For the report only."""
    given = {"function": TASK.function}
    made = [Problem(task=TASK.name, skill="long", prompt=pair.prompt, given=given) for pair in pairs]
    return sum(TASK.verify(p, pair.answer, 0).correct for p, pair in zip(made, pairs, strict=True))


def run_unit(unit: Unit) -> dict[str, Any]:
    """One arm of one seed."""
    settings = unit.settings
    easy = gold(unit.seed, settings["gold_each"])
    model = base_model(unit, easy)
    result: dict[str, Any] = {
        "test": settings["test"],
        "start": solved(model, unit.seed, settings["test"]),
        "rounds": [],
    }
    for number in range(settings["rounds"]):
        length = TASK.short + 1 + number
        limit = settings["draw_limit"]
        new, drawn = collect(unit.arm, model, length, settings["keep"], limit, derive_seed("draw", unit.seed, number))
        again: list[Example] = []  # the newer the model, the fewer mistakes pass its check
        for shorter in range(TASK.short + 1, length):
            seed = derive_seed("again", unit.seed, number, shorter)
            again += collect(unit.arm, model, shorter, settings["again"], limit, seed)[0]
        sources = [
            Source("gold", easy, settings["gold_share"]),
            Source("new", new, settings["new_share"] if again else 1 - settings["gold_share"]),
            Source("again", again, 1 - settings["gold_share"] - settings["new_share"]),
        ]
        last = {"steps": settings["last_steps"]} if number == settings["rounds"] - 1 else {}
        tokens = _train(model, sources, {**settings["round"], **last}, derive_seed("round", unit.seed, number))
        result["rounds"].append(
            {"length": length, "drawn": drawn, "kept": len(new), "right": right(new), "tokens": tokens}
            | {"again": len(again), "right_again": right(again)}
        )
    result["end"] = solved(model, unit.seed, settings["test"])
    return result


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Figures, bars and the plot, from raw counts."""

    def accuracy(arm: str, length: int) -> list[float]:
        return [r["end"][str(length)] / r["test"] for _, r in sorted(results[arm].items())]

    bars: dict[str, Any] = {}
    for arm, length, bar in (("cycle", 13, 0.95), ("cycle", 15, 0.70), ("none", 9, 0.05)):
        values = accuracy(arm, length)
        mean = sum(values) / len(values)
        side = "at most" if arm == "none" else "at least"
        bars[f"{arm}, length {length}: {side} {bar:.2f}, mean of {len(values)} seeds"] = {
            "figure": round(mean, 4),
            "bar": bar,
            "holds": mean <= bar if arm == "none" else mean >= bar,
        }
    gains = [a - b for a, b in zip(accuracy("cycle", 13), accuracy("none", 13), strict=True)]
    precision = {}
    for arm in ARMS[:1] + ARMS[2:]:
        rounds = [r["rounds"] for r in results[arm].values()]
        sums = [
            (sum(r[i]["right"] for r in rounds), sum(r[i]["kept"] for r in rounds)) for i in range(settings["rounds"])
        ]
        precision[arm] = [round(good / kept, 4) if kept else None for good, kept in sums]
    curves = {arm: [[r["end"][str(n)] / r["test"] for n in LENGTHS] for r in results[arm].values()] for arm in ARMS}
    title = "String reversal: labels at lengths 1 to 5, own answers to 13, none beyond"
    plot_bands(curves, "docs/img/length.svg", "length", "accuracy", title, x=list(LENGTHS))
    figures = {
        "accuracy": {
            arm: {n: [round(a, 4) for a in accuracy(arm, n)] for n in (6, 7, 9, 11, 13, 14, 15)} for arm in ARMS
        },
        "start": {s: {n: r["start"][str(n)] / r["test"] for n in (6, 7, 9)} for s, r in results["cycle"].items()},
        "cycle minus none at 13, 95 % interval": [round(x, 4) for x in paired_interval(gains)],
        "precision of kept labels by round": precision,
        "kept by round, cycle": {s: [x["kept"] for x in r["rounds"]] for s, r in results["cycle"].items()},
        "drawn by round, cycle": {s: [x["drawn"] for x in r["rounds"]] for s, r in results["cycle"].items()},
        "tokens trained in rounds": {
            arm: [sum(x["tokens"] for x in r["rounds"]) for r in results[arm].values()] for arm in ARMS
        },
    }
    return {"figures": figures, "bars": bars}


# Chosen on seeds 100, 101 and 0 to 4 (`docs/log.md`): more labels, and the control learns 9 too; fewer, and nothing
# passes the check at 6; fewer kept than some thousands a round, and 13 is learned by heart. Hence the new seeds.
FULL: dict[str, Any] = {
    "seeds": [10, 11, 12, 13, 14],
    "arm_seeds": {"unfiltered": [10, 11], "random": [10, 11], "oracle": [10, 11]},
    "version": 2,
    "base": {"steps": 1500, "tokens": 512, "rate": 2e-3, "warmup": 50, "final": 0.05, "decay": 0.01},
    "round": {"steps": 500, "tokens": 1152, "rate": 3e-3, "warmup": 10, "final": 0.1, "decay": 0.01},
    "last_steps": 1400, "gold_each": 280, "gold_share": 0.15, "new_share": 0.35,
    "rounds": 8, "keep": 4000, "again": 1000, "draw_limit": 60_000, "test": 300,
}  # fmt: skip
QUICK: dict[str, Any] = {
    **FULL,
    "seeds": [0, 1],
    "arm_seeds": {},
    "base": {**FULL["base"], "steps": 100},
    "round": {**FULL["round"], "steps": 10},
    "last_steps": 20, "rounds": 2, "keep": 50, "again": 20, "draw_limit": 100, "test": 20,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(bench_main("length", ARMS, run_unit, summarise, full=FULL, quick=QUICK))
