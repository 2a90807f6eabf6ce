"""Problems that the canonical migration solves; a verifier that hostile output neither fools nor stalls nor crashes."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolvent.tasks.sql_migration import AXES, SqlMigration, generate, verify
from evolvent.tasks.sql_migration.reference import reference
from evolvent.types import Problem

TASK = SqlMigration()
CELLS = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())]
USERS = ["CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)"]
USERS_MAIL = ["CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, mail TEXT)"]
QUICK_S = 8.0  # of CPU; the slowest hostile text ends at the verifier's own limit of 5


def score(before: Sequence[str], after: Sequence[str], output: str, renames: Sequence[tuple[str, str]] = ()) -> str:
    """The error of one migration, ``correct`` for none."""
    scored = verify.verify(before, after, renames, output, 1)
    assert scored.correct == (scored.error is None)
    return scored.error or "correct"


@pytest.mark.parametrize("skill", TASK.skills)
def test_the_reference_solves_every_generated_problem(skill: str) -> None:
    problems = TASK.generate(skill, random.Random(f"exam {skill}"), 300)
    wrong = [p.prompt for i, p in enumerate(problems) if not TASK.verify(p, reference(p), i).correct]
    assert wrong == []


def test_the_reference_solves_every_cell_of_the_challenger() -> None:
    rng = random.Random(4)
    problems = [problem for cell in CELLS for problem in TASK.challenge(cell, rng, 4)]
    assert len(problems) == 4 * 72
    wrong = [p.prompt for i, p in enumerate(problems) if not TASK.verify(p, reference(p), i).correct]
    assert wrong == []


@pytest.mark.parametrize("kind", generate.CHANGES)
def test_the_reference_solves_every_kind_of_change(kind: str) -> None:
    tier = "rebuild" if kind in generate.REBUILD_KINDS else "alter"
    for problem in TASK.challenge({"changes": "1", "tables": "2", "tier": tier, "kind": kind}, random.Random(5), 12):
        assert problem.tags["kind"] == kind
        assert TASK.verify(problem, reference(problem), 3).correct, problem.prompt


def test_the_same_generator_gives_the_same_problems() -> None:
    for skill in TASK.skills:
        first, again = (TASK.generate(skill, random.Random(9), 20) for _ in range(2))
        assert [p.hash for p in first] == [p.hash for p in again]
        assert len({p.hash for p in first}) == 20


def test_problems_are_well_posed_and_filed_under_their_skill() -> None:
    for skill in TASK.skills:
        for problem in TASK.generate(skill, random.Random(2), 60):
            assert TASK.well_posed(problem)
            assert skill == "robust" or (problem.tags["changes"] == "1") == (skill == "single")
            assert problem.given.keys() == {"before", "after", "renames"}


def test_an_unknown_skill_is_named() -> None:
    with pytest.raises(ValueError, match="expected one of single, multi, robust, got 'triple'"):
        TASK.generate("triple", random.Random(0), 1)


def test_doing_nothing_or_half_is_wrong() -> None:
    problems = TASK.generate("multi", random.Random(3), 40)
    for problem in problems:
        truth = reference(problem)
        assert not TASK.verify(problem, "SELECT 1;", 1).correct
        half = truth[: truth.rfind(";", 0, -1) + 1]
        assert not TASK.verify(problem, half, 1).correct, truth


def test_the_verdict_does_not_depend_on_the_probe_for_a_right_answer() -> None:
    problem = TASK.generate("multi", random.Random(3), 1)[0]
    assert all(TASK.verify(problem, reference(problem), seed).correct for seed in range(30))


# -- what the verifier must tell apart ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("ALTER TABLE users ADD COLUMN mail TEXT;", "correct"),
        ("alter table USERS add mail text", "correct"),
        ('ALTER TABLE "users" ADD COLUMN "mail" TEXT; -- done', "correct"),
        ("BEGIN; ALTER TABLE users ADD COLUMN mail TEXT; COMMIT;", "correct"),
        ("PRAGMA foreign_keys=ON; ALTER TABLE users ADD COLUMN mail TEXT;", "correct"),
        (
            "CREATE TABLE n (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, mail TEXT);"
            "INSERT INTO n SELECT id, name, age, NULL FROM users; DROP TABLE users; ALTER TABLE n RENAME TO users;",
            "correct",
        ),
        ("ALTER TABLE users ADD COLUMN mail INTEGER;", "wrong_column"),
        ("ALTER TABLE users ADD COLUMN mail TEXT NOT NULL DEFAULT '';", "wrong_column"),
        ("ALTER TABLE users ADD COLUMN mail TEXT; CREATE INDEX i ON users (name);", "wrong_index"),
        ("ALTER TABLE users ADD COLUMN mail TEXT; CREATE TABLE t (x);", "wrong_table"),
        ("ALTER TABLE users ADD COLUMN mail TEXT; CREATE VIEW v AS SELECT 1;", "wrong_index"),
        ("ALTER TABLE users ADD COLUMN mail TEXT; DELETE FROM users;", "lost_rows"),
        ("ALTER TABLE users ADD COLUMN mail TEXT; UPDATE users SET age = age + 1;", "lost_rows"),
        ("ALTER TABLE users ADD COLUMN mail TEXT; UPDATE users SET name = upper(name);", "lost_rows"),
        ("ALTER TABLE users ADD COLUMN mail TEXT; INSERT INTO users (name) VALUES ('x');", "lost_rows"),
        ("ALTER TABLE users ADD COLUMN mail TEXT; UPDATE users SET mail = 'x';", "lost_rows"),
        ("DROP TABLE users; CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, mail TEXT);",
         "lost_rows"),
        ("ALTER TABLE users ADD COLUMN mail TEXT; ALTER TABLE users ADD COLUMN mail TEXT;", "exists"),
        ("ALTER TABLE user ADD COLUMN mail TEXT;", "no_such_table"),
        ("ALTER TABLE users DROP COLUMN mail;", "no_such_column"),
        ("ALTER TABLE users ADD COLUMN;", "syntax"),
        ("BEGIN; ALTER TABLE users ADD COLUMN mail TEXT;", "open_transaction"),
        ("ALTER TABLE users ADD COLUMN mail TEXT; COMMIT;", "engine"),
    ],
)  # fmt: skip
def test_right_and_wrong_migrations(output: str, said: str) -> None:
    assert score(USERS, USERS_MAIL, output) == said


def test_renames_keep_the_rows_they_name() -> None:
    after = ["CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, years INTEGER)"]
    renames = [("users", "people"), ("users.age", "people.years")]
    rename = "ALTER TABLE users RENAME TO people; ALTER TABLE people RENAME COLUMN age TO years;"
    assert score(USERS, after, rename, renames) == "correct"
    fresh = (
        "ALTER TABLE users RENAME TO people; ALTER TABLE people DROP COLUMN age;"
        "ALTER TABLE people ADD COLUMN years INTEGER;"
    )
    assert score(USERS, after, fresh, renames) == "lost_rows"


def test_a_swap_of_two_names_is_told_from_nothing() -> None:
    before = ["CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT)"]
    renames = [("t.a", "t.b"), ("t.b", "t.a")]
    after = ["CREATE TABLE t (id INTEGER PRIMARY KEY, b TEXT, a TEXT)"]
    swap = "ALTER TABLE t RENAME COLUMN a TO x; ALTER TABLE t RENAME COLUMN b TO a; ALTER TABLE t RENAME COLUMN x TO b;"
    assert score(before, after, swap, renames) == "correct"


# -- hostile output ----------------------------------------------------------------------------------------------------

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c;"
GROWING = "INSERT INTO users (name) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c;"
DOUBLING = "INSERT INTO users (name) SELECT name || name FROM users;" * 60
# Long texts by doubling, then a search in them that takes the longest it can, for each of endless rows.
SLOW = (
    "WITH RECURSIVE d(n, t) AS (SELECT 0, 'aaaa' UNION ALL SELECT n + 1, t || t FROM d WHERE n < 12), c(x) AS"
    " (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c, d WHERE n = 12 AND"
    + " + ".join([" instr(t || t, t || 'b')"] * 40) + ";"
)  # fmt: skip
HOSTILE = {
    "attach": ("ATTACH '/tmp/evolvent-hostile.db' AS x;", "forbidden"),
    "attach memory": ("ATTACH ':memory:' AS x;", "forbidden"),
    "detach": ("DETACH main;", "forbidden"),
    "vacuum into": ("VACUUM INTO '/tmp/evolvent-hostile.db';", "engine"),
    "vacuum": ("VACUUM;", "engine"),
    "writable schema": ("PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = '';", "forbidden"),
    "pragma page count": ("PRAGMA max_page_count = 2147483646;", "forbidden"),
    "pragma as function": ("SELECT * FROM pragma_table_info('users');", "forbidden"),
    "sqlite_master": ("DELETE FROM sqlite_master;", "engine"),
    "load extension": ("SELECT load_extension('libc.so.6');", "forbidden"),
    "readfile": ("SELECT readfile('/etc/passwd');", None),
    "virtual table": ("CREATE VIRTUAL TABLE f USING fts5(x);", "forbidden"),
    "analyze": ("ANALYZE;", "forbidden"),
    "randomblob": ("CREATE TABLE b AS SELECT randomblob(1000000000);", "forbidden"),
    "zeroblob": ("INSERT INTO users (name) VALUES (zeroblob(2000000000));", "forbidden"),
    "printf": ("SELECT printf('%.*c', 2000000000, 'x');", "forbidden"),
    "format": ("SELECT format('%2000000000d', 1);", "forbidden"),
    "slow function": (SLOW, "limit"),
    "replace": ("SELECT replace(hex(zeroblob(90000)), '0', 'aaaaaaaaaaaaaaaa');", "forbidden"),
    "endless": (ENDLESS, "limit"),
    "endless in a view": (f"CREATE VIEW v AS {ENDLESS} SELECT * FROM v;", None),
    "growing": (GROWING, "limit"),
    "doubling": (DOUBLING, "limit"),
    "cross join": ("CREATE TABLE t AS SELECT 1 FROM " + ", ".join(f"users u{i}" for i in range(60)) + ";", None),
    "trigger that fires itself": (
        "PRAGMA recursive_triggers = ON; CREATE TRIGGER t AFTER INSERT ON users BEGIN INSERT INTO users (name)"
        " VALUES ('x'); END; INSERT INTO users (name) VALUES ('x');",
        "forbidden",
    ),
    "ten megabytes": ("SELECT 1; " * 1_000_000, "limit"),
    "many statements": ("SELECT 1;" * 65, "limit"),
    "deep nesting": ("SELECT " + "(" * 3000 + "1" + ")" * 3000 + ";", None),
    "long chain": ("SELECT " + " || ".join(["'a'"] * 1500) + ";", None),
    "many unions": (" UNION ".join(["SELECT 1"] * 500) + ";", "limit"),
    "glob": ("SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' LIKE '%a%a%a%a%a%a%a%a%a%a%a%a%a%b';", None),
    "empty": ("", "empty"),
    "white space": (" \n\t ", "empty"),
    "semicolons": (";;; ; ;", None),
    "comment only": ("-- nothing to do", None),
    "open comment": ("/* nothing", None),
    "begin left open": ("BEGIN;", "open_transaction"),
    "savepoint left open": ("SAVEPOINT a;", "open_transaction"),
    "commit of nothing": ("COMMIT;", "engine"),
    "rollback of nothing": ("ROLLBACK;", "engine"),
    "null byte": ("ALTER TABLE users\x00 ADD COLUMN mail TEXT;", None),
    "null byte at the end": ("ALTER TABLE users ADD COLUMN mail TEXT;\x00DROP TABLE users;", None),
    "only null bytes": ("\x00" * 50, None),
    "lone surrogate": ("ALTER TABLE users ADD COLUMN \ud800 TEXT;", None),
    "unicode": ("ALTER TABLE users ADD COLUMN \uff4dail TEXT;", "wrong_column"),
    "right to left": ("ALTER TABLE users ADD COLUMN \u202eliam TEXT;", "wrong_column"),
    "temp table shadows": ("CREATE TEMP TABLE users AS SELECT * FROM main.users;", None),
    "temp schema": ("ALTER TABLE users ADD COLUMN mail TEXT; CREATE TEMP TABLE t (x);", None),
    "temp table instead": (
        "CREATE TEMP TABLE users (id INTEGER PRIMARY KEY, name TEXT, mail TEXT);"
        "INSERT INTO temp.users SELECT id, name, NULL FROM main.users;",
        "wrong_column",
    ),
    "unclosed string": ("INSERT INTO users (name) VALUES ('x", "syntax"),
    "prose": ("Sure! Here is the migration you asked for.", "syntax"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_output_is_refused_and_quick(name: str) -> None:
    output, said = HOSTILE[name]
    started = time.process_time()
    scored = verify.verify(USERS, USERS_MAIL, [], output, 1)
    spent = time.process_time() - started
    if name not in ("null byte at the end", "temp schema"):  # what is left of them is right, and harmless
        assert not scored.correct
    assert said is None or scored.error == said
    assert spent < QUICK_S


def test_nothing_hostile_touches_a_file(tmp_path: Path) -> None:
    for name in ("attach", "vacuum into"):
        output = HOSTILE[name][0].replace("/tmp/evolvent-hostile.db", f"{tmp_path}/x.db")
        assert score(USERS, USERS_MAIL, output) in ("forbidden", "engine")
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=200) | st.lists(st.sampled_from(" ".join(HOSTILE[n][0][:80] for n in HOSTILE).split())).map(
    " ".join))  # fmt: skip
def test_no_output_raises(output: str) -> None:
    found = verify.verify(USERS, USERS_MAIL, [], output, 1)
    assert found.correct is (found.error is None)
    told = TASK.feedback("-- from\n" + USERS[0] + ";\n-- to\n" + USERS_MAIL[0] + ";\n-- migration\n", output)
    assert told is None or told.strip(), "a complaint without words"


def test_feedback_is_the_engines_and_knows_no_answer() -> None:
    problem = TASK.generate("single", random.Random(1), 1)[0]
    assert TASK.feedback(problem.prompt, reference(problem)) is None
    assert "syntax" in (TASK.feedback(problem.prompt, "ALTER TABEL x;") or "")
    assert TASK.feedback(problem.prompt, "SELECT 1;") is None, "runs, though it is wrong: feedback is no verifier"


# -- as real histories write it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "output", "said"),
    [
        (
            ["CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER CHECK (n > 0))"],
            ["CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER CHECK (n > 0), m TEXT)"],
            "ALTER TABLE t ADD COLUMN m TEXT;",
            "correct",
        ),
        (
            ["CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER CHECK (n > 0))"],
            ["CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER CHECK (n > 0), m TEXT)"],
            "CREATE TABLE x (id INTEGER PRIMARY KEY, n INTEGER CHECK (n > 0), m TEXT);"
            "INSERT INTO x SELECT id, n, NULL FROM t; DROP TABLE t; ALTER TABLE x RENAME TO t;",
            "wrong_column",
        ),
        (
            ["CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CHECK (n > 0))"],
            ["CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CHECK (n >= 0))"],
            "CREATE TABLE x (id INTEGER PRIMARY KEY, n INTEGER CHECK (n > 1)); INSERT INTO x SELECT * FROM t;"
            "DROP TABLE t; ALTER TABLE x RENAME TO t;",
            "wrong_column",
        ),
        (
            ["CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID"],
            ["CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT, w TEXT) WITHOUT ROWID"],
            "ALTER TABLE t ADD COLUMN w TEXT;",
            "correct",
        ),
        (
            ["CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID"],
            ["CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT, w TEXT) WITHOUT ROWID"],
            "CREATE TABLE x (k TEXT PRIMARY KEY, v TEXT, w TEXT); INSERT INTO x SELECT k, v, NULL FROM t;"
            "DROP TABLE t; ALTER TABLE x RENAME TO t;",
            "wrong_column",
        ),
        (
            ["CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, UNIQUE (a))"],
            ["CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b REAL)"],
            "ALTER TABLE t ADD COLUMN b REAL;",
            "correct",
        ),
        (
            ["CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)", "CREATE INDEX i ON t (a)"],
            ["CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)", "CREATE INDEX i ON t (a) WHERE a IS NOT NULL"],
            "DROP INDEX i; CREATE INDEX i ON t (a);",
            "wrong_index",
        ),
        (
            ["CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE)"],
            ["CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE, b TEXT DEFAULT 'x')"],
            "ALTER TABLE t ADD COLUMN b TEXT DEFAULT 'x';",
            "correct",
        ),
        (
            ["CREATE TABLE a (id INTEGER PRIMARY KEY)", "CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER)"],
            ["CREATE TABLE a (id INTEGER PRIMARY KEY)",
             "CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a (id) ON DELETE CASCADE)"],
            "CREATE TABLE x (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a (id)); INSERT INTO x SELECT * FROM b;"
            "DROP TABLE b; ALTER TABLE x RENAME TO b;",
            "wrong_column",
        ),
    ],
)  # fmt: skip
def test_what_no_pragma_shows_counts_too(before: list[str], after: list[str], output: str, said: str) -> None:
    assert score(before, after, output) == said


_REST = "INSERT INTO x SELECT id, name, NULL FROM users; DROP TABLE users; ALTER TABLE x RENAME TO users;"


@pytest.mark.parametrize(
    "columns",
    [
        'id INTEGER PRIMARY KEY, name TEXT, mail TEXT CONSTRAINT "/*" CHECK (mail IS NULL) CONSTRAINT "*/"',
        'id INTEGER PRIMARY KEY, name TEXT CONSTRAINT "--" CHECK (length(name) < 50),\nmail TEXT',
        "id INTEGER PRIMARY KEY, name TEXT CONSTRAINT [--] COLLATE NOCASE,\nmail TEXT",
        "id INTEGER PRIMARY KEY ON CONFLICT REPLACE, name TEXT, mail TEXT",
    ],
    ids=["check behind a comment", "check behind a dash", "collation behind a dash", "another policy of conflicts"],
)
def test_nothing_hides_in_a_quoted_name_or_a_policy(columns: str) -> None:
    before = ["CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)"]
    after = ["CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, mail TEXT)"]
    assert score(before, after, "ALTER TABLE users ADD COLUMN mail TEXT;") == "correct"
    assert score(before, after, f"CREATE TABLE x ({columns}); {_REST}") == "wrong_column"


def test_only_what_another_connection_would_see_counts() -> None:
    before = ["CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, mail TEXT)"]
    after = [*before, "CREATE INDEX i ON users (mail)"]
    shadow = "CREATE INDEX i ON users (name); CREATE TEMP TABLE z (mail); CREATE INDEX temp.i ON z (mail);"
    assert score(before, after, shadow) == "wrong_index"
    backup = "CREATE TEMP TABLE kept AS SELECT * FROM users; CREATE INDEX i ON users (mail);"
    assert score(before, after, backup) == "correct"


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE sqlite_sequence SET seq = 9223372036854775807;",
        "UPDATE sqlite_sequence SET seq = 'x';",
        "INSERT INTO sqlite_sequence VALUES ('none', 1);",
        "INSERT INTO sqlite_sequence VALUES (NULL, 1);",
    ],
)
def test_a_counter_that_would_refuse_new_rows_is_no_migration(spoil: str) -> None:
    before = ["CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)"]
    after = ["CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, mail TEXT)"]
    assert score(before, after, "ALTER TABLE users ADD COLUMN mail TEXT;") == "correct"
    assert score(before, after, f"ALTER TABLE users ADD COLUMN mail TEXT; {spoil}") == "lost_rows"


def test_a_stored_problem_is_verified_as_a_fresh_one() -> None:
    problem = TASK.generate("multi", random.Random(8), 1)[0]
    again = Problem(**problem.plain())
    assert TASK.verify(again, reference(problem), 1).correct


@given(st.integers(0, 2**32), st.sampled_from(TASK.attacks))
@settings(max_examples=60, deadline=None)
def test_an_attacked_problem_is_solvable_and_asks_for_the_same(seed: int, kind: str) -> None:
    rng = random.Random(seed)
    problem = TASK.generate("multi", rng, 1)[0]
    variant = TASK.attack(problem, kind, rng)
    if variant is None:
        return
    assert variant.prompt != problem.prompt
    assert (variant.skill, variant.tags["attack"]) == ("robust", kind)
    assert TASK.well_posed(variant)
    assert TASK.verify(variant, reference(variant), seed).correct
    old = reference(problem)
    if kind in ("distractor", "reordered"):
        assert TASK.verify(variant, old, seed).correct, "what solved it solves it still"


def test_an_unknown_attack_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of distractor"):
        TASK.attack(TASK.generate("single", random.Random(0), 1)[0], "nuke", random.Random(0))


def test_robust_problems_are_attacked_in_every_way() -> None:
    problems = TASK.generate("robust", random.Random(3), 200)
    assert all(p.skill == "robust" and p.tags["attack"] for p in problems)
    seen = {kind for p in problems for kind in p.tags["attack"].split("+")}
    assert seen == set(TASK.attacks)
