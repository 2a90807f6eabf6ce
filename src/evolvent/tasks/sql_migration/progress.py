"""One step at a time: run what runs of an answer on a scratch copy, and say what is left to do.

A model that masters single changes can reach a distant schema by steps, if after each it is shown where it stands. Only
the prompt is used: the scratch database holds its schema A and no rows; what is left is stated as a new prompt. Whether
the whole migration is right (rows included) is the verifier's question.

Not here: sampling, verification.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing

from evolvent.tasks.sql_migration import verify
from evolvent.tasks.sql_migration.schema import prompt_text

_QUOTED = re.compile(r'"([^"]*)"')
_BARE = re.compile(r'"[^"]*"|[A-Za-z_]\w*')


def advance(prompt: str, output: str) -> tuple[str, str | None]:
    """Take the step.

    Args:
        prompt: states schemas and lineage.
        output: the model's answer to it.

    Returns:
        The statements that ran, in order, and the prompt of what is left: ``None`` when nothing is left, nothing ran,
        or the prompt cannot be read.
    """
    before, after, renames = read_prompt(prompt)
    try:
        with closing(verify.scratch(before)) as made:
            ran = verify.run_some(made, output)
            if not ran:
                return "", None
            now = _statements(made, prompt)
            left = _pending(made, renames)
        with closing(verify.scratch(after)) as wanted:
            goal = _statements(wanted, prompt)
    except sqlite3.Error:
        return "", None
    here, there = _by_table(now), _by_table(goal)
    a = [s for table, group in here.items() if there.get(table) != group for s in group.texts]
    b = [s for table, group in there.items() if here.get(table) != group for s in group.texts]
    kept = ";\n".join(s.strip().rstrip(";") for s in ran) + ";"
    return kept, prompt_text(a, b, left) if a or b else None


def read_prompt(prompt: str) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Statements of A and B, and the lineage, of a prompt as `schema.prompt_text` writes it."""
    head, _, rest = prompt.partition("-- to")
    lines = rest.split("\n")
    renames = [line.removeprefix("-- renamed ").split(" -> ") for line in lines if line.startswith("-- renamed ")]
    body = "\n".join(line for line in lines if not line.startswith("-- "))
    return (
        verify.split_statements(head.replace("-- from", "", 1)),
        verify.split_statements(body),
        [(pair[0].strip(), pair[1].strip()) for pair in renames if len(pair) == 2],
    )


class _Group:
    """A table's statements; equal when their words are equal, in any order of indexes."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Group):
            return NotImplemented
        return sorted(map(verify.words, self.texts)) == sorted(map(verify.words, other.texts))

    __hash__ = None  # type: ignore[assignment]


def _by_table(statements: Sequence[tuple[str, str]]) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    for table, text in statements:
        groups.setdefault(table.lower(), _Group()).texts.append(text)
    return groups


def _statements(connection: sqlite3.Connection, prompt: str) -> list[tuple[str, str]]:
    """``(table, DDL)`` as SQLite stores it; quotes that SQLite added come off where the prompt has the bare name."""
    bare = {word for word in _BARE.findall(prompt) if not word.startswith('"')}
    rows = connection.execute(
        "SELECT tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC, rowid"
    ).fetchall()
    return [(table, _QUOTED.sub(lambda m: m[1] if m[1] in bare else m[0], sql)) for table, sql in rows]


def _pending(connection: sqlite3.Connection, renames: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The lineage that is still to be followed, in the names of the moment."""
    columns: dict[str, set[str]] = {}
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall():
        info = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
        columns[table.lower()] = {str(c[1]).lower() for c in info}
    left = []
    for old, new in renames:
        olds, news = verify.parts(old), verify.parts(new)
        if len(olds) == 1:
            if olds[0].lower() in columns and news[0].lower() not in columns:
                left.append((old, new))
        elif len(olds) == len(news) == 2:
            moved = news[0].lower() in columns
            here = columns.get((news if moved else olds)[0].lower(), set())
            if olds[1].lower() in here and news[1].lower() not in here:
                written = re.match(r'"[^"]*"|[^.]+', new if moved else old)
                column = old[len(re.match(r'"[^"]*"|[^.]+', old)[0]) :]  # type: ignore[index]
                left.append(((written[0] if written else olds[0]) + column, new))
    return left
