"""A thousand proposals that are the model itself, judged by the real judge: is any promoted?

A real run on string reversal (`tests/toy_world.py`: loop, job workers, judge's process and sandbox, a tiny model). The
seed answers by sampling, at a temperature, and so does every proposal: it is the same weights in a file that differs by
a line of metadata, so it has a name, a slot and noise of its own. Child and parent then differ on many problems, and
never in truth. Each proposal is put to the judge (none is screened off), under the default error budgets.

Afterwards every verdict is recomputed from its outcomes by the audit's own code, which shares none with the judge.

Run ``python benchmarks/clones.py [--quick]``; goes on where it was stopped.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

from common import ROOT, Results, Unit, bench_main  # the frame shared by all benchmarks

from evolvent.audit import audit
from evolvent.jobs import Job
from evolvent.judge.stats import clopper_pearson
from evolvent.operators.base import Bench, Built
from evolvent.propose.base import OperatorSpec
from evolvent.run import JUDGE, Run

TESTS = ROOT / "tests"
sys.path.insert(0, str(TESTS))
os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), str(ROOT / "src")])  # for the workers, which run its job `copy`
toy_world = importlib.import_module("toy_world")

ARMS = ("clones",)
# Two samples, of which the first is taken where they differ: a sample at the programs' temperature.
SAMPLED = {"kind": "vote", "answers": 2}
CLONE = OperatorSpec(
    name="clones:Clone", summary="the same weights in another file", space={"copy": tuple(range(20_000))}, probe=True
)


@dataclass(frozen=True, kw_only=True)
class Clone:
    """The parent's weights in a file that differs by a line of metadata."""

    spec: OperatorSpec = CLONE

    def build(self, bench: Bench) -> Built:
        """Have the file written anew."""
        label = f"{bench.proposal.turn}.{bench.proposal.index}"
        job = Job(function="toy_world:copy", inputs={"model": bench.model}, params={"copy": label}, seed=0)
        return Built(model=bench.run(job).outputs["model"], scaffold=bench.scaffold, policy=bench.policy)


def _settings(unit: Unit) -> dict[str, Any]:
    return {
        "seed": unit.seed,
        "scaffold": SAMPLED,
        "goal": {"turns": unit.settings["turns"]},
        "plan": {
            "operators": [CLONE.name],
            "max_parameters": 30_000,
            "target": "short",
            "protected": {"short": 5, "long": 5},
            "minimum_gain_points": 5,
        },
        "dev": {"problems": 10},
        "probes": {"every_turns": 0},
        "proposals_per_turn": unit.settings["proposals"],
    }


def run_unit(unit: Unit) -> dict[str, Any]:
    """The run, and what the audit says of it."""
    seed_folder, folder = unit.folder / "seed", unit.folder / "run"
    if not (seed_folder / "gold.jsonl").is_file():
        shutil.rmtree(seed_folder, ignore_errors=True)
        toy_world.make_seed(seed_folder)
    if not folder.is_dir():
        toy_world.new_run(folder, seed_folder, **_settings(unit))
    run = Run.open(folder)
    run.go(turns=unit.settings["turns"])
    differing: list[float] = []
    with run.ledger() as ledger:
        found = audit(ledger, run.store, folder / JUDGE)
        events = list(ledger.events(kinds={"verdict", "promoted"}))
    verdicts = [event.payload["verdict"] for event in events if event.kind == "verdict"]
    for verdict in verdicts:
        first = run.evidence(verdict["evidence"])["stages"][0]
        differing.append((first["wins"] + first["losses"]) / first["n"])
    return {
        "proposals": len(verdicts),
        "promoted": sum(event.kind == "promoted" for event in events),
        "accepted": sum(verdict["decision"] == "accept" for verdict in verdicts),
        "decisions": dict(Counter(f"{v['decision']}: {v['reason']}" for v in verdicts)),
        "problems": sum(event.payload.get("problems", 0) for event in events),
        "differing": sum(differing) / len(differing),
        "audit": {"counts": found.counts, "wrong": found.wrong[:5], "worst_log_e": found.worst_log_e},
    }


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Promotions, and what the audit found."""
    units = list(results["clones"].values())
    proposals, promoted = (sum(u[name] for u in units) for name in ("proposals", "accepted"))
    least = min(u["differing"] for u in units)
    faults = sum(len(u["audit"]["wrong"]) for u in units)
    checked = sum(u["audit"]["counts"].get("verdicts", 0) for u in units)
    worst = max(u["audit"]["worst_log_e"] for u in units)
    bars: dict[str, tuple[Any, Any, bool]] = {
        f"accepting verdicts on {proposals} copies": (promoted, 0, promoted == 0),
        "share of target problems on which copy and model differ, at least .1": (round(least, 3), 0.1, least >= 0.1),
        f"verdicts of {proposals} recomputed, faults: none": ([checked, faults], [proposals, 0],
                                                              (checked, faults) == (proposals, 0)),
        "largest difference of a recomputed log e-value, at most 1e-9": (worst, 1e-9, worst <= 1e-9),
    }  # fmt: skip
    return {
        "figures": {
            "units": units,
            "95 % upper limit of a false promotion": float(clopper_pearson(promoted, proposals)[1]),
        },
        "bars": {text: {"figure": f, "bar": b, "holds": bool(h)} for text, (f, b, h) in bars.items()},
    }


FULL: dict[str, Any] = {"seeds": [0], "turns": 100, "proposals": 10, "version": 2}
QUICK: dict[str, Any] = {**FULL, "turns": 2, "proposals": 4}

if __name__ == "__main__":
    sys.exit(bench_main("clones", ARMS, run_unit, summarise, full=FULL, quick=QUICK, workers=1))
