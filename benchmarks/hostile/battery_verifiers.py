"""What must hold of the verifiers: answers that are right or wrong by construction, the errors that they must be given, limits.

Reads reference answers, as declared in `tests/test_firewall.py`: no model learns from them here.

Not here: gate and statistics (`battery_judge.py`).
"""

from __future__ import annotations

import importlib
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from evolvent import judge as _judge  # noqa: F401 - so that its modules are there before a child is born
from evolvent.sandbox import plain
from evolvent.tasks.python_fix.reference import reference as python_reference
from evolvent.types import Problem
from hostile import cheats, disguises, forged
from hostile import sql as hostile_sql

__all__ = ["python", "sql"]

for _folder in ("tests", "tests/tasks", "tests/judge"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / _folder))
_SQL_TESTS = importlib.import_module("test_sql_migration")
_MIGRATIONS = hostile_sql.migrations(16, 5)
_ITEMS = cheats.problems(9, 5)
_SLOW = {"slow function", "ten megabytes", "cross join"}  # they end at the verifier's last limit, after seconds


def sql() -> None:
    """Right answers, hostile and wrong ones with the errors that they must be given, limits of time."""
    verify = sys.modules["evolvent.tasks.sql_migration.verify"]
    task = sys.modules["evolvent.tasks.sql_migration"].SqlMigration()
    for i, (problem, right) in enumerate(_MIGRATIONS):
        score = task.verify(problem, right, i)
        assert (score.correct, score.error, score.executed) == (True, None, True)
        assert task.well_posed(problem)
        assert task.feedback(problem.prompt, right) is None
        wrong = task.verify(problem, "SELECT 1;", i)
        assert not wrong.correct
        assert wrong.error is not None
        assert wrong.executed
    for name, (text, said) in _SQL_TESTS.HOSTILE.items():
        if name in _SLOW:
            continue
        began = time.process_time()
        score = verify.verify(_SQL_TESTS.USERS, _SQL_TESTS.USERS_MAIL, [], text, 1)
        assert time.process_time() - began < 8
        assert not score.correct or name in ("null byte at the end", "temp schema"), name
        assert said is None or score.error == said, f"{name}: {score.error}"
    for attack in (*hostile_sql.ATTACKS, *forged.ATTACKS):
        for ending in attack.run(_Nowhere(), 16 if attack.trust == "Q" else 8, 2):  # type: ignore[arg-type]
            assert ending.found in ("blocked", "no effect", "flagged"), f"{attack.name}: {ending}"
    for function, cases in ((_SQL_TESTS.test_what_no_pragma_shows_counts_too, "before,after,output,said"),):
        assert cases
        for mark in function.pytestmark:
            for case in mark.args[1]:
                function(*case)
    _sql_bounds(verify)
    _sql_alike(verify)
    assert not list(Path("/tmp").iterdir()), "it wrote a file"


