"""An application's own migration history as a task: its schemas before and after each step, never its migrations.

`read_step` turns one step of a history into a problem, and says of others why they are left out. A history has some
dozens of steps, which prove nothing; `History` makes problems without end from them: a step is drawn and its tables and
columns are renamed, so that what must be done stays and what it is called changes. A model whose codec reads names as
slots sees them nearly alike; the hidden rows differ each time.

Not here: how a history is made from a repository of migrations; proof about steps of another shape.
"""

from __future__ import annotations

import json
import random
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from evolvent.errors import UsageError
from evolvent.tasks.sql_migration import SqlMigration, dialect, verify
from evolvent.tasks.sql_migration.schema import prompt_text
from evolvent.types import Problem

SCHEMA_CHARS, MIGRATION_CHARS = 600, 200  # what the shipped seed was trained to read and write
FIELDS = ("before_schema", "after_schema", "migration_sql")
_RENAME_COLUMN = re.compile(r"ALTER\s+TABLE\s+(\S+)\s+RENAME\s+(?:COLUMN\s+)?(\S+)\s+TO\s+(\S+?)\s*(?:;|$)", re.I)
_RENAME_TABLE = re.compile(r"ALTER\s+TABLE\s+(\S+)\s+RENAME\s+TO\s+(\S+?)\s*(?:;|$)", re.I)
COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*")

Row = Mapping[str, Any]


def read_step(row: Row) -> Problem | str:
    """One step as a problem, or why it is left out.

    Args:
        row: ``before_schema``, ``after_schema`` (statements) and ``migration_sql``; of the migration only the lineage
            of what it renames goes into the problem, and it is run once to see that it solves it.

    Raises:
        UsageError: a field is missing or is no text.
    """
    for name in FIELDS:
        if not isinstance(row.get(name), str):
            raise UsageError(f"history: a step needs {', '.join(FIELDS)} as texts; {name} is {row.get(name)!r}")
    try:
        before, after = _tables(row["before_schema"]), _tables(row["after_schema"])
    except sqlite3.Error:
        return "schema does not stand alone"
    words = [{table: sorted(map(verify.words, group)) for table, group in side.items()} for side in (before, after)]
    a = [s for table, group in before.items() if words[1].get(table) != words[0][table] for s in group]
    b = [s for table, group in after.items() if words[0].get(table) != words[1][table] for s in group]
    migration = " ".join(COMMENT.sub(" ", row["migration_sql"]).split())
    if not a and not b:
        return "schema unchanged"
    if max(len("".join(a)), len("".join(b))) > SCHEMA_CHARS:
        return f"differing tables over {SCHEMA_CHARS} characters"
    if len(migration) > MIGRATION_CHARS:
        return f"migration over {MIGRATION_CHARS} characters"
    made = problem(a, b, renames_of(migration, before, after), {"step": str(row.get("name", ""))})
    score = SqlMigration().verify(made, migration, 1)
    return made if score.correct else f"its own migration does not pass alone ({score.error})"


