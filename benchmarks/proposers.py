"""Which proposer finds improvements for the least compute? Each alone, all together, and chance.

Runs on string functions (`strings_runs.py`), without memory of earlier runs, each with the same operators and FLOPs.
Cost to target: what the run had spent when the first champion was promoted that solves the target's share of fresh
strings; a run that never gets there counts with all its FLOPs. Costs are compared as logarithms, paired by function and
seed, against ``random``.

And how well each foresees: distance of stated and measured gain on dev, against that of always saying "no gain", and
how many gains fell into the range that should hold 80 %.

Run ``python benchmarks/proposers.py [--quick]``; resumes run by run.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

from common import Results, Unit, bench_main, paired_interval  # the frame shared by all benchmarks
from strings_runs import one_run

ALONE = ("random", "bandit", "rules", "bayes", "population", "crossover")
ARMS = (*ALONE, "together")
FUNCTIONS = ("mirror", "swap_pairs", "mirror_reverse")
REACH = 1.2816  # standard deviations that hold 80 %


def run_unit(unit: Unit) -> dict[str, Any]:
    """All functions with one arm's proposers."""
    names = list(ALONE[1:]) if unit.arm == "together" else [unit.arm]
    result: dict[str, Any] = {}
    for function in unit.settings["functions"]:
        kept = unit.folder / f"{function}.json"
        if not kept.is_file():
            made = one_run(unit.folder / function, function, unit.seed, {**unit.settings, "proposers": names}, None)
            kept.write_text(json.dumps(made), "utf-8")
        result[function] = json.loads(kept.read_text("utf-8"))
    return result


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
    pairs = [(s, f) for s in seeds for f in functions if results["random"][s][f]["cost"]]

    def costs(arm: str) -> list[float]:
        return [math.log(results[arm][s][f]["cost"]) for s, f in pairs]

    bars: dict[str, Any] = {}
    for arm in ARMS[1:]:
        gaps = [a - b for a, b in zip(costs(arm), costs("random"), strict=True)]
        low, mean, high = (round(math.exp(x), 3) if math.isfinite(x) else x for x in paired_interval(gaps))
        bars[f"cost to target, {arm} over random, 95 % interval"] = {
            "figure": [low, mean, high],
            "bar": "an honest figure",
            "holds": True,
        }
    runs = {arm: [results[arm][s][f] for s in seeds for f in functions] for arm in ARMS}
    return {
        "figures": {
            "of": len(pairs),
            "reached": {arm: sum(results[arm][s][f]["reached"] for s, f in pairs) for arm in ARMS},
            "foresight": {arm: foresight([e for run in runs[arm] for e in run["memory"]["episodes"]]) for arm in ARMS},
            "cost": {arm: [run["cost"] for run in runs[arm]] for arm in ARMS},
        },
        "bars": bars,
    }


FULL: dict[str, Any] = {
    "seeds": [0, 1, 2, 3, 4], "turns": 60, "flops": 8 * 10**10, "target": 0.6, "truth": 1000, "functions": FUNCTIONS,
    "seed_parts": 200, "seed_share": 0.38, "version": 1, "operators": ["directive", "gold", "policy", "scaffold"],
    "build": {"problems": 120, "samples": 2, "steps": 120, "tokens_per_step": 512, "learning_rate": "0.005",
              "gold_share": 60},
}  # fmt: skip
QUICK: dict[str, Any] = {**FULL, "seeds": [0], "turns": 2, "truth": 100, "functions": ("mirror",)}

if __name__ == "__main__":
    sys.exit(bench_main("proposers", ARMS, run_unit, summarise, full=FULL, quick=QUICK))
