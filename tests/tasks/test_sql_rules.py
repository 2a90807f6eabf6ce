"""Rules over migrations: facts are what the engine does, hostile text is no way round, a broken rule is an error."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolvent.errors import UsageError
from evolvent.inputs import seed_files
from evolvent.models.files import from_files
from evolvent.observe.diagnose import diagnose
from evolvent.observe.rollout import rollout
from evolvent.sandbox import IsolatedProcess
from evolvent.scaffold import programs
from evolvent.scaffold.tools import Tools
from evolvent.tasks.sql_migration import SqlMigration, facts, verify
from evolvent.tasks.sql_migration.postgres import SqlMigrationPostgres
from evolvent.tasks.sql_migration.reference import reference
from evolvent.types import Problem, Trace

KEEP = "violation(rebuilds) :- drop_table(_, T), new_table(T)."
NEEDLESS = """
violation(needless_drop)   :- drop_column(_, T, C), new_column(T, C).
violation(needless_column) :- add_column(_, T, C), not new_column(T, C).
"""
PLAIN, KEEPING, SPARING = SqlMigration(), SqlMigration(own=KEEP), SqlMigration(own=NEEDLESS)
A = "-- from\nCREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER);\n"
B = "-- to\nCREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, mail TEXT);\n"


def said(statement: str, dialect: str = "sqlite") -> list[facts.Fact]:
    return [(name, *names) for name, _, *names in facts.read(statement, dialect) if name != "does"]


def fresh(skill: str, count: int = 60) -> list[Problem]:
    return PLAIN.generate(skill, random.Random(f"rules {skill}"), count)


@pytest.mark.parametrize(
    "name", ["users", "'users'", '"users"', "`users`", "[users]", "USERS", "main.users", "/**/users"]
)
def test_a_name_is_the_engines_however_it_is_spelled(name: str) -> None:
    assert said(f"DROP TABLE {name}") == [("drop_table", "users")]
    assert said(f"ALTER TABLE {name} DROP COLUMN age") == [("drop_column", "users", "age")]
    assert said(f"ALTER TABLE {name} RENAME TO b -- c") == [("rename_table", "users", "b")]
    with verify.scratch(["CREATE TABLE users (id, age)"]) as made:
        made.execute(f"ALTER TABLE {name} DROP COLUMN age")  # so the engine reads it, too
        made.execute(f"DROP TABLE {name}")


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("ALTER TABLE a RENAME COLUMN x TO 'y z'", [("rename_column", "a", "x", "y z")]),
        ("ALTER TABLE a RENAME x TO y", [("rename_column", "a", "x", "y")]),
        ("ALTER TABLE a DROP x", [("drop_column", "a", "x")]),
        ("ALTER TABLE a ADD COLUMN x", [("add_column", "a", "x"), ("defines", "a", "x")]),
        ("ALTER TABLE a ADD x;", [("add_column", "a", "x"), ("defines", "a", "x")]),
        (
            "ALTER TABLE a ADD COLUMN x INTEGER NOT NULL DEFAULT 5",
            [("add_column", "a", "x"), ("defines", "a", "x"), ("not_null", "a", "x"), ("has_default", "a", "x")],
        ),
        (
            "CREATE TABLE IF NOT EXISTS a (x NULL, y TEXT REFERENCES b (z), CHECK (x > 1))",
            [("guarded",), ("create_table", "a"), ("defines", "a", "x"), ("defines", "a", "y")],
        ),
        ("CREATE UNIQUE INDEX i ON a (x) WHERE x > 0", [("create_index", "i", "a")]),
        ("DROP INDEX IF EXISTS i", [("guarded",), ("drop_index", "i")]),
        ("INSERT OR REPLACE INTO a (x) SELECT y FROM b", [("insert", "a"), ("reads", "b")]),
        ("CREATE TABLE a AS SELECT * FROM b", [("create_table", "a"), ("reads", "b")]),
        ("UPDATE a SET x = (SELECT max(y) FROM b)", [("update", "a"), ("reads", "b")]),
        ("WITH q AS (SELECT 1) DELETE FROM a", [("delete", "a")] ),
        ("PRAGMA foreign_keys=OFF", []),
    ],
)  # fmt: skip
def test_what_a_statement_does(statement: str, found: list[facts.Fact]) -> None:
    assert [fact for fact in said(statement) if found or fact[0] != "reads"] == found
    kinds = {fact[2] for fact in facts.read(statement, "sqlite") if fact[0] == "does"}
    assert kinds == ({fact[0] for fact in found} & {*facts.KINDS} or {"other"})


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET x = 1; END;",
        "EXPLAIN DROP TABLE a",
        "CREATE INDEX main.i ON a (x)",
        "DROP",
        "(" * 2000,
        "SELECT " + "NOT " * 1900 + "1",
        "'",
    ],
)
def test_what_is_not_understood_is_said_so(statement: str) -> None:
    assert facts.read(statement, "sqlite") == [("unread", 1)]
    assert KEEPING._broken(A + B, statement) == "unread"


def test_another_engine_has_other_words() -> None:
    several = "ALTER TABLE IF EXISTS a ADD COLUMN x int, DROP COLUMN IF EXISTS y CASCADE"
    found = [("guarded",), ("add_column", "a", "x"), ("defines", "a", "x"), ("drop_column", "a", "y")]
    assert said(several, "postgres") == found
    assert said("DROP TABLE a, b", "postgres") == [("drop_table", "a"), ("drop_table", "b")]
    assert said("ALTER INDEX i RENAME TO j", "postgres") == []
    assert SqlMigrationPostgres(own=KEEP)._broken(A + B, "DROP TABLE users") == "rebuilds"


@pytest.mark.parametrize("skill", PLAIN.skills)
def test_all_that_the_reference_writes_is_understood(skill: str) -> None:
    for problem in fresh(skill):
        answer = reference(problem)
        found = facts.read(answer, "sqlite")
        assert not [fact for fact in found if fact[0] == "unread"], answer
        assert len(found) <= facts.MAX_FACTS // 4
        assert SPARING._broken(problem.prompt, answer) in (None, "needless_drop")


def test_a_right_migration_that_breaks_a_rule_is_wrong() -> None:
    told = Counter[object]()
    for problem in fresh("single", 120):
        answer = reference(problem)
        plain, keeping = (task.verify(problem, answer, 7) for task in (PLAIN, KEEPING))
        assert (plain.correct, keeping.executed) == (True, True)
        assert keeping.correct == (KEEPING.feedback(problem.prompt, answer) is None)
        assert ("rebuilds" if problem.tags["tier"] == "rebuild" else None) == keeping.error, answer
        told[keeping.error] += 1
    assert min(told.values()) >= 10


def test_what_is_wrong_anyway_keeps_the_verifiers_word() -> None:
    problem = fresh("single", 1)[0]
    assert KEEPING.verify(problem, "DROP TABLE nowhere", 7) == PLAIN.verify(problem, "DROP TABLE nowhere", 7)
    assert "no such table" in str(KEEPING.feedback(problem.prompt, "DROP TABLE nowhere"))


def test_a_step_is_cut_before_the_statement_that_breaks_a_rule() -> None:
    good, bad = "ALTER TABLE users ADD COLUMN mail TEXT;", "ALTER TABLE users DROP COLUMN name;"
    assert SPARING.advance(A + B, f"{good}\n{bad}") == PLAIN.advance(A + B, good)
    assert SPARING.advance(A + B, f"{bad}\n{good}") == ("", None)
    assert SPARING.advance(A + B, good) == PLAIN.advance(A + B, good) != ("", None)


def test_a_program_asks_again_while_a_rule_is_broken() -> None:
    task = SPARING
    answers = iter(["ALTER TABLE users DROP COLUMN name;", "ALTER TABLE users ADD COLUMN mail TEXT;"])

    class Said:
        tokens_read = tokens_written = 1

        def __init__(self) -> None:
            self.outputs = [[next(answers)]]

    tools = Tools(task.feedback, task.advance, task.revise)
    out = programs.run({"kind": "retry", "answers": 2}, lambda *_: Said(), tools, [A + B], 1)
    assert out.outputs == ["ALTER TABLE users ADD COLUMN mail TEXT;"]


def test_diagnosis_counts_it() -> None:
    traces = []
    for problem in fresh("single", 120):
        score = KEEPING.verify(problem, reference(problem), 7)
        traces.append(
            Trace(
                problem=problem.hash, skill=problem.skill, tags=problem.tags, output="", correct=score.correct,
                error=score.error,
            )
        )  # fmt: skip
    worst = diagnose(traces)[0]
    assert worst.slice["tier"] == "rebuild"
    assert worst.errors == {"rebuilds": worst.failures}


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ("violation(x) :- dropped(_).", "line 1: nothing gives dropped/1"),
        ("\nviolation(x) :- drop_table(T).", "line 2: nothing gives drop_table/1"),
        ("bad(T) :- drop_table(_, T).", "expected a rule"), ("violation(x", "syntax error"),
    ],
)  # fmt: skip
def test_wrong_rules_are_refused_with_their_line(own: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        SqlMigration(own=own)


def test_who_says_too_much_breaks_a_limit() -> None:
    long = "CREATE TABLE t (" + ", ".join(f"c{i}" for i in range(3000)) + ")"
    begun = time.thread_time()
    assert KEEPING._broken(A + B, long[:7999]) == "unread"
    assert KEEPING._broken(A + B, long[:5000].rpartition(",")[0] + ")") == "limit"
    assert len(facts.read("DROP TABLE a;" * 600, "sqlite")) <= facts.MAX_FACTS + 2
    assert time.thread_time() - begun < 5


_WORDS = (
    "ALTER TABLE users DROP COLUMN name ( ) , ; ' \" ` [ -- /* */ CREATE INDEX ON SELECT FROM \0 é x 1 TO RENAME ADD"
)


@settings(max_examples=200, deadline=None)
@given(text=st.lists(st.sampled_from(_WORDS.split(" ")), max_size=30).map(" ".join) | st.text(max_size=200))
def test_no_text_ends_a_verification(text: str) -> None:
    begun = time.thread_time()
    broken = SPARING._broken(A + B, text)
    assert broken in (None, "unread", "needless_drop", "needless_column")
    assert SPARING.feedback(A + B, text) != ""
    assert time.thread_time() - begun < 2


def test_without_rules_no_engine_is_loaded() -> None:
    code = (
        "import sys; from evolvent import tasks; tasks.load('sql_migration')\n"
        "print({*sys.modules} & {'sqlglot', 'clingo'})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")
def test_rules_hold_where_the_judge_runs_a_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "house_rules.py").write_text(
        "from evolvent.tasks.sql_migration import SqlMigration\n\n"
        f"def task():\n    return SqlMigration(own={NEEDLESS!r})\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    files = seed_files("sql-seed")
    prompts = [problem.prompt for problem in fresh("multi", 6)]
    scaffold = {"kind": "stepwise", "answers": 3}
    argv = [sys.executable, "-m", "evolvent.observe.worker", "--task", "house_rules:task"]
    with IsolatedProcess(argv, hidden=[]) as worker:
        assert worker.receive(timeout_s=120)["ready"] is True
        load = {"op": "load", "handle": "m", "files": {name: len(data) for name, data in files.items()}}
        assert worker.call(load, list(files.values()), timeout_s=120) == {"ok": True}
        ask = {"op": "rollout", "handle": "m", "scaffold": scaffold, "prompts": prompts, "seed": 1}
        there = worker.call(ask, [], timeout_s=120)
    model, codec = from_files(files)
    here = rollout(model, codec, SPARING, scaffold, prompts, 1)
    assert there == {"outputs": here.outputs, "tokens": here.tokens}
