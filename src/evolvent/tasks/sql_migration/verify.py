"""Verifies a migration by running it on SQLite, in memory, as hostile input.

Database A gets probe rows that the model has not seen; the output runs under an authorizer (no ATTACH, no PRAGMA but
foreign_keys, no virtual tables, no file or extension functions), limits of instructions, time and size; then schema
and rows are compared with what SQLite itself makes of B and of the same rows inserted there.

Does not stop: a bug in SQLite itself that gives an attacker code execution; that is what the judge's sandbox is for.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from evolvent.tasks.sql_migration.words import parts, split_statements, words
from evolvent.types import Score

MAX_OUTPUT_CHARS = 8_000
MAX_STATEMENTS = 64
MAX_VM_STEPS = 400_000  # an honest migration of the largest shared history needs under 40,000
STEPS_PER_CHECK = 100  # few, because a single step may call a slow function on long texts
MAX_CPU_S = 5.0  # a backstop that only such functions reach: honest migrations end in milliseconds
PROBE_ROWS = 3
_FORBIDDEN = {
    sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_CREATE_VTABLE, sqlite3.SQLITE_DROP_VTABLE,
    sqlite3.SQLITE_ANALYZE,
}  # fmt: skip
_BAD_FUNCTIONS = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "randomblob", "zeroblob"}
# '%.*c' runs for seconds inside one instruction, whatever the size limit. ALTER TABLE needs the built-in one, so it is
# covered up, which ALTER TABLE does not see, rather than denied.
_SLOW_FUNCTIONS = ("printf", "format")
Rows = dict[str, list[tuple[Any, ...]]]
Catalogue = dict[str, Any]


def verify(
    before: Sequence[str], after: Sequence[str], renames: Sequence[tuple[str, str]], output: str, probe_seed: int
) -> Score:
    """Score one migration.

    Args:
        before: statements of schema A.
        after: statements of schema B.
        renames: lineage, ``(old, new)``: tables as ``t``, columns as ``t.c``.
        output: the migration, any text.
        probe_seed: draws the hidden rows.

    Returns:
        `correct` when catalogue and rows equal B's; otherwise `error` is one of ``empty``, ``limit``, ``forbidden``,
        ``syntax``, ``no_such_table``, ``no_such_column``, ``exists``, ``constraint``, ``engine``, ``open_transaction``,
        ``wrong_table``, ``wrong_column``, ``wrong_index``, ``lost_rows``.
    """
    if not output.strip():
        return Score(correct=False, error="empty")
    if len(output) > MAX_OUTPUT_CHARS:
        return Score(correct=False, error="limit")
    with closing(scratch(before)) as made, closing(scratch(after)) as wanted:
        rows = _insert_probes(made, random.Random(probe_seed))
        error = _run(made, output)
        if error is not None:
            return Score(correct=False, error=error)
        _forget_temporary(made)
        want = catalogue(wanted)
        error = _difference(catalogue(made), want)
        if error is not None:
            return Score(correct=False, error=error, executed=True)
        kept = _rows_kept(made, wanted, rows, renames, want) and _counters_true(made)
    return Score(correct=kept, error=None if kept else "lost_rows", executed=True)


def well_posed(before: Sequence[str], after: Sequence[str]) -> bool:
    """SQLite accepts both schemas, and they differ."""
    try:
        with closing(scratch(before)) as a, closing(scratch(after)) as b:
            return _difference(catalogue(a), catalogue(b)) is not None
    except sqlite3.Error:
        return False


def scratch_error(prompt: str, output: str) -> str | None:
    """The engine's message when `output` runs on a scratch database that holds the prompt's schema A, without rows."""
    head = prompt.split("-- to", 1)[0].replace("-- from", "", 1)
    try:
        with closing(scratch([statement for statement in head.split(";\n") if statement.strip()])) as made:
            return _run(made, output, message=True)
    except sqlite3.Error:
        return None


def scratch(statements: Sequence[str]) -> sqlite3.Connection:
    """An empty database in memory that holds these statements' schema."""
    connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute("PRAGMA max_page_count=4096")
    for statement in statements:
        connection.execute(statement)
    return connection


