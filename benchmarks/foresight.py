"""How well does memory foresee what a build will give, and how fast does it learn to?

Small runs (`evolvent.trial`) on ten string functions draw directives at random, so that all values are tried alike, and
never end before their operations do. Of what they leave, a memory is told so many builds of the other seeds, and asked
for the gains of this seed's, which it has not seen. Its error is compared with that of always saying the mean of what
it was told, which is what a memory knows that tells no values apart. Gains are those on dev problems, so that part of
the error is the dev problems' own. Intervals are over seeds, which share what is told: they are too narrow by that.

Not here: what foresight saves (`recursion.py`), and builds as the bandit chooses them, which are not drawn alike.

Run ``python benchmarks/foresight.py [--quick]``.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import torch
from common import Results, Unit, bench_main, paired_interval  # the frame shared by all benchmarks

from evolvent import policy
from evolvent.memory.effects import Case
from evolvent.memory.episodes import Episode
from evolvent.memory.memory import Memory
from evolvent.operators.learn import DIRECTIVE
from evolvent.tasks.strings import small
from evolvent.trial import Budgets, trial
from evolvent.types import derive_seed

ARMS = ("random",)
_Z80 = 1.2816  # of a normal's middle 80 %


def run_unit(unit: Unit) -> dict[str, Any]:
    """The episodes of a small run on each function."""
    torch.set_num_threads(1)
    budgets = Budgets(flops=unit.settings["flops"], target=1.0, truth=unit.settings["truth"])
    episodes = []
    for name in unit.settings["functions"]:
        run = trial(name, unit.seed, policy.BY_HAND, budgets, proposers=["random"], operators=["directive"])
        episodes += [row for row in run.memory["episodes"] if row["gain"] is not None]
    return {"episodes": episodes}


def foreseen(told: Sequence[Episode], asked: Sequence[Episode]) -> tuple[list[float], list[float], list[float]]:
    """Of each build that is asked for: its gain, what memory says, and the deviation that it says with it."""
    memory = Memory()
    for episode in told:
        memory.learn(episode)
    known = [
        memory.effects.estimate(e.operator, e.params, Case(band=e.band, error=e.error), DIRECTIVE.prior) for e in asked
    ]
    return [(e.gain or 0) / 1000 for e in asked], [k.mean for k in known], [k.deviation for k in known]


def error(gains: Sequence[float], said: Sequence[float]) -> float:
    """Root mean square, points."""
    return math.sqrt(statistics.fmean((g - s) ** 2 for g, s in zip(gains, said, strict=True)))


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Errors by how much was told, each seed in turn being the one that is asked for."""
    seeds = {seed: [Episode.from_plain(row) for row in made["episodes"]] for seed, made in results["random"].items()}
    rows, last = {}, []
    for count in settings["told"]:
        errors, of_mean, correlations, within = [], [], [], []
        for seed, asked in seeds.items():
            others = [e for other, made in sorted(seeds.items()) if other != seed for e in made]
            for draw in range(settings["draws"]):
                rng = random.Random(derive_seed("told", seed, count, draw))
                told = rng.sample(others, min(count, len(others)))
                gains, said, deviations = foreseen(told, asked)
                mean = statistics.fmean((e.gain or 0) / 1000 for e in told)
                errors.append((seed, error(gains, said)))
                of_mean.append((seed, error(gains, [mean] * len(gains))))
                correlations.append(statistics.correlation(gains, said))
                within += [abs(g - s) <= _Z80 * d for g, s, d in zip(gains, said, deviations, strict=True)]
        by_seed = [
            [statistics.fmean(x for s, x in figures if s == seed) for seed in seeds] for figures in (errors, of_mean)
        ]
        last = [math.log(mine / mean) for mine, mean in zip(*by_seed, strict=True)]
        rows[count] = {
            "error": round(statistics.fmean(by_seed[0]), 2),
            "error of the mean": round(statistics.fmean(by_seed[1]), 2),
            "correlation": round(statistics.fmean(correlations), 3),
            "within what should hold 80 %": round(100 * statistics.fmean(within), 1),
        }
    ratio = [round(math.exp(x), 3) for x in paired_interval(last)]
    bar = f"error after {settings['told'][-1]} builds over that of their mean: interval below 1"
    return {
        "figures": {"builds": sum(map(len, seeds.values())), "points, by builds told": rows},
        "bars": {bar: {"figure": ratio, "bar": 1, "holds": ratio[2] < 1}},
    }


FULL: dict[str, Any] = {
    "seeds": [50, 51, 52, 53, 54], "flops": 2 * 10**10, "truth": 20, "functions": small.LEARNING[2:], "version": 1,
    "told": [1, 10, 20, 40, 80], "draws": 8,
}  # fmt: skip
QUICK: dict[str, Any] = {
    **FULL,
    "seeds": [50, 51],
    "flops": 6 * 10**9,
    "functions": small.LEARNING[2:4],
    "told": [1, 3],
}

if __name__ == "__main__":
    sys.exit(bench_main("foresight", ARMS, run_unit, summarise, full=FULL, quick=QUICK))
