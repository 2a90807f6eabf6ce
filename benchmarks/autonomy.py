"""Left alone for 120 turns: what does the loop keep, and is what it keeps better in truth?

Arm ``loop``: a real run on string reversal with a small under-trained seed (`tests/toy_world.py`), every kind of change
allowed, a probe every third turn. Half-way its process is killed with SIGKILL and started again; nobody answers a
question or looks at it. Arm ``null``: the same seed, and nothing may be proposed but *null* edits, so that each
promotion would be a false one.

Afterwards each promotion is measured on thousands of fresh problems that no part of the run has seen, child against
parent on the same problems. A promotion is *false* if the child is not better on the target by that measurement, or has
lost more than the margin on a protected skill. A null edit has the weights of its parent, so the judge sees no
difference at all: the arm tests the bookkeeping of 120 slots more than the statistics, which
``tests/judge/test_statistics.py`` simulates.

Run ``python benchmarks/autonomy.py [--quick]``; resumes where it was stopped, within a run too.
"""

from __future__ import annotations

import importlib
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from common import ROOT, Results, Unit, bench_main  # the frame shared by all benchmarks

from evolvent import tasks
from evolvent.judge.stats import clopper_pearson
from evolvent.models.files import from_files
from evolvent.observe.rollout import rollout
from evolvent.run import Run
from evolvent.types import Candidate, derive_seed

sys.path.insert(0, str(ROOT / "tests"))
toy_world = importlib.import_module("toy_world")

ARMS = ("loop", "null")
OPERATORS = {"loop": ["self_labels", "gold", "policy", "scaffold"], "null": ["null"]}


def _settings(unit: Unit) -> dict[str, Any]:
    """What differs from the tests' toy run."""
    return {
        "seed": unit.seed,
        "goal": {"turns": unit.settings["turns"]},
        "plan": {
            "operators": OPERATORS[unit.arm],
            "max_parameters": 30_000,
            "target": "short",
            "protected": {"short": 5, "long": 5},
            "minimum_gain_points": 5,
            "max_items": 2000,
        },
        "build": {**unit.settings["build"]},
        "dev": {"problems": 200},
        "probes": {"every_turns": 3 if unit.arm == "loop" else 0},
    }


def _killed_half_way(folder: Path, turns: int) -> int:
    """Start, kill with SIGKILL in the middle of a turn half-way, start again and wait. Returns the events by then."""
    process = toy_world.start(folder, turns)
    while process.poll() is None:
        time.sleep(0.5)
        if (folder / "ledger.sqlite").is_file() and _turn(folder) >= turns // 2:
            time.sleep(1.0)  # somewhere inside the next turn
            process.kill()
            process.wait()
            break
    else:
        raise RuntimeError("the run ended before it could be killed; see its messages above")
    at = len(toy_world.events(folder))
    if toy_world.start(folder, turns).wait() != 0:
        raise RuntimeError("the run that was killed did not go on; see its messages above")
    return at


def _turn(folder: Path) -> int:
    ended = [event.payload["turn"] for event in toy_world.events(folder) if event.kind == "turn.ended"]
    return max(ended, default=0)


def _solved(run: Run, candidate: dict[str, Any], skill: str, count: int, seed: int) -> list[bool]:
    """Fresh problems solved, the same for all versions of a run."""
    task = tasks.load(run.settings.task)
    problems = task.generate(skill, random.Random(derive_seed("autonomy", "truth", seed, skill)), count)
    model, codec = from_files(run.store.read_tree(candidate["model"]))
    answered = rollout(model, codec, task, candidate["scaffold"], [p.prompt for p in problems], seed)
    return [task.verify(p, text, 0).correct for p, text in zip(problems, answered.outputs, strict=True)]