def _sql_bounds(verify: Any) -> None:
    """Each limit holds where it stands: the last text within it is only wrong, the first beyond it is refused."""

    def refused(text: str) -> bool:
        return verify.verify(_SQL_TESTS.USERS, _SQL_TESTS.USERS_MAIL, [], text, 1).error == "limit"

    def long(size: int) -> str:
        return f"SELECT length(replace('{'a' * 100}', 'a', '{'b' * (size // 100)}') || '{'c' * (size % 100)}');"

    for within, beyond in (
        ("SELECT 'a' LIKE '" + "a" * 100 + "';", "SELECT 'a' LIKE '" + "a" * 101 + "';"),
        (long(50_000), long(50_001)),
        (" UNION ALL ".join(["SELECT 1"] * 8), " UNION ALL ".join(["SELECT 1"] * 9)),
        ("SELECT 1;" * 64, "SELECT 1;" * 65),
        ("SELECT 1;".ljust(7_990) + "SELECT 1; ", "SELECT 1;".ljust(7_992) + "SELECT 1;"),
        ("SELECT " + " + ".join(["1"] * 50), "SELECT " + " + ".join(["1"] * 52)),
    ):
        assert not refused(within), within[:40]
        assert refused(beyond), beyond[:40]
    for action in (
        sqlite3.SQLITE_ATTACH,
        sqlite3.SQLITE_DETACH,
        sqlite3.SQLITE_CREATE_VTABLE,
        sqlite3.SQLITE_DROP_VTABLE,
        sqlite3.SQLITE_ANALYZE,
    ):
        assert verify._authorize(action, "x", None) == sqlite3.SQLITE_DENY
    for name in ("load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "randomblob", "zeroblob"):
        assert verify._authorize(sqlite3.SQLITE_FUNCTION, None, name.upper()) == sqlite3.SQLITE_DENY
    assert verify._authorize(sqlite3.SQLITE_FUNCTION, None, "lower") == sqlite3.SQLITE_OK
    assert verify._authorize(sqlite3.SQLITE_PRAGMA, "foreign_keys", None) == sqlite3.SQLITE_OK


def _sql_alike(verify: Any) -> None:
    """What is equal where it is equal, and different where it differs, in pairs."""

    def said(before: list[str], after: list[str], text: str) -> str:
        score = verify.verify(before, after, [], text, 3)
        return "correct" if score.correct else str(score.error)

    users, table = (
        "CREATE TABLE u (id INTEGER PRIMARY KEY, n INTEGER CHECK (n > 0))",
        "CREATE TABLE u (id INTEGER PRIMARY KEY, n INTEGER CHECK (n > 0), m TEXT DEFAULT NULL)",
    )
    assert said([users], [table], "ALTER TABLE u ADD COLUMN m TEXT") == "correct"
    assert said([users], [table], "ALTER TABLE u ADD COLUMN m TEXT DEFAULT 'NULL'") == "wrong_column"
    for index, others in (
        (
            "ON u (n)",
            (
                "ON u (n DESC)",
                "ON u (n COLLATE NOCASE)",
                "ON u (id)",
                "ON u (n, id)",
                "ON u (n) WHERE n > 1",
                "ON u (-n)",
            ),
        ),
        ("ON u (n) WHERE n > 1", ("ON u (n) WHERE n > 2", "ON u (n)")),
        ("ON u (-n)", ("ON u (n)", "ON u (+n)")),
        ("ON u (n DESC)", ("ON u (n)",)),
        ("ON u (n COLLATE NOCASE)", ("ON u (n)",)),
    ):
        assert said([users], [users, f"CREATE INDEX i {index}"], f"CREATE INDEX i {index}") == "correct"
        for other in others:
            assert said([users], [users, f"CREATE INDEX i {index}"], f"CREATE INDEX i {other}") == "wrong_index", other
        assert said([users], [users, f"CREATE INDEX i {index}"], f"CREATE UNIQUE INDEX i {index}") == "wrong_index"
        assert said([users], [users, f"CREATE INDEX i {index}"], f"CREATE INDEX j {index}") == "wrong_index"
    assert said([users], [users, "CREATE UNIQUE INDEX i ON u (n)"], "CREATE INDEX i ON u (n)") == "wrong_index"
    old, new = ["CREATE TABLE t (a INTEGER)"], ["CREATE TABLE t (b TEXT)"]
    made = "CREATE TABLE x (b TEXT); {} DROP TABLE t; ALTER TABLE x RENAME TO t;"
    assert said(old, new, made.format("INSERT INTO x SELECT NULL FROM t;")) == "correct"
    assert said(old, new, made.format("")) == "lost_rows"
    assert said(old, new, made.format("INSERT INTO x SELECT NULL FROM t LIMIT 1;")) == "lost_rows"
    assert said(old, new, made.format("INSERT INTO x SELECT 1 FROM t UNION ALL SELECT 2 FROM t;")) == "lost_rows"
    assert said(old, [*old, "CREATE TABLE v (a)"], "CREATE TABLE v (a); CREATE TABLE w (a)") == "wrong_table"
    assert said(old, [*old, "CREATE VIEW v AS SELECT a FROM t"], "CREATE VIEW v AS SELECT a FROM t") == "correct"
    assert (
        said(old, [*old, "CREATE VIEW v AS SELECT a FROM t"], "CREATE VIEW v AS SELECT 1 AS a FROM t") == "wrong_index"
    )
    for kind in ("REAL", "BLOB", "TEXT", "INTEGER", "DATE", "BOOLEAN", "NUMERIC", "VARCHAR(9)", "FLOAT"):
        before, after = (
            [f"CREATE TABLE t (id INTEGER PRIMARY KEY, a {kind} NOT NULL UNIQUE)"],
            [f"CREATE TABLE t (id INTEGER PRIMARY KEY, a {kind} NOT NULL UNIQUE, b TEXT)"],
        )
        assert said(before, after, "ALTER TABLE t ADD COLUMN b TEXT") == "correct", kind
        assert (
            said(before, after, "ALTER TABLE t ADD COLUMN b TEXT; DELETE FROM t WHERE id = (SELECT max(id) FROM t)")
            == "lost_rows"
        ), kind
        spoilt = (
            "ALTER TABLE t ADD COLUMN b TEXT; UPDATE t SET a = CASE WHEN id = (SELECT min(id) FROM t) THEN 7 ELSE a END"
        )
        assert said(before, after, spoilt) == "lost_rows", kind
    full = ["CREATE TABLE t (a INTEGER, b TEXT NOT NULL)"]
    made = "CREATE TABLE x (a INTEGER, b TEXT NOT NULL); INSERT INTO x SELECT a, 'any' FROM t{}; DROP TABLE t; ALTER TABLE x RENAME TO t;"
    assert said(old, full, made.format("")) == "correct", "the value that B demands is free"
    assert said(old, full, made.format(" LIMIT 2")) == "lost_rows"
    assert not verify.well_posed(old, old)
    assert not verify.well_posed(old, ["CREATE TABEL t"])
    assert verify.well_posed(old, new)
    assert verify.run_some(verify.scratch(old), "CREATE TABLE k (a); CREATE TABLE k (a); CREATE TABLE l (a)") == [
        "CREATE TABLE k (a);"
    ]
    assert verify.run_some(verify.scratch(old), "BEGIN; CREATE TABLE k (a)") == []


class _Nowhere:
    """A field of which only the folder is asked for."""

    root = Path("/tmp")


def python() -> None:
    """Right answers in both forms, cheats, and the errors that they must be given."""
    task = sys.modules["evolvent.tasks.python_fix"].PythonFix()
    verify = sys.modules["evolvent.tasks.python_fix.verify"]
    for i, item in enumerate(_ITEMS):
        calls, expected = verify.hidden(item.problem, i)
        assert len(calls) == len(expected) >= 16 + 24
        assert calls != verify.hidden(item.problem, i + 1)[0]
        for text in (item.truth, python_reference(item.problem)):
            score = task.verify(item.problem, text, i)
            assert (score.correct, score.error, score.executed) == (True, None, True)
            assert task.feedback(item.problem.prompt, text) is None
        for error, body in (
            ("wrong_name", "def other(*a): return 1"),
            ("syntax", "def ("),
            ("form", "Sure, here it is:"),
            ("raises", f"def {item.name}(*a): 1 / 0"),
            ("load", f"def {item.name}(*a): return 1\n1 / 0"),
            ("crashed", f"import os\ndef {item.name}(*a): os._exit(0)"),
            ("wrong_type", f"import os\ndef {item.name}(*a): return 1.5j"),
        ):
            score = task.verify(item.problem, body, i)
            assert (score.correct, score.error) == (False, error), f"{score} for {body}"
            assert score.executed is (error == "wrong_type")
            assert task.feedback(item.problem.prompt, body), body
    for wrap in disguises._NUMBERS[:2]:  # of another type, and equal in Python's eyes
        for i, item in enumerate(_ITEMS):
            assert task.verify(item.problem, disguises._twisted(wrap)(item), i).error == "wrong_type"
    item = _ITEMS[0]
    score = task.verify(item.problem, f"def {item.name}(*a):\n    while True: pass", 0)
    assert (score.correct, score.error, score.executed) == (False, "timeout", False)
    for attack in (*cheats.ATTACKS, *disguises.ATTACKS):
        for ending in attack.run(_Nowhere(), 4, 5):  # type: ignore[arg-type]
            assert ending.found == "blocked", f"{attack.name}: {ending}"
    _stored(task)


def _stored(task: Any) -> None:
    """A problem with hidden pairs of its own: another value of the same type is wrong, also at the last of them."""
    pairs = [[plain.encode([n]), plain.encode(n * n)] for n in range(5)]
    problem = Problem(
        task="python_fix", skill="single", prompt="# Square.\nassert sq(2) == 4\n# write\n", given={"hidden": pairs}
    )
    assert task.verify(problem, "def sq(n): return n * n", 1).correct
    for body, error in (
        ("n * n if n < 4 else 17", "wrong_value"),
        ("str(n)", "wrong_type"),
        ("n * n if n else 1", "wrong_value"),
    ):
        score = task.verify(problem, f"def sq(n): return {body}", 1)
        assert (score.correct, score.error, score.executed) == (False, error, True)
    assert task.well_posed(problem)
