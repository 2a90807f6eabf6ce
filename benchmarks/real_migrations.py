"""Real input: what seed and champion solve of applications' own migration histories on SQLite.

Needs ``--data DIR`` with ``migrations_sqlite/*.steps.jsonl.xz``. The slice: steps that change the schema, whose
differing tables take at most 600 characters of DDL a side and whose own migration takes at most 200, and which that
migration itself solves under our verifier (rows kept included). Renames are stated as the task demands, read off the
real migration (`evolvent.tasks.sql_migration.history`).

Arm ``seed``: the shipped model. Arm ``champion``: what a demo run ends with; nothing of the histories is trained on.
Arm ``own``: what a run ends with whose task is made of these very steps under other names, as a user would set it up
(`examples/05_own_history.py`): it learns from its own verified answers to them, so its figure is of known shapes. Each
version answers the steps as they are, and fresh variants of each, the same for all. Writes ``docs/real-migrations.md``.

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
from collections.abc import Mapping, Sequence
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
from evolvent.tasks.sql_migration.history import History, read_step
from evolvent.types import Problem

TASK = '''"""The steps of a history, beside the run that uses them."""

from pathlib import Path

from evolvent.tasks.sql_migration.history import History


def task() -> History:
    """The task."""
    return History.read(Path(__file__).with_name("steps.jsonl"))
'''


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


def own_run(folder: Path, inside: Sequence[tuple[Problem, str]], settings: Mapping[str, Any], seed: int) -> Run:
    """A run on the steps as a user's own task, in the run's own folder."""
    (folder / "tasks").mkdir(parents=True)
    lines = [json.dumps({**p.given, "step": f"{p.tags['app']}/{p.tags['name']}"}) + "\n" for p, _ in inside]
    (folder / "tasks" / "steps.jsonl").write_text("".join(lines), "utf-8")
    (folder / "tasks" / "own_steps.py").write_text(TASK, "utf-8")
    plain = {
        **DEMO,
        "task": "own_steps:task",
        "seed": seed,
        "goal": {"gain_points": 20, "turns": settings["own_turns"]},
        "plan": {**DEMO["plan"], "target": "own", "protected": {"own": 5, "single": 5}},
    }
    (folder / plan.CONFIG_NAME).write_text(json.dumps(plain), "utf-8")
    return Run.open(folder)


def demo_run(folder: Path, seed: int) -> Run:
    """The demo's run, without its forced mistake."""
    folder.mkdir(parents=True)
    (folder / plan.CONFIG_NAME).write_text(json.dumps({**DEMO, "seed": seed}), encoding="utf-8")
    return Run.open(folder)


def run_unit(unit: Unit) -> dict[str, Any]:
    """One version on all steps and on variants of them."""
    if unit.data is None or not (unit.data / "migrations_sqlite").is_dir():
        raise SystemExit("expected --data DIR with a folder migrations_sqlite")
    torch.set_num_threads(1)
    inside, outside = steps(unit.data)
    scaffold: dict[str, Any] = {"kind": "direct"}
    files, told = seed_files("sql-seed"), []
    if unit.arm != "seed":
        folder = unit.folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
        own = unit.arm == "own"
        run = own_run(folder, inside, unit.settings, unit.seed) if own else demo_run(folder, unit.seed)
        state = run.go()
        candidate = state.versions[state.champion]["candidate"]
        scaffold, files = candidate["scaffold"], run.store.read_tree(candidate["model"])
        told = _told(run)
    model, codec = from_files(files)
    task = History(steps=tuple({**p.given, "step": f"{p.tags['app']}/{p.tags['name']}"} for p, _ in inside))
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
    figures: dict[str, Any] = {"left_out": next(iter(results["seed"].values()))["outside"]}
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
    for what in ("solved", "variants"):
        counts = {arm: figures[f"{arm}-0"][what] for arm in ARMS}
        figure = ", ".join(f"{arm} {right} of {n}" for arm, (right, n) in counts.items())
        text = "steps of the slice solved" if what == "solved" else "fresh variants of them solved"
        bars[text] = {"figure": figure, "bar": "an honest figure", "holds": True}
    return {"figures": figures, "bars": bars}


def page(results: Results, figures: Mapping[str, Any]) -> str:
    """The page that shows counts and cases; of each outcome the first few, in the order of the histories."""
    seed, champion, own = (results[arm][0]["rows"] for arm in ARMS)
    lines = [
        "# Real migrations",
        "",
        "Written by `python benchmarks/real_migrations.py --data DIR`; figures and cases are of its last run. Three",
        "applications' own histories on SQLite (atuin, gitness, uptime-kuma), the steps that fit what the seed was",
        "trained to read and write. The shipped seed has seen invented schemas only. `own` is the champion of a run on",
        "these very steps under other names.",
        "",
        "| version | program | steps solved | fresh variants solved |",
        "|---|---|---|---|",
    ]
    for arm in ARMS:
        f = figures[f"{arm}-0"]
        (right, n), (of_variants, m) = f["solved"], f["variants"]
        lines.append(f"| {arm} | {f['scaffold']['kind']} | {right} of {n} | {of_variants} of {m} |")
    lines += ["", "Left out, of all steps: " + "; ".join(f"{n} {why}" for why, n in figures["left_out"].items()) + "."]
    lines += ["", "What the run on the steps decided: " + "; ".join(figures["own-0"]["decisions"]) + ".", ""]
    lines += ["| step | seed | champion | own |", "|---|---|---|---|"]
    for rows in zip(seed, champion, own, strict=True):
        said = ["solved" if row["correct"] else str(row["error"]) for row in rows]
        lines.append(f"| {rows[0]['app']} {rows[0]['name']} | {' | '.join(said)} |")
    solved = [row for row in champion if row["correct"]][:2]
    failed = list({row["error"]: row for row in reversed(champion) if not row["correct"]}.values())[:3]
    for title, rows in (("Solved by the demo's champion", solved), ("Failed by it", failed)):
        lines += ["", f"## {title}"]
        for row in rows:
            lines += ["", f"**{row['app']} {row['name']}**" + ("" if row["correct"] else f": `{row['error']}`"), ""]
            lines += ["```sql", row["prompt"].strip(), "", "-- its answer", row["output"].strip(), ""]
            lines += ["-- what the application did", row["real"].strip(), "```"]
    return "\n".join(lines) + "\n"


ARMS = ("seed", "champion", "own")
FULL: dict[str, Any] = {"seeds": [0], "each": 20, "own_turns": 3, "version": 1}
QUICK: dict[str, Any] = {**FULL, "each": 2, "own_turns": 1}

if __name__ == "__main__":
    sys.exit(bench_main("real_migrations", ARMS, run_unit, summarise, full=FULL, quick=QUICK, workers=1))
