"""Made-up schemas that PostgreSQL takes.

Not here: how a schema or a change is drawn (`sql_migration.generate`).
"""

from __future__ import annotations

import random

from evolvent.tasks.sql_migration.dialect import COLUMN_WORDS, RESERVED, TYPES, Dialect, number

NAME = "sql_migration_postgres"
_NUMBERS = ("INTEGER", "BIGINT", "REAL", "NUMERIC")
_INTO_TEXT = ("TEXT", "VARCHAR(40)", "VARCHAR(255)")


def _literal(rng: random.Random, type_: str) -> str:
    """A default that the type takes; PostgreSQL checks it at once."""
    if type_ == "BOOLEAN":
        return rng.choice(("TRUE", "FALSE"))
    if type_ == "TIMESTAMP":
        return f"'20{rng.randrange(10, 40)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}'"
    return number(rng) if type_ in _NUMBERS else f"'{rng.choice(COLUMN_WORDS)}'"


def _castable(old: str, new: str) -> bool:
    """The server converts every value of one type to the other; hidden texts are digits where they become numbers."""
    return new in _INTO_TEXT or (old in (*_NUMBERS, *_INTO_TEXT) and new in _NUMBERS)


POSTGRES = Dialect(
    task=NAME,
    types=tuple("BYTEA" if type_ == "BLOB" else type_ for type_ in TYPES),
    reserved=frozenset({*RESERVED, "user"}),  # of the words that are drawn; a test asks the server
    literal=_literal,
    castable=_castable,
    small=frozenset({"BOOLEAN"}),
    reads="postgres",
    closed=True,
)
