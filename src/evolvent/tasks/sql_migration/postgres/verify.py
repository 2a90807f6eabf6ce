"""Verifies a migration by running it on PostgreSQL; equal in meaning to the verifier on SQLite, with its vocabulary.

Three transactions, each rolled back: B is built and its catalogue read; A is built, gets probe rows, runs the output,
and catalogue and rows are read; B is built again, and A's rows inserted there show what each kept column must hold. So
B never lies where an output could take it from.

PostgreSQL counts no instructions, so that a clock stops what is slow: an honest statement takes milliseconds, a second
try allows it seconds, and what makes statements slow (series, sleeping, repeating) is refused before.

Not here: what keeps an output from doing harm (`engine.py`, `statements.py`).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence

from evolvent.tasks.sql_migration.postgres import catalogue, probes, statements
from evolvent.tasks.sql_migration.postgres.catalogue import Catalogue
from evolvent.tasks.sql_migration.postgres.engine import PostgresEngine
from evolvent.tasks.sql_migration.postgres.probes import Lineage, Rows, quoted
from evolvent.tasks.sql_migration.postgres.session import LostServerError, Row, Session, SqlError
from evolvent.types import Score

STATEMENT_S = (1.0, 5.0)  # of the first and the second try; a script gets four times as much
_SLOW = "57014"
# By SQLSTATE, or by its class.
_KINDS = {
    "42501": "forbidden", "42601": "syntax", "22021": "syntax", "42P01": "no_such_table", "42704": "no_such_table",
    "42703": "no_such_column", "42P07": "exists", "42701": "exists", "42710": "exists", "23": "constraint",
    "53": "limit", "54": "limit", "55P03": "limit", _SLOW: "limit",
}  # fmt: skip
_DEMANDS = "23"  # B demands values that A does not have
_CATALOGUES: dict[tuple[str, ...], Catalogue] = {}
_MAX_CATALOGUES = 1024


class _TooSlow(Exception):
    """The clock stopped a statement of the output."""


def verify(
    engine: PostgresEngine,
    before: Sequence[str],
    after: Sequence[str],
    renames: Sequence[tuple[str, str]],
    output: str,
    probe_seed: int,
) -> Score:
    """Score one migration; never raises for any output.

    Args:
        engine: where it runs.
        before: statements of schema A.
        after: statements of schema B.
        renames: lineage, ``(old, new)``: tables as ``t``, columns as ``t.c``.
        output: the migration, any text.
        probe_seed: draws the hidden rows.

    Returns:
        As `sql_migration.verify.verify`, with the same kinds of error but ``open_transaction``, which cannot happen.

    Raises:
        SandboxError: the server is gone and does not come back.
        SqlError: the server refuses A or B, which is the problem's fault.
    """
    if not output.strip():
        return Score(correct=False, error="empty")
    if len(output) > statements.MAX_OUTPUT_CHARS:
        return Score(correct=False, error="limit")
    for limit in STATEMENT_S:
        with engine.alone:
            try:
                return _verify(engine.session(), (before, after, renames), output, probe_seed, limit)
            except LostServerError:
                engine.discard()  # spoiled by this output, or by an earlier one
            except _TooSlow:
                pass
    return Score(correct=False, error="limit")


def well_posed(engine: PostgresEngine, before: Sequence[str], after: Sequence[str]) -> bool:
    """The server accepts both schemas, and they differ."""
    with engine.alone:
        try:
            session = engine.session()
            return built(session, before).difference(built(session, after)) is not None
        except SqlError:
            return False
        except LostServerError:
            engine.discard()
            return False


def _verify(
    session: Session,
    problem: tuple[Sequence[str], Sequence[str], Sequence[tuple[str, str]]],
    output: str,
    probe_seed: int,
    limit: float,
) -> Score:
    before, after, renames = problem
    b = built(session, after)
    with session.rolled_back(limit):
        build(session, before)
        a = catalogue.read(session)
        lineage = Lineage.of(a, b, renames)
        rows = probes.insert(session, a, b, lineage, random.Random(probe_seed))
        error = run_hostile(session, output, 4 * limit)
        if error is not None:
            return Score(correct=False, error=error)
        try:
            error = catalogue.read(session).difference(b)
            if error is not None:
                return Score(correct=False, error=error, executed=True)
            made = {t: probes.stored(session, t, [c.name for c in b.tables[t].columns]) for t in lineage.tables}
        except SqlError:  # more than can be read in the time and memory of a session, so not B
            return Score(correct=False, error="limit", executed=True)
    with session.rolled_back():
        build(session, after)
        kept = _Comparison(session=session, a=a, b=b, lineage=lineage, rows=rows).kept(made)
    return Score(correct=kept, error=None if kept else "lost_rows", executed=True)


def built(session: Session, schema: Sequence[str]) -> Catalogue:
    """The catalogue of a schema, built in a transaction of its own; remembered, since versions are asked the same.

    Raises:
        SqlError: the server refuses it.
        LostServerError: the connection is gone.
    """
    key = tuple(schema)
    if key not in _CATALOGUES:
        with session.rolled_back():
            build(session, schema)
            found = catalogue.read(session)
        if len(_CATALOGUES) >= _MAX_CATALOGUES:
            _CATALOGUES.pop(next(iter(_CATALOGUES)))
        _CATALOGUES[key] = found
    return _CATALOGUES[key]


def build(session: Session, schema: Sequence[str]) -> None:
    """Create a schema in the session's transaction.

    Raises:
        SqlError: the server refuses it.
        LostServerError: the connection is gone.
    """
    for statement in schema:
        session.run(statement)


def run_hostile(session: Session, script: str, limit_s: float) -> str | None:
    """Run hostile SQL in the session's transaction; the kind of its first error, ``None`` when all of it ran."""
    if not statements.sendable(script):
        return "syntax"
    pieces = statements.split(script)
    if len(pieces) > statements.MAX_STATEMENTS:
        return "limit"
    until = time.monotonic() + limit_s
    try:
        for piece in pieces:
            if not statements.allowed(piece):
                return "forbidden"
            session.run(piece)
            if not statements.ran(session.command):
                raise LostServerError(f"{session.command} was run, which is not of the list")
            if time.monotonic() > until:
                raise _TooSlow
        session.run("SET CONSTRAINTS ALL IMMEDIATE")  # deferred ones would wait for a commit that never comes
    except SqlError as exc:
        if exc.code == _SLOW:
            raise _TooSlow from exc
        return kind(exc.code)
    return None


