"""What must hold of the verifiers: answers that are right or wrong by construction, the errors that they must be given, limits.

Reads reference answers, as declared in `tests/test_firewall.py`: no model learns from them here.

Not here: gate and statistics (`battery_judge.py`).
"""

from __future__ import annotations

import importlib
import random
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evolvent import judge as _judge  # noqa: F401 - so that its modules are there before a child is born
from evolvent.sandbox import plain
from evolvent.tasks.python_fix import prompts
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
        ("SELECT " + " + ".join(["1"] * 50), "SELECT " + " + ".join(["1"] * 51)),
    ):
        assert not refused(within), within[:40]
        assert refused(beyond), beyond[:40]
    used = verify.scratch(["CREATE TABLE t (a)"])
    verify.run_some(used, "SELECT 1")
    limits = (sqlite3.SQLITE_LIMIT_ATTACHED, sqlite3.SQLITE_LIMIT_EXPR_DEPTH, sqlite3.SQLITE_LIMIT_LENGTH)
    assert [used.getlimit(limit) for limit in limits] == [0, 50, 10_000_000]
    count, looks = verify._Countdown(), 0
    while not count():
        looks += 1
    assert looks == verify.MAX_VM_STEPS // verify.STEPS_PER_CHECK == 4000
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


_OLD, _NEW = ["CREATE TABLE t (a INTEGER)"], ["CREATE TABLE t (b TEXT)"]


def _sql_alike(verify: Any) -> None:
    """What is equal where it is equal, and different where it differs, in pairs."""

    def said(before: list[str], after: list[str], text: str) -> str:
        score = verify.verify(before, after, [], text, 3)
        return "correct" if score.correct else str(score.error)

    _columns_and_indexes(said)
    _rows(said)
    _by_itself(verify)


def _columns_and_indexes(said: Callable[[list[str], list[str], str], str]) -> None:
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


def _rows(said: Callable[[list[str], list[str], str], str]) -> None:
    old, new = _OLD, _NEW
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
    assert said(old, full, made.format(" LIMIT 3")) == "correct", "there are three rows"
    untyped, more = ["CREATE TABLE t (a)"], ["CREATE TABLE t (a, b TEXT)"]
    added = "ALTER TABLE t ADD COLUMN b TEXT; UPDATE t SET a = "
    assert said(untyped, more, added + "a + 0.0") == "lost_rows"
    assert said(untyped, more, added + "CAST(a AS INTEGER)") == "correct"


def _by_itself(verify: Any) -> None:
    """Parts of the verifier, asked directly."""
    old, new = _OLD, _NEW
    rows = verify._insert_probes(verify.scratch(["CREATE TABLE t (a)", "CREATE TABLE i (a INTEGER)"]), random.Random(1))
    assert len(rows["t"]) == 3
    assert all(type(value) is int for (value,) in rows["t"])
    assert [value % 9 for (value,) in rows["i"]] == [1, 2, 3], "distinct whatever is drawn"
    pair = verify.scratch([*old, "CREATE UNIQUE INDEX u ON t (a)", "CREATE INDEX p ON t (a)"])
    assert [verify.catalogue(pair)["indexes"][name][1] for name in "up"] == [True, False]
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
    deep = f"def {item.name}(*a):\n    x = 1\n    for _ in range(64): x = [x]\n    return x"
    score = task.verify(item.problem, deep, 0)
    assert (score.correct, score.error) == (False, "wrong_type"), "as deep as a value may be"
    _stored(task)
    _tried(verify)


def _tried(verify: Any) -> None:
    """What a testing program is told: asserts and own tests that failed, of answers that a rollout chooses among."""
    example = prompts.Example
    assert verify.own_tests([example("f", ([1, 2, 3, 4], 2), 0), example("f", ([5, 6], 1), 0)]) == [
        ([1, 2], 2),
        ([1, 2, 3, 4], 1),
        ([5, 6], 2),
    ]
    assert verify.own_tests([example("f", ("abcdefgh", 9), 0)]) == [("abcdefgh", 9)][1:], "no shorter than the shortest"
    assert verify.own_tests([example("f", ("abcdefgh",), 0), example("f", ("xy",), 0)]) == [("abcd",)]
    assert verify.own_tests([example("f", ("abcdefgh",), 0), example("f", ("uvwxyz",), 0)]) == [("abcdef",)]
    many = verify.own_tests([example("f", (n, n), 0) for n in range(9)])
    assert len(many) == verify.OWN_TESTS == 6
    assert many[0] == (0, 1)
    asked = prompts.read("# S.\nassert sq(2) == 4\nassert sq(3) == 9\nassert sq(5) == 25\n# write\n")
    assert asked is not None
    for body, failed, doubts, complaint in (
        ("n * n", 0, 0, None),
        ("n * n if n < 5 else 'x'", 1, 0, "sq(5) gave 'x', expected 25"),
        ("n", 3, 0, "sq(2) gave 2, expected 4"),
        ("4 if n == 2 else 1 / 0", 2, 0, "sq(3) raised ZeroDivisionError, expected 9"),
    ):
        trial = verify.try_out(asked, f"def sq(n): return {body}")
        assert (trial.failed, trial.doubts, trial.complaint) == (failed, doubts, complaint), body
        assert trial.source is not None
    for text, complaint in (
        ("Sure:", "the answer has none of the accepted forms"),
        ("def sq(n): return 1\n1 / 0", "ZeroDivisionError: division by zero"),
        ("import os\ndef sq(n): os._exit(0)", "crashed"),
    ):
        trial = verify.try_out(asked, text)
        assert (trial.failed, trial.doubts) == (3, verify.OWN_TESTS), "all of them, if it did not load"
        assert trial.complaint.startswith(complaint), trial.complaint
        assert (trial.source is None) is (text == "Sure:")
    pair = prompts.read("# J.\nassert j([1, 2, 3, 4], 2) == 2\nassert j([5, 6], 1) == 1\n# write\n")
    assert pair is not None
    own = "def j(xs, n): return {} if (len(xs), n) == (4, 1) else n"
    for value, doubts in (("3", 0), ("'x'", 1), ("True", 1), ("1 / 0", 1)):
        trial = verify.try_out(pair, own.format(value))
        assert (trial.failed, trial.doubts, trial.complaint is None) == (0, doubts, not doubts), value
    both = prompts.read("# J.\nassert j([1, 2], 2) == 2\nassert j([5], 1) == 'a'\n# write\n")
    assert both is not None
    trial = verify.try_out(both, "def j(xs, n): return 'a' if n == 1 and xs == [5] else 2.5 if n == 1 else 2")
    assert (trial.failed, trial.doubts) == (0, 0), "with values of two types any type may be right"


def _stored(task: Any) -> None:
    """A problem with hidden pairs of its own: another value of the same type is wrong, also at the last of them."""
    pairs = [[plain.encode([n]), plain.encode(n * n)] for n in range(5)]
    problem = Problem(
        task="python_fix", skill="single", prompt="# Square.\nassert sq(2) == 4\n# write\n", given={"hidden": pairs}
    )
    assert task.verify(problem, "def sq(n): return n * n", 1).correct
    assert task.verify(problem, "def sq(n): return n * n * 1.0", 1).correct, "its asserts are Python's, and say =="
    for body, error in (
        ("n * n if n < 4 else 17", "wrong_value"),
        ("str(n)", "wrong_type"),
        ("n * n if n else 1", "wrong_value"),
    ):
        score = task.verify(problem, f"def sq(n): return {body}", 1)
        assert (score.correct, score.error, score.executed) == (False, error, True)
    assert task.well_posed(problem)
