"""What self-labelling generates, executes, finds correct and keeps, on two engines, and how right each filter is.

The shipped seed answers problems of the challenger as it does to make its own training data (`curate/selflabel.py`, 4
samples a problem, temperature 0.7), and the same code filters: an answer *executes*, is *correct* (schema and rows, by
the task's verifier), is *kept* (one a problem, easy ones thinned out). 10,000 answers on SQLite, and on PostgreSQL.

Truth comes from a second check that shares neither method nor code with the filter. The declared oracle, the canonical
migration of `reference()`, and the answer each migrate a database that holds the same 40 rows a table (NULLs, empty and
odd texts, large and negative numbers, where the canonical migration can carry them); the answer is right if both leave
the same database. The filter never sees a way from A to B: it compares catalogues with B's and draws three rows. Both
databases are read by a path of their own: SQLite's dump of the stored statements, compared definition by definition;
`pg_dump`, compared section by section, names of constraints aside. Where the two checks differ, one of them is wrong;
such cases are printed, up to ten, so that a reader can say which.

On answers to problems made for PostgreSQL, the verifier of SQLite is asked too: the agreement of two engines on the
same text.

Bars: at least 99 % of kept answers are right on each engine, and at least 99 % of the right ones pass as correct; the
filter *executes* alone has no bar: its precision is the price of not checking.

Run ``python benchmarks/curation.py [--quick]``; a unit (an engine, a seed) that is finished is not run again.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, cast

import psycopg
import torch
from common import Results, Unit, bench_main
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from scipy import stats

from evolvent import tasks
from evolvent.curate.selflabel import TEMPERATURE, Funnel, Maker, draw_problems, select
from evolvent.inputs import seed_files
from evolvent.models.files import from_files
from evolvent.tasks.base import Task
from evolvent.tasks.sql_migration import SqlMigration, verify
from evolvent.tasks.sql_migration.postgres import statements
from evolvent.tasks.sql_migration.postgres.reference import reference as way_on_postgres
from evolvent.tasks.sql_migration.postgres.server import EmbeddedServer, binaries
from evolvent.tasks.sql_migration.postgres.session import Session, SqlError
from evolvent.tasks.sql_migration.reference import reference as way_on_sqlite
from evolvent.types import Problem, Score, derive_seed

ARMS = {"sqlite": "sql_migration", "postgres": "sql_migration_postgres"}
SAMPLES, TARGET_RATE, ROWS = 4, 0.5, 40
FULL: dict[str, Any] = {"seeds": [0, 1, 2, 3, 4], "problems": 500, "version": 1}
QUICK: dict[str, Any] = {"seeds": [0], "problems": 25, "version": 1}
BAR = 0.99
State = tuple[str, ...]


@dataclass
class Recorder:
    """The task, remembering what its verifier said."""

    task: Any
    scores: dict[tuple[str, str], Score] = field(default_factory=dict)
    seconds: float = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        began = time.monotonic()
        score = self.scores[problem.prompt, output] = self.task.verify(problem, output, probe_seed)
        self.seconds += time.monotonic() - began
        return score


def run_unit(unit: Unit) -> dict[str, Any]:
    """One engine, one seed: the funnel, and each distinct answer by filter and by truth."""
    torch.set_num_threads(1)
    model, codec = from_files(seed_files("sql-seed"))
    recorder = Recorder(tasks.load(ARMS[unit.arm]))
    maker, funnel = Maker(cast(Task, recorder), model, codec, "verified", {"kind": "direct"}), Funnel()
    rng = random.Random(derive_seed("curation", unit.arm, unit.seed))
    problems = draw_problems(maker, unit.settings["problems"], TARGET_RATE, rng, Funnel())
    recorder.scores.clear()
    recorder.seconds = 0.0
    began = time.monotonic()
    tries = maker.answers(problems, SAMPLES, TEMPERATURE, derive_seed(unit.seed, "sample"))
    sampling = time.monotonic() - began
    kept = set(select(maker, problems, tries, rng, funnel, derive_seed(unit.seed, "verify")))
    began = time.monotonic()
    check = _sqlite_truth if unit.arm == "sqlite" else _postgres_truth
    right = check([(p, sorted(set(outputs))) for p, outputs in zip(problems, tries.outputs, strict=True)])
    truth_s = time.monotonic() - began
    rows = []
    for problem, outputs in zip(problems, tries.outputs, strict=True):
        for output, times in sorted(Counter(outputs).items()):
            score = recorder.scores[problem.prompt, output]
            row = {
                "times": times, "executed": score.executed, "correct": score.correct, "error": score.error,
                "kept": (problem.prompt, output) in kept, "right": right[problem.prompt, output],
                "kind": problem.tags["kind"],
            }  # fmt: skip
            if unit.arm == "postgres":
                row["on_sqlite"] = SqlMigration().verify(problem, output, 7).correct
            if row["correct"] != row["right"]:
                row["case"] = {"prompt": problem.prompt, "output": output, "reference": _way(unit.arm)(problem)}
            rows.append(row)
    seconds = {"sampling": round(sampling, 3), "verifying": round(recorder.seconds, 3), "truth": round(truth_s, 3)}
    return {"funnel": funnel.plain(), "rows": rows, "seconds": seconds, "verified": len(recorder.scores)}


def _way(arm: str) -> Callable[[Problem], str]:
    return way_on_sqlite if arm == "sqlite" else way_on_postgres


# -- rows --------------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r'"[^"]*"|\'[^\']*\'|\w+\(\d+\)|-?\w+|[(),]')
_TEXTS = ("", " ", "a'b", '"', "é", "0", "x" * 40, "\\n", "NULL", "-- x")


def _tables(ddl: Sequence[str]) -> Iterator[tuple[str, list[tuple[str, list[str]]]]]:
    """``(table, [(column, words of its definition)])`` of our own generator's DDL, names as written."""
    for statement in ddl:
        tokens = _TOKEN.findall(statement)
        if tokens[1] == "TABLE":
            columns, start, depth = [], 4, 0
            for i, token in enumerate(tokens[3:], start=3):
                depth += (token == "(") - (token == ")")
                if (token == "," and depth == 1) or depth == 0:
                    columns.append((tokens[start], tokens[start + 1 : i]))
                    start = i + 1
            yield tokens[2], columns


