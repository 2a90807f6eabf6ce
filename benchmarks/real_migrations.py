"""Real input: what seed and champion solve of applications' own migration histories on SQLite.

Needs ``--data DIR`` with ``migrations_sqlite/*.steps.jsonl.xz``. The slice: steps that change the schema, whose
differing tables take at most 600 characters of DDL a side and whose own migration takes at most 200, and which that
migration itself solves under our verifier (rows kept included). Renames are stated as the task demands, read off the
real migration.
Nothing of the histories is trained on. Arm ``seed`` is the shipped model; arm ``champion`` is what a demo run of that
seed number ends with.

Run ``python benchmarks/real_migrations.py --data DIR``.
"""

from __future__ import annotations

import dataclasses
import json
import lzma
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from common import Unit, bench_main

from evolvent import plan
from evolvent.demo import DEMO
from evolvent.models.files import from_files
from evolvent.observe.rollout import rollout
from evolvent.run import Run, seed_files
from evolvent.tasks.sql_migration import SqlMigration
from evolvent.tasks.sql_migration.history import read_step
from evolvent.types import Problem


def steps(data: Path) -> tuple[list[tuple[Problem, str]], Counter[str]]:
    """Problems in the slice with their real migrations, and why the others are out."""
    inside: list[tuple[Problem, str]] = []
    outside: Counter[str] = Counter()
    for path in sorted((data / "migrations_sqlite").glob("*.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                made = read_step(row)
                if isinstance(made, str):
                    outside[made] += 1
                else:
                    inside.append(
                        (dataclasses.replace(made, tags={"app": row["app"], "name": row["name"]}), row["migration_sql"])
                    )
    return inside, outside


def run_unit(unit: Unit) -> dict[str, Any]:
    """One version on all problems."""
    if unit.data is None or not (unit.data / "migrations_sqlite").is_dir():
        raise SystemExit("expected --data DIR with a folder migrations_sqlite")
    torch.set_num_threads(1)
    inside, outside = steps(unit.data)
    scaffold: dict[str, Any] = {"kind": "direct"}
    files = seed_files("sql-seed")
    if unit.arm == "champion":
        folder = unit.folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        settings = plan.parse({**DEMO, "seed": unit.seed}, "demo")
        (folder / plan.CONFIG_NAME).write_text(json.dumps(settings.model_dump()), encoding="utf-8")
        run = Run(folder, settings)
        state = run.go()
        candidate = state.versions[state.champion]["candidate"]
        scaffold, files = candidate["scaffold"], run.store.read_tree(candidate["model"])
    model, codec = from_files(files)
    task = SqlMigration()
    answered = rollout(model, codec, task, scaffold, [p.prompt for p, _ in inside], unit.seed)
    rows = []
    for (made, real), output in zip(inside, answered.outputs, strict=True):
        score = task.verify(made, output, 7)
        rows.append({**made.tags, "correct": score.correct, "error": score.error, "output": output, "real": real})
    return {"rows": rows, "outside": dict(outside), "scaffold": scaffold}


def summarise(results: dict[str, dict[int, dict[str, Any]]], settings: dict[str, Any]) -> dict[str, Any]:
    """Counts by application; there is no bar but honesty."""
    figures: dict[str, Any] = {"left_out": next(iter(results["seed"].values()))["outside"]}
    for arm, by_seed in results.items():
        for seed, result in by_seed.items():
            apps: dict[str, list[int]] = {}
            for row in result["rows"]:
                entry = apps.setdefault(row["app"], [0, 0])
                entry[0] += int(row["correct"])
                entry[1] += 1
            total = [sum(e[0] for e in apps.values()), sum(e[1] for e in apps.values())]
            errors = dict(Counter(row["error"] for row in result["rows"] if not row["correct"]))
            figures[f"{arm}-{seed}"] = {
                "solved": total,
                "by_app": apps,
                "errors": errors,
                "scaffold": result["scaffold"],
            }
    first, last = figures["seed-0"]["solved"], figures[f"champion-{settings['seeds'][0]}"]["solved"]
    return {
        "figures": figures,
        "bars": {
            "solved by seed and by champion, of steps in the slice": {
                "figure": [first[0], last[0], first[1]],
                "bar": "an honest figure",
                "holds": True,
            }
        },
    }


FULL = {"seeds": [0], "arm_seeds": {"seed": [0]}}
QUICK = FULL

if __name__ == "__main__":
    sys.exit(bench_main("real_migrations", ("seed", "champion"), run_unit, summarise, full=FULL, quick=QUICK))
