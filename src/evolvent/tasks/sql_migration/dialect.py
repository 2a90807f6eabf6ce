"""The words of made-up schemas, and what differs between engines in them.

Not here: how a schema or a change is drawn (`generate.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

NAME = "sql_migration"
TABLE_WORDS = (
    "user account order item product invoice payment ticket event session token role team project task comment file "
    "message device address city country category tag review rating cart shipment supplier warehouse stock price "
    "currency plan subscription coupon refund employee department salary shift leave course student grade exam room "
    "booking guest hotel flight seat route vehicle driver trip sensor reading alert metric report dashboard job run "
    "artifact model dataset label feature batch node cluster region zone bucket object policy secret audit log entry"
).split()
COLUMN_WORDS = (
    "name title status kind type code email phone url path body content summary note amount total price quantity count "
    "score rank level weight height width length size color state owner author editor source target parent position "
    "priority created updated deleted started finished expires version hash digest locale timezone currency rate ratio "
    "limit offset flags active enabled visible archived verified public key value label color icon image avatar bio "
    "street zip city region country latitude longitude altitude speed duration distance temperature humidity pressure"
).split()
SUFFIXES = (
    "",
    "",
    "",
    "at",
    "by",
    "id",
    "no",
    "text",
    "date",
    "flag",
    "code",
    "count",
    "key",
    "name",
    "old",
    "new",
    "2",
)
TYPES = (
    "INTEGER", "TEXT", "TEXT", "REAL", "NUMERIC", "BLOB", "BOOLEAN", "BIGINT", "TIMESTAMP", "VARCHAR(40)",
    "VARCHAR(255)",
)  # fmt: skip
RESERVED = {"order", "limit", "key", "plan", "default", "index", "offset", "row", "action", "release"}  # words of SQL


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """What differs between engines in the schemas that are made up.

    Attributes:
        task: name of the task that a problem is filed under.
        types: column types, drawn evenly.
        reserved: words that cannot be a name by themselves.
        literal: a default for a type.
        castable: a column of the first type can become the second with its rows kept.
        small: types with too few values for a unique index over the hidden rows.
        reads: the name under which sqlglot knows the engine.
        closed: the engine refuses a reference to a table that is not there: the verifier is given such tables too.
    """

    task: str
    types: Sequence[str]
    reserved: frozenset[str]
    literal: Callable[[random.Random, str], str]
    castable: Callable[[str, str], bool] = lambda old, new: True
    small: frozenset[str] = frozenset()
    reads: str = "sqlite"
    closed: bool = False


def _literal(rng: random.Random, type_: str) -> str:
    """What SQLite takes for any type, and what a person might write."""
    if type_ in ("TEXT", "BLOB", "TIMESTAMP") or type_.startswith("VARCHAR"):
        return "'" + rng.choice(COLUMN_WORDS) + "'"
    return number(rng)


def number(rng: random.Random) -> str:
    """A small whole number as text."""
    return str(rng.choice((0, 0, 1, -1, 5, 10, 100, rng.randrange(1000))))


SQLITE = Dialect(task=NAME, types=TYPES, reserved=frozenset(RESERVED), literal=_literal)
