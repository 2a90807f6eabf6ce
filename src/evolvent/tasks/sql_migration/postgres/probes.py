"""Hidden rows: distinct, of values that the columns of A and what becomes of them in B can both hold.

Columns that a foreign key ties together, in A or in B, hold the same values row by row, so that keys which B adds hold
on the rows of A too.

Not here: what must become of the rows (`verify.py`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evolvent.tasks.sql_migration.postgres.catalogue import Catalogue, Column, Constraint, Table
from evolvent.tasks.sql_migration.postgres.session import Row, Session, SqlError

PROBE_ROWS = 3
Place = tuple[str, str]  # table and column of A
Rows = dict[str, list[Row]]
_NAME = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')
_WHOLE = ("int2", "int4", "int8", "oid", "bool")
# From the strictest: of columns that share values, the first here says what they look like.
_ORDER = ("bool", "uuid", "json", "jsonb", "inet", "timestamptz", "timestamp", "date", "time", "timetz", "interval",
          "int2", "int4", "int8", "numeric", "float4", "float8", "bytea", "bpchar", "varchar", "text")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Where the tables and columns of B come from.

    Attributes:
        tables: name in B -> name in A.
        columns: ``(table in B, column in B)`` -> ``(table in A, column in A)``.
    """

    tables: Mapping[str, str]
    columns: Mapping[Place, Place]

    @classmethod
    def of(cls, a: Catalogue, b: Catalogue, renames: Sequence[tuple[str, str]]) -> Lineage:
        """Read off the stated renames; what is not renamed keeps its name."""
        table_of: dict[str, str] = {}
        column_of: dict[Place, str] = {}
        for old, new in renames:
            olds, news = parts(old), parts(new)
            if len(olds) == len(news) == 1:
                table_of[news[0]] = olds[0]
            elif len(olds) == len(news) == 2:
                column_of[(news[0], news[1])] = olds[1]
        moved = set(table_of.values())
        tables = {t: was for t in b.tables if (was := table_of.get(t, "" if t in moved else t)) in a.tables}
        columns: dict[Place, Place] = {}
        for table, was in tables.items():
            taken = {old for (t, _), old in column_of.items() if t == table}
            there = {column.name for column in a.tables[was].columns}
            for column in b.tables[table].columns:
                source = column_of.get((table, column.name), "" if column.name in taken else column.name)
                if source in there:
                    columns[(table, column.name)] = (was, source)
        return cls(tables=tables, columns=columns)


def parts(name: str) -> list[str]:
    """The parts of a dotted name as the server keeps them: unquoted ones in lower case."""
    return [m[1].replace('""', '"') if m[2] is None else m[2].strip().lower() for m in _NAME.finditer(name)]


def quoted(name: str) -> str:
    """A name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def insert(session: Session, a: Catalogue, b: Catalogue, lineage: Lineage, rng: random.Random) -> Rows:
    """Put probe rows into A's tables, and read back what is stored, by table, in the order of its columns.

    Foreign keys are off meanwhile. A table whose checks refuse every row stays empty; if the keys do not hold at the
    end, all do.
    """
    values = _values(a, b, lineage, rng)
    try:
        with session.savepoint():
            for table, key in _foreign_keys(a):
                session.run(f"ALTER TABLE {quoted(table)} DROP CONSTRAINT {quoted(key.name)}")
            for name, table in a.tables.items():
                _fill(session, name, table, values)
            for table, key in _foreign_keys(a):
                session.run(f"ALTER TABLE {quoted(table)} ADD CONSTRAINT {quoted(key.name)} {key.words}")
    except SqlError:
        pass
    return {name: stored(session, name, [c.name for c in table.columns]) for name, table in a.tables.items()}


def stored(session: Session, table: str, columns: Sequence[str], limit: int = 1_000) -> list[Row]:
    """A table's rows as texts, none of them long; at most `limit`."""
    if not columns:
        return [() for _ in session.run(f"SELECT 1 FROM {quoted(table)} LIMIT {limit}")]
    shown = ", ".join(f"left(CAST({quoted(column)} AS text), 1000)" for column in columns)
    return session.run(f"SELECT {shown} FROM {quoted(table)} LIMIT {limit}")