def run_unit(unit: Unit) -> dict[str, Any]:
    """One run, killed once and finished, then the truth of what it kept."""
    seed_folder, folder = unit.folder / "seed", unit.folder / "run"
    turns = unit.settings["turns"]
    if not (seed_folder / "gold.jsonl").is_file():
        shutil.rmtree(seed_folder, ignore_errors=True)
        toy_world.make_seed(seed_folder)
    if not folder.is_dir():
        toy_world.new_run(folder, seed_folder, **_settings(unit))
    killed_at = _killed_half_way(folder, turns)
    events = toy_world.events(folder)
    run = Run.open(folder)
    candidates = {e.payload["version"]: e.payload["candidate"] for e in events if e.kind in ("seed.imported", "built")}
    operators = {e.payload["id"]: e.payload["proposal"]["operator"] for e in events if e.kind == "proposed"}
    solved: dict[tuple[str, str], list[bool]] = {}

    def truth(version: str, skill: str) -> list[bool]:
        key = (Candidate(**candidates[version]).hash, skill)
        if key not in solved:
            solved[key] = _solved(run, candidates[version], skill, unit.settings["truth"], unit.seed)
        return solved[key]

    promotions = []
    seed_version = next(e.payload["version"] for e in events if e.kind == "seed.imported")
    champion = seed_version
    for event in events:
        if event.kind == "promoted":
            child, row = event.payload["version"], {"operator": operators[event.payload["id"]]}
            for skill in ("short", "long"):
                pairs = list(zip(truth(child, skill), truth(champion, skill), strict=True))
                row[skill] = {
                    "n": len(pairs),
                    "child": sum(c for c, _ in pairs),
                    "wins": sum(c and not p for c, p in pairs),
                    "losses": sum(p and not c for c, p in pairs),
                }
            promotions.append({"turn": int(event.payload["id"].split(".")[0]), **row})
            champion = child
        elif event.kind == "rolled_back":
            champion = event.payload["to"]
    rejected = Counter(e.payload["reason"] for e in events if e.kind == "rejected")
    return {
        "turns": _turn(folder),
        "killed_at_event": killed_at,
        "events": len(events),
        "proposed": dict(Counter(operators.values())),
        "verdicts": sum(e.kind == "verdict" for e in events),
        "rejected": dict(rejected.most_common()),
        "rolled_back": sum(e.kind == "rolled_back" for e in events),
        "promotions": promotions,
        "accepted_probes": sum(
            operators[e.payload["id"]] in ("null", "planted_regression")
            and e.payload["verdict"]["decision"] == "accept"  # accepted is bad enough: no plan lets a probe be promoted
            for e in events
            if e.kind == "verdict"
        ),
        "seed": {skill: sum(truth(seed_version, skill)) for skill in ("short", "long")},
        "champion": {skill: sum(truth(champion, skill)) for skill in ("short", "long")},
        "truth": unit.settings["truth"],
        "margin": 5,
    }


def is_false(promotion: dict[str, Any], margin: int) -> bool:
    """Not better on the target, or worse by more than the margin on a protected skill, by the fresh problems."""
    lost = any(
        100 * (promotion[skill]["losses"] - promotion[skill]["wins"]) > margin * promotion[skill]["n"]
        for skill in ("short", "long")
    )
    return lost or promotion["short"]["wins"] <= promotion["short"]["losses"]


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Counts, and the bars on false promotions."""
    loops, nulls = list(results["loop"].values()), list(results["null"].values())
    kept = [promotion for result in loops for promotion in result["promotions"]]
    false = sum(is_false(p, r["margin"]) for r in loops for p in r["promotions"])
    false_nulls = sum(len(r["promotions"]) for r in nulls)
    probes = sum(r["accepted_probes"] for r in loops)
    trials = sum(r["verdicts"] for r in nulls)
    turns = min(r["turns"] for r in loops + nulls)
    bars = {
        "unattended turns, a kill in the middle of each run": {
            "figure": turns, "bar": settings["turns"], "holds": turns >= settings["turns"],
        },
        "false promotions (truth on fresh problems)": {"figure": false, "bar": 0, "holds": false == 0},
        "promotions of null edits": {"figure": false_nulls, "bar": 0, "holds": false_nulls == 0},
        "probes promoted in the live run": {"figure": probes, "bar": 0, "holds": probes == 0},
    }  # fmt: skip
    return {
        "figures": {
            "kept": len(kept),
            "null verdicts": trials,
            "null promotions, upper 95 % limit of the rate": round(float(clopper_pearson(false_nulls, trials)[1]), 4),
            **{arm: results[arm] for arm in ARMS},
        },
        "bars": bars,
    }


FULL: dict[str, Any] = {
    "seeds": [0], "turns": 120, "truth": 4000, "version": 1,
    "build": {"problems": 120, "samples": 2, "steps": 100, "tokens_per_step": 512, "learning_rate": "0.003",
              "gold_share": 60},
}  # fmt: skip
QUICK: dict[str, Any] = {**FULL, "turns": 4, "truth": 200}

if __name__ == "__main__":
    sys.exit(bench_main("autonomy", ARMS, run_unit, summarise, full=FULL, quick=QUICK))
