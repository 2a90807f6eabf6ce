"""NS-Mem: what a memory of episodes, effects and rules is worth on tasks that it has not seen.

The start warms a memory: whole small runs (`evolvent.trial`) on string functions for learning, one after the other,
each over all of its operations. Then each arm runs on functions that move letters in other ways until its champion
solves the target's share of fresh strings, or its operations are spent; what differs is the memory that it begins with.
Bandit and rules propose together, so that the rule layer is read.
"""

from __future__ import annotations

import json
from math import log2
from typing import Any

from evolvent import policy
from evolvent.jobs import JobContext
from evolvent.memory.memory import Memory
from evolvent.memory.placebo import dealt_anew
from evolvent.memory.rules import HELD, Rules
from evolvent.recipes.base import Figures, Recipe, Settings, Unit
from evolvent.trial import Budgets, Outcome, trial

NEVER = 2.0  # a share that nothing solves


def ran(name: str, seed: int, settings: Settings, target: float, memory: dict[str, Any] | None) -> Outcome:
    """One small run."""
    flops, share = settings["mflops"] * 10**6, float(settings["share"])
    budgets = Budgets(flops=flops, seed_share=share, target=target, truth=settings["truth"])
    chosen = {**policy.BY_HAND, **settings["policy"]}
    return trial(name, seed, chosen, budgets, memory=memory, proposers=("bandit", "rules"))


def warmed(ctx: JobContext) -> dict[str, str]:
    """The job. Params: those of a run, and ``functions``; returns ``memory``, what runs on them left."""
    memory: dict[str, Any] | None = None
    for name in ctx.params["functions"]:
        memory = ran(name, ctx.seed, ctx.params, NEVER, memory).memory
    return {"memory": ctx.store.put_bytes(json.dumps(memory, sort_keys=True).encode())}


def handed(unit: Unit) -> Memory:
    """The memory that the arm begins with."""
    memory = Memory.from_plain(json.loads(unit.store.get_bytes(unit.start["memory"])))
    if unit.arm == "cold":
        return Memory()
    if unit.arm == "no rules":
        memory.rules = Rules()
    return dealt_anew(memory, unit.seed) if unit.arm == "shuffled" else memory


def run(unit: Unit) -> Figures:
    """Runs on all functions for showing."""
    settings, memory = unit.settings, handed(unit)
    target, budget = float(settings["target"]), settings["mflops"] * 10**6
    shown = {**settings["start"], "mflops": settings["mflops"]}
    runs = [ran(name, unit.seed, shown, target, memory.plain()) for name in settings["functions"]]
    costs = [made.flops for made in runs if made.turns]  # one that is there at the start costs no arm anything
    return {
        "halvings of the cost": sum(log2(budget / cost) for cost in costs) / max(1, len(costs)),
        "reached the target": sum(made.reached for made in runs) / len(runs),
        "gain by the end": sum(made.path[-1][1] - made.start for made in runs if made.path) / len(runs),
        "episodes in memory": float(len(memory.episodes)),
        "rules held": float(sum(rule.status == HELD for rule in memory.rules.edges.values())),
    }


# Small, fast builds: even so a run's seed model, diagnosis and verdicts take half of its time.
BUILDS = {"problems": 30, "steps": 30, "samples": 1, "learning_rate": "0.01"}
LEARNING = ["exchange", "reverse_inside", "shift", "mirror_swap_pairs", "swap_pairs", "mirror"]
START = {"functions": LEARNING, "mflops": 3000, "share": "0.3", "truth": 100, "policy": BUILDS}
FULL = {
    "seeds": [20, 21, 22, 23, 24], "version": 1, "start": START, "mflops": 6000, "target": "0.5",
    "functions": ["swap_ends", "reverse"],
}  # fmt: skip
RECIPE = Recipe(
    name="ns_mem",
    title="NS-Mem: memory in layers, warm against cold and against a placebo",
    paper="arXiv:2603.15280",
    claim="paper: +4.35 % on average over neural memory, up to +12.5 % (multimodal questions, no loop)",
    expected="warm cheaper than cold, shuffled as cheap as warm (benchmarks/recursion.py), no rules as warm",
    arms={
        "warm": "episodes, effects and rules of runs on other functions",
        "cold": "an empty memory",
        "shuffled": "the same episodes, what became of each dealt anew (placebo)",
        "no rules": "the warm memory without its rules",
    },
    mechanism="warm", control="cold", metric="halvings of the cost", run=run,
    start="evolvent.recipes.ns_mem:warmed", full=FULL,
    traps=(
        "Warming is not charged: the memory's own price is the runs that it comes from.",
        "Any memory makes a run choose otherwise: only what warm saves beyond shuffled was learned.",
        "A rule is held after three promotions or more: see how many are, or `no rules` is `warm`.",
        "Quick can show noise only. Where no run reaches its target, costs are all alike: see the gains by the end.",
    ),
    quick={
        **FULL, "seeds": [10, 11, 12], "start": {**START, "functions": LEARNING[:2], "mflops": 1500}, "mflops": 4000,
        "target": "0.45", "functions": ["swap_ends"],
    },
)  # fmt: skip
