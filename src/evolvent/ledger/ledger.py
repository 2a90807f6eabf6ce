"""The ledger: what happened, in order.

Each event carries the hash of the one before it, so an edit anywhere shows, and a head row written in the same
transaction shows a cut tail. Champion, lineage, alpha spent and the dashboard are folds over events; that is why a
killed run resumes by reading. One controller holds the fencing token and writes; any process may add a request.

Not here: bulk bytes (events hold hashes, `store.py` holds bytes); a second controller (it gets `LedgerBusy`); defence
against someone who rewrites the whole chain and its head, or puts back an older copy of the file (compare `head()` with
a copy kept elsewhere).
"""

from __future__ import annotations

import json
import os
import socket
import time
import unicodedata
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from evolvent.disk import make_folder
from evolvent.errors import LedgerBusy, LedgerCorrupt, UsageError
from evolvent.ledger.chain import GENESIS, chain_hash, check_row, content_hash
from evolvent.ledger.sqlite import Database
from evolvent.types import SCHEMA_VERSION, Event, canonical_json, sha256_hex

REQUEST_PREFIX = "request."
_PAGE = 1000
_START_SLACK_MS = 2000  # a step of the clock moves the start times that the system reports

_tables = sa.MetaData()
_meta = sa.Table(
    "meta", _tables, sa.Column("run", sa.Text, primary_key=True), sa.Column("schema", sa.Integer, nullable=False)
)
_events = sa.Table(
    "events",
    _tables,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("time_ns", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("schema", sa.Integer, nullable=False),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("payload", "cost", "content_hash", "chain_hash")),
)
_COLUMNS = tuple(_events.columns.keys())
_head = sa.Table(
    "head",
    _tables,
    sa.Column("run", sa.Text, sa.ForeignKey("meta.run"), primary_key=True),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("chain_hash", sa.Text, nullable=False),
)
_controller = sa.Table(
    "controller",
    _tables,
    sa.Column("run", sa.Text, sa.ForeignKey("meta.run"), primary_key=True),
    sa.Column("token", sa.Integer, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started_ms", sa.BigInteger, nullable=False),
)
_snapshots = sa.Table(
    "snapshots",
    _tables,
    sa.Column("run", sa.Text, sa.ForeignKey("meta.run"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("tag", sa.Text, nullable=False),
)


class Ledger:
    """One run's events in one SQLite file.

    Attributes:
        path: the file.
        run: run id, the same in each of its events.

    Guarantees:
        An event returned by `append` or `request` survives a power loss. Events are never changed or removed.
    """

    def __init__(self, db: Database, run: str, clock: Callable[[], int]) -> None:
        self.path, self.run = db.path, run
        self._db, self._clock = db, clock
        self._token: int | None = None

    @classmethod
    def open(
        cls, path: Path, run: str | None = None, *, create: bool = False, clock: Callable[[], int] = time.time_ns
    ) -> Ledger:
        """Open a run's ledger.

        Args:
            path: the SQLite file, usually ``<run>/ledger.sqlite``.
            run: run id that it must hold; ``None`` takes the one that it holds.
            create: make it when it is not there; an existing one is opened as it is.
            clock: nanoseconds since the epoch, for people; no decision reads it.

        Raises:
            UsageError: there is no such file, it is not a ledger, it holds another run or another schema.
            StoreError: it cannot be read or written.
        """
        if create and not run:
            raise UsageError("ledger: a new one needs a run id")
        if create:
            make_folder(path.parent)
        elif not path.is_file():
            raise UsageError(f"ledger: no file at {path}; start a run first, or name the run's folder")
        db = Database(path)
        try:
            return cls(db, _prepare(db, _nfc(run) if run else None, create), clock)
        except BaseException:
            db.close()
            raise

    def close(self) -> None:
        """Release the token when held, and the file."""
        if self._token is not None:
            self.release()
        self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def acquire(self) -> int:
        """Become the run's one controller.

        A holder that died, or that wrote on another host, is replaced: whatever it still tries fails on its old token.

        Returns:
            The fencing token, larger than each one before.

        Raises:
            LedgerBusy: a living process on this host holds it.
        """
        host, pid = socket.gethostname(), os.getpid()
        started_ms = round(psutil.Process().create_time() * 1000)
        with self._db.write() as conn:
            row = conn.execute(sa.select(_controller)).one()
            if row.pid and row.token != self._token and row.host == host and _alive(row.pid, row.started_ms):
                raise LedgerBusy(f"ledger {self.path}: process {row.pid} is running this run; stop it or wait for it")
            token = row.token + 1
            conn.execute(sa.update(_controller).values(token=token, host=host, pid=pid, started_ms=started_ms))
        self._token = token
        return token

    def release(self) -> None:
        """Give the token back; does nothing when it is not held any more."""
        token, self._token = self._token, None
        with self._db.write() as conn:
            conn.execute(sa.update(_controller).where(_controller.c.token == token).values(pid=0, started_ms=0))

    def append(
        self,
        kind: str,
        payload: dict[str, Any],
        *,
        actor: str = "controller",
        key: str,
        cost: dict[str, int] | None = None,
    ) -> Event:
        """Add an event as the controller, once for each key.

        Args:
            kind: event kind, such as ``promoted``.
            payload: plain JSON without floats and without personal data.
            actor: who decided: ``controller``, ``judge``, ``standing`` or, on a person's request, ``human``.
            key: idempotency key. The same key with the same content returns the first event.
            cost: measured whole numbers; left out of the content hash.

        Raises:
            LedgerBusy: the token is not held, or another controller took it.
            LedgerCorrupt: the key was used for other content, so two histories disagree.
            StoreError: the disk is full or failed; nothing was written.
            TypeError: the payload holds a float or something that is not JSON.
        """
        if self._token is None:
            raise LedgerBusy(f"ledger {self.path}: append needs the controller's token; call acquire() first")
        return self._write(kind, payload, actor=actor, key=key, cost=cost or {}, token=self._token)

    def request(self, kind: str, payload: dict[str, Any], *, key: str, actor: str = "human") -> Event:
        """Ask the controller for something, from any process. Kept as ``request/<key>``, where no decision is sought.

        Raises:
            UsageError: `kind` does not start with ``request.``, or `actor` is one that only the controller may use.
            LedgerCorrupt: the key was used for other content.
            StoreError: the disk is full or failed; nothing was written.
        """
        if not kind.startswith(REQUEST_PREFIX):
            raise UsageError(f"request: expected a kind that starts with '{REQUEST_PREFIX}', got '{kind}'")
        if actor in {"controller", "judge", "standing"}:
            raise UsageError(f"request: actor '{actor}' belongs to the controller; use 'human' or a server's name")
        return self._write(kind, payload, actor=actor, key=f"request/{key}", cost={}, token=None)

    def events(self, after: int = 0, kinds: Collection[str] | None = None) -> Iterator[Event]:
        """Events with a sequence number above `after`, in order; `kinds` keeps only these.

        Read in pages, so a slow reader never holds a transaction open. Hashes are checked by `verify`, not here.
        """
        while True:
            query = sa.select(_events).where(_events.c.seq > after).order_by(_events.c.seq).limit(_PAGE)
            if kinds is not None:
                query = query.where(_events.c.kind.in_(sorted(kinds)))
            with self._db.read() as conn:
                rows = conn.execute(query).all()
            for row in rows:
                yield _event(row)
            if len(rows) < _PAGE:
                return
            after = rows[-1].seq

    def get(self, key: str) -> Event | None:
        """The event with this idempotency key."""
        with self._db.read() as conn:
            row = conn.execute(sa.select(_events).where(_events.c.key == _nfc(key))).one_or_none()
        return None if row is None else _event(row)

    def head(self) -> tuple[int, str]:
        """Sequence number and chain hash of the last event; ``(0, GENESIS)`` when there is none."""
        with self._db.read() as conn:
            return _read_head(conn)

    def verify(self) -> int:
        """Recompute every hash.

        Returns:
            How many events there are.

        Raises:
            LedgerCorrupt: an event was edited, dropped, added, reordered or duplicated; names the first one.
        """
        seq, chain = 0, GENESIS
        query = sa.select(_events).order_by(_events.c.seq).execution_options(yield_per=_PAGE)
        with self._db.read() as conn:
            for row in conn.execute(query):
                chain = check_row(_values(row), self.run, seq + 1, chain)
                seq += 1
            head = _read_head(conn)
        if head != (seq, chain):
            raise LedgerCorrupt(
                f"ledger: the last event is {seq}, but the head says {head[0]}: "
                + ("events were cut off or added at the end" if head[0] != seq else "its chain hash differs")
            )
        return seq

    def save_snapshot(self, name: str, seq: int, state: Any) -> None:
        """Keep a fold's state as it was after event `seq`. A cache: losing it costs time only.

        Raises:
            UsageError: there is no event `seq`.
        """
        text = canonical_json(state)
        with self._db.write() as conn:
            chain = _chain_at(conn, seq)
            if chain is None:
                raise UsageError(f"snapshot '{name}': there is no event {seq}")
            tag = sha256_hex(f"{chain}\n{name}\n{seq}\n{text}")
            conn.execute(sa.delete(_snapshots).where(_snapshots.c.name == name))
            conn.execute(sa.insert(_snapshots).values(run=self.run, name=name, seq=seq, state=text, tag=tag))

    def load_snapshot(self, name: str) -> tuple[int, Any] | None:
        """The last state kept under `name` and its sequence number.

        Returns:
            ``None`` when there is none, or when it was changed or is of another history: fold from the start.
        """
        with self._db.read() as conn:
            row = conn.execute(sa.select(_snapshots).where(_snapshots.c.name == name)).one_or_none()
            chain = None if row is None else _chain_at(conn, row.seq)
        if row is None or chain is None or row.tag != sha256_hex(f"{chain}\n{name}\n{row.seq}\n{row.state}"):
            return None
        return row.seq, json.loads(row.state)

    def _write(
        self, kind: str, payload: dict[str, Any], *, actor: str, key: str, cost: dict[str, int], token: int | None
    ) -> Event:
        if not key or not kind:
            raise UsageError(f"event: expected a kind and a key, got kind='{kind}' key='{key}'")
        row: dict[str, Any] = {"run": self.run, "actor": _nfc(actor), "kind": _nfc(kind), "key": _nfc(key)}
        row |= {"schema": SCHEMA_VERSION, "payload": canonical_json(payload), "cost": canonical_json(cost)}
        row["content_hash"] = content_hash(row)
        with self._db.write() as conn:
            if token is not None and conn.execute(sa.select(_controller.c.token)).scalar_one() != token:
                raise LedgerBusy(f"ledger {self.path}: another controller took over this run; this one must stop")
            old = conn.execute(sa.select(_events).where(_events.c.key == row["key"])).one_or_none()
            if old is not None:
                if old.content_hash != row["content_hash"]:
                    raise LedgerCorrupt(f"event {old.seq} holds key '{key}' with other content: two histories disagree")
                return _event(old)
            seq, chain = _read_head(conn)
            row |= {"seq": seq + 1, "time_ns": self._clock()}
            row["chain_hash"] = chain_hash(chain, row)
            conn.execute(sa.insert(_events).values(**row))
            conn.execute(sa.update(_head).values(seq=row["seq"], chain_hash=row["chain_hash"]))
        # Read back from the text, so that a live fold and a resumed one see the same payload.
        return Event(**{**row, "payload": json.loads(row["payload"]), "cost": json.loads(row["cost"])})


def _prepare(db: Database, run: str | None, create: bool) -> str:
    """Make the tables when asked, and return the run that the file holds."""
    path = db.path
    with db.write() if create else db.read() as conn:
        if not sa.inspect(conn).has_table("meta"):
            if not create or run is None:
                raise UsageError(f"ledger: {path} is not a ledger; name the run's own ledger.sqlite")
            _tables.create_all(conn)
            conn.execute(sa.insert(_meta).values(run=run, schema=SCHEMA_VERSION))
            conn.execute(sa.insert(_head).values(run=run, seq=0, chain_hash=GENESIS))
            conn.execute(sa.insert(_controller).values(run=run, token=0, host="", pid=0, started_ms=0))
        rows = conn.execute(sa.select(_meta)).all()
    if len(rows) != 1 or (run is not None and rows[0].run != run):
        raise UsageError(f"ledger {path}: is of {[row.run for row in rows]}, not of '{run}'; restore the settings")
    if rows[0].schema != SCHEMA_VERSION:
        raise UsageError(f"ledger {path}: expected schema {SCHEMA_VERSION}, got {rows[0].schema}; use its own version")
    return rows[0].run


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _values(row: sa.Row[Any]) -> dict[str, Any]:
    return dict(zip(_COLUMNS, row, strict=True))


def _event(row: sa.Row[Any]) -> Event:
    try:
        return Event(**{**_values(row), "payload": json.loads(row.payload), "cost": json.loads(row.cost)})
    except (ValueError, TypeError, RecursionError) as exc:
        raise LedgerCorrupt(f"event {row.seq}: payload or cost is not readable: {exc}") from exc


def _read_head(conn: sa.Connection) -> tuple[int, str]:
    row = conn.execute(sa.select(_head.c.seq, _head.c.chain_hash)).one()
    return row.seq, row.chain_hash


def _chain_at(conn: sa.Connection, seq: int) -> str | None:
    if seq == 0:
        return GENESIS
    return conn.execute(sa.select(_events.c.chain_hash).where(_events.c.seq == seq)).scalar_one_or_none()


def _alive(pid: int, started_ms: int) -> bool:
    """Whether that very process still runs; the start time tells it from a later one with its number."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() * 1000 - started_ms) < _START_SLACK_MS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
