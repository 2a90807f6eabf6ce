"""Schemas as data, and their DDL.

A schema is a tuple of tables; a table has columns and indexes. `ddl` writes what a person would have written, in the
identifier's own style; `prompt_text` writes the problem as the model reads it.

Not here: reading SQL. The verifier asks SQLite, which knows better.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        name: as written, quotes included.
        type: declared type.
        not_null: carries NOT NULL.
        default: literal as written, or ``None``.
        primary: is the primary key.
        references: ``(table, column)`` of a foreign key, or ``None``.
        origin: identity that survives renames (lineage); never written out.
    """

    name: str
    type: str
    not_null: bool = False
    default: str | None = None
    primary: bool = False
    references: tuple[str, str] | None = None
    origin: int = 0

    def ddl(self) -> str:
        """The column's definition."""
        parts = [self.name, self.type]
        if self.primary:
            parts.append("PRIMARY KEY")
        if self.not_null:
            parts.append("NOT NULL")
        if self.default is not None:
            parts.append(f"DEFAULT {self.default}")
        if self.references is not None:
            parts.append(f"REFERENCES {self.references[0]} ({self.references[1]})")
        return " ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Index:
    """One index over columns of its table, named by their origins."""

    name: str
    columns: tuple[int, ...]
    unique: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table with its indexes. `origin` survives renames."""

    name: str
    columns: tuple[Column, ...]
    indexes: tuple[Index, ...] = ()
    origin: int = 0

    def column(self, origin: int) -> Column:
        """The column of that origin."""
        return next(column for column in self.columns if column.origin == origin)

    def create(self, name: str | None = None) -> str:
        """Its CREATE TABLE statement, without semicolon, under another name if given."""
        inner = ", ".join(column.ddl() for column in self.columns)
        return f"CREATE TABLE {name or self.name} ({inner})"

    def create_index(self, index: Index) -> str:
        """One of its CREATE INDEX statements, without semicolon."""
        names = ", ".join(self.column(origin).name for origin in index.columns)
        return f"CREATE {'UNIQUE ' if index.unique else ''}INDEX {index.name} ON {self.name} ({names})"

    def ddl(self) -> list[str]:
        """All of its statements, table first."""
        return [self.create(), *(self.create_index(index) for index in self.indexes)]


Schema = tuple[Table, ...]


def lineage(before: Schema, after: Schema) -> list[tuple[str, str]]:
    """Renames that the two schemas alone cannot show: ``(old, new)``, tables as ``t``, columns as ``t.c``.

    A rename cannot be told from drop + add by the schemas, so the problem states it.
    """
    pairs: list[tuple[str, str]] = []
    old_tables = {table.origin: table for table in before}
    for table in after:
        old = old_tables.get(table.origin)
        if old is None:
            continue
        if old.name != table.name:
            pairs.append((old.name, table.name))
        old_columns = {column.origin: column for column in old.columns}
        for column in table.columns:
            was = old_columns.get(column.origin)
            if was is not None and was.name != column.name:
                pairs.append((f"{old.name}.{was.name}", f"{table.name}.{column.name}"))
    return pairs


def prompt_text(before: list[str], after: list[str], renames: list[tuple[str, str]]) -> str:
    """The problem as the model reads it: both schemas' DDL, the lineage, and the cue."""
    lines = ["-- from", *(statement + ";" for statement in before)]
    lines += ["-- to", *(statement + ";" for statement in after)]
    lines += [f"-- renamed {old} -> {new}" for old, new in renames]
    return "\n".join([*lines, "-- migration", ""])
