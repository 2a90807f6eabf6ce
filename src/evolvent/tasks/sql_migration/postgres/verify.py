"""Verifies a migration by running it on PostgreSQL; equal in meaning to the verifier on SQLite, with its vocabulary.

Three transactions, each rolled back: B is built and its catalogue read; A is built, gets probe rows, runs the output, and
catalogue and rows are read; B is built again, and A's rows inserted there show what each kept column must hold. So B never
lies where an output could take it from.

A statement that runs for seconds is stopped by a clock, for PostgreSQL counts no instructions; honest ones take
milliseconds. What makes it slow (series, sleeping, repeating) is refused before.

Not here: what keeps an output from doing harm (`engine.py`, `statements.py`).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

from evolvent.tasks.sql_migration.postgres import catalogue, probes, statements
from evolvent.tasks.sql_migration.postgres.catalogue import Catalogue
from evolvent.tasks.sql_migration.postgres.engine import SCRIPT_S, LostServerError, PostgresEngine, Session, SqlError
from evolvent.tasks.sql_migration.postgres.probes import Lineage, Rows, quoted
from evolvent.types import Score

_ATTEMPTS = 2  # a session that an earlier output spoiled must not cost this one
# By SQLSTATE, the longest match first.
_KINDS = {
    "42501": "forbidden", "42601": "syntax", "22021": "syntax", "42P01": "no_such_table", "42704": "no_such_table",
    "42703": "no_such_column", "42P07": "exists", "42701": "exists", "42710": "exists", "23": "constraint",
    "53": "limit", "54": "limit", "57014": "limit", "55P03": "limit",
}  # fmt: skip
_TOLD = ("23502", "23505", "23514")  # B demands values that A does not have


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
    for _ in range(_ATTEMPTS):
        try:
            return _verify(engine.session(), before, after, renames, output, probe_seed)
        except LostServerError:
            engine.discard()
    return Score(correct=False, error="limit")


def well_posed(engine: PostgresEngine, before: Sequence[str], after: Sequence[str]) -> bool:
    """The server accepts both schemas, and they differ."""
    try:
        session = engine.session()
        return _catalogue(session, tuple(before)).difference(_catalogue(session, tuple(after))) is not None
    except (SqlError, LostServerError):
        engine.discard()
        return False


def _verify(
    session: Session,
    before: Sequence[str],
    after: Sequence[str],
    renames: Sequence[tuple[str, str]],
    output: str,
    probe_seed: int,
) -> Score:
    wanted = _catalogue(session, tuple(after))
    with session.rolled_back():
        build(session, before)
        a = catalogue.read(session)
        lineage = Lineage.of(a, wanted, renames)
        rows = probes.insert(session, a, wanted, lineage, random.Random(probe_seed))
        error = run_hostile(session, output)
        if error is not None:
            return Score(correct=False, error=error)
        try:
            error = catalogue.read(session).difference(wanted)
        except SqlError:  # a catalogue too large to read in time is not B's
            error = "limit"
        if error is not None:
            return Score(correct=False, error=error, executed=True)
        made = {t: probes.stored(session, t, [c.name for c in wanted.tables[t].columns]) for t in lineage.tables}
    with session.rolled_back():
        build(session, after)
        kept = _rows_kept(session, a, wanted, lineage, rows, made)
    return Score(correct=kept, error=None if kept else "lost_rows", executed=True)


def build(session: Session, schema: Sequence[str]) -> None:
    """Create a schema in the session's transaction.

    Raises:
        SqlError: the server refuses it.
    """
    for statement in schema:
        session.run(statement)


def run_hostile(session: Session, script: str) -> str | None:
    """Run hostile SQL in the session's transaction; the kind of its first error, ``None`` when all of it ran."""
    if statements.encoded(script) is None:
        return "syntax"
    pieces = statements.split(script)
    if len(pieces) > statements.MAX_STATEMENTS:
        return "limit"
    until = time.monotonic() + SCRIPT_S
    try:
        for piece in pieces:
            if not statements.allowed(piece):
                return "forbidden"
            if time.monotonic() > until:
                return "limit"
            session.run(piece)
        session.run("SET CONSTRAINTS ALL IMMEDIATE")  # the rollback would never ask the deferred ones
    except SqlError as exc:
        return kind(exc.code)
    return None