def _rows(problem: Problem, *, plain: bool) -> list[tuple[str, list[str], list[list[Any]]]]:
    """Rows for A's tables; `plain` leaves out what some migrations rightly refuse: NULLs, texts that are no numbers.

    Whole numbers are a shuffle of the same 40 in each column, so that any of them may refer to any key.
    """
    rng = random.Random(problem.hash)
    made = []
    for table, columns in _tables(problem.given["before"]):
        values = []
        for _, words in columns:
            order = rng.sample(range(1, ROWS + 1), ROWS)
            free = not plain and "NOT" not in words and "PRIMARY" not in words
            values.append([None if free and n % 5 == 0 else _value(words[0], n, plain=plain) for n in order])
            if words[0] == "BOOLEAN" and problem.task == ARMS["postgres"]:
                values[-1] = [value and str(value % 2) for value in values[-1]]
        made.append((table, [column for column, _ in columns], [list(row) for row in zip(*values, strict=True)]))
    return made


def _value(type_: str, n: int, *, plain: bool) -> Any:
    if type_ == "INTEGER":
        return n
    if type_ in ("TEXT", "VARCHAR(40)", "VARCHAR(255)"):
        text = str(7 * n) if plain else f"{_TEXTS[n % len(_TEXTS)]}{n}"
        return text[-40:]
    return {
        "REAL": n * 1.5 - 30, "NUMERIC": n if plain else n * 0.25 - 5, "BIGINT": n if plain else 2**40 * (n - 20) + n,
        "BOOLEAN": n, "TIMESTAMP": f"20{n + 10}-0{n % 9 + 1}-{n % 28 + 1:02d} 01:02:{n:02d}",
        "BLOB": bytes([n, 0, 255]),
        "BYTEA": f"\\x{n:02x}00ff",
    }[type_]  # fmt: skip


# -- truth on SQLite ---------------------------------------------------------------------------------------------------

Asked = list[tuple[Problem, list[str]]]
Right = dict[tuple[str, str], bool]


def _sqlite_truth(asked: Asked) -> Right:
    right: Right = {}
    for problem, outputs in asked:
        for plain in (False, True):
            rows = _rows(problem, plain=plain)
            wanted = _sqlite_state(problem, rows, way_on_sqlite(problem))
            if wanted is not None:
                break
        assert wanted is not None, f"the canonical migration fails: {problem.prompt}"
        right |= {(problem.prompt, text): _sqlite_state(problem, rows, text) == wanted for text in outputs}
    return right