def kind(code: str) -> str:
    """A SQLSTATE as a word of the verifier's vocabulary."""
    return _KINDS.get(code) or _KINDS.get(code[:2]) or "engine"


class _Comparison:
    """Each kept column must hold what the server stores when A's values are put into B, which is built and empty."""

    def __init__(self, *, session: Session, a: Catalogue, b: Catalogue, lineage: Lineage, rows: Rows) -> None:
        self._session, self._a, self._b, self._lineage, self._rows = session, a, b, lineage, rows

    def kept(self, made: Rows) -> bool:
        for name, table in self._b.tables.items():
            for key in table.foreign_keys:  # rows go in table by table
                self._session.run(f"ALTER TABLE {quoted(name)} DROP CONSTRAINT {quoted(key.name)}")
        return all(self._same(name, was, made[name]) for name, was in self._lineage.tables.items())

    def _same(self, name: str, was: str, made: list[Row]) -> bool:
        old, columns = self._rows[was], self._b.tables[name].columns
        place = {column.name: i for i, column in enumerate(self._a.tables[was].columns)}
        source = {
            c.name: place[self._lineage.columns[name, c.name][1]]
            for c in columns
            if (name, c.name) in self._lineage.columns and not c.generated
        }
        kept = [c for c in columns if c.name in source]
        if not kept:
            return len(made) == len(old)
        cast = [
            f"CAST(CAST(${i} AS {self._a.tables[was].columns[source[c.name]].type}) AS {c.type})"
            for i, c in enumerate(kept, start=1)
        ]
        values = [[row[source[c.name]] for c in kept] for row in old]
        fields = ", ".join(quoted(c.name) for c in kept)
        put = f"INSERT INTO {quoted(name)} ({fields}) OVERRIDING SYSTEM VALUE SELECT {', '.join(cast)}"
        try:
            with self._session.savepoint():
                for row in values:
                    self._session.run(put, row)
            shown = list(columns)
            expected = probes.stored(self._session, name, [c.name for c in shown])
        except SqlError as exc:
            if not exc.code.startswith(_DEMANDS):
                return False  # the engine knows no way from the old type to the new
            shown = kept
            texts = ", ".join(f"CAST({part} AS text)" for part in cast)
            expected = [self._session.run(f"SELECT {texts}", row)[0] for row in values]
        free = [c.name not in source and c.draws for c in shown]
        at = [i for i, c in enumerate(columns) if c in shown]
        found = [tuple(row[i] for i in at) for row in made]
        return Counter(_comparable(row, free) for row in found) == Counter(_comparable(row, free) for row in expected)


def _comparable(row: Row, free: Sequence[bool]) -> tuple[object, ...]:
    """A value that the server draws itself is compared by whether it is there."""
    return tuple(value is None if any_will_do else value for value, any_will_do in zip(row, free, strict=True))
