"""Does the mechanism carry the gain? Verified self-labels against four controls, same start, steps and tokens.

Every arm answers with the stepwise program, the one that the demo promotes, so that what is measured is the weights
alone. Arms: (a) ``gold``: more training on the seed's own data; (b) ``unverified``: own answers, unchecked (but a step
must run on the scratch copy, as always in this program); (c) ``random``: answers that belong to other problems; (d)
``verified``: own answers that pass the verifier; (e) ``oracle``: true labels, step by step, on every problem drawn
(declared: the only arm that reads a reference). Each generation draws problems at the edge of ability, labels them, and
trains a fixed number of steps of a fixed number of tokens on them, on those of earlier generations, and on gold. Final
figures are on sealed problems, the same for all arms of a seed. After arm (d) the real judge decides on a null and a
planted regression of its last model.

Run ``python benchmarks/selfimprove.py [--quick]``; resumes where it was stopped.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from common import Unit, bench_main, paired_interval, plot_bands  # the frame shared by all benchmarks

from evolvent.curate import selflabel
from evolvent.inputs import seed_files
from evolvent.jobs import JobContext
from evolvent.judge.client import JudgeClient
from evolvent.judge.questions import Protected, Question
from evolvent.models.files import from_files
from evolvent.observe.rollout import rollout
from evolvent.store import Store
from evolvent.tasks.sql_migration import SqlMigration
from evolvent.tasks.sql_migration.progress import advance
from evolvent.tasks.sql_migration.reference import REBUILT, reference  # the oracle arm, nowhere else
from evolvent.tasks.sql_migration.verify import split_statements
from evolvent.train.jobs import cut_answers, finetune
from evolvent.types import Candidate, content_hash, derive_seed

ARMS = ("gold", "unverified", "random", "verified", "oracle")
FILTER = {"unverified": "none", "random": "random", "verified": "verified", "oracle": "verified"}
TASK = "sql_migration"
PROGRAM: dict[str, Any] = {"kind": "stepwise", "answers": 4}


def _context(store: Store, inputs: dict[str, str], params: dict[str, Any], seed: int) -> JobContext:
    return JobContext(store=store, inputs=inputs, params=params, seed=seed, report=lambda fields: None)


def _oracle_data(store: Store, model: str, settings: Mapping[str, Any], seed: int) -> str:
    """True labels on the same kind of drawn problems, one change a step as the program asks: the ceiling."""
    net, codec = from_files(store.read_tree(model))
    maker = selflabel.Maker(SqlMigration(), net, codec, "verified", PROGRAM)
    target = settings["target_rate"] / 100
    problems = selflabel.draw_problems(maker, settings["problems"], target, random.Random(seed), selflabel.Funnel())
    rows = []
    for problem in problems:
        prompt: str | None = problem.prompt
        for change in _changes(reference(problem)):
            if prompt is None:
                break
            rows.append(json.dumps({"prompt": prompt, "answer": change}))
            _, prompt = advance(prompt, change)
    return store.put_bytes(("\n".join(rows) + "\n").encode())


def _changes(migration: str) -> list[str]:
    """A canonical migration, cut into changes: one statement each, four for a rebuilt table."""
    statements = [statement.strip().rstrip(";") + ";" for statement in split_statements(migration)]
    found = []
    while statements:
        size = 4 if statements[0].startswith(f"CREATE TABLE {REBUILT}") else 1
        found.append("\n".join(statements[:size]))
        statements = statements[size:]
    return found


def _accuracy(store: Store, model: str, stream: str, seed: int, counts: dict[str, int]) -> dict[str, list[int]]:
    """Which problems of a stream a model solves, by skill, 1 or 0 each."""
    task = SqlMigration()
    net, codec = from_files(store.read_tree(model))
    solved = {}
    for skill, count in counts.items():
        problems = task.generate(skill, random.Random(derive_seed("benchmark", stream, seed, skill)), count)
        answered = rollout(net, codec, task, PROGRAM, [p.prompt for p in problems], seed)
        checks = zip(problems, answered.outputs, strict=True)
        solved[skill] = [int(task.verify(p, text, seed).correct) for p, text in checks]
    return solved


def run_unit(unit: Unit) -> dict[str, Any]:
    """One arm of one seed: all generations, then the sealed figures."""
    torch.set_num_threads(1)
    settings, seed, arm = unit.settings, unit.seed, unit.arm
    store = Store(unit.folder / "store")
    start = store.put_tree(seed_files("sql-seed"), "model", {})
    shipped = Path(selflabel.__file__).parents[1] / "data" / "sql-seed" / "gold.jsonl.xz"
    gold = store.put_bytes(shipped.read_bytes())
    model, pool, generations = start, [], []
    began = time.time()
    for generation in range(1, settings["generations"] + 1):
        step_seed = derive_seed(seed, "generation", generation)
        funnel: dict[str, Any] = {}
        if arm == "oracle":
            pool.append(_oracle_data(store, model, settings, step_seed))
        elif arm != "gold":
            params = {
                "task": TASK,
                "scaffold": PROGRAM,
                "filter": FILTER[arm],
                "samples": settings["samples"] if arm == "verified" else 1,  # nobody chooses among the others'
                **{k: settings[k] for k in ("problems", "target_rate")},
            }
            made = selflabel.self_labels(_context(store, {"model": model}, params, step_seed))
            pool.append(made["data"])
            funnel = store.get_json(made["stats"])
        inputs = {"model": model, "gold": gold, **{f"data{i:03d}": name for i, name in enumerate(pool)}}
        params = {
            "steps": settings["steps"],
            "tokens_per_step": settings["tokens_per_step"],
            "learning_rate": settings["learning_rate"],
            "gold_share": 100 if arm == "gold" else settings["gold_share"],
        }
        trained = finetune(_context(store, inputs, params, step_seed))
        model = trained["model"]
        stats = store.get_json(trained["stats"])
        scores = _accuracy(store, model, "curve", seed, {"multi": settings["curve"]})
        kept = {k: funnel[k] for k in ("drawn", "sampled", "executed", "correct", "kept") if k in funnel}
        generations.append({"multi": sum(scores["multi"]), "n": settings["curve"], "tokens": stats["tokens"], **kept})
    counts = {"single": settings["sealed_single"], "multi": settings["sealed_multi"]}
    result: dict[str, Any] = {"generations": generations, "sealed": _accuracy(store, model, "sealed", seed, counts)}
    if arm == "gold":
        result["start"] = _accuracy(store, start, "sealed", seed, counts)
        result["start_curve"] = sum(_accuracy(store, start, "curve", seed, {"multi": settings["curve"]})["multi"])
    if arm == "verified":
        result["probes"] = _probes(unit, store, model, gold, seed)
    result["seconds"] = round(time.time() - began)
    return result


def _probes(unit: Unit, store: Store, model: str, gold: str, seed: int) -> dict[str, str]:
    """The judge's decisions on a null and on a planted regression of the last model."""
    cut = cut_answers(_context(store, {"data": gold}, {"count": 400}, seed))["data"]
    params = {"steps": 12, "tokens_per_step": 2048, "learning_rate": "0.001", "gold_share": 0}
    planted = finetune(_context(store, {"model": model, "data000": cut}, params, seed))["model"]
    incumbent = Candidate(model=model, scaffold=PROGRAM, genome=content_hash("incumbent")).plain()
    protected = tuple(Protected(skill=skill, margin_points=5) for skill in ("single", "multi"))
    decisions = {}
    with JudgeClient(unit.folder / "judge", unit.folder / "store", TASK) as judge:
        for slot, (name, weights) in enumerate((("null", model), ("planted_regression", planted)), 1):
            question = Question(
                slot=slot,
                candidate=Candidate(model=weights, scaffold=PROGRAM, genome=content_hash(name)).plain(),
                incumbent=incumbent,
                anchor=incumbent,
                target="multi",
                protected=protected,
                alpha_sup="0.003125",
                alpha_ni="0.003125",
                max_items=4000,
                max_new_tokens=SqlMigration().max_output_tokens,
            )
            decisions[name] = str(judge.decide(question).decision)
    return decisions