def kind(code: str) -> str:
    """A SQLSTATE as a word of the verifier's vocabulary."""
    return _KINDS.get(code) or _KINDS.get(code[:2]) or "engine"


_CATALOGUES: dict[tuple[str, ...], Catalogue] = {}


def _catalogue(session: Session, schema: tuple[str, ...]) -> Catalogue:
    if schema not in _CATALOGUES:
        with session.rolled_back():
            build(session, schema)
            found = catalogue.read(session)
        if len(_CATALOGUES) >= 1024:  # the versions of a question are asked the same problems, block by block
            _CATALOGUES.pop(next(iter(_CATALOGUES)))
        _CATALOGUES[schema] = found
    return _CATALOGUES[schema]


def _rows_kept(
    session: Session,
    a: Catalogue,
    b: Catalogue,
    lineage: Lineage,
    rows: Rows,
    made: Mapping[str, list[tuple[str | None, ...]]],
) -> bool:
    """Each kept column holds what the server stores when the old values are put into B."""
    for name, table in b.tables.items():
        for key in table.foreign_keys:  # rows go in table by table
            session.run(f"ALTER TABLE {quoted(name)} DROP CONSTRAINT {quoted(key.name)}")
    for name, was in lineage.tables.items():
        if not _same_rows(session, name, was, a, b, lineage, rows[was], made[name]):
            return False
    return True


def _same_rows(
    session: Session,
    name: str,
    was: str,
    a: Catalogue,
    b: Catalogue,
    lineage: Lineage,
    old: list[tuple[str | None, ...]],
    made: list[tuple[str | None, ...]],
) -> bool:
    old_columns = {column.name: i for i, column in enumerate(a.tables[was].columns)}
    columns = b.tables[name].columns
    source = {
        c.name: old_columns[lineage.columns[name, c.name][1]] for c in columns if (name, c.name) in lineage.columns
    }
    kept = [c for c in columns if c.name in source and not c.generated]
    if not kept:
        return len(made) == len(old)
    cast = []
    for i, column in enumerate(kept, start=1):
        old_type = a.tables[was].columns[source[column.name]].type
        cast.append(
            f"CAST(CAST(${i} AS {old_type}) AS {column.type})"
            if old_type != column.type
            else f"CAST(${i} AS {column.type})"
        )
    values = [[row[source[column.name]] for column in kept] for row in old]
    fields = ", ".join(quoted(column.name) for column in kept)
    try:
        with session.savepoint():
            for row in values:
                session.run(
                    f"INSERT INTO {quoted(name)} ({fields}) OVERRIDING SYSTEM VALUE SELECT {', '.join(cast)}", row
                )
        shown = list(columns)
        expected = probes.stored(session, name, [c.name for c in shown])
    except SqlError as exc:
        if exc.code not in _TOLD:
            raise
        shown = kept
        texts = ", ".join(f"CAST({part} AS text)" for part in cast)
        expected = [session.run(f"SELECT {texts}", row)[0] for row in values]
    places = {c.name: i for i, c in enumerate(columns)}
    free = [c.name not in source and c.draws for c in shown]
    found = [tuple(row[places[c.name]] for c in shown) for row in made]
    return Counter(_comparable(r, free) for r in found) == Counter(_comparable(r, free) for r in expected)


def _comparable(row: Sequence[str | None], free: Sequence[bool]) -> tuple[object, ...]:
    """A value that the server draws itself is compared by whether it is there."""
    return tuple(value is None if any_ else value for value, any_ in zip(row, free, strict=True))
