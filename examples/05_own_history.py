"""Your application's own migration history as a task: what the model solves of it, and a run on it.

Run it: ``python examples/05_own_history.py [HISTORY.jsonl[.xz]] [--turns N]``. A line of a history is JSON with
``before_schema``, ``after_schema``, ``migration_sql`` and ``name``; without a file, three steps of an invented
application are used. Of a migration only the renames are kept; the model never sees it. The run's folder is made beside
you (`own-history/`), with the task in its `tasks/`; `evolvent status -C own-history` and the other commands read it.

Not here: a promise that the shipped seed masters your history. It was trained on invented schemas.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from evolvent.inputs import seed_files
from evolvent.models.files import from_files
from evolvent.observe.rollout import rollout
from evolvent.run import Run
from evolvent.tasks.sql_migration.history import History, write_steps

USERS = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, mail TEXT)"
INVENTED = [
    {
        "name": "add_last_login",
        "before_schema": USERS,
        "after_schema": USERS[:-1] + ", last_login TIMESTAMP)",
        "migration_sql": "ALTER TABLE users ADD COLUMN last_login TIMESTAMP",
    },
    {
        "name": "mail_is_email",
        "before_schema": USERS,
        "after_schema": USERS.replace("mail", "email"),
        "migration_sql": "ALTER TABLE users RENAME COLUMN mail TO email",
    },
    {
        "name": "profile",
        "before_schema": USERS,
        "after_schema": USERS.replace("mail TEXT)", "email TEXT, phone TEXT, born TEXT)")
        + "; CREATE INDEX users_name ON users (name)",
        "migration_sql": "ALTER TABLE users RENAME COLUMN mail TO email; ALTER TABLE users ADD COLUMN phone TEXT; "
        "ALTER TABLE users ADD COLUMN born TEXT; CREATE INDEX users_name ON users (name)",
    },
]
TASK = '''"""The task, beside the run that uses it."""

from pathlib import Path

from evolvent.tasks.sql_migration.history import History


def task() -> History:
    """Steps of our own history."""
    return History.read(Path(__file__).with_name("steps.jsonl"))
'''
SETTINGS = {
    "task": "own_history:task",
    "model": "sql-seed",
    "plan": {"target": "own", "protected": {"own": 5, "single": 5}, "minimum_gain_points": 5, "max_items": 2000},
    "build": {"problems": 60, "samples": 1, "steps": 20, "tokens_per_step": 2048, "gold_share": 50},
    "dev": {"problems": 60},
    "probes": {"every_turns": 0},
}


def rows(path: Path | None) -> list[dict[str, str]]:
    """The steps of a history file, plain or xz."""
    if path is None:
        return INVENTED
    text = lzma.open(path, "rt", encoding="utf-8").read() if path.suffix == ".xz" else path.read_text("utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def solved(who: str, task: History, files: dict[str, bytes], scaffold: dict[str, Any], count: int = 60) -> None:
    """How many fresh variants of each step a version solves; the same ones for each version."""
    model, codec = from_files(files)
    problems = task.generate("own", random.Random(0), count)
    answers = rollout(model, codec, task, scaffold, [p.prompt for p in problems], 0).outputs
    scores = [(p.tags["step"], task.verify(p, a, 0)) for p, a in zip(problems, answers, strict=True)]
    tried, right = Counter(step for step, _ in scores), Counter(step for step, score in scores if score.correct)
    for step in sorted(tried):
        print(f"  {step}: {right[step]} of {tried[step]} variants solved by the {who}")


def main() -> None:
    """Make the folder where it is not there yet, show what the seed can do, and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("history", type=Path, nargs="?")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--dir", type=Path, default=Path("own-history"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    tasks = options.dir / "tasks"
    if not (options.dir / "evolvent.yaml").is_file():
        tasks.mkdir(parents=True, exist_ok=True)
        counts = write_steps(rows(options.history), tasks / "steps.jsonl")
        print("steps:", ", ".join(f"{n} {what}" for what, n in counts.items()))
        (tasks / "own_history.py").write_text(TASK, encoding="utf-8")
        (options.dir / "evolvent.yaml").write_text(json.dumps(SETTINGS, indent=2), encoding="utf-8")  # JSON is YAML
    task = History.read(tasks / "steps.jsonl")
    solved("seed", task, seed_files("sql-seed"), {"kind": "direct"})
    run = Run.open(options.dir)
    state = run.go(turns=options.turns)
    with run.ledger() as ledger:
        for event in ledger.events(kinds={"verdict", "promoted", "rejected"}):
            if event.kind == "verdict":
                print(f"  {event.payload['id']} judged on {event.payload['problems']} problems")
            else:
                print(f"  {event.payload['id']} {event.kind} {event.payload.get('reason', '')}".rstrip())
    champion = state.versions[state.champion]["candidate"]
    solved("champion", task, run.store.read_tree(champion["model"]), champion["scaffold"])
    print(f"champion {state.champion[:12]} after {state.turn} turns, {state.promotions} promotions")


if __name__ == "__main__":
    main()
