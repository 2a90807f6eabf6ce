"""Repair trajectories: attempt, fail, read the failure, fix; learn from the traces whose fix passes.

The tests that a prompt shows say that an attempt fails, how, and whether its fix passes; hidden ones measure. A trace
is learned as two turns: the fix, asked with the failed attempt and its failure, and the patch that both attempts come
to, asked at first. Every arm learns from as many traces as its own version would verify in the round (all begin with
the same), beside the same data of the start.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from evolvent.curate.repairs import Trace
from evolvent.observe.solving import correct
from evolvent.recipes.base import Figures, Recipe, Unit
from evolvent.recipes.python_start import TARGET, TASK, before, fresh, gold, made, model_of, solved, true_turns
from evolvent.train.batches import Example, Source
from evolvent.train.fit import fit
from evolvent.types import Problem, derive_seed

Traced = tuple[Problem, Trace]


def keep(arm: str, traced: Sequence[Traced], rng: random.Random) -> list[Traced]:
    """Whom an arm learns from: as many traces as there are repairs that pass, where it finds so many."""
    repairs = [(problem, trace) for problem, trace in traced if trace.turns]
    passing = [(problem, trace) for problem, trace in repairs if trace.passed]
    if arm in ("verified", "final patch only"):
        return passing
    others = [(p, t) for p, t in traced if t.passed and not t.asked] if arm == "successes only" else repairs
    return rng.sample(others, min(len(others), len(passing)))


def turns(arm: str, problem: Problem, trace: Trace) -> list[Example]:
    """What an arm learns from a trace."""
    if arm == "true fixes":
        return true_turns(problem, trace)
    if arm == "successes only":
        return [Example(trace.prompt, trace.first)]
    return [Example(*turn) for turn in trace.turns[: 1 if arm == "final patch only" else 2]]


def run(unit: Unit) -> Figures:
    """Rounds of attempts, fixes and training; then fresh bugs."""
    settings, seed, arm = unit.settings, unit.seed, unit.arm
    model, codec = model_of(unit)
    rounds, traces, test = fresh(unit)
    old, pool = gold(), list[Example]()
    kept: list[Traced] = []
    for number, problems in enumerate(rounds):
        traces = made(model, codec, problems, seed, number) if number else traces
        chosen = keep(arm, list(zip(problems, traces, strict=True)), random.Random(derive_seed(seed, "keep", number)))
        kept += chosen
        pool += [example for problem, trace in chosen for example in turns(arm, problem, trace)]
        sources = [Source("gold", old, 0.3), Source("own", pool, 0.7)]
        fit(model, codec, sources, settings["training"], derive_seed(seed, "training", number))
    learned = [[turns(arm, problem, trace)[0].answer] for problem, trace in kept]
    right = correct(TASK, [problem for problem, _ in kept], learned, 0)
    return {
        **before(unit), **solved(model, codec, test),
        "traces kept": float(len(kept)),
        "precision of what was kept": sum(row[0] for row in right) / max(1, len(kept)),
    }  # fmt: skip


FULL = {
    "seeds": [10, 11, 12, 13, 14], "version": 1, "start": {"rounds": 2, "problems": 200, "test": 200},
    "training": {"steps": 40, "tokens": 1024, "rate": "0.0003"},
}  # fmt: skip
RECIPE = Recipe(
    name="repair",
    title="Repair trajectories: learn from failures that were fixed",
    paper="Tesslate/OmniCoder-9B; Self-play SWE-RL, arXiv:2512.18552",
    claim="press: 425K traces, SWE-Bench Pro 56.22 %; second hand: the traces are larger models', so distillation",
    expected="a few points above unverified, fewer above the start (pilot: +6.3, +2.0, +1.7); quick shows noise",
    arms={
        "verified": "repairs whose fix passes the tests that the prompt shows",
        "unverified": "as many repairs, whether or not the fix passes",
        "successes only": "first attempts that pass, at most as many, no repairs",
        "final patch only": "the verified repairs without the turn that sees the failed attempt",
        "true fixes": "as many repairs with the true fix in each turn",
    },
    mechanism="verified",
    control="unverified",
    oracles=("true fixes",),
    metric="pass@1",
    traps=(
        "The shown tests decide what is kept and when to stop; precision says what the hidden ones say of it.",
        "Above unverified is not above the start: compare with the figures before.",
        "Traces of larger models would be distillation; here they are the model's own.",
        "Kept repairs are the easier ones, and `true fixes` sees the harder as well.",
    ),
    run=run, start=TARGET, full=FULL,
    quick={
        **FULL, "seeds": [10, 11, 12], "start": {"rounds": 1, "problems": 140, "test": 80},
        "training": {"steps": 20, "tokens": 1024, "rate": "0.0003"},
    },
)  # fmt: skip
