"""The same migration put differently: what must be done does not change, what must be read does.

Each attack keeps a problem solvable by what solved it, up to names: tables that have nothing to do with it, names that
changed places, statements in another order, columns that nobody touches. All work on the two schemas' DDL alone.

Not here: choosing attacks (`curate/redteam.py`), or the way from A to B.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from evolvent.tasks.sql_migration.schema import prompt_text
from evolvent.types import Problem

__all__ = ["ATTACKS", "attack"]

# A name, quoted or not; literals are matched first, so that no name is found in them.
_LEXEME = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|[A-Za-z_]\w*")
_SQL = frozenset(
    "CREATE TABLE UNIQUE INDEX ON PRIMARY KEY NOT NULL DEFAULT REFERENCES INTEGER TEXT REAL NUMERIC BLOB BOOLEAN "
    "BIGINT TIMESTAMP VARCHAR BYTEA TRUE FALSE NULL".split()
)
_TYPES = ("INTEGER", "TEXT", "REAL", "NUMERIC")  # of both engines
_CREATE = re.compile(r"CREATE TABLE (\"[^\"]*\"|\w+) \(")
WIDER = 3  # columns that `wide` adds to each table
Statements = list[str]
Renames = list[tuple[str, str]]
Given = tuple[Statements, Statements, Renames]


def attack(problem: Problem, kind: str, rng: random.Random) -> Problem | None:
    """A variant, filed under ``robust`` with a tag for the attack; ``None`` where it would change nothing.

    Raises:
        ValueError: no such attack.
    """
    if kind not in _ATTACKS:
        raise ValueError(f"attack: expected one of {', '.join(ATTACKS)}, got {kind!r}")
    given = problem.given
    before, after = list(given["before"]), list(given["after"])
    renames = [(old, new) for old, new in given["renames"]]
    changed = _ATTACKS[kind](before, after, renames, rng)
    if changed is None:
        return None
    before, after, renames = changed
    done = problem.tags.get("attack")
    return replace(
        problem,
        skill="robust",
        prompt=prompt_text(before, after, renames),
        tags={**problem.tags, "attack": f"{done}+{kind}" if done else kind},
        given={"before": before, "after": after, "renames": [list(pair) for pair in renames]},
    )


def _distractor(before: Statements, after: Statements, renames: Renames, rng: random.Random) -> Given:
    """A table that stands on both sides and has nothing to do with it."""
    names = _fresh(before + after, rng)
    columns = ", ".join(f"{next(names)} {rng.choice(_TYPES)}" for _ in range(rng.randint(1, 3)))
    table = f"CREATE TABLE {next(names)} ({next(names)} INTEGER PRIMARY KEY, {columns})"
    return _inserted(before, table, rng), _inserted(after, table, rng), renames


def _renamed(before: Statements, after: Statements, renames: Renames, rng: random.Random) -> Given | None:
    """Every name becomes another name of the same problem."""
    names = sorted(_names(before + after))
    if len({name.lower() for name in names}) < len(names) or len(names) < 2:
        return None  # two spellings of one name would part
    shuffled = rng.sample(names, len(names))
    swap = dict(zip(names, shuffled, strict=True))

    def renamed(text: str) -> str:
        return _LEXEME.sub(lambda match: swap.get(match[0], match[0]), text)

    pairs = [(renamed(old), renamed(new)) for old, new in renames]
    return [renamed(s) for s in before], [renamed(s) for s in after], pairs


def _reordered(before: Statements, after: Statements, renames: Renames, rng: random.Random) -> Given | None:
    """The tables of each side in another order, each with its indexes."""
    sides = []
    for side in (before, after):
        groups = _groups(side)
        rng.shuffle(groups)
        sides.append([statement for group in groups for statement in group])
    return None if sides == [before, after] else (sides[0], sides[1], renames)


def _wide(before: Statements, after: Statements, renames: Renames, rng: random.Random) -> Given | None:
    """More columns, that nobody touches, in the tables that stand on both sides."""
    names = _fresh(before + after, rng)
    moved = {old: new for old, new in renames if "." not in _unquoted(old)}
    sides = [list(before), list(after)]
    widened = False
    for i, statement in enumerate(before):
        table = _CREATE.match(statement)
        if table is None:
            continue
        other = _place(after, moved.get(table[1], table[1]))
        if other is None:
            continue
        extra = "".join(f"{next(names)} {rng.choice(_TYPES)}, " for _ in range(WIDER))
        for side, at in ((sides[0], i), (sides[1], other)):
            key, _, rest = side[at].partition(", ")
            side[at] = f"{key}, {extra}{rest}"
        widened = True
    return (sides[0], sides[1], renames) if widened else None


_ATTACKS: dict[str, Callable[[Statements, Statements, Renames, random.Random], Given | None]] = {
    "distractor": _distractor,
    "renamed": _renamed,
    "reordered": _reordered,
    "wide": _wide,
}
ATTACKS = tuple(_ATTACKS)


def _place(statements: Sequence[str], name: str) -> int | None:
    found = (i for i, s in enumerate(statements) if (table := _CREATE.match(s)) is not None and table[1] == name)
    return next(found, None)


def _groups(statements: Sequence[str]) -> list[Statements]:
    groups: list[Statements] = []
    for statement in statements:
        if _CREATE.match(statement) or not groups:
            groups.append([])
        groups[-1].append(statement)
    return groups


def _inserted(statements: Sequence[str], table: str, rng: random.Random) -> Statements:
    groups = _groups(statements)
    groups.insert(rng.randint(0, len(groups)), [table])
    return [statement for group in groups for statement in group]


def _names(statements: Sequence[str]) -> set[str]:
    found = {match for statement in statements for match in _LEXEME.findall(statement)}
    return {name for name in found if not name.startswith("'") and name.upper() not in _SQL}


def _unquoted(name: str) -> str:
    return re.sub(r'"[^"]*"', "q", name)


def _fresh(statements: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Names that the problem does not use, in no style of its own."""
    used = {name.strip('"').lower() for name in _names(statements)}
    while True:
        name = f"{rng.choice('abcdefghkmnpqrstuvwxyz')}{rng.randrange(100)}_{rng.choice(('a', 'b', 'x', 'old', 'tmp'))}"
        if name not in used:
            used.add(name)
            yield name
