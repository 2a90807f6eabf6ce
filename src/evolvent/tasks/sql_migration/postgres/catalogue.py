"""What the server says of a schema, as data that can be compared.

Names of constraints are left out: the server makes them up, and renaming a table does not rename them. Everything else
that lies in the schema is in: a table's kind, columns in order, keys, checks, indexes, sequences, types, views, rules,
triggers, policies, functions.

Not here: rows (`verify.py`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from evolvent.tasks.sql_migration.postgres.session import Session

# pg_catalog is searched first, so nothing that a migration creates can stand for what is named here.
_TABLES = """
SELECT jsonb_build_object(
  'name', c.relname,
  'kind', jsonb_build_array(c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity, c.reloptions,
     c.relispartition, c.relreplident, (SELECT count(*) FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent))),
  'columns', (SELECT jsonb_agg(jsonb_build_array(a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated,
       CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::int END, t.typcategory, a.atttypmod, t.typname,
       (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid))
     ORDER BY a.attnum)
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
     LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'constraints', (SELECT jsonb_agg(jsonb_build_array(k.contype, k.conname, pg_get_constraintdef(k.oid),
       (SELECT jsonb_agg(a.attname ORDER BY u.n) FROM unnest(k.conkey) WITH ORDINALITY u(num, n)
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num),
       (SELECT f.relname FROM pg_class f WHERE f.oid = k.confrelid),
       (SELECT jsonb_agg(a.attname ORDER BY u.n) FROM unnest(k.confkey) WITH ORDINALITY u(num, n)
          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num)))
     FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype <> 'n')
) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind NOT IN ('i', 'I', 'S', 'v', 'm', 'c', 't')
"""
_OTHERS = """
SELECT 'index', c.relname, pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ' invalid' END
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = 'public' AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
UNION ALL
SELECT 'view', c.relname, c.relkind::text || pg_get_viewdef(c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('v', 'm')
UNION ALL
SELECT 'sequence', c.relname, jsonb_build_array(format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmax,
    s.seqmin, s.seqcache, s.seqcycle, (SELECT jsonb_agg(jsonb_build_array(o.relname, a.attname)) FROM pg_depend d
      JOIN pg_class o ON o.oid = d.refobjid JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum = d.refobjsubid
      WHERE d.objid = c.oid AND d.deptype IN ('a', 'i')))::text
  FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = 'public'
UNION ALL
SELECT 'type', t.typname, t.typtype::text || coalesce((SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder)
    FROM pg_enum e WHERE e.enumtypid = t.oid), '') || coalesce((SELECT string_agg(a.attname || ' '
    || format_type(a.atttypid, a.atttypmod), ',' ORDER BY a.attnum) FROM pg_attribute a JOIN pg_class k
    ON k.oid = a.attrelid AND k.relkind = 'c' WHERE a.attrelid = t.typrelid AND NOT a.attisdropped), '')
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
  WHERE n.nspname = 'public' AND t.typelem = 0 AND (t.typrelid = 0 OR t.typrelid IN (SELECT oid FROM pg_class
    WHERE relkind = 'c'))
UNION ALL
SELECT 'function', p.proname, p.prosrc FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE n.nspname = 'public'
UNION ALL SELECT 'rule', r.rulename, r.ev_class::regclass::text FROM pg_rewrite r WHERE r.rulename <> '_RETURN'
    AND r.ev_class IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
