"""The way from A to B on PostgreSQL, for tests and a benchmark's declared oracle arm only (`tests/test_firewall.py`).

Reads the two schemas back from a problem's DDL (our own generator's grammar, not SQL at large) and changes tables in
place, as a person would: keys off, tables dropped and renamed, columns renamed, retyped, dropped, added, keys on.

Not here: rebuilding a table; PostgreSQL has no need of it.
"""

from __future__ import annotations

import re

from evolvent.tasks.sql_migration.postgres.probes import parts, quoted
from evolvent.types import Problem

_TOKEN = re.compile(r'"[^"]*"|\'[^\']*\'|\w+\(\d+\)|-?\w+|[(),]')
Columns = dict[str, list[str]]  # name -> the words of its definition, name left out


def reference(problem: Problem) -> str:
    """The canonical migration of one generated problem."""
    before, old_indexes = _read(problem.given["before"])
    after, new_indexes = _read(problem.given["after"])
    old_table, old_column = _lineage(problem.given["renames"])
    for name in after:
        if name not in old_table and name in before and name not in old_table.values():
            old_table[name] = name
    new_of = {old: new for new, old in old_table.items()}
    out: list[str] = []
    alters: list[str] = []
    for name, columns in after.items():
        if name in old_table:
            drops, rest = _alter(old_table[name], name, before[old_table[name]], columns, old_column)
            out += drops
            alters += rest
    for table, indexes in old_indexes.items():
        kept = new_indexes.get(new_of.get(table, ""), {})
        out += [f"DROP INDEX {index}" for index in indexes if table in new_of and index not in kept]
    out += [f"DROP TABLE {name}" for name in reversed(before) if name not in new_of]
    out += [f"ALTER TABLE {old} RENAME TO {new}" for new, old in old_table.items() if old != new]
    out += alters
    for name, columns in after.items():
        was = old_indexes.get(old_table.get(name, ""), {})
        if name not in old_table:
            inner = ", ".join(" ".join([column, *words]) for column, words in columns.items())
            out.append(f"CREATE TABLE {name} ({inner})")
        out += [statement for index, statement in new_indexes.get(name, {}).items() if index not in was]
    keys = [s for s in out if " ADD FOREIGN KEY " in s]  # what they refer to may come later
    return "".join(statement + ";\n" for statement in [*(s for s in out if s not in keys), *keys]).strip()


def _alter(
    old: str, name: str, was: Columns, now: Columns, names: dict[tuple[str, str], str]
) -> tuple[list[str], list[str]]:
    """What must happen before tables are dropped and renamed (keys off), and what after."""
    source = {column: names.get((name, column), column) for column in now}
    taken = {names[name, column] for column in now if (name, column) in names}
    source = {c: s for c, s in source.items() if s in was and not (s == c and c in taken)}
    drops, out = [], []
    for column, words in was.items():
        new = next((now[c] for c, s in source.items() if s == column), None)
        if "REFERENCES" in words and new is not None and _key(new) != _key(words):
            key = f"{parts(old)[0]}_{parts(column)[0]}_fkey"  # the name that the server gives
            drops.append(f"ALTER TABLE {old} DROP CONSTRAINT {quoted(key)}")
    change = f"ALTER TABLE {name}"
    out += [f"{change} RENAME COLUMN {s} TO {c}" for c, s in source.items() if s != c]
    for column, s in source.items():
        out += _retouch(f"{change} ALTER COLUMN {column}", column, was[s], now[column])
        if _key(now[column]) and _key(was[s]) != _key(now[column]):
            out.append(f"{change} ADD FOREIGN KEY ({column}) {' '.join(_key(now[column]))}")
    out += [f"{change} DROP COLUMN {column}" for column in was if column not in source.values()]
    out += [f"{change} ADD COLUMN {column} {' '.join(words)}" for column, words in now.items() if column not in source]
    return drops, out


def _retouch(change: str, column: str, was: list[str], now: list[str]) -> list[str]:
    out = []
    if was[0] != now[0]:
        out.append(f"{change} TYPE {now[0]} USING CAST({column} AS {now[0]})")
    if ("NOT" in was) != ("NOT" in now):
        out.append(f"{change} {'SET' if 'NOT' in now else 'DROP'} NOT NULL")
    old, new = (words[words.index("DEFAULT") + 1] if "DEFAULT" in words else None for words in (was, now))
    if old != new:
        out.append(f"{change} SET DEFAULT {new}" if new is not None else f"{change} DROP DEFAULT")
    return out


def _key(words: list[str]) -> list[str]:
    return words[words.index("REFERENCES") :] if "REFERENCES" in words else []


def _lineage(renames: list[list[str]]) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    tables: dict[str, str] = {}
    columns: dict[tuple[str, str], str] = {}
    for old, new in renames:
        olds, news = (re.findall(r'"[^"]*"|[^."]+', name) for name in (old, new))
        if len(olds) == 1:
            tables[new] = old
        else:
            columns[news[0], news[1]] = olds[1]
    return tables, columns


def _read(statements: list[str]) -> tuple[dict[str, Columns], dict[str, dict[str, str]]]:
    """Tables as name -> columns; indexes as table -> {name: statement}."""
    tables: dict[str, Columns] = {}
    indexes: dict[str, dict[str, str]] = {}
    for statement in statements:
        tokens = _TOKEN.findall(statement)
        if tokens[1] == "TABLE":
            columns: Columns = {}
            depth, start = 0, 4
            for i, token in enumerate(tokens[3:], start=3):
                depth += (token == "(") - (token == ")")
                if (token == "," and depth == 1) or depth == 0:
                    columns[tokens[start]] = tokens[start + 1 : i]
                    start = i + 1
            tables[tokens[2]] = columns
        else:
            at = tokens.index("INDEX")
            indexes.setdefault(tokens[at + 3], {})[tokens[at + 1]] = statement
    return tables, indexes
