"""Real input: what seed and champion solve of applications' own migration histories, on SQLite and on PostgreSQL.

Needs ``--data DIR`` with ``migrations_sqlite/*.steps.jsonl.xz`` and ``migrations_postgres/*.steps.jsonl.xz``. The
slice, the same for both: steps that change tables, whose differing tables take at most 600 characters of DDL a side and
whose own migration takes at most 200, and which that migration itself solves under our verifier (rows kept included).
Renames are stated as the task demands, read off the real migration (`tasks/sql_migration/history.py`, and
`postgres/history.py` beside it).

Arm ``seed``: the shipped model. Arm ``champion``: what a demo run on the engine's general task ends with; nothing of
the histories is trained on. Arm ``own``: what a run ends with whose task is made of these very steps under other names,
as a user would set it up (`examples/05_own_history.py`): it learns from its own verified answers to them, so its figure
is of known shapes. Each version answers the steps as they are, and fresh variants of each, the same for all. Writes
``docs/real-migrations.md``.

Run ``python benchmarks/real_migrations.py --data DIR``.
"""

from __future__ import annotations

import dataclasses
import json
import lzma
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import Results, Unit, bench_main, write_text

from evolvent import plan
from evolvent.demo import DEMO
from evolvent.inputs import seed_files
from evolvent.models.files import from_files
from evolvent.observe.rollout import rollout
from evolvent.run import Run
from evolvent.tasks.sql_migration import history as on_sqlite
from evolvent.tasks.sql_migration.history import History
from evolvent.tasks.sql_migration.postgres import history as on_postgres
from evolvent.types import Problem

