"""A PostgreSQL server that runs hostile migrations: embedded, or one that a URL names.

Layers, each on its own: a log-in role that may do nothing but own what lies in one schema of one database; functions
taken from it but those that compute; an event trigger with a list of commands; the list of `statements.py`; one
statement a message, whose command is looked at once more when it ran; limits of time, memory, temporary and table
files. A problem runs in one transaction that is always rolled back, so that it can neither leave anything nor see
another's rows; a database serves one batch of problems and is dropped.

What remains: the server is a native program that parses hostile text. Text that makes it execute code has what its
process has. Where the kernel gives Landlock and namespaces, an embedded one reads system libraries, writes its own
folder, starts no program and has no network; files and programs are tried at the start. Elsewhere it has the files of
the user who started it (of `nobody` for root). A server that you name is held back only by what the role may do: name
one that holds nothing else.

Not here: which schemas are equal (`catalogue.py`), what a right migration is (`verify.py`).
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Self

import psycopg
from psycopg import conninfo, sql

from evolvent.errors import SandboxError, UsageError
from evolvent.tasks.sql_migration.postgres.server import EmbeddedServer
from evolvent.tasks.sql_migration.postgres.session import Session  # says what to install where psycopg is missing

URL_VARIABLE = "EVOLVENT_POSTGRES_URL"
BATCH = 500  # problems to a database
OLDEST = 150000  # what the role must not do by default is taken for granted from this version on
ROLE_SETTINGS = {
    "statement_timeout": "10s", "lock_timeout": "1s", "idle_in_transaction_session_timeout": "60s",
    "temp_file_limit": "64MB", "work_mem": "4MB", "max_parallel_workers_per_gather": "0", "jit": "off",
    "search_path": "public", "timezone": "UTC", "datestyle": "ISO", "intervalstyle": "iso_8601", "bytea_output": "hex",
    "extra_float_digits": "1", "standard_conforming_strings": "on", "synchronous_commit": "off",
}  # fmt: skip
# Commands that the event trigger lets through. Roles and databases raise no such event: there the role has no rights.
COMMANDS = (
    "COMMENT",
    *(
        f"{verb} {kind}"
        for verb in ("CREATE", "ALTER", "DROP")
        for kind in ("TABLE", "INDEX", "TYPE", "SEQUENCE", "VIEW", "MATERIALIZED VIEW")
    ),
)
# Left to the role: immutable functions and aggregates, and what operators and casts stand on, but for those that make
# much out of little; and by name what defaults need and what we read the catalogue with.
_BOMBS = ("repeat", "lpad", "rpad", "generate_series", "array_fill", "generate_subscripts")
_NAMED = (
    "now", "statement_timestamp", "transaction_timestamp", "clock_timestamp", "gen_random_uuid", "random", "nextval",
    "concat", "concat_ws", "format", "to_char", "to_timestamp", "to_date", "date_trunc", "date_part", "extract",
    "timezone", "date", "timestamptz", "to_json", "to_jsonb", "row_to_json", "json_build_object", "jsonb_build_object",
    "json_build_array", "jsonb_build_array", "format_type", "pg_get_expr", "pg_get_constraintdef", "pg_get_indexdef",
    "pg_get_viewdef",
)  # fmt: skip
_TAKE_FUNCTIONS = """
DO $$ DECLARE f regprocedure; BEGIN
  FOR f IN SELECT p.oid::regprocedure FROM pg_proc p
    WHERE p.prokind <> 'a' AND NOT (p.proname = ANY ({named}))
      AND (p.provolatile <> 'i' OR p.proname = ANY ({bombs}))
      AND NOT EXISTS (SELECT FROM pg_operator o WHERE o.oprcode = p.oid)
      AND NOT EXISTS (SELECT FROM pg_cast c WHERE c.castfunc = p.oid)
  LOOP EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f); END LOOP;
END $$
"""
_ESCAPES = (
    "SELECT pg_read_file('/etc/passwd')",
    "COPY (SELECT 1) TO '/tmp/evolvent-pg-probe'",
    "COPY (SELECT 1) TO PROGRAM '/bin/true'",
)
_GUARD = """
CREATE FUNCTION guard.check_command() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$ BEGIN
  IF NOT (tg_tag = ANY ({commands})) AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) THEN
    RAISE insufficient_privilege USING MESSAGE = tg_tag || ' is not in a migration';
  END IF;
