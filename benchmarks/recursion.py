"""Does memory of what helped make the next run cheaper? First form, an honest figure and no bar to win.

Two runs on known string functions (`SOURCE`) learn which kinds of change help; the second is given the memory of the
first, and its own is exported. Then each unseen function (`UNSEEN`) is learned by a run of its own, from a small model
that was stopped when it solved a fixed share of the short strings (declared: these seeds learn from reference answers).
Arms: ``cold``: no memory; ``warm``: that memory; ``shuffled``: the same memory with the operators' names exchanged, so
that it holds as much and means nothing.

Cost to target: FLOPs that the run had spent (dev rollouts, builds, screens; not the judge's) when the first champion
was promoted that solves the target's share of fresh strings. A run ends there or when a fixed number of FLOPs is spent,
and then counts with that number, whatever its arm, so a difference is understated, never invented. Costs are compared
as logarithms, paired by function and seed.

Run ``python benchmarks/recursion.py [--quick]``; resumes run by run.
"""

from __future__ import annotations

import fcntl
import json
import math
import random
import sys
from pathlib import Path
from typing import Any

from common import Results, Unit, bench_main, paired_interval  # the frame shared by all benchmarks
from strings_runs import OPERATORS, one_run

from evolvent.types import content_hash

ARMS = ("cold", "warm", "shuffled")
SOURCE = ("reverse", "swap_pairs_mirror")
UNSEEN = ("mirror", "swap_pairs", "swap_ends", "mirror_reverse")


def source_memory(unit: Unit) -> Path:
    """The memory of the source runs of this seed, each over all its FLOPs; made once, by whoever needs it first."""
    own = {key: value for key, value in unit.settings.items() if key != "seeds"}
    base = unit.folder.parent / f"source-{unit.seed}-{content_hash(json.dumps(own, sort_keys=True))[:12]}"
    base.mkdir(parents=True, exist_ok=True)
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        memory: Path | None = None
        for function in SOURCE:
            out = base / f"{function}.json"
            if not out.is_file():
                result = one_run(base / function, function, unit.seed, {**unit.settings, "target": 2.0}, memory)
                out.write_text(json.dumps(result["memory"]), "utf-8")
            memory = out
    assert memory is not None
    return memory


def shuffled(memory: Path, out: Path, seed: int) -> Path:
    """The memory with its arms' names moved one place round in a random order: none keeps its own."""
    plain = json.loads(memory.read_text("utf-8"))
    arms = sorted({key.split("|")[0] for key in plain["effects"]["groups"]})
    random.Random(seed).shuffle(arms)
    other = dict(zip(arms, arms[1:] + arms[:1], strict=True))

    def renamed(key: str) -> str:
        return f"{other[key.split('|', maxsplit=1)[0]]}|{key.split('|', 1)[1]}"

    for part in ("groups", "values"):
        plain["effects"][part] = {renamed(key): effect for key, effect in plain["effects"][part].items()}
    for rule in plain["rules"]["edges"]:
        rule["arm"] = other[rule["arm"]]
    plain["rules"]["arms"] = {other[name]: counts for name, counts in plain["rules"]["arms"].items()}
    plain["episodes"] = []  # what was tried names its parameters, which fit no other operator
    out.write_text(json.dumps(plain), "utf-8")
    return out


def run_unit(unit: Unit) -> dict[str, Any]:
    """All unseen functions of one arm and seed."""
    memory = None if unit.arm == "cold" else source_memory(unit)
    if unit.arm == "shuffled" and memory is not None:
        memory = shuffled(memory, unit.folder / "shuffled.json", unit.seed)
    result: dict[str, Any] = {}
    for function in UNSEEN:
        kept = unit.folder / f"{function}.json"
        if not kept.is_file():
            made = one_run(unit.folder / function, function, unit.seed, dict(unit.settings), memory)
            kept.write_text(json.dumps(made), "utf-8")
        result[function] = json.loads(kept.read_text("utf-8"))
    return result


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Ratios of costs with intervals over functions and seeds."""
    seeds = sorted(results["cold"])
    # A seed that is there already at the start, which all arms share, has no cost to compare.
    pairs = [(s, f) for s in seeds for f in UNSEEN if results["cold"][s][f]["cost"]]

    def costs(arm: str) -> list[float]:
        return [math.log(results[arm][s][f]["cost"]) for s, f in pairs]

    bars: dict[str, Any] = {}
    for one, other in (("warm", "cold"), ("warm", "shuffled"), ("shuffled", "cold")):
        gaps = [a - b for a, b in zip(costs(one), costs(other), strict=True)]
        low, mean, high = (round(math.exp(x), 3) if math.isfinite(x) else x for x in paired_interval(gaps))
        bars[f"cost to target, {one} over {other}, 95 % interval"] = {
            "figure": [low, mean, high],
            "bar": "an honest figure",
            "holds": True,
        }
    figures = {
        arm: {
            s: {
                f: {k: results[arm][s][f][k] for k in ("start", "cost", "reached", "spent", "turns", "path")}
                for f in UNSEEN
            }
            for s in seeds
        }
        for arm in ARMS
    }
    reached = {arm: sum(results[arm][s][f]["reached"] for s, f in pairs) for arm in ARMS}
    return {"figures": {"reached": reached, "of": len(pairs), **figures}, "bars": bars}


FULL: dict[str, Any] = {
    "seeds": [0, 1, 2], "turns": 60, "flops": 8 * 10**10, "target": 0.6, "truth": 1000,
    "seed_parts": 200, "seed_share": 0.38, "version": 2, "operators": OPERATORS, "proposers": ["bandit"],
    "build": {"problems": 120, "samples": 2, "steps": 120, "tokens_per_step": 512, "learning_rate": "0.005",
              "gold_share": 60},
}  # fmt: skip
QUICK: dict[str, Any] = {**FULL, "seeds": [0], "turns": 2, "truth": 100}

if __name__ == "__main__":
    sys.exit(bench_main("recursion", ARMS, run_unit, summarise, full=FULL, quick=QUICK))
