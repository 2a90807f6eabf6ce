"""Repairs of fresh bugs: what testing and fixing adds, and what training on own verified trajectories adds.

Programs, on the same problems: ``direct`` (one greedy answer), ``vote`` (as many answers as a vote may have; they
share the reading of the prompt, so it stays cheaper), ``retry`` (answers sampled at about the tokens of the next,
until the prompt's asserts pass), ``revise`` (attempt, own tests, read the failure, fix). Then three trainings of
equal steps and tokens: ``gold`` (the seed's own data), ``unverified`` (own trajectories as they come) and
``verified`` (those whose result passes the prompt's asserts); no hidden test takes part in either. Each is measured
directly and under the testing program. What is asked: does testing solve more repairs (`single` and `double`
together) than sampling at equal tokens, and does training on verified trajectories beat training on unverified ones
and on gold?

Run ``python benchmarks/python_fix.py [--quick] [--data DIR]``. With ``--data``, ``mbpp/mbpp.jsonl`` in it is tried
too, for the record: most of its sentences hold words that the seed cannot read.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import torch
from common import Results, Unit, bench_main, paired_interval  # the frame shared by all benchmarks

from evolvent.curate import selflabel
from evolvent.inputs import seed_files, shipped_gold
from evolvent.jobs import JobContext
from evolvent.models.files import from_files
from evolvent.observe.rollout import rollout
from evolvent.scaffold.grammar import REVISE_ANSWERS
from evolvent.store import Store
from evolvent.tasks.python_fix import PythonFix, mbpp
from evolvent.train.jobs import finetune
from evolvent.types import Problem, derive_seed

TASK, SEED = PythonFix(), "python-seed"
TRAINED = ("gold", "unverified", "verified")
ARMS = ("programs", *TRAINED)
DIRECT: dict[str, Any] = {"kind": "direct"}
REVISE: dict[str, Any] = {"kind": "revise", "answers": REVISE_ANSWERS}
PROGRAMS: dict[str, dict[str, Any]] = {
    "direct": DIRECT,
    "vote": {"kind": "vote", "answers": 16},
    "retry": {"kind": "retry", "answers": 6},
    "revise": REVISE,
}
REPAIRS = ("single", "double")
FULL = {
    "seeds": [0, 1, 2, 3, 4], "problems": 150, "generations": 1, "drawn": 240, "samples": 2, "target_rate": 50,
    "steps": 80, "tokens_per_step": 4096, "learning_rate": "0.001", "gold_share": 30, "version": 1,
}  # fmt: skip
QUICK = {**FULL, "seeds": [0], "problems": 10, "generations": 1, "drawn": 20, "samples": 1, "steps": 4}


def _measure(model: Any, codec: Any, scaffold: dict[str, Any], unit: Unit) -> dict[str, Any]:
    """Solved and tokens by skill, on problems that all arms of a seed share."""
    found: dict[str, Any] = {}
    for skill in TASK.skills:
        rng = random.Random(derive_seed("benchmark python_fix", skill, unit.seed))
        found[skill] = _solve(model, codec, scaffold, TASK.generate(skill, rng, unit.settings["problems"]), unit.seed)
    return found


def _solve(model: Any, codec: Any, scaffold: dict[str, Any], problems: list[Problem], seed: int) -> dict[str, int]:
    answered = rollout(model, codec, TASK, scaffold, [p.prompt for p in problems], seed)
    checks = [
        (p, text, derive_seed(seed, "probe", i))
        for i, (p, text) in enumerate(zip(problems, answered.outputs, strict=True))
    ]
    solved = sum(TASK.verify(*check).correct for check in checks)
    return {"n": len(problems), "solved": solved, "tokens": answered.tokens}


def _context(store: Store, inputs: dict[str, str], params: dict[str, Any], seed: int) -> JobContext:
    return JobContext(store=store, inputs=inputs, params=params, seed=seed, report=lambda fields: None)


def _train(unit: Unit, store: Store) -> tuple[str, list[dict[str, Any]]]:
    """The generations of one arm: label, train; what became of the trajectories."""
    settings, arm = unit.settings, unit.arm
    model, gold = store.put_tree(seed_files(SEED), "model", {}), store.put_bytes(shipped_gold(SEED))
    pool: list[str] = []
    funnels = []
    for generation in range(1, settings["generations"] + 1):
        seed = derive_seed(unit.seed, "generation", generation)
        if arm != "gold":
            params = {
                "task": "python_fix",
                "scaffold": REVISE,
                "filter": "feedback" if arm == "verified" else "none",
                "problems": settings["drawn"],
                "samples": settings["samples"] if arm == "verified" else 1,  # nobody chooses among the others'
                "target_rate": settings["target_rate"],
            }
            made = selflabel.self_labels(_context(store, {"model": model}, params, seed))
            pool.append(made["data"])
            stats = store.get_json(made["stats"])
            funnels.append({name: stats[name] for name in ("drawn", "sampled", "correct", "kept", "tokens")})
        inputs = {"model": model, "gold": gold, **{f"data{i:03d}": name for i, name in enumerate(pool)}}
        params = {name: settings[name] for name in ("steps", "tokens_per_step", "learning_rate", "gold_share")}
        if arm == "gold":
            params["gold_share"] = 100
        model = finetune(_context(store, inputs, params, seed))["model"]
    return model, funnels


def run_unit(unit: Unit) -> dict[str, Any]:
    """The programs around the seed, or one training and its measures."""
    torch.set_num_threads(1)
    if unit.arm == "programs":
        model, codec = from_files(seed_files(SEED))
        result = {name: _measure(model, codec, scaffold, unit) for name, scaffold in PROGRAMS.items()}
        if unit.data is not None and unit.seed == unit.settings["seeds"][0]:
            problems = mbpp.read(unit.data / "mbpp")[: unit.settings["problems"]]
            result["mbpp"] = _solve(model, codec, REVISE, problems, unit.seed)
        return result
    store = Store(unit.folder / "store")
    trained, funnels = _train(unit, store)
    model, codec = from_files(store.read_tree(trained))
    return {
        "direct": _measure(model, codec, DIRECT, unit),
        "revise": _measure(model, codec, REVISE, unit),
        "funnels": funnels,
    }


def _rate(measured: dict[str, Any]) -> float:
    """Repairs solved, in percent."""
    return 100 * sum(measured[s]["solved"] for s in REPAIRS) / sum(measured[s]["n"] for s in REPAIRS)


def _tokens(measured: dict[str, Any]) -> int:
    return sum(measured[s]["tokens"] for s in REPAIRS)


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Rates by program and by training; differences paired by seed."""
    seeds = settings["seeds"]
    measured = {name: [results["programs"][seed][name] for seed in seeds] for name in PROGRAMS}
    for arm in TRAINED:
        for program in ("direct", "revise"):
            measured[f"{arm}, {program}"] = [results[arm][seed][program] for seed in seeds]
    base = sum(_tokens(m) for m in measured["direct"])
    figures: dict[str, Any] = {
        name: {
            "repairs_percent": [round(_rate(m), 2) for m in rows],
            "times_direct": round(sum(_tokens(m) for m in rows) / base, 2),
            **{skill: [m[skill]["solved"] for m in rows] for skill in TASK.skills},
        }
        for name, rows in measured.items()
    }
    figures["funnels"] = {arm: [results[arm][seed]["funnels"] for seed in seeds] for arm in ("unverified", "verified")}
    figures["mbpp"] = results["programs"][seeds[0]].get("mbpp", "not asked for")

    def more(one: str, other: str) -> tuple[float, float, float]:
        gains = [_rate(a) - _rate(b) for a, b in zip(measured[one], measured[other], strict=True)]
        return paired_interval(gains)

    bars: dict[str, Any] = {}
    for one, other in (
        ("revise", "direct"), ("revise", "retry"), ("revise", "vote"), ("verified, direct", "unverified, direct"),
        ("verified, direct", "gold, direct"), ("verified, revise", "unverified, revise"),
    ):  # fmt: skip
        low, mean, high = more(one, other)
        text = f"{mean:.1f} points ({low:.1f} to {high:.1f})"
        bars[f"repairs, {one} minus {other}: above 0"] = {"figure": text, "bar": 0, "holds": low > 0}
    dear = figures["revise"]["times_direct"] / figures["retry"]["times_direct"]
    bars["tokens of revise over those of retry: at most 1.1"] = {
        "figure": round(dear, 2), "bar": 1.1, "holds": dear <= 1.1,
    }  # fmt: skip
    return {"figures": figures, "bars": bars}


if __name__ == "__main__":
    sys.exit(bench_main("python_fix", ARMS, run_unit, summarise, full=FULL, quick=QUICK))
