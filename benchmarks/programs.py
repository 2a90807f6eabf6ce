"""Four programs around the shipped seed, on the same problems: what they solve, and what an answer costs.

Three programs may be proposed for a champion (`operators/program.py`); their bounds are set so that they cost about the
same tokens on the target skill. Here that is measured, on problems that nothing else uses.

Run ``python benchmarks/programs.py [--quick]``.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import torch
from common import Results, Unit, bench_main, paired_interval  # the frame shared by all benchmarks

from evolvent import tasks
from evolvent.inputs import seed_files
from evolvent.models.files import from_files
from evolvent.observe.rollout import rollout
from evolvent.scaffold.grammar import EQUAL_ANSWERS
from evolvent.types import derive_seed

ARMS = ("direct", *EQUAL_ANSWERS)
SKILLS = ("multi", "single")
FULL = {"seeds": [0, 1, 2, 3, 4], "problems": 400, "version": 1}
QUICK = {"seeds": [0, 1], "problems": 20, "version": 1}


def run_unit(unit: Unit) -> dict[str, Any]:
    """One program on fresh problems of each skill."""
    torch.set_num_threads(1)
    task = tasks.load("sql_migration")
    model, codec = from_files(seed_files("sql-seed"))
    scaffold: dict[str, Any] = {"kind": unit.arm}
    if unit.arm != "direct":
        scaffold["answers"] = EQUAL_ANSWERS[unit.arm]
    found: dict[str, Any] = {}
    for skill in SKILLS:
        rng = random.Random(derive_seed("programs", skill, unit.seed))
        problems = task.generate(skill, rng, unit.settings["problems"])
        answered = rollout(model, codec, task, scaffold, [p.prompt for p in problems], unit.seed)
        solved = sum(task.verify(p, text, 7).correct for p, text in zip(problems, answered.outputs, strict=True))
        found[skill] = {"n": len(problems), "solved": solved, "tokens": answered.tokens}
    return found


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Solved and tokens by program; what stepwise solves more than each, paired by seed."""
    figures: dict[str, Any] = {}
    for skill in SKILLS:
        figures[skill] = {}
        for arm in ARMS:
            rows = [results[arm][seed][skill] for seed in settings["seeds"]]
            base = [results["direct"][seed][skill] for seed in settings["seeds"]]
            n = sum(row["n"] for row in rows)
            figures[skill][arm] = {
                "solved": [row["solved"] for row in rows], "n": n, "tokens": [row["tokens"] for row in rows],
                "tokens_each": round(sum(row["tokens"] for row in rows) / n, 1),
                "times_direct": round(sum(r["tokens"] for r in rows) / sum(r["tokens"] for r in base), 3),
            }  # fmt: skip
    each = settings["problems"]
    shares = {arm: [s / each for s in figures["multi"][arm]["solved"]] for arm in ARMS}
    for arm in ("direct", "vote", "retry"):
        figures[f"stepwise minus {arm} on multi, 95 % interval"] = paired_interval(
            [a - b for a, b in zip(shares["stepwise"], shares[arm], strict=True)]
        )
    prices = [figures["multi"][arm]["times_direct"] for arm in EQUAL_ANSWERS]
    apart = round(max(prices) / min(prices), 3)
    said = ", ".join(
        f"{arm} {sum(figures['multi'][arm]['solved'])} at {figures['multi'][arm]['times_direct']}" for arm in ARMS
    )
    n = figures["multi"]["direct"]["n"]
    return {
        "figures": figures,
        "bars": {
            "dearest over cheapest of the three programs, tokens on multi: at most 1.1":
                {"figure": apart, "bar": 1.1, "holds": apart <= 1.1},
            f"solved of {n} multi, at times the tokens of direct": {
                "figure": said, "bar": "an honest figure", "holds": True,
            },
        },
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(bench_main("programs", ARMS, run_unit, summarise, full=FULL, quick=QUICK))
