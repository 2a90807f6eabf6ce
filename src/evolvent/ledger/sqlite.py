"""SQLite as the ledger needs it: durable transactions, and errors with a type and a remedy.

Write-ahead log, so that readers never block the writer; a full sync at each commit, because a weaker one may lose
acknowledged events at a power loss; a writer takes its lock at the start, so that it never fails half-way.

Not here: tables (`ledger.py`); network file systems, where SQLite's locks do not hold.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event, exc

from evolvent.disk import step, sync_file
from evolvent.errors import EvolventError, LedgerBusy, LedgerCorrupt, StoreError, UsageError

_BUSY_TIMEOUT_S = 30
# By name: what is asked for, and how SQLite says that it is so.
_PRAGMAS: dict[str, tuple[str, object]] = {
    "journal_mode": ("WAL", "wal"),
    "synchronous": ("FULL", 2),
    "fullfsync": ("ON", 1),  # macOS: past the drive's cache; elsewhere without effect
    "foreign_keys": ("ON", 1),
}
_DAMAGE = ("malformed", "decode", "no such", "constraint")


class Database:
    """One SQLite file.

    Attributes:
        path: the file; made by the first transaction when it is not there. Where it may not be written, it is read as
            it lies there, as of an archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        url = sa.URL.create("sqlite", database=str(path))
        real = path.resolve()
        frozen = real.is_file() and not (os.access(real, os.W_OK) and os.access(real.parent, os.W_OK))
        log = real.with_name(f"{real.name}-wal")
        # An archived run: nobody writes to it, so it needs no locks.
        if frozen and not (log.is_file() and log.stat().st_size):
            url = sa.URL.create("sqlite", database=f"file:{quote(str(real))}", query={"immutable": "1", "uri": "true"})
        self._engine = sa.create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S})
        self._writer = self._engine.execution_options(immediate=True)
        event.listen(self._engine, "connect", _on_connect_frozen if url.query else self._on_connect)
        event.listen(self._engine, "begin", _on_begin)

    @contextmanager
    def read(self) -> Generator[sa.Connection, None, None]:
        """A transaction that sees one state throughout. Raises what `write` does."""
        with _typed(self.path), self._engine.begin() as conn:
            yield conn

    @contextmanager
    def write(self) -> Generator[sa.Connection, None, None]:
        """A transaction that is on disk when the block ends, and that leaves no trace when it raises.

        Raises:
            UsageError: the file is not a database.
            StoreError: the disk is full or failed.
            LedgerBusy: another process kept it locked.
            LedgerCorrupt: the file is damaged, or a table or bookkeeping row is missing.
        """
        with _typed(self.path), self._writer.begin() as conn:
            yield conn
            step("commit", self.path)
        step("committed", self.path)

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    def _on_connect(self, raw: Any, _record: Any) -> None:
        _set_pragmas(raw)
        # A writer shows a commit after its sync; but one that was killed in between shows it to whoever opens next.
        with suppress(FileNotFoundError):
            sync_file(self.path.with_name(f"{self.path.name}-wal"))


def _set_pragmas(raw: Any) -> None:
    raw.isolation_level = None  # the driver must not begin transactions by itself; `_on_begin` does
    for name, (value, said) in _PRAGMAS.items():
        raw.execute(f"PRAGMA {name}={value}")
        if (found := raw.execute(f"PRAGMA {name}").fetchone()[0]) != said:
            raise StoreError(
                f"ledger: SQLite keeps {name} at {found!r} here instead of {said!r}, so a power loss could take what "
                f"was acknowledged; put the run's folder on a local disk"
            )


def _on_connect_frozen(raw: Any, _record: Any) -> None:
    raw.isolation_level = None


def _on_begin(conn: sa.Connection) -> None:
    conn.exec_driver_sql("BEGIN IMMEDIATE" if conn.get_execution_options().get("immediate") else "BEGIN")


@contextmanager
def _typed(path: Path) -> Generator[None, None, None]:
    try:
        yield
    except exc.DBAPIError as error:
        raise _translate(path, str(error.orig)) from error
    except (exc.NoResultFound, exc.MultipleResultsFound) as error:
        raise LedgerCorrupt(f"ledger {path}: a bookkeeping row is missing or doubled: {error}") from error


def _translate(path: Path, text: str) -> EvolventError:
    if "not a database" in text:
        return UsageError(f"ledger: {path} is not a ledger: {text}")
    if "disk is full" in text:
        return StoreError(f"ledger {path}: the disk is full; free space and run again, nothing was half-written")
    if "locked" in text or "busy" in text:
        return LedgerBusy(f"ledger {path}: another process kept it locked for {_BUSY_TIMEOUT_S} s; try again")
    if any(word in text.lower() for word in _DAMAGE):
        return LedgerCorrupt(f"ledger {path}: {text}")
    return StoreError(
        f"ledger {path}: {text}; check space, disk and permissions; a killed run is read only where one may write"
    )