def _authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
    if action in _FORBIDDEN:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_PRAGMA and (first or "").lower() != "foreign_keys":
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _BAD_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def run_some(connection: sqlite3.Connection, script: str) -> list[str]:
    """Run hostile SQL up to its first error; returns the statements that ran."""
    ran: list[str] = []
    return [] if _run(connection, script, ran=ran) == "open_transaction" else ran


def _run(
    connection: sqlite3.Connection, script: str, *, message: bool = False, ran: list[str] | None = None
) -> str | None:
    """Run hostile SQL. Returns an error kind (or the engine's message), ``None`` when all of it ran."""
    connection.set_authorizer(_authorize)
    for name in _SLOW_FUNCTIONS:
        connection.create_function(name, -1, _refuse)
    connection.set_progress_handler(_Countdown(), STEPS_PER_CHECK)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 50_000)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 50)
    connection.setlimit(sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 8)
    try:
        statements = split_statements(script)
        if len(statements) > MAX_STATEMENTS:
            return "limit"
        for statement in statements:
            connection.execute(statement)
            if ran is not None:
                ran.append(statement)
        return "open_transaction" if connection.in_transaction else None
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as exc:
        return str(exc) if message else _kind(str(exc))
    finally:
        connection.set_authorizer(None)
        connection.set_progress_handler(None, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000_000)
        if connection.in_transaction:
            connection.rollback()


def _forget_temporary(connection: sqlite3.Connection) -> None:
    """Drop what only this connection sees: a temporary table hides the real one of its name from every query."""
    found = "SELECT type, name FROM temp.sqlite_master WHERE type <> 'index' AND name NOT LIKE 'sqlite_%'"
    for kind, name in connection.execute(found).fetchall():
        connection.execute(f"DROP {kind} IF EXISTS temp.{_quoted(name)}")


