"""One connection as the powerless role: one statement a message, texts in and out, a deadline, transactions undone.

Not here: making the role and its databases (`engine.py`).
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from evolvent.errors import UsageError
from evolvent.tasks.sql_migration.postgres.server import MISSING

try:
    import psycopg
    from psycopg import pq
except ImportError:
    raise UsageError(MISSING) from None

_GRACE_S = 3.0  # beyond the server's own timeout, after which it is given up
_CLOSED = (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)
Row = tuple[str | None, ...]


class LostServerError(Exception):
    """The connection is gone, or the server did not stop a statement in time; the session must not be used again."""


class SqlError(Exception):
    """The server refused a statement.

    Attributes:
        code: SQLSTATE.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class Session:
    """A connection to one disposable database.

    Attributes:
        command: what the last statement was, as the server names it, such as ``ALTER TABLE``.

    Raises:
        psycopg.Error: no connection.
    """

    def __init__(self, login: str) -> None:
        self._connection = psycopg.connect(login, autocommit=True, connect_timeout=10)
        self._pg = self._connection.pgconn
        self._prepared: dict[str, bytes] = {}
        self._timeout_s = 10.0
        self.command = ""

    def close(self) -> None:
        """Close the connection."""
        with suppress(psycopg.Error):
            self._connection.close()

    @contextmanager
    def rolled_back(self, statement_s: float = 10.0) -> Iterator[None]:
        """A transaction that ends in a rollback, whatever happens in it; `statement_s` limits each of its statements.

        Raises:
            LostServerError: it could not be rolled back.
        """
        self.run("BEGIN")
        self._timeout_s = statement_s
        self.run(f"SET LOCAL statement_timeout = {round(statement_s * 1000)}")
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
            self.run("RELEASE SAVEPOINT s")  # or one around it would go back to here only
            raise
        self.run("RELEASE SAVEPOINT s")

    def run(self, statement: str, values: Sequence[str | None] = ()) -> list[Row]:
        """One statement by the extended protocol, which takes no second one; values and rows are the server's texts.

        Raises:
            SqlError: the server refused it.
            LostServerError: the connection is gone, or no answer came in time.
        """
        try:
            self._pg.send_query_params(statement.encode(), [None if v is None else v.encode() for v in values])
            return self._answer()
        except psycopg.Error as exc:
            raise LostServerError(str(exc)) from exc

    def ask(self, query: str) -> list[Row]:
        """A query of our own that is asked often: planned once.

        Raises:
            SqlError: the server refused it.
            LostServerError: the connection is gone, or no answer came in time.
        """
        try:
            if query not in self._prepared:
                name = f"q{len(self._prepared)}".encode()
                self._pg.send_prepare(name, query.encode())
                self._answer()
                self._prepared[query] = name
            self._pg.send_query_prepared(self._prepared[query], [])
            return self._answer()
        except psycopg.Error as exc:
            raise LostServerError(str(exc)) from exc

    def _answer(self) -> list[Row]:
        until = time.monotonic() + self._timeout_s + _GRACE_S
        rows: list[Row] = []
        error: SqlError | None = None
        while True:
            while self._pg.flush():
                self._wait(until, writing=True)
            while self._pg.is_busy():
                self._wait(until)
                self._pg.consume_input()
            result = self._pg.get_result()
            if result is None:
                break
            if result.status in _CLOSED:
                raise LostServerError("the connection changed its protocol")
            self.command = (result.command_status or b"").decode(errors="replace")
            if result.status == pq.ExecStatus.TUPLES_OK:
                width = range(result.nfields)
                rows = [tuple(_text(result.get_value(i, j)) for j in width) for i in range(result.ntuples)]
            elif result.status == pq.ExecStatus.FATAL_ERROR:
                code = _text(result.error_field(pq.DiagnosticField.SQLSTATE)) or "08006"
                error = SqlError(code, _text(result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)) or "lost")
        if self._pg.status != pq.ConnStatus.OK:
            raise LostServerError(str(error or "connection closed"))
        if error is not None:
            raise error
        return rows

    def _wait(self, until: float, *, writing: bool = False) -> None:
        sockets = [self._pg.socket]
        if not any(select.select(sockets, sockets if writing else [], [], max(0.0, until - time.monotonic()))):
            raise LostServerError("no answer in time")
        if writing:
            self._pg.consume_input()


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", errors="replace")