TASK = '''"""The steps of a history, beside the run that uses them."""

from pathlib import Path

from {module} import {kind}


def task() -> {kind}:
    """The task."""
    return {kind}.read(Path(__file__).with_name("steps.jsonl"))
'''


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What differs between the two: the folder of histories, how a step is read, the tasks of it and beside it."""

    folder: str
    read: Callable[[Mapping[str, Any]], Problem | str]
    history: type[History]
    task: str
    about: str


ENGINES = {
    "sqlite": Engine(
        folder="migrations_sqlite", read=on_sqlite.read_step, history=History, task="sql_migration",
        about="Three applications' own histories on SQLite (atuin, gitness, uptime-kuma)",
    ),
    "postgres": Engine(
        folder="migrations_postgres", read=on_postgres.read_step, history=on_postgres.PostgresHistory,
        task="sql_migration_postgres",
        about="Four applications' own histories on PostgreSQL (atuin, docs.rs, gitness, marquez)",
    ),
}  # fmt: skip
VERSIONS = ("seed", "champion", "own")
ARMS = tuple(f"{engine}-{version}" for engine in ENGINES for version in VERSIONS)


def steps(data: Path, engine: Engine) -> tuple[list[tuple[Problem, str]], Counter[str]]:
    """Problems in the slice with their real migrations, and why the others are out."""
    inside: list[tuple[Problem, str]] = []
    outside: Counter[str] = Counter()
    for path in sorted((data / engine.folder).glob("*.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                made = engine.read(row)
                if isinstance(made, str):
                    outside[made] += 1
                else:
                    inside.append(
                        (dataclasses.replace(made, tags={"app": row["app"], "name": row["name"]}), row["migration_sql"])
                    )
    return inside, outside


def own_run(
    folder: Path, engine: Engine, inside: Sequence[tuple[Problem, str]], settings: Mapping[str, Any], seed: int
) -> Run:
    """A run on the steps as a user's own task, in the run's own folder."""
    (folder / "tasks").mkdir(parents=True)
    lines = [json.dumps({**p.given, "step": f"{p.tags['app']}/{p.tags['name']}"}) + "\n" for p, _ in inside]
    (folder / "tasks" / "steps.jsonl").write_text("".join(lines), "utf-8")
    (folder / "tasks" / "own_steps.py").write_text(
        TASK.format(module=engine.history.__module__, kind=engine.history.__name__), "utf-8"
    )
    plain = {
        **DEMO,
        "task": "own_steps:task",
        "seed": seed,
        "goal": {"gain_points": 20, "turns": settings["own_turns"]},
        "plan": {**DEMO["plan"], "target": "own", "protected": {"own": 5, "single": 5}},
    }
    (folder / plan.CONFIG_NAME).write_text(json.dumps(plain), "utf-8")
    return Run.open(folder)


def demo_run(folder: Path, engine: Engine, seed: int) -> Run:
    """The demo's run, on the engine's task, without its forced mistake."""
    folder.mkdir(parents=True)
    plain = {**DEMO, "task": engine.task, "seed": seed}
    (folder / plan.CONFIG_NAME).write_text(json.dumps(plain), encoding="utf-8")
    return Run.open(folder)


def run_unit(unit: Unit) -> dict[str, Any]:
    """One version on all steps and on variants of them."""
    name, _, version = unit.arm.partition("-")
    engine = ENGINES[name]
    if unit.data is None or not (unit.data / engine.folder).is_dir():
        raise SystemExit(f"expected --data DIR with a folder {engine.folder}")
    torch.set_num_threads(1)
    inside, outside = steps(unit.data, engine)
    scaffold: dict[str, Any] = {"kind": "direct"}
    files, told = seed_files("sql-seed"), []
    if version != "seed":
        folder = unit.folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
        own = version == "own"
        run = own_run(folder, engine, inside, unit.settings, unit.seed) if own else demo_run(folder, engine, unit.seed)
        state = run.go()
        candidate = state.versions[state.champion]["candidate"]
        scaffold, files = candidate["scaffold"], run.store.read_tree(candidate["model"])
        told = _told(run)
    model, codec = from_files(files)
    task = engine.history(steps=tuple({**p.given, "step": f"{p.tags['app']}/{p.tags['name']}"} for p, _ in inside))
    answered = rollout(model, codec, task, scaffold, [p.prompt for p, _ in inside], unit.seed)
    rows = []
    for (made, real), output in zip(inside, answered.outputs, strict=True):
        score = task.verify(made, output, 7)
        rows.append({
            **made.tags, "correct": score.correct, "error": score.error, "prompt": made.prompt, "output": output,
            "real": real,
        })  # fmt: skip
    variants = [
        p for i in range(len(inside)) for p in task.challenge({"step": str(i)}, random.Random(i), unit.settings["each"])
    ]
    answers = rollout(model, codec, task, scaffold, [p.prompt for p in variants], unit.seed).outputs
    solved = [int(task.verify(p, text, 7).correct) for p, text in zip(variants, answers, strict=True)]
    return {"rows": rows, "variants": solved, "outside": dict(outside), "scaffold": scaffold, "told": told}


def _told(run: Run) -> list[str]:
    """What was proposed and decided, a line each."""
    with run.ledger() as ledger:
        operators: dict[str, str] = {}
        lines = []
        for event in ledger.events(kinds={"proposed", "promoted", "rejected"}):
            p = event.payload
            if event.kind == "proposed":
                operators[p["id"]] = p["proposal"]["operator"]
            else:
                lines.append(f"{p['id']} {operators[p['id']]} {event.kind} {p.get('reason', '')}".rstrip())
        return lines


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Counts by application; there is no bar but honesty."""
    figures: dict[str, Any] = {
        f"left out, {engine}": next(iter(results[f"{engine}-seed"].values()))["outside"] for engine in ENGINES
    }
    for arm, by_seed in results.items():
        for seed, result in by_seed.items():
            apps: dict[str, list[int]] = {}
            for row in result["rows"]:
                entry = apps.setdefault(row["app"], [0, 0])
                entry[0] += int(row["correct"])
                entry[1] += 1
            figures[f"{arm}-{seed}"] = {
                "solved": [sum(e[0] for e in apps.values()), sum(e[1] for e in apps.values())],
                "by_app": apps,
                "variants": [sum(result["variants"]), len(result["variants"])],
                "errors": dict(Counter(row["error"] for row in result["rows"] if not row["correct"])),
                "scaffold": result["scaffold"],
                "decisions": result["told"],
            }
    write_text("docs/real-migrations.md", page(results, figures))
    bars: dict[str, Any] = {}
    for engine in ENGINES:
        for what, text in (("solved", "steps of the slice solved"), ("variants", "fresh variants of them solved")):
            counts = {version: figures[f"{engine}-{version}-0"][what] for version in VERSIONS}
            figure = ", ".join(f"{version} {right} of {n}" for version, (right, n) in counts.items())
            bars[f"{engine}: {text}"] = {"figure": figure, "bar": "an honest figure", "holds": True}
    return {"figures": figures, "bars": bars}


