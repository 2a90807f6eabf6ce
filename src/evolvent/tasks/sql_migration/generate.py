"""Makes migration problems: a random schema A, a few random changes, schema B.

Difficulty has several axes: number of changes, tables, columns, kind of change, identifier style. The result carries
both schemas and the lineage, never a migration.

Not here: how to get from A to B (`reference.py`, for seed training and oracles only).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from evolvent.tasks.sql_migration.dialect import COLUMN_WORDS, SQLITE, SUFFIXES, TABLE_WORDS, Dialect
from evolvent.tasks.sql_migration.schema import Column, Index, Schema, Table, lineage, prompt_text
from evolvent.types import Problem

STYLES = ("snake", "camel", "pascal", "upper", "quoted")
ALTER_KINDS = (
    "add_column", "drop_column", "rename_column", "rename_table",
    "create_table", "drop_table", "create_index", "drop_index",
)  # fmt: skip
REBUILD_KINDS = ("retype", "set_not_null", "drop_not_null", "set_default", "add_foreign_key", "drop_foreign_key")


@dataclass
class _Draft:
    """A schema under change. `touched` keeps one change from undoing another."""

    dialect: Dialect
    rng: random.Random
    style: str
    tables: list[Table]
    names: set[str]
    next_origin: int
    touched: set[int]

    def fresh(self, words: Sequence[str]) -> str:
        """A name that this problem has not used, in its style."""
        while True:
            parts = [self.rng.choice(words)]
            suffix = self.rng.choice(SUFFIXES)
            if self.rng.random() < 0.35:
                parts.append(self.rng.choice(words))
            if suffix or (len(parts) == 1 and parts[0] in self.dialect.reserved):
                parts.append(suffix or "no")
            name = _styled(parts, self.style)
            if name.lower() not in self.names:
                self.names.add(name.lower())
                return name

    def origin(self) -> int:
        self.next_origin += 1
        return self.next_origin


def _styled(parts: Sequence[str], style: str) -> str:
    if style == "camel":
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    if style == "pascal":
        return "".join(part.capitalize() for part in parts)
    if style == "upper":
        return "_".join(parts).upper()
    if style == "quoted":
        return '"' + " ".join(parts) + '"'
    return "_".join(parts)


def _new_column(draft: _Draft, *, referable: Sequence[Table] = ()) -> Column:
    rng = draft.rng
    type_ = rng.choice(draft.dialect.types)
    roll = rng.random()
    if referable and roll < 0.12:
        table = rng.choice(referable)
        reference = (table.name, table.columns[0].name)
        return Column(name=draft.fresh(COLUMN_WORDS), type="INTEGER", references=reference, origin=draft.origin())
    default = draft.dialect.literal(rng, type_) if roll > 0.6 else None
    not_null = default is not None and rng.random() < 0.5
    return Column(name=draft.fresh(COLUMN_WORDS), type=type_, not_null=not_null, default=default, origin=draft.origin())


def _new_table(draft: _Draft, columns: int) -> Table:
    rng = draft.rng
    key = Column(name=draft.fresh(("id", "key", "pk", "uid")), type="INTEGER", primary=True, origin=draft.origin())
    rest = []
    for _ in range(columns - 1):
        column = _new_column(draft, referable=draft.tables)
        if rng.random() < 0.2:  # NOT NULL without default is legal only in a CREATE TABLE
            column = replace(column, not_null=True)
        rest.append(column)
    table = Table(name=draft.fresh(TABLE_WORDS), columns=(key, *rest), origin=draft.origin())
    if rng.random() < 0.25:
        table = _with_index(draft, table)
    return table


def _with_index(draft: _Draft, table: Table) -> Table:
    rng = draft.rng
    size = 2 if len(table.columns) > 2 and rng.random() < 0.3 else 1
    chosen = rng.sample(table.columns[1:], size)
    name = draft.fresh([f"idx_{word}" for word in COLUMN_WORDS])
    unique = rng.random() < 0.25 and not any(column.type in draft.dialect.small for column in chosen)
    index = Index(name=name, columns=tuple(column.origin for column in chosen), unique=unique)
    return replace(table, indexes=(*table.indexes, index))


def _pinned(table: Table) -> set[int]:
    """Origins of columns that SQLite will not drop: key, indexed, foreign key."""
    indexed = {origin for index in table.indexes for origin in index.columns}
    return indexed | {c.origin for c in table.columns if c.primary or c.references is not None}


def _referenced(draft: _Draft, name: str) -> bool:
    return any(c.references is not None and c.references[0] == name for table in draft.tables for c in table.columns)


# Each change takes the draft and the place of a table, and says whether it could be done there.
Change = Callable[[_Draft, int], bool]


def _add_column(draft: _Draft, at: int) -> bool:
    table = draft.tables[at]
    column = _new_column(draft)
    draft.touched.add(column.origin)
    draft.tables[at] = replace(table, columns=(*table.columns, column))
    return True


def _drop_column(draft: _Draft, at: int) -> bool:
    table = draft.tables[at]
    free = [c for c in table.columns if c.origin not in _pinned(table) and c.origin not in draft.touched]
    if not free or len(table.columns) <= 2:
        return False
    gone = draft.rng.choice(free)
    draft.tables[at] = replace(table, columns=tuple(c for c in table.columns if c is not gone))
    return True


def _edit_column(draft: _Draft, at: int, edit: Callable[[Column], Column | None]) -> bool:
    table = draft.tables[at]
    order = list(table.columns[1:])
    draft.rng.shuffle(order)
    for column in order:
        if column.origin in draft.touched:
            continue
        new = edit(column)
        if new is not None and new != column:
            draft.touched.add(column.origin)
            draft.tables[at] = replace(table, columns=tuple(new if c is column else c for c in table.columns))
            return True
    return False


def _rename_column(draft: _Draft, at: int) -> bool:
    return _edit_column(draft, at, lambda c: replace(c, name=draft.fresh(COLUMN_WORDS)))


def _rename_table(draft: _Draft, at: int) -> bool:
    table = draft.tables[at]
    if _referenced(draft, table.name) or -table.origin in draft.touched:
        return False
    draft.touched.add(-table.origin)
    draft.tables[at] = replace(table, name=draft.fresh(TABLE_WORDS))
    return True


def _create_table(draft: _Draft, at: int) -> bool:
    table = _new_table(draft, draft.rng.randint(2, 4))
    draft.touched |= {table.origin, -table.origin, *(c.origin for c in table.columns)}
    draft.tables.append(table)
    return True


def _drop_table(draft: _Draft, at: int) -> bool:
    if _referenced(draft, draft.tables[at].name):
        return False
    del draft.tables[at]
    return True


def _create_index(draft: _Draft, at: int) -> bool:
    table = draft.tables[at]
    if len(table.columns) < 2:
        return False
    # Probe rows are distinct, so a new unique index holds on columns that existed; it might not on a new default.
    old = [c for c in table.columns[1:] if c.origin not in draft.touched]
    if not old:
        return False
    draft.tables[at] = _with_index(draft, replace(table, columns=(table.columns[0], *old)))
    draft.tables[at] = replace(draft.tables[at], columns=table.columns)
    return True


def _drop_index(draft: _Draft, at: int) -> bool:
    table = draft.tables[at]
    if not table.indexes:
        return False
    gone = draft.rng.choice(table.indexes)
    draft.tables[at] = replace(table, indexes=tuple(i for i in table.indexes if i is not gone))
    return True


def _retype(draft: _Draft, at: int) -> bool:
    others = ("INTEGER", "TEXT", "REAL", "NUMERIC", "BIGINT", "VARCHAR(255)")

    def edit(column: Column) -> Column | None:
        if column.default is not None or column.references is not None:
            return None
        free = [t for t in others if t != column.type and draft.dialect.castable(column.type, t)]
        return replace(column, type=draft.rng.choice(free)) if free else None

    return _edit_column(draft, at, edit)


def _set_not_null(draft: _Draft, at: int) -> bool:
    return _edit_column(draft, at, lambda c: None if c.not_null or c.primary else replace(c, not_null=True))


def _drop_not_null(draft: _Draft, at: int) -> bool:
    return _edit_column(draft, at, lambda c: replace(c, not_null=False) if c.not_null else None)


def _set_default(draft: _Draft, at: int) -> bool:
    return _edit_column(
        draft,
        at,
        lambda c: None if c.references is not None else replace(c, default=draft.dialect.literal(draft.rng, c.type)),
    )


def _add_foreign_key(draft: _Draft, at: int) -> bool:
    targets = [t for i, t in enumerate(draft.tables) if i != at and -t.origin not in draft.touched]
    if not targets:
        return False
    target = draft.rng.choice(targets)
    reference = (target.name, target.columns[0].name)
    return _edit_column(
        draft, at, lambda c: replace(c, references=reference) if c.type == "INTEGER" and c.references is None else None
    )


def _drop_foreign_key(draft: _Draft, at: int) -> bool:
    return _edit_column(draft, at, lambda c: replace(c, references=None) if c.references is not None else None)


CHANGES: dict[str, Change] = {
    "add_column": _add_column, "drop_column": _drop_column, "rename_column": _rename_column,
    "rename_table": _rename_table, "create_table": _create_table, "drop_table": _drop_table,
    "create_index": _create_index, "drop_index": _drop_index, "retype": _retype, "set_not_null": _set_not_null,
    "drop_not_null": _drop_not_null, "set_default": _set_default, "add_foreign_key": _add_foreign_key,
    "drop_foreign_key": _drop_foreign_key,
}  # fmt: skip


def make(rng: random.Random, cell: Mapping[str, str], skill: str, dialect: Dialect = SQLITE) -> Problem:
    """One problem at a cell of the axes.

    Args:
        rng: source of all randomness.
        cell: ``changes``, ``tables``, ``columns``, ``tier`` (``alter`` or ``rebuild``), optional ``kind``, ``style``.
        skill: pooled skill to file it under.
        dialect: of the engine that will verify it.
    """
    while True:
        problem = _attempt(rng, cell, skill, dialect)
        if problem is not None:
            return problem


def _attempt(rng: random.Random, cell: Mapping[str, str], skill: str, dialect: Dialect) -> Problem | None:
    style = cell.get("style") or rng.choice(STYLES)
    draft = _Draft(dialect=dialect, rng=rng, style=style, tables=[], names=set(), next_origin=0, touched=set())
    wide = int(cell["columns"])
    for _ in range(int(cell["tables"])):
        draft.tables.append(_new_table(draft, rng.randint(max(2, wide - 1), wide + 1)))
    before: Schema = tuple(draft.tables)
    kinds: list[str] = []
    for number in range(int(cell["changes"])):
        rebuild = cell["tier"] == "rebuild" and (number == 0 or rng.random() < 0.3)
        kind = cell.get("kind") or rng.choice(REBUILD_KINDS if rebuild else ALTER_KINDS)
        old = [i for i, table in enumerate(draft.tables) if table.origin not in draft.touched]
        if not old:
            return None
        at = rng.choice(old)
        if kind in REBUILD_KINDS and draft.tables[at].indexes:
            return None  # a rebuild that must also rebuild indexes is left to real histories
        if not CHANGES[kind](draft, at):
            return None
        kinds.append(kind)
    return _problem(draft, before, sorted(kinds), skill)


def _stated(side: Schema, wanted: set[int]) -> set[int]:
    """Origins of these tables and of all that they refer to."""
    found: set[int] = set()
    left = [t for t in side if t.origin in wanted]
    while left:
        table = left.pop()
        found.add(table.origin)
        targets = {c.references[0] for c in table.columns if c.references is not None}
        left += [t for t in side if t.name in targets and t.origin not in found]
    return found | wanted


def _in_order(tables: list[Table]) -> Schema | None:
    """Tables after those that they refer to, else as they are; ``None`` if some refer to each other in a circle."""
    out: list[Table] = []
    while tables:
        names = {t.name for t in tables}
        free = [t for t in tables if not any(c.references and c.references[0] in names - {t.name} for c in t.columns)]
        if not free:
            return None
        out.append(free[0])
        tables.remove(free[0])
    return tuple(out)


def _problem(draft: _Draft, before: Schema, kinds: list[str], skill: str) -> Problem | None:
    after: Schema = tuple(draft.tables)
    olds, news = {t.origin: t for t in before}, {t.origin: t for t in after}
    a = tuple(t for t in before if news.get(t.origin) != t)
    b = tuple(t for t in after if olds.get(t.origin) != t)
    if not a and not b:
        return None
    if any(kind in REBUILD_KINDS for kind in kinds) and any(t.indexes for t in a if news.get(t.origin)):
        return None
    shown = [s for t in a for s in t.ddl()], [s for t in b for s in t.ddl()]
    renames = lineage(a, b)
    if draft.dialect.closed:
        stated = _stated(before, {t.origin for t in a + b}) | _stated(after, {t.origin for t in a + b})
        sides = [_in_order([t for t in side if t.origin in stated]) for side in (before, after)]
        if sides[0] is None or sides[1] is None:
            return None
        a, b = sides[0], sides[1]
    before_ddl, after_ddl = [s for t in a for s in t.ddl()], [s for t in b for s in t.ddl()]
    tags = {
        "kind": kinds[0] if len(kinds) == 1 else "mixed",
        "changes": str(len(kinds)),
        "tables": str(max(len(a), len(b))),
        "tier": "rebuild" if any(kind in REBUILD_KINDS for kind in kinds) else "alter",
        "style": draft.style,
    }
    return Problem(
        task=draft.dialect.task,
        skill=skill,
        prompt=prompt_text(*shown, renames),
        difficulty=len(kinds),
        tags=tags,
        given={"before": before_ddl, "after": after_ddl, "renames": [list(pair) for pair in renames]},
    )
