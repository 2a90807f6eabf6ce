"""The way from A to B, for seed training and a benchmark's declared oracle arm only (`tests/test_firewall.py`).

Reads the two schemas back from a problem's DDL (our own generator's grammar, not SQL at large) and writes the canonical
migration: drop tables, rename tables, then per table drop indexes, rename, drop and add columns or rebuild, then
create.
"""

from __future__ import annotations

import re

from evolvent.types import Problem

REBUILT = "_rebuilt"
_TOKEN = re.compile(r'"[^"]*"|\'[^\']*\'|\w+\(\d+\)|-?\w+|[(),]')


def _split(inner: str) -> list[str]:
    depth, start, parts = 0, 0, []
    for i, char in enumerate(inner):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(inner[start:i].strip())
            start = i + 1
    return [*parts, inner[start:].strip()]


def _read(statements: list[str]) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    """Tables as name -> {column: definition}; indexes as table -> {index name: statement}."""
    tables: dict[str, dict[str, str]] = {}
    indexes: dict[str, dict[str, str]] = {}
    for statement in statements:
        tokens = _TOKEN.findall(statement)
        if tokens[1] == "TABLE":
            inner = statement[statement.index("(") + 1 : -1]
            tables[tokens[2]] = {_TOKEN.findall(part)[0]: part for part in _split(inner)}
        else:
            at = tokens.index("INDEX")
            indexes.setdefault(tokens[at + 3], {})[tokens[at + 1]] = statement
    return tables, indexes


def _body(definition: str) -> str:
    return definition[len(_TOKEN.findall(definition)[0]) :].strip()


def reference(problem: Problem) -> str:
    """The canonical migration of one generated problem."""
    before, before_indexes = _read(problem.given["before"])
    after, after_indexes = _read(problem.given["after"])
    old_table: dict[str, str] = {}
    old_column: dict[tuple[str, str], str] = {}
    for old, new in problem.given["renames"]:
        if _is_column(old):
            old_column[_halves(new)] = _halves(old)[1]
        else:
            old_table[new] = old
    for name in after:
        if name not in old_table and name in before and name not in old_table.values():
            old_table[name] = name
    kept = set(old_table.values())
    out = [f"DROP TABLE {name}" for name in before if name not in kept]
    out += [f"ALTER TABLE {old} RENAME TO {new}" for new, old in old_table.items() if old != new]
    for name, columns in after.items():
        if name in old_table:
            old = old_table[name]
            was, now = before_indexes.get(old, {}), after_indexes.get(name, {})
            out += [f"DROP INDEX {index}" for index in was if index not in now]
            out += _alter(name, before[old], columns, old_column)
            out += [statement for index, statement in now.items() if index not in was]
    for name, columns in after.items():
        if name not in old_table:
            out.append(f"CREATE TABLE {name} ({', '.join(columns.values())})")
            out += after_indexes.get(name, {}).values()
    return "".join(statement + ";\n" for statement in out).strip()


def _alter(table: str, old: dict[str, str], new: dict[str, str], names: dict[tuple[str, str], str]) -> list[str]:
    source = {column: names.get((table, column), column) for column in new}
    renamed = set(names.get((table, column)) for column in new)
    source = {c: s for c, s in source.items() if s in old and (c in old or s != c) and not (s == c and c in renamed)}
    if any(_body(new[column]) != _body(old[was]) for column, was in source.items()):
        columns = ", ".join(source)
        return [
            f"CREATE TABLE {REBUILT} ({', '.join(new.values())})",
            f"INSERT INTO {REBUILT} ({columns}) SELECT {', '.join(source.values())} FROM {table}",
            f"DROP TABLE {table}",
            f"ALTER TABLE {REBUILT} RENAME TO {table}",
        ]
    out = [f"ALTER TABLE {table} RENAME COLUMN {was} TO {column}" for column, was in source.items() if was != column]
    out += [f"ALTER TABLE {table} DROP COLUMN {column}" for column in old if column not in source.values()]
    out += [f"ALTER TABLE {table} ADD COLUMN {new[column]}" for column in new if column not in source]
    return out


def _is_column(name: str) -> bool:
    return "." in re.sub(r'"[^"]*"', "q", name)


def _halves(name: str) -> tuple[str, str]:
    match = re.fullmatch(r'("[^"]*"|[^."]+)\.("[^"]*"|[^."]+)', name)
    assert match is not None, name
    return match.group(1), match.group(2)