def _sqlite_state(problem: Problem, rows: list[tuple[str, list[str], list[list[Any]]]], script: str) -> State | None:
    """What the script leaves, as SQLite dumps it; ``None`` if not all of it runs."""
    with closing(verify.scratch(problem.given["before"])) as made:
        for table, columns, values in rows:
            marks = ", ".join("?" * len(columns))
            made.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values)
        if len(verify.run_some(made, script)) != len(verify.split_statements(script)):
            return None
        return tuple(sorted(_definition(line) for line in made.iterdump()))


def _definition(line: str) -> str:
    """A dumped statement with its columns' words in one order each; quotes of names and case taken off."""
    if not line.startswith("CREATE TABLE"):
        return line if line.startswith("INSERT") else " ".join(_TOKEN.findall(line)).replace('"', "").lower()
    ((name, columns),) = _tables([line.rstrip(";")])
    parts = [f"{column} {words[:1]} {sorted(words[1:])}" for column, words in columns]
    return f"{name} {parts}".replace('"', "").lower()


# -- truth on PostgreSQL -----------------------------------------------------------------------------------------------

_SECTION = re.compile(r"\n--\n-- (?:Data for )?Name: [^\n]*; Type: ([A-Z ]+); Schema: (p\d+); Owner: -\n--\n")
_CONSTRAINT = re.compile(r'CONSTRAINT (?:"[^"]*"|\w+) ')
_PASSWORD = "of-the-benchmark"  # the server is reached through a folder of its own
_BATCH = 25  # problems to a database, which is dumped once


def _postgres_truth(asked: Asked) -> Right:
    right: Right = {}
    server = EmbeddedServer()
    try:
        for start in range(0, len(asked), _BATCH):
            right |= _postgres_batch(server, asked[start : start + _BATCH], f"truth_{start}")
    finally:
        server.close()
    return right


