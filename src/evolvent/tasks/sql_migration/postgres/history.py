"""An application's own migration history on PostgreSQL as a task; the counterpart of `sql_migration.history`.

The schemas of a step are built on the server and written down again as a person writes them, a table a statement:
dumps spread a table over many. The prompt shows the tables that differ; the verifier is given those that they refer to
too. What a migration may not create here (functions, triggers, extensions, and what stands on them) is left out on both
sides alike; a step that touches it does not pass alone.

Not here: how a history is made from a repository of migrations; steps that change views, functions or triggers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from evolvent.errors import UsageError
from evolvent.tasks.sql_migration.dialect import Dialect
from evolvent.tasks.sql_migration.history import (
    COMMENT,
    FIELDS,
    MIGRATION_CHARS,
    SCHEMA_CHARS,
    History,
    problem,
    renames_of,
)
from evolvent.tasks.sql_migration.postgres import SqlMigrationPostgres, catalogue, statements, verify
from evolvent.tasks.sql_migration.postgres import dialect as dialects
from evolvent.tasks.sql_migration.postgres.catalogue import Catalogue, Column, Constraint
from evolvent.tasks.sql_migration.postgres.engine import PostgresEngine, shared_engine
from evolvent.tasks.sql_migration.postgres.session import Session, SqlError
from evolvent.types import Problem

_TYPES = {
    "character varying": "VARCHAR", "timestamp without time zone": "TIMESTAMP",
    "timestamp with time zone": "TIMESTAMPTZ",
    "time without time zone": "TIME", "time with time zone": "TIMETZ", "character": "CHAR",
}  # fmt: skip
_SERIAL = {"integer": "SERIAL", "bigint": "BIGSERIAL", "smallint": "SMALLSERIAL"}
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_CAST = re.compile(r"('(?:[^']|'')*')::[a-z ]+(?:\(\d+\))?(?:\[\])?")
_INDEX_TABLE = re.compile(r"\bON (?:ONLY )?public\.(\"(?:[^\"]|\"\")*\"|\w+) USING btree ")
_BUILDABLE = ("CREATE TABLE", "CREATE SEQUENCE", "CREATE TYPE", "CREATE INDEX", "CREATE UNIQUE INDEX", "ALTER")
_SUFFIXES = {"p": "pkey", "u": "key", "f": "fkey", "c": "check", "x": "excl"}


def read_step(row: Mapping[str, Any], engine: PostgresEngine | None = None) -> Problem | str:
    """One step as a problem, or why it is left out.

    Args:
        row: ``before_schema``, ``after_schema`` (statements) and ``migration_sql``; of the migration only the lineage
            of what it renames goes into the problem, and it is run once to see that it solves it.
        engine: where schemas are built; the process's own by default.

    Raises:
        UsageError: a field is missing or is no text.
        SandboxError: the server is gone.
    """
    for name in FIELDS:
        if not isinstance(row.get(name), str):
            raise UsageError(f"history: a step needs {', '.join(FIELDS)} as texts; {name} is {row.get(name)!r}")
    engine = engine or shared_engine()
    with engine.alone:
        return _read_step(row, engine)


def _read_step(row: Mapping[str, Any], engine: PostgresEngine) -> Problem | str:
    session = engine.session()
    sides = [_Side(session, row[name]) for name in ("before_schema", "after_schema")]
    changed = sorted({n for n in sides[0].groups.keys() | sides[1].groups.keys()
                      if sides[0].groups.get(n) != sides[1].groups.get(n)})  # fmt: skip
    if not changed:
        return "no table changes"
    if max(side.size(changed) for side in sides) > SCHEMA_CHARS:
        return f"differing tables over {SCHEMA_CHARS} characters"
    migration = " ".join(COMMENT.sub(" ", row["migration_sql"]).split())
    if len(migration) > MIGRATION_CHARS:
        return f"migration over {MIGRATION_CHARS} characters"
    stated = sides[0].needs(changed) | sides[1].needs(changed)
    a, b = (side.stated(stated) for side in sides)
    try:
        whole = all(side.same(verify.built(session, ddl), stated) for side, ddl in zip(sides, (a, b), strict=True))
    except SqlError:
        whole = False
    if not whole:
        return "stands on what is no table"
    tables = [set(side.catalogue.tables) for side in sides]
    renames = renames_of(migration, dict.fromkeys(tables[0]), dict.fromkeys(tables[1]))
    renames = [(old.replace("public.", ""), new.replace("public.", "")) for old, new in renames]
    shown = [[statement for name in changed for statement in side.groups.get(name, ())] for side in sides]
    made = problem(a, b, renames, {"step": str(row.get("name", ""))}, task=dialects.NAME, shown=shown)
    score = verify.verify(engine, a, b, renames, migration, 1)
    return made if score.correct else f"its own migration does not pass alone ({score.error})"


class _Side:
    """One schema of a step as it can be built here.

    Attributes:
        catalogue: what the server made of it.
        groups: statements by table or enumeration, as a person writes them.
    """

    def __init__(self, session: Session, schema: str) -> None:
        self.catalogue = _built(session, schema)
        self.groups: dict[str, tuple[str, ...]] = {}
        self._types: dict[str, tuple[str, ...]] = {}
        for (kind, name), words in self.catalogue.others.items():
            if kind == "type" and words.startswith("e"):
                labels = [c.labels for t in self.catalogue.tables.values() for c in t.columns if c.base == name]
                if labels:
                    self._types[name] = labels[0]
        for name, labels in self._types.items():
            shown = ", ".join("'" + label.replace("'", "''") + "'" for label in labels)
            self.groups[f"type {name}"] = (f"CREATE TYPE {_name(name)} AS ENUM ({shown})",)
        indexes: dict[str, list[str]] = {}
        for (kind, _), words in sorted(self.catalogue.others.items()):
            if kind == "index" and (found := _INDEX_TABLE.search(words)) is not None:
                text = words.replace(found[0], f"ON {found[1]} ")
                indexes.setdefault(found[1].strip('"'), []).append(text)
        for name in self.catalogue.tables:
            self.groups[name] = (self._create(name), *indexes.get(name, ()))

    def size(self, names: Sequence[str]) -> int:
        """Characters of these groups."""
        return sum(len(statement) for name in names for statement in self.groups.get(name, ()))

    def needs(self, names: Sequence[str]) -> set[str]:
        """These groups and all that they refer to."""
        found: set[str] = set()
        left = list(names)
        while left:
            name = left.pop()
            if name in found or name not in self.groups:
                continue
            found.add(name)
            table = self.catalogue.tables.get(name)
            if table is not None:
                left += [key.table for key in table.foreign_keys]
                left += [f"type {column.base}" for column in table.columns if column.labels]
        return found | set(names)

    def stated(self, names: set[str]) -> list[str]:
        """Statements of these groups: types, then each table after those that it refers to; circles are closed last."""
        left = sorted((n for n in names if n in self.groups), key=lambda n: (not n.startswith("type "), n))
        out: list[str] = []
        late: list[str] = []
        while left:
            name = next((n for n in left if not self._refers(n) & (set(left) - {n})), left[0])
            left.remove(name)
            missing = self._refers(name) & set(left)
            out += [self._create(name, missing), *self.groups[name][1:]] if missing else self.groups[name]
            late += [
                f"ALTER TABLE {_name(name)} ADD CONSTRAINT {_name(key.name)} {key.words}"
                for key in (self.catalogue.tables[name].foreign_keys if missing else ())
                if key.table in missing
            ]
        return out + late

    def same(self, built: Catalogue, names: set[str]) -> bool:
        """What was built from the groups of these names is what the schema says of them."""
        tables = {n: t for n, t in self.catalogue.tables.items() if n in names}
        return built.tables.keys() == tables.keys() and all(
            built.tables[n].compared == table.compared for n, table in tables.items()
        )

    def _refers(self, name: str) -> set[str]:
        table = self.catalogue.tables.get(name)
        return {key.table for key in table.foreign_keys} if table is not None else set()

    def _create(self, name: str, missing: Set[str] = frozenset()) -> str:
        """The table's statement, without keys that refer to missing tables."""
        table = self.catalogue.tables[name]
        constraints = [c for c in table.constraints if c.table not in missing]
        behind = [c for c in constraints if _inline(name, c)]
        parts = [_column(name, column, [c for c in behind if c.columns == (column.name,)]) for column in table.columns]
        parts += [
            c.words if c.name == _given(name, c) else f"CONSTRAINT {_name(c.name)} {c.words}"
            for c in constraints
            if c not in behind
        ]
        return f"CREATE TABLE {_name(name)} ({', '.join(parts)})"


