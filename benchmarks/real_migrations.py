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

import json
import lzma
import re
import shutil
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from common import Unit, bench_main

from evolvent import plan
from evolvent.demo import DEMO
from evolvent.models.files import from_files
from evolvent.observe.rollout import rollout
from evolvent.run import Run, seed_files
from evolvent.tasks.sql_migration import SqlMigration, verify
from evolvent.tasks.sql_migration.schema import prompt_text
from evolvent.types import Problem

SCHEMA_CHARS, MIGRATION_CHARS = 600, 200
_RENAME_COLUMN = re.compile(r"ALTER\s+TABLE\s+(\S+)\s+RENAME\s+(?:COLUMN\s+)?(\S+)\s+TO\s+(\S+?)\s*(?:;|$)", re.I)
_RENAME_TABLE = re.compile(r"ALTER\s+TABLE\s+(\S+)\s+RENAME\s+TO\s+(\S+?)\s*(?:;|$)", re.I)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


def tables(schema: str) -> dict[str, list[str]]:
    """A schema's statements by table, as SQLite keeps them, on one line each."""
    with closing(verify.scratch(verify.split_statements(schema))) as made:
        rows = made.execute("SELECT tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid").fetchall()
    groups: dict[str, list[str]] = {}
    for table, sql in rows:
        groups.setdefault(table.lower(), []).append(" ".join(_COMMENT.sub(" ", sql).split()))
    return groups


def renames(migration: str, before: dict[str, Any], after: dict[str, Any]) -> list[list[str]]:
    """The lineage that a person would state, read off the real migration; renames of scratch tables are none."""
    found = []
    for table, old, new in _RENAME_COLUMN.findall(migration):
        if old.upper() != "TO":
            found.append([f"{table}.{old}", f"{table}.{new}"])
    for old, new in _RENAME_TABLE.findall(migration):
        if old.lower().strip('"`[]') in before and new.lower().strip('"`[]') in after:
            found.append([old, new])
    return found


def problem(row: dict[str, Any]) -> Problem | str:
    """A step as a problem, or why it is left out."""
    if not row["schema_changed"]:
        return "schema unchanged"
    try:
        before, after = tables(row["before_schema"]), tables(row["after_schema"])
    except sqlite3.Error:
        return "schema does not stand alone"
    words = {side: {t: sorted(map(verify.words, s)) for t, s in g.items()} for side, g in (("a", before), ("b", after))}
    a = [s for t, group in before.items() if words["b"].get(t) != words["a"][t] for s in group]
    b = [s for t, group in after.items() if words["a"].get(t) != words["b"][t] for s in group]
    migration = " ".join(_COMMENT.sub(" ", row["migration_sql"]).split())
    if max(len("".join(a)), len("".join(b))) > SCHEMA_CHARS:
        return f"differing tables over {SCHEMA_CHARS} characters"
    if len(migration) > MIGRATION_CHARS:
        return f"migration over {MIGRATION_CHARS} characters"
    if not a and not b:
        return "no table differs"
    lineage = renames(migration, before, after)
    made = Problem(
        task="sql_migration",
        skill="real",
        prompt=prompt_text(a, b, [(old, new) for old, new in lineage]),
        tags={"app": row["app"], "name": row["name"]},
        given={"before": a, "after": b, "renames": lineage},
    )
    score = SqlMigration().verify(made, migration, 1)
    return made if score.correct else f"its own migration does not pass alone ({score.error})"


def steps(data: Path) -> tuple[list[tuple[Problem, str]], Counter[str]]:
    """Problems in the slice with their real migrations, and why the others are out."""
    inside: list[tuple[Problem, str]] = []
    outside: Counter[str] = Counter()
    for path in sorted((data / "migrations_sqlite").glob("*.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                made = problem(row)
                if isinstance(made, str):
                    outside[made] += 1
                else:
                    inside.append((made, row["migration_sql"]))
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