END $$
"""


class PostgresEngine:
    """A server prepared for hostile migrations; hands out sessions on disposable databases.

    Args:
        url: of a superuser on a server that holds nothing else; an embedded server by default.

    Attributes:
        alone: held by whoever works in the batch's database, since all of a process's threads share its one session.

    Raises:
        UsageError: the extra is not installed, or the URL cannot be used.
        SandboxError: the embedded server did not start.
    """

    def __init__(self, url: str | None = None) -> None:
        self.alone = threading.RLock()
        self._server = None if url else EmbeddedServer()
        self._url = url or self._server.url()  # type: ignore[union-attr] - one of the two is there
        mark = secrets.token_hex(6)
        self._password = secrets.token_hex(16)
        self._role, self._template = f"evolvent_{mark}", f"evolvent_template_{mark}"
        self._session: Session | None = None
        self._database = ""
        self._used = 0
        try:
            self._prepare()
            self._probe()
        except SandboxError:
            self.close()
            raise
        except psycopg.Error as exc:
            self.close()
            expected = f"a superuser of a PostgreSQL {OLDEST // 10_000} or later that holds nothing else"
            raise UsageError(f"{URL_VARIABLE}: expected {expected}: {' '.join(str(exc).split())}") from None

    def session(self) -> Session:
        """The session of the batch's database; a new database after every `BATCH` calls.

        Raises:
            SandboxError: the server is gone.
        """
        if self._session is None or self._used >= BATCH:
            self.discard()
            self._session = self._open()
        self._used += 1
        return self._session

    def discard(self) -> None:
        """Drop the batch's database now, and whatever still runs on it."""
        session, self._session, self._used = self._session, None, 0
        if session is not None:
            session.close()
        name, self._database = self._database, ""
        if name:
            with suppress(psycopg.Error), self._admin() as admin:
                admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        """Drop what this engine made; stop the server if it is its own. May be called again."""
        if self._server is not None:
            if self._session is not None:
                self._session.close()
            self._session = None
            self._server.close()
            return
        self.discard()
        with suppress(psycopg.Error), self._admin() as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self._template)))
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(self._role)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _admin(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(self._url, dbname=database, autocommit=True, connect_timeout=10)

    def _open(self) -> Session:
        name = f"evolvent_batch_{secrets.token_hex(6)}"
        try:
            with self._admin() as admin:
                made = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY CONNECTION LIMIT 2")
                admin.execute(made.format(sql.Identifier(name), sql.Identifier(self._template)))
                self._database = name
                # Rights on a database are not copied from its template.
                admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
                grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}")
                admin.execute(grant.format(sql.Identifier(name), sql.Identifier(self._role)))
            login = conninfo.make_conninfo(self._url, dbname=name, user=self._role, password=self._password)
            return Session(login)
        except psycopg.Error as exc:
            raise SandboxError(f"PostgreSQL: no database for a batch: {' '.join(str(exc).split())}") from exc

    def _prepare(self) -> None:
        """The role, and a template database in which it can do nothing but own what lies in one schema."""
        role = sql.Identifier(self._role)
        with self._admin() as admin:
            if admin.info.server_version < OLDEST:
                raise psycopg.NotSupportedError(f"the server's version is {admin.info.server_version // 10_000}")
            rights = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 4"
            made = sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {}")
            admin.execute(made.format(role, sql.SQL(rights), sql.Literal(self._password)))
            for name, value in ROLE_SETTINGS.items():
                setting = sql.SQL("ALTER ROLE {} SET {} = {}")
                admin.execute(setting.format(role, sql.Identifier(name), sql.Literal(value)))
            copy = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
            admin.execute(copy.format(sql.Identifier(self._template)))
        with self._admin(self._template) as admin:
            admin.execute(sql.SQL(_TAKE_FUNCTIONS).format(bombs=_array(_BOMBS), named=_array(_NAMED)))
            admin.execute("REVOKE ALL ON LANGUAGE plpgsql, sql FROM PUBLIC")
            admin.execute("REVOKE ALL ON SCHEMA public, information_schema FROM PUBLIC")
            admin.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(role))
            admin.execute("CREATE SCHEMA guard")
            admin.execute(sql.SQL(_GUARD).format(commands=_array(COMMANDS)))
            admin.execute("CREATE EVENT TRIGGER guard ON ddl_command_start EXECUTE FUNCTION guard.check_command()")

    def _probe(self) -> None:
        """Try, as the superuser whom no right stops, what the kernel is said to refuse to an embedded server.

        Raises:
            SandboxError: it got through.
        """
        if self._server is None or not self._server.confined:
            return
        for attempt in _ESCAPES:
            with self._admin() as admin:
                try:
                    admin.execute(attempt)
                except psycopg.Error:
                    continue
                raise SandboxError(f"embedded PostgreSQL: probe got through: {attempt}")


def _array(names: Sequence[str]) -> sql.Composed:
    return sql.SQL("ARRAY[{}]").format(sql.SQL(", ").join(map(sql.Literal, names)))


_MAKING = threading.Lock()


def shared_engine() -> PostgresEngine:
    """The process's own engine, made when first needed: on the server of ``EVOLVENT_POSTGRES_URL``, or an embedded one.

    An embedded server ends with the process, however that ends.
    """
    with _MAKING:
        return _made()


def close_shared() -> None:
    """End the process's own engine; the next that asks makes another."""
    with _MAKING:
        _made().close()
        _made.cache_clear()


@cache
def _made() -> PostgresEngine:
    return PostgresEngine(os.environ.get(URL_VARIABLE) or None)