_RAN: set[str] = set()  # statements that ran once need no savepoint: a history repeats nearly all at each step
_BUILT: dict[str, Catalogue] = {}  # of the last few schemas: a step's second is the next one's first


def _built(session: Session, schema: str) -> Catalogue:
    """What the server makes of a schema, without what it refuses."""
    if schema not in _BUILT:
        pieces = [s for s in statements.split(schema) if s.upper().startswith(_BUILDABLE)]
        try:
            found = _build(session, pieces, _RAN)
        except SqlError:  # what ran before needs something that is not there now
            found = _build(session, pieces, set())
        while len(_BUILT) > 3:
            _BUILT.pop(next(iter(_BUILT)))
        _BUILT[schema] = found
    return _BUILT[schema]


def _build(session: Session, pieces: Sequence[str], known: set[str]) -> Catalogue:
    with session.rolled_back():
        for piece in pieces:
            if piece in known:
                session.run(piece)
                continue
            with suppress(SqlError), session.savepoint():
                session.run(piece)
                known.add(piece)
        return catalogue.read(session)


def _inline(table: str, constraint: Constraint) -> bool:
    """It is written behind its column: of one column, under the name that the server gives."""
    one = len(constraint.columns) == 1 and constraint.kind in "puf"
    return one and constraint.name == _given(table, constraint)