def _foreign_keys(schema: Catalogue) -> list[tuple[str, Constraint]]:
    return [(name, key) for name, table in schema.tables.items() for key in table.foreign_keys]


def _fill(session: Session, name: str, table: Table, values: Callable[[Place, int], str | None]) -> None:
    columns = [column for column in table.columns if not column.generated]
    if not columns:
        return
    fields = ", ".join(quoted(column.name) for column in columns)
    rows = [[values((name, column.name), number) for column in columns] for number in range(1, PROBE_ROWS + 1)]
    for some in (rows, *([row] for row in rows)):  # all at once, or each that the table takes
        marks = ", ".join(
            "(" + ", ".join(f"${i * len(columns) + j}" for j in range(1, len(columns) + 1)) + ")"
            for i in range(len(some))
        )
        statement = (
            f"INSERT INTO {quoted(name)} ({fields}) OVERRIDING SYSTEM VALUE VALUES {marks} ON CONFLICT DO NOTHING"
        )
        try:
            with session.savepoint():
                session.run(statement, [value for row in some for value in row])
        except SqlError:
            continue
        if some is rows:
            return


def _values(a: Catalogue, b: Catalogue, lineage: Lineage, rng: random.Random) -> Callable[[Place, int], str | None]:
    group: dict[Place, Place] = {}

    def root(place: Place) -> Place:
        while group.get(place, place) != place:
            place = group[place]
        return place

    for table, key in _foreign_keys(a):
        for column, target in zip(key.columns, key.targets, strict=True):
            group[root((table, column))] = root((key.table, target))
    for table, key in _foreign_keys(b):
        for column, target in zip(key.columns, key.targets, strict=True):
            mine, theirs = lineage.columns.get((table, column)), lineage.columns.get((key.table, target))
            if mine is not None and theirs is not None:
                group[root(mine)] = root(theirs)
    members: dict[Place, list[Column]] = {}
    for name, table in a.tables.items():
        for column in table.columns:
            members.setdefault(root((name, column.name)), []).append(column)
    for (table, name), place in lineage.columns.items():
        members[root(place)] += [column for column in b.tables[table].columns if column.name == name]
    drawn = {place: [_value(columns, rng, i) for i in range(1, PROBE_ROWS + 1)] for place, columns in members.items()}
    return lambda place, number: drawn[root(place)][number - 1]


def _value(columns: Sequence[Column], rng: random.Random, number: int) -> str | None:
    """A text that each of these columns reads as a value; ``None`` where no such text is known."""
    for column in columns:
        if column.labels:
            return column.labels[0]
        if column.category == "A":
            return "{}"
    bases = [column.base for column in columns]
    base = next((known for known in _ORDER if known in bases), None)
    size = min((column.size for column in columns if column.size is not None), default=99)
    noise = rng.randrange(10**6)
    if base is None:
        return None
    if base in ("int2", "int4", "int8", "numeric", "float4", "float8"):
        most = min(10**5, 10 ** min(size, 9) // 10, 3_000 if "int2" in bases else 10**6)
        whole = str(noise % max(most, 1) * 9 % max(most, 10) + number)
        return whole if any(b in _WHOLE for b in bases) or size < 99 else whole + ".5"
    day = f"20{noise % 100:02d}-{noise % 12 + 1:02d}-{noise % 25 + number:02d}"
    clock = f"{noise % 24:02d}:{noise % 60:02d}:{number:02d}"
    known = {
        "bool": "true" if number % 2 else "false",
        "uuid": f"{rng.getrandbits(96):024x}{number:08x}",
        "json": f'{{"p": {noise}{number}}}',
        "jsonb": f'{{"p": {noise}{number}}}',
        "inet": f"10.{noise % 256}.1.{number}",
        "timestamptz": f"{day} {clock}+00",
        "timestamp": f"{day} {clock}",
        "date": day,
        "time": clock,
        "timetz": clock + "+00",
        "interval": f"PT{noise % 1000}H{number}M",
        "bytea": f"\\x{noise:08x}{number:02x}",
    }
    return known.get(base, f"{number}p{noise:09d}"[:size])