def _counters_true(connection: sqlite3.Connection) -> bool:
    """No AUTOINCREMENT counter stands above its table's rows, where it would refuse new ones."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone():
        return True
    highest = "SELECT coalesce(max(rowid), 0) FROM "
    try:
        counters = connection.execute("SELECT name, seq FROM main.sqlite_sequence").fetchall()
        return all(type(n) is int and n <= connection.execute(highest + _quoted(t)).fetchone()[0] for t, n in counters)
    except (sqlite3.Error, TypeError, AttributeError):
        return False  # a counter of no table, or under a name that is none


def _refuse(*_: object) -> None:
    raise ValueError("not in a migration")


class _Countdown:
    """Stops a statement after so many virtual-machine steps, all statements together, or far too much time."""

    def __init__(self) -> None:
        self.left = MAX_VM_STEPS // STEPS_PER_CHECK
        self.until = time.thread_time() + MAX_CPU_S

    def __call__(self) -> int:
        self.left -= 1
        return int(self.left < 0 or time.thread_time() > self.until)


_KINDS = (
    ("not authorized", "forbidden"), ("prohibited", "forbidden"), ("user-defined function", "forbidden"),
    ("interrupted", "limit"), ("too", "limit"), ("full", "limit"), ("no such table", "no_such_table"),
    ("no such column", "no_such_column"), ("no such index", "no_such_table"), ("has no column", "no_such_column"),
    ("already exists", "exists"), ("already another", "exists"), ("duplicate column", "exists"),
    ("syntax error", "syntax"), ("unrecognized token", "syntax"), ("incomplete input", "syntax"),
    ("constraint", "constraint"),
)  # fmt: skip


def _kind(text: str) -> str:
    lowered = text.lower()
    return next((kind for mark, kind in _KINDS if mark in lowered), "engine")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def catalogue(connection: sqlite3.Connection) -> Catalogue:
    """What the engine says of the schema: columns in order, keys, indexes, checks, views and triggers.

    Comparing catalogues rather than texts makes ``ALTER TABLE`` and a rebuild equal where they are equal. What SQLite
    shows in no pragma (CHECK, AUTOINCREMENT, COLLATE, generated, STRICT) is read from the stored text, word by word.
    """
    found: Catalogue = {"tables": {}, "indexes": {}, "others": {}}
    master = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()
    for kind, name, table, sql in master:
        if name.startswith("sqlite_") and kind == "table":
            continue
        if kind == "table":
            columns = connection.execute(f"PRAGMA table_xinfo({_quoted(name)})").fetchall()
            keys = connection.execute(f"PRAGMA foreign_key_list({_quoted(name)})").fetchall()
            found["tables"][name.lower()] = {
                "columns": [(c[1].lower(), c[2].upper(), c[3], _default(c[4]), c[5], c[6]) for c in columns],
                "keys": sorted(tuple(str(part).lower() for part in key[2:]) for key in keys),
                "hidden": _hidden(sql or ""),
                "unique": _automatic_indexes(connection, name),
            }
        elif kind == "index" and sql is not None:
            found["indexes"][name.lower()] = _index(connection, name, table, sql)
        elif kind in ("view", "trigger"):
            found["others"][name.lower()] = words(sql or "")
    return found


def _default(text: str | None) -> str | None:
    return None if text is None or text.upper() == "NULL" else text


def _hidden(sql: str) -> list[str]:
    found_words = words(sql)
    found = [w for w in found_words if w in ("autoincrement", "strict", "without")]
    for i, word in enumerate(found_words):
        if word in ("collate", "conflict", "deferrable", "initially"):
            found.append(" ".join(found_words[i : i + 2]))
        if word in ("check", "as") and i + 1 < len(found_words) and found_words[i + 1] == "(":
            depth, end = 0, i + 1
            while end < len(found_words):
                depth += (found_words[end] == "(") - (found_words[end] == ")")
                end += 1
                if depth == 0:
                    break
            found.append(" ".join(found_words[i:end]))
    return sorted(found)


def _automatic_indexes(connection: sqlite3.Connection, table: str) -> list[tuple[str, ...]]:
    found = []
    for _, name, _, origin, _ in connection.execute(f"PRAGMA index_list({_quoted(table)})").fetchall():
        if origin in ("u", "pk"):
            columns = connection.execute(f"PRAGMA index_info({_quoted(name)})").fetchall()
            found.append((origin, *(str(c[2]).lower() for c in columns)))
    return sorted(found)


def _index(connection: sqlite3.Connection, name: str, table: str, sql: str) -> tuple[Any, ...]:
    columns = connection.execute(f"PRAGMA index_xinfo({_quoted(name)})").fetchall()
    keys = tuple((str(c[2]).lower(), c[3], c[4]) for c in columns if c[5])
    said = words(sql)
    condition = tuple(said[said.index("where") :]) if "where" in said else ()
    expressions = tuple(said[said.index("on") :]) if any(c[1] == -2 for c in columns) else ()
    return (table.lower(), said[1] == "unique", keys, condition, expressions)


def _difference(made: Catalogue, wanted: Catalogue) -> str | None:
    if made == wanted:
        return None
    if made["tables"].keys() != wanted["tables"].keys():
        return "wrong_table"
    if made["tables"] != wanted["tables"]:
        return "wrong_column"
    return "wrong_index"


def _probe(rng: random.Random, type_: str, number: int) -> Any:
    upper = type_.upper()
    if "INT" in upper or "BOOL" in upper:
        return rng.randrange(10**6) * PROBE_ROWS * 3 + number
    if "CHAR" in upper or "TEXT" in upper or "CLOB" in upper or "DATE" in upper or "TIME" in upper:
        return f"p{rng.randrange(10**9):09d}-{number}"
    if "BLOB" in upper:
        return rng.randbytes(6) + bytes([number])
    if "REAL" in upper or "FLOA" in upper or "DOUB" in upper:
        return rng.randrange(10**6) + number + 0.5
    return rng.randrange(10**6) * PROBE_ROWS * 3 + number


def _insert_probes(connection: sqlite3.Connection, rng: random.Random) -> Rows:
    """Distinct rows into each table, read back as stored. A table whose checks refuse them all stays empty."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%'")
    rows: Rows = {}
    for (table,) in names.fetchall():
        columns = [c for c in connection.execute(f"PRAGMA table_xinfo({_quoted(table)})").fetchall() if c[6] == 0]
        fields = ", ".join(_quoted(c[1]) for c in columns)
        marks = ", ".join("?" * len(columns))
        for number in range(1, PROBE_ROWS + 1):
            values = [_probe(rng, c[2], number) for c in columns]
            connection.execute(f"INSERT OR IGNORE INTO {_quoted(table)} ({fields}) VALUES ({marks})", values)
        rows[table] = connection.execute(f"SELECT {fields} FROM {_quoted(table)}").fetchall()
        rows[table + "\0columns"] = [tuple(c[1] for c in columns)]
    return rows