UNION ALL SELECT 'trigger', t.tgname, t.tgrelid::regclass::text FROM pg_trigger t WHERE NOT t.tgisinternal
UNION ALL SELECT 'policy', p.polname, p.polrelid::regclass::text FROM pg_policy p
"""
_DRAWS = re.compile(r"nextval\(|now\(|timestamp\(|random|CURRENT_|LOCALTIME")
_NULL = re.compile(r"NULL::.*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column as the server keeps it.

    Attributes:
        name: unquoted.
        type: as `format_type` writes it.
        not_null: carries NOT NULL.
        default: its expression, ``None`` for none.
        extra: identity, generated, collation where it is not the type's.
        category: the type's category letter, ``N`` for numbers, ``S`` for texts.
        size: most characters of a text, most digits before the point of a number; ``None`` where nothing limits it.
        base: the type's plain name.
        labels: of an enumeration.
    """

    name: str
    type: str
    not_null: bool
    default: str | None
    extra: tuple[Any, ...]
    category: str
    size: int | None
    base: str
    labels: tuple[str, ...]

    @property
    def compared(self) -> tuple[Any, ...]:
        """What makes two columns equal."""
        return self.name, self.type, self.not_null, self.default, self.extra

    @property
    def generated(self) -> bool:
        """Its values are computed and cannot be inserted."""
        return self.extra[1] != ""

    @property
    def draws(self) -> bool:
        """Where a row does not say its value, the value is the server's own: a number drawn, the time, chance."""
        return self.extra[0] != "" or bool(self.default and _DRAWS.search(self.default))


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """One constraint of a table.

    Attributes:
        kind: ``p`` primary key, ``f`` foreign key, ``u`` unique, ``c`` check, ``x`` exclusion.
        name: unquoted; never compared.
        words: all of it, as `pg_get_constraintdef` writes it.
        columns: of this table, unquoted.
        table: that a foreign key refers to, else empty.
        targets: the columns there.
    """

    kind: str
    name: str
    words: str
    columns: tuple[str, ...]
    table: str
    targets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table: kind and options as words, columns in order, constraints by kind and words."""

    kind: str
    columns: tuple[Column, ...]
    constraints: tuple[Constraint, ...]

    @property
    def foreign_keys(self) -> tuple[Constraint, ...]:
        """What ties it to other tables."""
        return tuple(c for c in self.constraints if c.kind == "f")

    @property
    def compared(self) -> tuple[Any, ...]:
        """What makes two tables equal."""
        constraints = sorted((c.kind, c.words) for c in self.constraints)
        return self.kind, [c.compared for c in self.columns], constraints


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """A schema: tables by name; indexes, sequences, types, views and so on by kind and name, as words."""

    tables: dict[str, Table]
    others: dict[tuple[str, str], str]

    def difference(self, wanted: Catalogue) -> str | None:
        """``wrong_table``, ``wrong_column``, ``wrong_index``, or ``None`` when equal."""
        if self.tables.keys() != wanted.tables.keys():
            return "wrong_table"
        if any(table.compared != wanted.tables[name].compared for name, table in self.tables.items()):
            return "wrong_column"
        return None if self.others == wanted.others else "wrong_index"


def read(session: Session) -> Catalogue:
    """The schema as it stands in the session's transaction.

    Raises:
        SqlError: the transaction is broken.
        LostServerError: the connection is.
    """
    tables: dict[str, Table] = {}
    for (text,) in session.ask(_TABLES):
        row = json.loads(text or "")
        tables[row["name"]] = Table(
            kind=json.dumps(row["kind"]),
            columns=tuple(map(_column, row["columns"] or [])),
            constraints=tuple(sorted(map(_constraint, row["constraints"] or []), key=lambda c: (c.words, c.name))),
        )
    others = {(str(kind), str(name)): str(words) for kind, name, words in session.ask(_OTHERS)}
    return Catalogue(tables=tables, others=others)


def _constraint(entry: list[Any]) -> Constraint:
    kind, name, words, columns, table, targets = entry
    return Constraint(
        kind=kind, name=name, words=words, columns=tuple(columns or ()), table=table or "", targets=tuple(targets or ())
    )


def _column(entry: list[Any]) -> Column:
    name, type_, not_null, default, identity, generated, collation, category, typmod, base, labels = entry
    if default is not None and _NULL.fullmatch(default):
        default = None
    return Column(
        name=name,
        type=type_,
        not_null=not_null,
        default=default,
        extra=(identity, generated, collation),
        category=category,
        size=_size(base, typmod),
        base=base,
        labels=tuple(labels or ()),
    )


def _size(base: str, typmod: int) -> int | None:
    if typmod < 4:  # a type's modifier counts from 4
        return None
    if base in ("varchar", "bpchar"):
        return typmod - 4
    return ((typmod - 4) >> 16) - ((typmod - 4) & 0x7FF) if base == "numeric" else None
