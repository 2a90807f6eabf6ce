"""Hostile SQL against the verifier of `sql_migration`: to reach files, to stall, to be called right without being right.

The verifier runs it in memory under an authorizer and limits. In the box the same text meets a plain connection.

Reads reference answers, as declared in `tests/test_firewall.py`: no model learns from them here.

Not here: bugs in SQLite itself; PostgreSQL.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache

from evolvent.tasks.sql_migration import SqlMigration
from evolvent.tasks.sql_migration.reference import reference
from evolvent.types import Problem
from hostile.base import Attack, Ending, Field, Found, Json
from hostile.probes import source_of

__all__ = ["ATTACKS", "migrations"]

_TASK = SqlMigration()
_SLOWEST_S = 8.0  # the verifier's own limit is 5 seconds of processor time
_T = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)"
_WANT = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, mail TEXT)"
Shape = tuple[list[str], list[str]]
_USERS: Shape = ([_T], [_WANT])


@lru_cache(maxsize=4)
def migrations(count: int, seed: int) -> tuple[tuple[Problem, str], ...]:
    """Fresh problems of both skills in turn, each with a right answer."""
    rng = random.Random(f"sql{seed}")
    made = [_TASK.generate(_TASK.skills[i % 2], rng, 1)[0] for i in range(count)]
    return tuple((problem, reference(problem)) for problem in made)


def _scored(problem: Problem, text: str, seed: int, *, harmless: bool) -> Ending:
    began = time.process_time()
    score = _TASK.verify(problem, text, seed)
    if time.process_time() - began > _SLOWEST_S:
        return Ending(Found.ESCAPED, f"it stalled the verifier: {text[:80]!r}")
    if score.correct:
        return Ending(Found.NO_EFFECT if harmless else Found.ESCAPED, f"called right: {text[:120]!r}")
    return Ending(Found.BLOCKED, f"{score.error}: {text[:60]!r}")


def beside(
    name: str,
    stops: str,
    texts: Sequence[str],
    *,
    trust: str = "Q",
    harmless: bool = False,
    check: str = "",
    outlives: float = 0.0,
    no_control: str = "",
) -> Attack:
    """Hostile statements before, after and instead of a right migration of a fresh problem.

    Args:
        name: of the class.
        stops: what stops it.
        texts: the statements; ``FOLDER`` stands for a folder that can be written, ``TABLE`` for a table.
        trust: id.
        harmless: alone they may be a right answer too, for what SQLite reads of them.
        check: for the box: an expression, true where the plain connection let it happen.
        outlives: in the box it works if it takes more processor seconds than this.
        no_control: why the box does not try it.
    """

    def run(field: Field, variants: int, seed: int) -> Iterator[Ending]:
        for i, (problem, right) in enumerate(migrations(variants, seed)):
            tables = [s for s in problem.given["before"] if s.startswith("CREATE TABLE")] or [_T]
            table = tables[0].split("TABLE", 1)[1].split("(", 1)[0].strip()
            text = texts[i % len(texts)].replace("FOLDER", str(field.root)).replace("TABLE", table)
            form = (i // len(texts)) % 3
            whole = (f"{text};\n{right}", f"{right}\n{text};", text)[form]
            # Beside a right migration it may be called right: then nothing of it lasts, since schema and rows are B's.
            yield _scored(problem, whole, seed + i, harmless=harmless or form < 2)

    def controls() -> list[tuple[str, Json]]:
        filled = [text.replace("FOLDER", "/tmp/outside").replace("TABLE", "users") for text in texts]
        return [("probe", {"source": source_of(_plain(text, check)), "outlives": outlives}) for text in filled]

    return Attack(
        name=name, trust=trust, stops=stops, run=run, control=None if no_control else controls, no_control=no_control
    )


def _plain(text: str, check: str, shape: Shape = _USERS) -> str:
    return "\n".join(
        [
            "import sqlite3",
            "c = sqlite3.connect('/tmp/scratch/%d.db' % os.getpid(), isolation_level=None)",
            "getattr(c, 'enable_load_extension', bool)(True)",
            *(f"c.execute({statement!r})" for statement in shape[0]),
            "c.execute(\"INSERT INTO users (id, name) VALUES (1, 'a')\")",
            "try:",
            f"    c.executescript({text!r})",
            "except sqlite3.Error as exc:",
            "    said = str(exc)",
            "else:",
            "    said = ''",
            f"return bool({check or 'not said'})",
        ]
    )


_NEW = "os.path.exists('/tmp/outside/x.db') or os.path.exists('/tmp/scratch/evolvent-attack-x')"
_ROWS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT"
_DEEP = (
    "SELECT " + "(" * 400 + "1" + ")" * 400,
    "SELECT " + " + ".join(["1"] * 900),
    "SELECT " + "-" * 1 + " - ".join(["1"] * 300),
)


ATTACKS: tuple[Attack, ...] = (
    beside(
        "other databases and files",
        "authorizer: no ATTACH; VACUUM cannot write in memory",
        [
            "ATTACH 'FOLDER/x.db' AS x; CREATE TABLE x.t (a)",
            "ATTACH DATABASE ':memory:' AS x",
            "VACUUM INTO 'FOLDER/x.db'",
            "DETACH main",
            "ATTACH 'file:FOLDER/x.db?mode=rwc' AS x; CREATE TABLE x.t (a)",
            "ATTACH '/etc/passwd' AS x",
            "VACUUM main INTO 'FOLDER/x.db'",
            "ATTACH '' AS x",
        ],
        trust="S6",
        check=_NEW,
    ),
    beside(
        "pragmas",
        "authorizer: none but foreign_keys",
        [
            f"PRAGMA {what}"
            for what in (
                "writable_schema = ON",
                "temp_store_directory = 'FOLDER'",
                "journal_mode = DELETE",
                "max_page_count = 9999999",
                "main.user_version = 7",
                "trusted_schema = ON",
                "cell_size_check = OFF",
                "hard_heap_limit = 1",
                "recursive_triggers = ON",
                "case_sensitive_like = ON",
                "writable_schema = RESET",
                "schema_version = 1",
            )
        ],
        check="not said",
    ),
    beside(
        "functions that reach out",
        "authorizer; not built in",
        [
            "SELECT load_extension('libc.so.6')",
            "SELECT readfile('/etc/passwd')",
            "SELECT writefile('FOLDER/x.db', 'x')",
            "SELECT edit('x', 'vi')",
            "SELECT fts3_tokenizer('simple')",
            "SELECT load_extension('FOLDER/x', 'init')",
            "SELECT LOAD_EXTENSION(char(120))",
            "SELECT \"load_extension\"('x')",
        ],
        trust="S6",
        no_control="most SQLites are built without them",
    ),
    beside(
        "endless queries",
        "limit of virtual machine steps",
        [
            f"{_ROWS} count(*) FROM c",
            f"INSERT INTO TABLE {_ROWS} x FROM c",
            f"CREATE TABLE big AS {_ROWS} x FROM c",
            f"SELECT max(x) FROM ({_ROWS} x FROM c)",
            f"CREATE VIEW v AS {_ROWS} x FROM c; SELECT count(*) FROM v",
            f"DELETE FROM TABLE WHERE ({_ROWS} count(*) FROM c) > 0",
            "SELECT count(*) FROM sqlite_master a, sqlite_master b, sqlite_master c, sqlite_master d, sqlite_master e, sqlite_master f, sqlite_master g, "
            "sqlite_master h, sqlite_master i, sqlite_master j, sqlite_master k, sqlite_master l, sqlite_master m, sqlite_master n, sqlite_master o, "
            "sqlite_master p, sqlite_master q, sqlite_master r, sqlite_master s, sqlite_master t, sqlite_master u, sqlite_master v, sqlite_master w",
        ],
        trust="S10",
        outlives=1.5,
    ),
    beside(
        "bombs in memory",
        "limits of length and pages; functions denied",
        [
            "SELECT zeroblob(2000000000)",
            "SELECT randomblob(1000000000)",
            "SELECT printf('%.*c', 2000000000, 'x')",
            "SELECT hex(zeroblob(900000000))",
            "SELECT replace('aaaaaaaaaa', 'a', zeroblob(100000000))",
            "SELECT format('%2000000000d', 1)",
            "CREATE TABLE b AS SELECT zeroblob(100000000) AS z",
            "SELECT group_concat(a.sql || b.sql || c.sql) FROM sqlite_master a, sqlite_master b, sqlite_master c, sqlite_master d, sqlite_master e, sqlite_master f",
        ],
        trust="S9",
        check="not said",
    ),
    beside(
        "slow inside of one step",
        "slow functions covered up; lengths and patterns limited; processor time",
        [
            "SELECT '" + "a" * 90 + "' LIKE '" + "%a" * 45 + "b'",
            "SELECT '" + "a" * 60 + "' GLOB '" + "*a" * 45 + "b'",
            f"SELECT count(*) FROM ({_ROWS} x FROM c) WHERE instr(x || '" + "a" * 900 + "', 'b')",
            "SELECT printf('%.*c', 999999999, 'x') FROM sqlite_master",
            "SELECT length(replace(replace(replace('"
            + "a" * 500
            + "', 'a', '"
            + "b" * 90
            + "'), 'b', 'cccccccc'), 'c', 'dd'))",
        ],
        trust="S10",
        no_control="it costs time, and the box is not patient enough",
    ),
    beside(
        "deep, long and many",
        "limits of depth, statements and length",
        [
            *_DEEP,
            "; ".join(["SELECT 1"] * 80),
            "-- " + "x" * 9000,
            " UNION ".join(["SELECT 1"] * 60),
            "SELECT " + ", ".join(["1"] * 2100),
            "CREATE TABLE w (" + ", ".join(f"c{i}" for i in range(2100)) + ")",
            "SELECT " + "NOT " * 300 + "1",
        ],
        trust="S9",
        harmless=True,
        no_control="it depends on how SQLite was built",
    ),
    beside(
        "virtual tables and statistics",
        "authorizer",
        [
            "CREATE VIRTUAL TABLE f USING fts5(x)",
            "CREATE VIRTUAL TABLE r USING rtree(id, a, b)",
            "ANALYZE",
            "CREATE VIRTUAL TABLE temp.d USING dbstat",
            "SELECT * FROM pragma_table_info('TABLE')",
            "SELECT * FROM pragma_database_list",
            "ANALYZE main",
            "CREATE VIRTUAL TABLE s USING fts4(x)",
        ],
        check="not said",
    ),
    beside(
        "the schema's own table",
        "SQLite refuses; authorizer",
        [
            "DELETE FROM sqlite_master",
            "UPDATE sqlite_master SET sql = ''",
            "INSERT INTO sqlite_schema VALUES ('table', 'x', 'x', 0, 'x')",
            "DROP TABLE sqlite_master",
            "PRAGMA writable_schema = 1; UPDATE sqlite_master SET sql = replace(sql, 'TEXT', 'BLOB')",
            "ALTER TABLE sqlite_master RENAME TO x",
            "CREATE TABLE sqlite_x (a)",
            "CREATE TRIGGER t AFTER INSERT ON sqlite_master BEGIN SELECT 1; END",
        ],
        check="not said",
    ),
    beside(
        "transactions left open",
        "an open transaction is an error",
        [
            "BEGIN",
            "SAVEPOINT a",
            "BEGIN EXCLUSIVE",
            "BEGIN; SAVEPOINT b; RELEASE b",
            "SAVEPOINT a; SAVEPOINT b; ROLLBACK TO a",
            "BEGIN IMMEDIATE",
        ],
        check="c.in_transaction",
    ),
    beside(
        "temporary things beside a right migration",
        "dropped before anything is looked at",
        [
            "CREATE TEMP TABLE TABLE_2 (x)",
            "CREATE TEMP TRIGGER x AFTER INSERT ON TABLE BEGIN DELETE FROM TABLE; END",
            "CREATE TEMP VIEW v AS SELECT 1",
            "CREATE TEMP TABLE y AS SELECT * FROM TABLE; CREATE INDEX temp.z ON y (rowid)",
        ],
        harmless=True,
        no_control="nothing lasts: that is the point",
    ),
    beside(
        "bytes and encodings",
        "text that SQLite refuses is an error",
        [
            "ALTER TABLE TABLE\0 ADD COLUMN evil TEXT",
            "\0DROP TABLE TABLE",
            "SELECT '\ud800'",
            "ALTER TABLE TABLE ADD COLUMN \u202eliam TEXT",
            "\ufeffDROP TABLE TABLE",
            "DROP TABLE \uff34\uff21\uff22\uff2c\uff25",
            "SELECT 1;\x1aDROP TABLE TABLE",
            "DROP/**/TABLE/**/TABLE",
            "SELECT x'ff' || char(0); DROP TABLE TABLE",
        ],
        harmless=True,
        no_control="where SQLite stops reading a text, what is left of it does nothing",
    ),
)
