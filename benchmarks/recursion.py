"""Does the loop get better at getting better? Memory and policy, on small tasks that neither has seen.

A small run (`evolvent.trial`) begins with a tiny model that solves a fixed share of a string function's problems
(declared: these seeds learn from reference answers) and ends when its champion solves the target's share of fresh ones;
what it spends until then is the cost of the target, a run that never gets there costing all its FLOPs. Ten functions
are for learning, eight others, which move letters in other ways, for showing, four of them with each seed in turn;
costs are compared as logarithms, paired by function and seed, and intervals are over seeds, since the runs of a seed
share one memory. All evolved policies come from one run of the meta loop: their intervals hold for these policies, not
for policies evolved so.

``cold`` has no memory and the policy by hand. ``warm`` has the memory of runs on the ten functions for learning, one
after the other, as a user's earlier runs would leave it (they end at the target), ``shuffled`` the same with its
outcomes dealt anew among the same changes. That is under two change plans: the whole one, in which some changes
(self-labels, the challenger's rate) stand as they were tuned by hand on such functions, and an ``open`` one of
directives and programs only, in which the loop has to find out itself how to train. ``round_1`` to ``round_3`` have no
memory and the policy that the loop made of the one by hand on its own task, ``improvement``: a run as in
`recipes/meta`, on problems of the functions for learning, where the judge's gate decides; each round begins with the
policy and the memory that the round before left. ``both`` has the last policy and the warm memory.

Run ``python benchmarks/recursion.py [--quick]``; resumes run by run.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from common import ROOT, Results, Unit, bench_main, paired_interval  # the frame shared by all benchmarks

from evolvent import policy
from evolvent.memory.memory import Memory
from evolvent.memory.placebo import dealt_anew
from evolvent.run import Run
from evolvent.scaffold import grammar
from evolvent.tasks.strings import small
from evolvent.trial import Budgets, trial
from evolvent.types import content_hash, derive_seed

ROUNDS = ("round_1", "round_2", "round_3")
MEMORIES = ("cold", "warm", "shuffled")
PLANS: Mapping[str, Sequence[str]] = {"": policy.OPERATORS, "open ": ("directive", "scaffold")}
ARMS = (*(f"{plan}{memory}" for plan in PLANS for memory in MEMORIES), *ROUNDS, "both")


def budgets(settings: Mapping[str, Any]) -> Budgets:
    """What all small runs have."""
    return Budgets(flops=settings["flops"], truth=settings["truth"])


def shown(settings: Mapping[str, Any], seed: int) -> Sequence[str]:
    """The functions of a seed."""
    half = len(settings["showing"]) // 2
    return settings["showing"][:half] if seed % 2 else settings["showing"][half:]


def made_once(unit: Unit, name: str, make: Callable[[Path], Any]) -> Any:
    """What several units need, made by whoever comes first."""
    own = {key: value for key, value in unit.settings.items() if key != "seeds"}
    base = unit.folder.parent / f"{name}-{content_hash(json.dumps(own, sort_keys=True))[:12]}"
    base.mkdir(parents=True, exist_ok=True)
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "made.json").is_file():
            (base / "made.json").write_text(json.dumps(make(base)), "utf-8")
    return json.loads((base / "made.json").read_text("utf-8"))


def warm_memory(unit: Unit, plan: str) -> dict[str, Any]:
    """The memory of runs on all functions for learning, from several starts each."""

    def make(_: Path) -> dict[str, Any]:
        memory: dict[str, Any] | None = None
        for again in range(unit.settings["passes"]):
            for name in unit.settings["learning"]:
                seed = derive_seed("learning", unit.seed, again) % 10**6
                spent = budgets(unit.settings)
                memory = trial(name, seed, policy.BY_HAND, spent, memory=memory, operators=PLANS[plan]).memory
        assert memory is not None
        return memory

    return made_once(unit, f"memory-{plan.strip()}-{unit.seed}", make)


def evolved(unit: Unit, rounds: int) -> list[dict[str, Any]]:
    """Of each of the first rounds: the policy that it ends with, and what the gate said on the way."""
    made: list[dict[str, Any]] = []
    chosen, memory = dict(policy.BY_HAND), None
    for number in range(1, rounds + 1):
        make = partial(one_round, number=number, chosen=chosen, memory=memory, settings=unit.settings)
        made.append(made_once(unit, f"round-{number}", make))
        chosen, memory = made[-1]["policy"], made[-1]["memory"]
    return made


def one_round(
    folder: Path,
    number: int,
    chosen: policy.Policy,
    memory: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """A run of the loop on the improvement task, as in `recipes/meta` but for policy, seed and length."""
    plain = yaml.safe_load((ROOT / "recipes" / "meta" / "evolvent.yaml").read_text("utf-8"))
    plain |= {"scaffold": {"kind": grammar.POLICY, **chosen}, "seed": number, **settings["meta"]}
    plain["goal"] |= {"turns": settings["meta_turns"]}
    plain["plan"] |= settings["meta_plan"]
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / "evolvent.yaml").write_text(yaml.safe_dump(plain), "utf-8")
    run, verdicts, before = Run.open(folder / "run"), [], folder / "before.json"
    if memory is not None:
        before.write_text(json.dumps(memory), "utf-8")
    with run.working(memory=None if memory is None else before) as loop:
        while loop.state.turn < settings["meta_turns"]:
            loop.turn()
        for event in loop.ledger.events():
            if event.kind == "verdict":
                proposed = loop.ledger.get(f"{event.payload['id']}/proposed")
                assert proposed is not None
                told = event.payload["verdict"]
                idea = proposed.payload["proposal"]
                verdicts.append([idea["operator"], idea["params"], told["decision"], told["reason"]])
        ended = grammar.stated(loop.state.versions[loop.state.champion]["candidate"]["scaffold"])
        dev, learned = loop.state.dev, loop.state.memory.plain()
    shutil.rmtree(folder / "run" / "store", ignore_errors=True)
    return {"policy": ended, "verdicts": verdicts, "dev": dev, "memory": learned}


def run_unit(unit: Unit) -> dict[str, Any]:
    """The functions that a seed shows, with one arm."""
    torch.set_num_threads(1)
    memory, chosen, rounds = None, dict(policy.BY_HAND), []
    plan = next((name for name in PLANS if name and unit.arm.startswith(name)), "")
    if unit.arm.endswith(("warm", "shuffled", "both")):
        memory = warm_memory(unit, plan)
    if unit.arm.endswith("shuffled"):
        assert memory is not None
        memory = dealt_anew(Memory.from_plain(memory), unit.seed).plain()
    if unit.arm in (*ROUNDS, "both"):
        rounds = evolved(unit, ROUNDS.index(unit.arm) + 1 if unit.arm in ROUNDS else len(ROUNDS))
        chosen = rounds[-1]["policy"]
    runs = {}
    for name in shown(unit.settings, unit.seed):
        outcome = trial(name, unit.seed, chosen, budgets(unit.settings), memory=memory, operators=PLANS[plan])
        runs[name] = {**dataclasses.asdict(outcome), "memory": None}
    return {"runs": runs, "rounds": [{**one, "memory": None} for one in rounds]}


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Ratios of costs with intervals over functions and seeds."""
    seeds = sorted(results["cold"])
    # A seed that is there already at the start, which all arms share, has no cost to compare.
    pairs = [(s, f) for s in seeds for f in shown(settings, s) if results["cold"][s]["runs"][f]["turns"]]

    def costs(arm: str) -> list[float]:
        return [math.log(results[arm][s]["runs"][f]["flops"]) for s, f in pairs]

    def ratio(one: str, other: str) -> list[float]:
        """Over seeds, each the mean of its functions: these share one memory, and so are one draw of it."""
        gaps = [a - b for a, b in zip(costs(one), costs(other), strict=True)]
        by_seed = [[gap for gap, (s, _) in zip(gaps, pairs, strict=True) if s == seed] for seed in seeds]
        means = [sum(mine) / len(mine) for mine in by_seed if mine]
        return [round(math.exp(x), 3) if math.isfinite(x) else x for x in paired_interval(means)]

    def bar(one: str, most: float, other: str = "cold") -> dict[str, Any]:
        figure = ratio(one, other)
        return {"figure": figure, "bar": most, "holds": figure[1] <= most and figure[2] < 1}

    bars: dict[str, Any] = {}
    for plan in PLANS:
        cold, warm, shuffled = (f"{plan}{memory}" for memory in MEMORIES)
        if cold in results and warm in results:
            bars[f"cost to target, {warm} over {cold}: at most .5, interval below 1"] = bar(warm, 0.5, cold)
        if cold in results and shuffled in results:
            figure = ratio(shuffled, cold)
            told = {"figure": figure, "bar": 1, "holds": figure[0] <= 1 <= figure[2]}
            bars[f"cost to target, {shuffled} over {cold}: interval holds 1"] = told
    made = [name for name in ROUNDS if name in results]
    for name in made[-1:]:
        bars[f"cost to target, policy of {name} over the one by hand: interval below 1"] = bar(name, 1)
    runs = {arm: [results[arm][s]["runs"][f] for s, f in pairs] for arm in ARMS if arm in results}
    others = [
        ("warm", "shuffled"),
        ("open warm", "open shuffled"),
        ("open cold", "cold"),
        ("round_1", "cold"),
        ("round_2", "round_1"),
        ("round_3", "round_2"),
        ("both", "cold"),
    ]
    figures = {
        "of": len(pairs),
        "cost, also": {f"{a} over {b}": ratio(a, b) for a, b in others if a in results and b in results},
        "reached": {arm: sum(run["reached"] for run in mine) for arm, mine in runs.items()},
        "gflops": {arm: [round(run["flops"] / 10**9, 1) for run in mine] for arm, mine in runs.items()},
        "rounds": results[made[-1]][seeds[0]]["rounds"] if made else [],
    }
    return {"figures": figures, "bars": bars}


FULL: dict[str, Any] = {
    "seeds": [40, 41, 42, 43, 44, 45], "flops": 3 * 10**10, "truth": 300, "version": 6,
    "learning": small.LEARNING[2:], "passes": 2, "showing": small.SHOWING[::3] + small.SHOWING[1::3],
    "meta_turns": 1, "meta": {"dev": {"problems": 16}, "probes": {"every_turns": 0}, "proposals_per_turn": 8},
    "meta_plan": {"max_items": 160, "minimum_gain_points": 20, "first_epoch_slots": 4},
}  # fmt: skip
QUICK: dict[str, Any] = {
    **FULL, "seeds": [30], "flops": 3 * 10**9, "learning": small.LEARNING[:2], "passes": 1,
    "showing": small.SHOWING[:2],
    "meta_turns": 1, "meta": {"dev": {"problems": 10}, "probes": {"every_turns": 0}, "proposals_per_turn": 1},
    "meta_plan": {"max_items": 64, "minimum_gain_points": 50, "first_epoch_slots": 2},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(bench_main("recursion", ARMS, run_unit, summarise, full=FULL, quick=QUICK, needed=("cold",)))
