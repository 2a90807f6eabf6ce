"""Which proposer finds improvements for the least compute? Each alone, all together, and chance.

Small runs (`evolvent.trial`) on string functions, without memory of earlier ones, each with the same operators and
FLOPs, and random draws of its own for each function and seed. Cost to target: what the run had spent when the first
champion was promoted that solves the target's share of fresh strings; a run that never gets there counts with all its
FLOPs. Costs are compared as logarithms, paired by function and seed, against ``random``.

And how well each foresees: distance of stated and measured gain on dev, against that of always saying "no gain", and
how many gains fell into the range that should hold 80 %.

Run ``python benchmarks/proposers.py [--quick]``.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from common import Results, Unit, bench_main, paired_interval  # the frame shared by all benchmarks

from evolvent import policy
from evolvent.trial import Budgets, trial

ALONE = ("random", "bandit", "rules", "bayes", "population", "crossover")
ARMS = (*ALONE, "together")
FUNCTIONS = (
    "mirror_swap_pairs", "exchange_swap_pairs", "exchange_reverse_inside", "shift_reverse_inside",
)  # fmt: skip
REACH = 1.2816  # standard deviations that hold 80 %


def run_unit(unit: Unit) -> dict[str, Any]:
    """All functions with one arm's proposers."""
    names = list(ALONE[1:]) if unit.arm == "together" else [unit.arm]
    torch.set_num_threads(1)
    budgets = Budgets(flops=unit.settings["flops"], truth=unit.settings["truth"])
    return {
        function: dataclasses.asdict(trial(function, unit.seed, policy.BY_HAND, budgets, proposers=names))
        for function in unit.settings["functions"]
    }


def foresight(episodes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How far off stated gains were, points; and by saying nothing."""
    told = []
    for episode in episodes:
        if episode["gain"] is not None and "foreseen" in episode["signals"] and episode["signals"]["foreseen"]:
            deviation = episode["predicted"] / episode["signals"]["foreseen"]  # points; the signal is their ratio
            told.append((episode["predicted"] / 1000, episode["gain"] / 1000, abs(deviation)))
    n = max(1, len(told))
    return {
        "n": len(told),
        "off": round(sum(abs(said - was) for said, was, _ in told) / n, 2),
        "off_saying_none": round(sum(abs(was) for _, was, _ in told) / n, 2),
        "inside_80": round(sum(abs(said - was) <= REACH * d for said, was, d in told) / n, 3),
    }


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Ratios of costs to that of chance, with intervals; foresight of each arm."""
    seeds, functions = sorted(results["random"]), settings["functions"]
    pairs = [(s, f) for s in seeds for f in functions if results["random"][s][f]["turns"]]

    def costs(arm: str) -> list[float]:
        return [math.log(results[arm][s][f]["flops"]) for s, f in pairs]

    bars: dict[str, Any] = {}
    for arm in ARMS[1:]:
        gaps = [a - b for a, b in zip(costs(arm), costs("random"), strict=True)]
        low, mean, high = (round(math.exp(x), 3) if math.isfinite(x) else x for x in paired_interval(gaps))
        bars[f"cost to target, {arm} over random, 95 % interval: below 1"] = {
            "figure": [low, mean, high],
            "bar": 1,
            "holds": high < 1,
        }
    runs = {arm: [results[arm][s][f] for s in seeds for f in functions] for arm in ARMS}
    return {
        "figures": {
            "of": len(pairs),
            "reached": {arm: sum(results[arm][s][f]["reached"] for s, f in pairs) for arm in ARMS},
            "foresight": {arm: foresight([e for run in runs[arm] for e in run["memory"]["episodes"]]) for arm in ARMS},
            "cost": {arm: [run["flops"] for run in runs[arm]] for arm in ARMS},
        },
        "bars": bars,
    }


FULL: dict[str, Any] = {
    "seeds": [20, 21, 22, 23, 24], "flops": 2 * 10**10, "truth": 300, "functions": FUNCTIONS, "version": 4,
}  # fmt: skip
QUICK: dict[str, Any] = {**FULL, "seeds": [10], "flops": 2 * 10**9, "truth": 100, "functions": FUNCTIONS[:1]}

if __name__ == "__main__":
    sys.exit(bench_main("proposers", ARMS, run_unit, summarise, full=FULL, quick=QUICK))