def _rises(curves: list[list[float]], half: int) -> list[list[float]]:
    """Points gained in the first half of the generations and in the second: low, mean, high over seeds."""
    parts = ([c[half] - c[0] for c in curves], [c[-1] - c[half] for c in curves])
    return [[round(x, 1) for x in paired_interval(part)] for part in parts]


def _where_it_stops(rises: dict[str, list[list[float]]], half: int) -> str:
    """Whether the gain has ended, and if the labels or the training of so small a model ended it."""
    second = rises["verified"][1]
    if second[0] > 0:
        return f"it has not stopped: the second {half} generations gain {second[1]} points, interval above 0"
    if second[1] > 1:
        found = f"the second {half} generations gain {second[1]} points ({second[0]} to {second[2]})"
        return f"it is not seen to stop, nor proven to go on: {found}"
    if rises["oracle"][1][0] > 0:
        return f"no proven gain after generation {half}, while true labels still gain: its own labels have run out"
    return f"no proven gain after generation {half}, with true labels neither: training at this size, not the labels"


def summarise(results: dict[str, dict[int, dict[str, Any]]], settings: dict[str, Any]) -> dict[str, Any]:
    """Figures, bars and the plot, from raw counts."""
    seeds = sorted(results["verified"])

    def gain(arm: str, seed: int, skill: str = "multi") -> float:
        before, after = results["gold"][seed]["start"][skill], results[arm][seed]["sealed"][skill]
        return 100 * (sum(after) - sum(before)) / len(after)

    gains = {arm: [round(gain(arm, seed), 2) for seed in seeds] for arm in ARMS}
    singles = {arm: [round(gain(arm, seed, "single"), 2) for seed in seeds] for arm in ARMS}
    bars: dict[str, Any] = {}
    for arm in ("gold", "unverified", "random"):
        low, mean, high = paired_interval([d - o for d, o in zip(gains["verified"], gains[arm], strict=True)])
        figure = {"mean": round(mean, 2), "low": round(low, 2), "high": round(high, 2)}
        bars[f"verified minus {arm}: interval above 0"] = {"figure": figure, "bar": 0, "holds": low > 0}
    share = sum(gains["verified"]) / max(1e-9, sum(gains["oracle"]))
    bars["verified reaches 70 % of oracle's gain"] = {"figure": round(share, 3), "bar": 0.7, "holds": share >= 0.7}
    plateau = sum(gains["gold"]) / len(seeds)
    bars["equal training on gold gains under 5 points"] = {"figure": round(plateau, 2), "bar": 5, "holds": plateau < 5}
    probes = [results["verified"][seed]["probes"] for seed in seeds]
    refused = all(decision != "accept" for probe in probes for decision in probe.values())
    bars["null and planted regression refused"] = {"figure": probes, "bar": "none accepted", "holds": refused}
    start = {s: 100 * results["gold"][s]["start_curve"] / settings["curve"] for s in seeds}
    curves = {
        arm: [[start[s]] + [100 * g["multi"] / g["n"] for g in results[arm][s]["generations"]] for s in seeds]
        for arm in ARMS
    }
    plot_bands(curves, "docs/img/selfimprove.svg", "generation", "multi solved, %", "Same start, steps and tokens")
    half = settings["generations"] // 2
    rises = {arm: _rises(curves[arm], half) for arm in ("verified", "oracle", "gold")}
    mean_curve = [sum(c[g] for c in curves["verified"]) / len(seeds) for g in range(settings["generations"] + 1)]
    raw = {
        arm: {s: {skill: [sum(v), len(v)] for skill, v in results[arm][s]["sealed"].items()} for s in seeds}
        for arm in ARMS
    }
    figures = {
        "start": {s: {k: [sum(v), len(v)] for k, v in results["gold"][s]["start"].items()} for s in seeds},
        "sealed": raw,
        "gain_multi": gains,
        "gain_single": singles,
        "curve_verified": [round(x, 1) for x in mean_curve],
        "rise_first_half_and_second": rises,
        "where_it_stops": _where_it_stops(rises, half),
        "funnel_verified": {
            what: [sum(results["verified"][s]["generations"][g][what] for s in seeds) for g in range(2 * half)]
            for what in ("sampled", "correct", "kept")
        },
        "tokens_trained": {arm: sum(g["tokens"] for g in results[arm][seeds[0]]["generations"]) for arm in ARMS},
    }
    return {"figures": figures, "bars": bars}


# Rate and share were chosen on seed 100; seed 0 was looked at once, with settings a little larger (`docs/log.md`).
FULL = {
    "seeds": [1, 2, 3, 4, 5], "generations": 10, "problems": 300, "samples": 2, "target_rate": 50, "steps": 70,
    "tokens_per_step": 2048, "learning_rate": "0.0005", "gold_share": 25, "curve": 80, "sealed_single": 300,
    "sealed_multi": 800,
}  # fmt: skip
QUICK = {**FULL, "seeds": [0, 1], "generations": 2, "steps": 15, "sealed_single": 100, "sealed_multi": 100}

if __name__ == "__main__":
    sys.exit(bench_main("selfimprove", ARMS, run_unit, summarise, full=FULL, quick=QUICK))
