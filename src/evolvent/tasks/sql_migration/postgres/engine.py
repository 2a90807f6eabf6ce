"""A PostgreSQL server that runs hostile migrations: embedded, or one that a URL names.

Layers, each on its own: a log-in role that may do nothing but own tables in one schema of one database; functions taken
from it but those that only compute; an event trigger with a list of commands; the list of `statements.py`; one statement a
message; limits of time, memory, temporary and table files. A problem runs in one transaction that is always rolled
back, so that it cannot leave anything nor see another's rows; a database serves one batch of problems and is dropped.

What remains: the server is a native program that parses hostile text, and runs as the user who started it (as `nobody`
for root), with that user's files in reach should the text make it execute code. It has no network of its own where the
kernel gives namespaces. On a server that you name, all of this protects only what the role could touch: name one that
holds nothing else.

Not here: which schemas are equal (`catalogue.py`), what a right migration is (`verify.py`).
"""

from __future__ import annotations

import os
import secrets
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Self

from evolvent.errors import SandboxError, UsageError
from evolvent.tasks.sql_migration.postgres import statements
from evolvent.tasks.sql_migration.postgres.server import MISSING, EmbeddedServer

try:
    import psycopg
    from psycopg import pq, sql
except ImportError:
    raise UsageError(MISSING) from None

URL_VARIABLE = "EVOLVENT_POSTGRES_URL"
BATCH = 500  # problems to a database; a new one costs some 0.1 s
STATEMENT_MS = 2_000  # an honest statement needs a few; only hostile ones meet a clock
SCRIPT_S = 5.0
_GRACE_S = 3.0  # after which a server that does not answer is given up
ROLE_SETTINGS = {
    "statement_timeout": f"{STATEMENT_MS}ms", "lock_timeout": "1s", "idle_in_transaction_session_timeout": "60s",
    "temp_file_limit": "64MB", "work_mem": "4MB", "max_parallel_workers_per_gather": "0", "jit": "off",
    "search_path": "public", "timezone": "UTC", "datestyle": "ISO, YMD", "intervalstyle": "iso_8601",
    "bytea_output": "hex", "extra_float_digits": "1", "standard_conforming_strings": "on", "synchronous_commit": "off",
}  # fmt: skip
# Commands that the event trigger lets through. Shared objects (roles, databases) raise no such event; no right covers them.
COMMANDS = tuple(
    f"{verb} {kind}"
    for kind in ("TABLE", "INDEX", "TYPE", "SEQUENCE", "VIEW", "MATERIALIZED VIEW")
    for verb in ("CREATE", "ALTER", "DROP")
) + ("COMMENT",)  # fmt: skip
# Functions that compute and no more: immutable ones and aggregates, but for those that make much out of little, and a few
# that defaults, comparisons and our own reading of the catalogue need.
_BOMBS = ("repeat", "lpad", "rpad", "generate_series", "array_fill", "generate_subscripts")
_HARMLESS = (
    "now", "statement_timestamp", "transaction_timestamp", "clock_timestamp", "gen_random_uuid", "random", "nextval",
    "concat", "concat_ws", "format", "to_char", "to_timestamp", "to_date", "date_trunc", "date_part", "extract",
    "timezone", "date", "timestamptz", "to_json", "to_jsonb", "row_to_json", "json_build_object", "jsonb_build_object",
    "json_build_array", "jsonb_build_array", "format_type", "pg_get_expr", "pg_get_constraintdef", "pg_get_indexdef",
    "pg_get_viewdef", "pg_get_serial_sequence", "set_bit", "txid_current",
)  # fmt: skip


class LostServerError(Exception):
    """The connection is gone, or the server did not stop a statement in time."""