def write_steps(rows: Iterable[Row], path: Path, read: Callable[[Row], Problem | str] = read_step) -> dict[str, int]:
    """Write what `History.read` reads; returns how many steps went in, and how many did not for which reason.

    Args:
        rows: steps, as `read` takes them.
        path: of the file.
        read: makes a problem of a step, or says why not.
    """
    counts = {"in": 0}
    lines = []
    for row in rows:
        made = read(row)
        if isinstance(made, str):
            counts[made] = counts.get(made, 0) + 1
        else:
            counts["in"] += 1
            lines.append(json.dumps({**made.given, "step": made.tags["step"]}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return counts


@dataclass(frozen=True, kw_only=True)
class History(SqlMigration):
    """Skill ``own``: variants of a history's steps; ``single``: the general task, to protect what is known.

    Attributes:
        steps: ``{before, after, renames, step}``, statements and lineage.
    """

    steps: tuple[Row, ...]
    skills: tuple[str, ...] = ("own", "single")
    axes: Mapping[str, tuple[str, ...]] = field(init=False)
    max_output_tokens: int = 128

    def __post_init__(self) -> None:
        """One axis: the step."""
        if not self.steps:
            raise UsageError("history: expected at least one step")
        object.__setattr__(self, "axes", {"step": tuple(str(i) for i in range(len(self.steps)))})

    @classmethod
    def read(cls, path: Path) -> Self:
        """The task of a file that `write_steps` wrote.

        Raises:
            UsageError: it cannot be read as that.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            steps = tuple(json.loads(line) for line in lines if line.strip())
            for step in steps:
                problem(step["before"], step["after"], step["renames"], {"step": step["step"]}, shown=step.get("shown"))
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise UsageError(f"{path}: expected lines as `history.write_steps` writes them: {exc}") from None
        return cls(steps=steps)

    def generate(self, skill: str, rng: random.Random, count: int) -> list[Problem]:
        """`count` variants of steps drawn evenly, or problems of the general ``single``."""
        if skill == "single":
            return super().generate(skill, rng, count)
        return self.challenge({}, rng, count)

    def challenge(self, cell: Mapping[str, str], rng: random.Random, count: int) -> list[Problem]:
        """`count` variants, of one step if the cell names it."""
        chosen = (
            self.steps[int(cell["step"]) if cell.get("step") else rng.randrange(len(self.steps))] for _ in range(count)
        )
        return [self._variant(step, rng) for step in chosen]

    def names(self, statements: Sequence[str]) -> tuple[set[str], set[str]]:
        """Names of a schema's tables and of its columns, as the engine keeps them."""
        with closing(verify.scratch(statements)) as made:
            return _names(made, "table"), _names(made, "column")

    def _variant(self, step: Row, rng: random.Random) -> Problem:
        """The step with other names, or as it is if they do not fit it."""
        before, after = list(step["before"]), list(step["after"])
        tables, columns = (sorted(a | b) for a, b in zip(self.names(before), self.names(after), strict=True))
        used = {word.upper() for text in (*before, *after) for word in _NAME.findall(text)} - {
            n.upper() for n in (*tables, *columns)
        }
        new: dict[str, str] = {}
        for names, vocabulary in ((tables, dialect.TABLE_WORDS), (columns, dialect.COLUMN_WORDS)):
            words = [word for word in vocabulary if word not in self.dialect.reserved and word.upper() not in used]
            fresh = [f"{word}_{suffix}" for word in words for suffix in ("id", "at", "ref", "no")]
            new |= dict(zip(names, rng.sample(fresh, len(names)), strict=True))

        def rename(text: str) -> str:
            return _NAME.sub(lambda match: new.get(match[0], match[0]), text)

        def told(change: Callable[[str], str]) -> Problem:
            a, b = ([change(s) for s in side] for side in (before, after))
            renames = [(change(old), change(now)) for old, now in step["renames"]]
            shown = [[change(s) for s in side] for side in step["shown"]] if "shown" in step else None
            return problem(a, b, renames, {"step": step["step"]}, task=self.dialect.task, shown=shown)

        other = told(rename)
        return other if self.well_posed(other) else told(str)


def _names(connection: sqlite3.Connection, kind: str) -> set[str]:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()}
    if kind == "table":
        return tables
    return {str(row[1]) for table in tables for row in connection.execute(f'PRAGMA table_info("{table}")').fetchall()}


def problem(
    before: Sequence[str],
    after: Sequence[str],
    renames: Iterable[Sequence[str]],
    tags: dict[str, str],
    *,
    task: str = dialect.NAME,
    shown: Sequence[Sequence[str]] | None = None,
) -> Problem:
    """A step as a problem of skill ``own``; the prompt shows `shown` of A and B, by default all."""
    lineage = [(old, new) for old, new in renames]
    given: dict[str, Any] = {"before": list(before), "after": list(after), "renames": [list(pair) for pair in lineage]}
    if shown is not None:
        given["shown"] = [list(side) for side in shown]
    a, b = shown or (before, after)
    return Problem(
        task=task,
        skill="own",
        prompt=prompt_text(list(a), list(b), lineage),
        tags=tags,
        given=given,
    )


def _tables(schema: str) -> dict[str, list[str]]:
    """A schema's statements by table, as SQLite keeps them, on one line each."""
    with closing(verify.scratch(verify.split_statements(schema))) as made:
        rows = made.execute("SELECT tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid").fetchall()
    groups: dict[str, list[str]] = {}
    for table, sql in rows:
        groups.setdefault(table.lower(), []).append(" ".join(COMMENT.sub(" ", sql).split()))
    return groups


def renames_of(migration: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The lineage that a person would state, read off the real migration; renames of scratch tables are none."""
    found = [(f"{t}.{old}", f"{t}.{new}") for t, old, new in _RENAME_COLUMN.findall(migration) if old.upper() != "TO"]
    for old, new in _RENAME_TABLE.findall(migration):
        if old.lower().strip('"`[]') in before and new.lower().strip('"`[]') in after:
            found.append((old, new))
    return found