def page(results: Results, figures: Mapping[str, Any]) -> str:
    """The page that shows counts and cases; of each outcome the first few, in the order of the histories."""
    lines = [
        "# Real migrations",
        "",
        "Written by `python benchmarks/real_migrations.py --data DIR`; figures and cases are of its last run. These",
        "are the steps that fit what the seed was trained to read and write; it has seen invented schemas for SQLite.",
        "`champion` is what a demo run on the engine's general task ends with, `own` that of a run on these very steps",
        "under other names.",
    ]
    for engine, of in ENGINES.items():
        lines += ["", f"## {of.about}", *_section(engine, results, figures)]
    return "\n".join(lines) + "\n"


def _section(engine: str, results: Results, figures: Mapping[str, Any]) -> list[str]:
    seed, champion, own = (results[f"{engine}-{version}"][0]["rows"] for version in VERSIONS)
    lines = ["", "| version | program | steps solved | fresh variants solved |", "|---|---|---|---|"]
    for version in VERSIONS:
        f = figures[f"{engine}-{version}-0"]
        (right, n), (of_variants, m) = f["solved"], f["variants"]
        lines.append(f"| {version} | {f['scaffold']['kind']} | {right} of {n} | {of_variants} of {m} |")
    outside = figures[f"left out, {engine}"]
    lines += ["", "Left out, of all steps: " + "; ".join(f"{n} {why}" for why, n in outside.items()) + "."]
    decisions = "; ".join(figures[f"{engine}-own-0"]["decisions"])
    lines += ["", f"What the run on the steps decided: {decisions}.", "", "| step | seed | champion | own |"]
    lines.append("|---|---|---|---|")
    for rows in zip(seed, champion, own, strict=True):
        said = ["solved" if row["correct"] else str(row["error"]) for row in rows]
        lines.append(f"| {rows[0]['app']} {rows[0]['name']} | {' | '.join(said)} |")
    solved = [row for row in champion if row["correct"]][:2]
    failed = list({row["error"]: row for row in reversed(champion) if not row["correct"]}.values())[:3]
    for title, rows in (("Solved by the demo's champion", solved), ("Failed by it", failed)):
        lines += ["", f"### {title}"]
        for row in rows:
            lines += ["", f"**{row['app']} {row['name']}**" + ("" if row["correct"] else f": `{row['error']}`"), ""]
            lines += ["```sql", row["prompt"].strip(), "", "-- its answer", row["output"].strip(), ""]
            lines += ["-- what the application did", row["real"].strip(), "```"]
    return lines


FULL: dict[str, Any] = {"seeds": [0], "each": 20, "own_turns": 3, "version": 2}
QUICK: dict[str, Any] = {**FULL, "each": 2, "own_turns": 1}

if __name__ == "__main__":
    sys.exit(bench_main("real_migrations", ARMS, run_unit, summarise, full=FULL, quick=QUICK, workers=1))