class SqlError(Exception):
    """The server refused a statement.

    Attributes:
        code: SQLSTATE.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class Session:
    """One connection as the powerless role, to one disposable database."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, connect_timeout=10)
        self._pg = self._connection.pgconn
        self.pid = self._pg.backend_pid

    def close(self) -> None:
        """Close the connection."""
        with suppress(psycopg.Error):
            self._connection.close()

    @contextmanager
    def rolled_back(self) -> Iterator[None]:
        """A transaction that ends in a rollback, whatever happens in it.

        Raises:
            LostServerError: it could not be rolled back, so that the connection must not be used again.
        """
        self.run("BEGIN")
        try:
            yield
        finally:
            with suppress(SqlError):
                self.run("ROLLBACK")
            if self._pg.transaction_status != pq.TransactionStatus.IDLE:
                raise LostServerError("a transaction could not be rolled back")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What fails in here is undone alone, and raised."""
        self.run("SAVEPOINT s")
        try:
            yield
        except SqlError:
            self.run("ROLLBACK TO SAVEPOINT s")
            raise
        self.run("RELEASE SAVEPOINT s")

    def run(self, statement: str | bytes, values: Sequence[str | None] = ()) -> list[tuple[str | None, ...]]:
        """One statement by the extended protocol; values and rows as the server's own texts.

        Raises:
            SqlError: the server refused it.
            LostServerError: the connection is gone, or no answer came in time.
        """
        data = statement if isinstance(statement, bytes) else statement.encode()
        try:
            self._pg.send_query_params(data, [None if v is None else v.encode() for v in values])
            return self._answer(time.monotonic() + STATEMENT_MS / 1000 + _GRACE_S)
        except psycopg.Error as exc:
            raise LostServerError(str(exc)) from exc

    def _answer(self, until: float) -> list[tuple[str | None, ...]]:
        rows: list[tuple[str | None, ...]] = []
        error: SqlError | None = None
        while True:
            self._pg.flush()
            while self._pg.is_busy():
                if not select.select([self._pg.socket], [], [], max(0.0, until - time.monotonic()))[0]:
                    raise LostServerError("no answer in time")
                self._pg.consume_input()
            result = self._pg.get_result()
            if result is None:
                break
            if result.status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH):
                raise LostServerError("the connection changed its protocol")
            if result.status == pq.ExecStatus.TUPLES_OK:
                rows = [
                    tuple(_text(result.get_value(i, j)) for j in range(result.nfields)) for i in range(result.ntuples)
                ]
            elif result.status == pq.ExecStatus.FATAL_ERROR:
                code = _text(result.error_field(pq.DiagnosticField.SQLSTATE)) or "08006"
                error = SqlError(code, _text(result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)) or "lost")
        if self._pg.status != pq.ConnStatus.OK:
            raise LostServerError(str(error or "connection closed"))
        if error is not None:
            raise error
        return rows


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", errors="replace")


class PostgresEngine:
    """A server prepared for hostile migrations; hands out sessions on disposable databases.

    Args:
        url: of a superuser on a server that holds nothing else; an embedded server by default.

    Raises:
        UsageError: the extra is not installed, or the URL cannot be used.
        SandboxError: the embedded server did not start.
    """

    def __init__(self, url: str | None = None) -> None:
        self._server = None if url else EmbeddedServer()
        self._url = url or self._server.url()  # type: ignore[union-attr]
        self._mark = secrets.token_hex(6)
        self._password = secrets.token_hex(16)
        self._role, self._template = f"evolvent_{self._mark}", f"evolvent_template_{self._mark}"
        self._session: Session | None = None
        self._database = ""
        self._used = 0
        try:
            self._prepare()
        except psycopg.Error as exc:
            self.close()
            raise UsageError(f"PostgreSQL: expected a server of version 15 or later and a superuser: {exc}") from None

    def session(self) -> Session:
        """The session of the batch's database; a new database after every `BATCH` calls.

        Raises:
            SandboxError: the server is gone.
        """
        if self._session is None or self._used >= BATCH:
            self.discard()
            try:
                self._open()
            except psycopg.Error as exc:
                raise SandboxError(f"PostgreSQL: no database for a batch: {exc}") from exc
        self._used += 1
        assert self._session is not None
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

    def _open(self) -> None:
        name = f"evolvent_batch_{secrets.token_hex(6)}"
        with self._admin() as admin:
            made = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY CONNECTION LIMIT 2")
            admin.execute(made.format(sql.Identifier(name), sql.Identifier(self._template)))
            self._database = name
            # Rights on a database are not copied from its template.
            admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
            grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}")
            admin.execute(grant.format(sql.Identifier(name), sql.Identifier(self._role)))
        info = psycopg.conninfo.make_conninfo(self._url, dbname=name, user=self._role, password=self._password)
        self._session = Session(info)

    def _prepare(self) -> None:
        """The role, and a template database in which it can do nothing but own tables."""
        role = sql.Identifier(self._role)
        with self._admin() as admin:
            admin.execute(
                sql.SQL(
                    "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS"
                    " CONNECTION LIMIT 4 PASSWORD {}"
                ).format(role, sql.Literal(self._password))
            )
            for name, value in ROLE_SETTINGS.items():
                admin.execute(
                    sql.SQL("ALTER ROLE {} SET {} = {}").format(role, sql.Identifier(name), sql.SQL(_quoted(value)))
                )
            made = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
            admin.execute(made.format(sql.Identifier(self._template)))
        with self._admin(self._template) as admin:
            admin.execute(_REVOKE_FUNCTIONS.format(bombs=_array(_BOMBS), harmless=_array(_HARMLESS)))
            admin.execute("REVOKE ALL ON LANGUAGE plpgsql, sql FROM PUBLIC")
            admin.execute("REVOKE ALL ON SCHEMA public, information_schema FROM PUBLIC")
            admin.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(role))
            admin.execute(_GUARD.format(commands=_array(COMMANDS)))
            admin.execute("CREATE EVENT TRIGGER guard ON ddl_command_start EXECUTE FUNCTION guard.check_command()")


def _quoted(text: str) -> str:
    # A list value such as 'ISO, YMD' must not be quoted as one name; these texts are ours.
    return ", ".join("'" + part.strip() + "'" for part in text.split(","))


def _array(names: Sequence[str]) -> str:
    return "ARRAY[" + ", ".join(f"'{name}'" for name in names) + "]"


_REVOKE_FUNCTIONS = """
DO $$ DECLARE f regprocedure; BEGIN
  FOR f IN SELECT p.oid::regprocedure FROM pg_proc p
    WHERE p.prokind <> 'a' AND NOT (p.proname = ANY ({harmless}))
      AND (p.provolatile <> 'i' OR p.proname = ANY ({bombs}))
      AND NOT EXISTS (SELECT FROM pg_operator o WHERE o.oprcode = p.oid)
      AND NOT EXISTS (SELECT FROM pg_cast c WHERE c.castfunc = p.oid)
  LOOP EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f); END LOOP;
END $$
"""
_GUARD = """
CREATE SCHEMA guard;
CREATE FUNCTION guard.check_command() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$ BEGIN
  IF NOT (tg_tag = ANY ({commands})) AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) THEN
    RAISE insufficient_privilege USING MESSAGE = tg_tag || ' is not in a migration';
  END IF;
END $$
"""


@cache
def shared_engine() -> PostgresEngine:
    """The process's own engine, on the server that `EVOLVENT_POSTGRES_URL` names or an embedded one; made when needed.

    It ends with the process, however that ends.
    """
    return PostgresEngine(os.environ.get(URL_VARIABLE) or None)