def _given(table: str, constraint: Constraint) -> str:
    columns = () if constraint.kind == "p" else constraint.columns
    return "_".join((table, *columns, _SUFFIXES.get(constraint.kind, "")))


def _column(table: str, column: Column, constraints: Sequence[Constraint]) -> str:
    words = [_name(column.name)]
    serial = f"nextval('{table}_{column.name}_seq'::regclass)"
    if column.default == serial and column.type in _SERIAL:
        words.append(_SERIAL[column.type])
    else:
        plain, bracket, rest = column.type.partition("(")
        words.append(_TYPES.get(plain, plain.upper() if not column.labels else plain) + bracket + rest)
    primary = any(c.kind == "p" for c in constraints)
    words += ["PRIMARY KEY"] if primary else []
    if column.extra[0]:
        words.append(f"GENERATED {'ALWAYS' if column.extra[0] == 'a' else 'BY DEFAULT'} AS IDENTITY")
    if column.not_null and not primary and words[1] not in _SERIAL.values() and not column.extra[0]:
        words.append("NOT NULL")
    if column.default is not None and words[1] not in _SERIAL.values():
        given = _CAST.fullmatch(column.default)
        words.append(f"DEFAULT {given[1] if given else column.default}")
    words += ["UNIQUE" for c in constraints if c.kind == "u"]
    words += [c.words[c.words.index("REFERENCES") :].replace("(", " (", 1) for c in constraints if c.kind == "f"]
    return " ".join(words)


def _name(name: str) -> str:
    return name if _PLAIN.fullmatch(name) and name not in dialects.POSTGRES.reserved else f'"{name}"'


@dataclass(frozen=True, kw_only=True)
class PostgresHistory(History, SqlMigrationPostgres):
    """Skill ``own``: variants of a history's steps; ``single``: the general task; both verified by PostgreSQL."""

    name: str = dialects.NAME
    dialect: Dialect = dialects.POSTGRES

    def names(self, statements: Sequence[str]) -> tuple[set[str], set[str]]:
        """Names of a schema's tables and of its columns, as the engine keeps them."""
        engine = shared_engine()
        with engine.alone:
            tables = verify.built(engine.session(), statements).tables
        return set(tables), {column.name for table in tables.values() for column in table.columns}