def _postgres_batch(server: EmbeddedServer, asked: Asked, database: str) -> Right:
    with psycopg.connect(server.url(), dbname="postgres", autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS plain")
        admin.execute(f"CREATE ROLE plain LOGIN PASSWORD '{_PASSWORD}'".encode())
        admin.execute(f"CREATE DATABASE {database} OWNER plain".encode())
        session = Session(make_conninfo(server.url(), user="plain", password=_PASSWORD, dbname=database))
        schemas: dict[tuple[str, str | None], str] = {}
        for problem, outputs in asked:
            rows: list[tuple[str, list[str], list[list[Any]]]] = []
            for plain in (False, True):
                rows, name = _rows(problem, plain=plain), f"p{len(schemas)}"
                if _migrated(session, name, problem, rows, way_on_postgres(problem)):
                    schemas[problem.prompt, None] = name
                    break
            assert (problem.prompt, None) in schemas, f"the canonical migration fails: {problem.prompt}"
            for text in outputs:
                name = f"p{len(schemas)}"
                schemas[problem.prompt, text] = name if _migrated(session, name, problem, rows, text) else ""
        session.close()
        states = _dumped(server.url(), database)
        admin.execute(f"DROP DATABASE {database}".encode())
        admin.execute("DROP ROLE plain")
    return {
        (prompt, text): schema != "" and states.get(schema, ()) == states.get(schemas[prompt, None], ())
        for (prompt, text), schema in schemas.items()
        if text is not None
    }


def _migrated(session: Session, schema: str, problem: Problem, rows: Sequence[Any], script: str) -> bool:
    """Build A with rows in a schema of its own and run the script there; nothing is left if not all of it runs."""
    pieces = statements.split(script)
    if not statements.sendable(script) or not all(map(statements.allowed, pieces)):
        return False
    session.run("BEGIN")
    try:
        session.run(f"CREATE SCHEMA {schema}")
        session.run(f"SET LOCAL search_path = {schema}")
        for statement in problem.given["before"]:
            session.run(statement)
        for table, columns, values in rows:
            marks = ", ".join(f"${i}" for i in range(1, len(columns) + 1))
            for row in values:
                texts = [None if value is None else str(value) for value in row]
                session.run(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", texts)
        for piece in pieces:
            session.run(piece)
        session.run("COMMIT")
    except SqlError:
        session.run("ROLLBACK")
        return False
    return True


def _dumped(url: str, database: str) -> dict[str, State]:
    """Each schema of the database as `pg_dump` writes it, sections sorted, rows sorted."""
    way = conninfo_to_dict(url)
    environment = {"PATH": "/usr/bin:/bin", "PGPASSWORD": str(way["password"])}
    command = [binaries() / "pg_dump", "-h", str(way["host"]), "-U", str(way["user"]), "-d", database]
    command += ["--no-owner", "--no-privileges", "--no-comments", "--column-inserts"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    found: dict[str, list[str]] = {}
    parts = _SECTION.split(text)[1:]
    for kind, schema, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        words = _CONSTRAINT.sub("", body.replace(f"{schema}.", ""))
        lines = [line.rstrip() for line in words.splitlines() if line.strip() and not line.startswith(("--", "\\"))]
        found.setdefault(schema, []).append(f"{kind}\n" + "\n".join(sorted(lines) if "DATA" in kind else lines))
    return {schema: tuple(sorted(sections)) for schema, sections in found.items()}


# -- summary -----------------------------------------------------------------------------------------------------------


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """The funnel, and of what passes each filter how much is right."""
    figures: dict[str, Any] = {}
    bars: dict[str, Any] = {}
    for arm in ARMS:
        units = [results[arm][seed] for seed in settings["seeds"]]
        rows = [row for unit in units for row in unit["rows"]]
        total = {
            name: sum(row["times"] for row in rows if row.get(name, True))
            for name in ("generated", "executed", "correct", "right")
        }
        total["kept"] = sum(row["kept"] for row in rows)
        precision = {name: _share(rows, lambda row, name=name: bool(row.get(name, True))) for name in total}
        precision["kept"] = _interval(sum(row["kept"] and row["right"] for row in rows), total["kept"])
        found = _interval(sum(r["times"] for r in rows if r["right"] and r["correct"]), total["right"])
        seconds = {name: sum(unit["seconds"][name] for unit in units) for name in units[0]["seconds"]}
        figures[arm] = {
            "counts": total, "right of what passes": precision, "right ones found correct": found,
            "errors": dict(Counter(row["error"] for row in rows for _ in range(row["times"]) if row["error"])),
            "seconds": seconds, "verified a second": round(sum(u["verified"] for u in units) / seconds["verifying"], 1),
            "answers a second, all steps but truth":
                round(total["generated"] / (seconds["sampling"] + seconds["verifying"]), 1),
            "disagreements": [row["case"] for row in rows if "case" in row][:10],
        }  # fmt: skip
        said = ", ".join(f"{total[name]} {name}" for name in ("generated", "executed", "correct", "kept"))
        shares = ", ".join(f"{name} {precision[name][1]}" for name in ("generated", "executed", "correct", "kept"))
        bars[f"{arm}: funnel; share right of generated, executed, correct, kept"] = {
            "figure": f"{said}; {shares}", "bar": "an honest figure", "holds": True,
        }  # fmt: skip
        bars[f"{arm}: of kept answers at least 99 % are right"] = {
            "figure": precision["kept"], "bar": BAR, "holds": precision["kept"][1] >= BAR,
        }  # fmt: skip
        bars[f"{arm}: of right answers at least 99 % are found correct"] = {
            "figure": found, "bar": BAR, "holds": found[1] >= BAR,
        }  # fmt: skip
    rows = [row for seed in settings["seeds"] for row in results["postgres"][seed]["rows"]]
    table = Counter((row["correct"], row["on_sqlite"]) for row in rows for _ in range(row["times"]))
    figures["correct on postgres, on sqlite"] = {f"{a}, {b}": n for (a, b), n in sorted(table.items())}
    same = table[True, True] + table[False, False]
    bars["both engines say the same of answers to PostgreSQL's problems"] = {
        "figure": f"{same} of {table.total()}", "bar": "an honest figure", "holds": True,
    }  # fmt: skip
    return {"figures": figures, "bars": bars}


def _share(rows: Sequence[dict[str, Any]], passes: Callable[[dict[str, Any]], bool]) -> tuple[float, float, float]:
    through = [row for row in rows if passes(row)]
    return _interval(sum(row["times"] for row in through if row["right"]), sum(row["times"] for row in through))


def _interval(right: int, of: int) -> tuple[float, float, float]:
    """Low, share and high: Clopper and Pearson's 95 %. Samples of a problem are not independent; it is a guide."""
    if of == 0:
        return 0.0, 0.0, 1.0
    found = stats.binomtest(right, of).proportion_ci()
    return round(float(found.low), 4), round(right / of, 4), round(float(found.high), 4)


if __name__ == "__main__":
    sys.exit(bench_main("curation", tuple(ARMS), run_unit, summarise, full=FULL, quick=QUICK))