def _rows_kept(
    made: sqlite3.Connection,
    wanted: sqlite3.Connection,
    rows: Rows,
    renames: Sequence[tuple[str, str]],
    want: Catalogue,
) -> bool:
    """Each kept column holds what SQLite stores when the old values are inserted into B."""
    table_of: dict[str, str] = {}
    column_of: dict[tuple[str, str], str] = {}
    for old, new in renames:
        olds, news = parts(old), parts(new)
        if len(olds) == 1:
            table_of[news[0].lower()] = olds[0].lower()
        else:
            column_of[(news[0].lower(), news[1].lower())] = olds[1].lower()
    sources = {name.lower(): name for name in rows if "\0" not in name}
    moved = set(table_of.values())
    for table in want["tables"]:
        was = table_of.get(table, table if table not in moved else "")
        if was not in sources:
            continue
        name = sources[was]
        old_columns = [c.lower() for c in rows[name + "\0columns"][0]]
        taken = {old for (t, _), old in column_of.items() if t == table}
        pairs = []
        for column, *_, hidden in want["tables"][table]["columns"]:
            source = column_of.get((table, column), column if column not in taken else "")
            if source in old_columns and not hidden:
                pairs.append((column, old_columns.index(source)))
        if not _same_rows(made, wanted, table, pairs, rows[name]):
            return False
    return True


def _same_rows(
    made: sqlite3.Connection,
    wanted: sqlite3.Connection,
    table: str,
    pairs: list[tuple[str, int]],
    old: list[tuple[Any, ...]],
) -> bool:
    if not pairs:
        return made.execute(f"SELECT count(*) FROM {_quoted(table)}").fetchone()[0] == len(old)
    fields = ", ".join(_quoted(column) for column, _ in pairs)
    marks = ", ".join("?" * len(pairs))
    shown = "*"
    try:
        for row in old:
            wanted.execute(f"INSERT INTO {_quoted(table)} ({fields}) VALUES ({marks})", [row[i] for _, i in pairs])
    except sqlite3.Error:
        # B demands values that A does not have (a new NOT NULL column without default): any values will do there.
        shown = fields
        wanted.execute(f"DELETE FROM {_quoted(table)}")
        free = f"CREATE TEMP TABLE expected AS SELECT {fields} FROM {_quoted(table)} WHERE 0"
        wanted.execute("DROP TABLE IF EXISTS temp.expected")
        wanted.execute(free)
        wanted.executemany(f"INSERT INTO temp.expected VALUES ({marks})", [[row[i] for _, i in pairs] for row in old])
    source = "temp.expected" if shown != "*" else _quoted(table)
    expected = Counter(map(_typed, wanted.execute(f"SELECT {shown} FROM {source}").fetchall()))
    return Counter(map(_typed, made.execute(f"SELECT {shown} FROM {_quoted(table)}").fetchall())) == expected


def _typed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((type(value).__name__, value) for value in row)
