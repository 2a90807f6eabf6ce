"""What rules see of a migration: facts of the prompt's two schemas and of the answer's statements, read by sqlglot.

An answer is hostile input. Statements are delimited as the engine delimits them; what sqlglot cannot read is the fact
``unread``, which breaks a rule of ours, so nothing passes because nobody understood it.

Not here: the engine of the rules (`tasks/rules.py`); whether an answer is right (`verify.py`). Imported only where a
task has rules; extra ``rules``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from evolvent.errors import UsageError
from evolvent.tasks.rules import Fact, Rules
from evolvent.tasks.sql_migration.progress import read_prompt
from evolvent.tasks.sql_migration.words import parts, split_statements, words

try:
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError
except ImportError:
    raise UsageError("rules over SQL need sqlglot; install it with: pip install 'evolvent[rules]'") from None

__all__ = ["FACTS", "MAX_FACTS", "broken", "read", "rules"]

logging.getLogger("sqlglot").setLevel(logging.CRITICAL)  # it would print what it does not know; that is a fact here

MAX_FACTS = 400  # of an answer; honest ones have some dozens. What a rule costs is bounded by them
UNREAD = "unread"
_OURS = f"violation({UNREAD}) :- {UNREAD}(_)."
KINDS = (
    "create_table", "drop_table", "rename_table", "add_column", "drop_column", "rename_column", "create_index",
    "drop_index", "insert", "update", "delete",
)  # fmt: skip
_SCHEMA = {"table": 1, "column": 2, "index": 2}
# Predicates, each with how many constants it has. I is a statement's number from 1, T and U tables, C and D columns.
FACTS = {
    **{f"{when}_{name}": arity for when in ("old", "new") for name, arity in _SCHEMA.items()},
    "moves_table": 2,  # T, U: by the prompt, T becomes U
    "moves_column": 4,  # T, C, U, D
    "does": 2,  # I and one of `KINDS`, or `other`
    "create_table": 2, "drop_table": 2, "rename_table": 3,
    "defines": 3, "not_null": 3, "has_default": 3,  # I, T, C of a table that I creates or a column that it adds
    "add_column": 3, "drop_column": 3, "rename_column": 4,
    "create_index": 3, "drop_index": 2,  # I, name (and table)
    "insert": 2, "update": 2, "delete": 2,
    "reads": 2,  # I, T: a SELECT in it names T
    "guarded": 1,  # I says IF EXISTS or IF NOT EXISTS
    UNREAD: 1,
}  # fmt: skip


def rules(text: str, dialect: str) -> Rules:
    """A team's rules, checked; ours, that all must be readable, holds too.

    Both engines have loaded all that they need when this returns: a sandbox that closes afterwards does not matter.

    Raises:
        UsageError: the text is no program that `tasks.rules` takes.
    """
    read("CREATE TABLE t (a INTEGER NOT NULL DEFAULT 1); ALTER TABLE t DROP COLUMN a; CREATE INDEX i ON t (a)", dialect)
    held = Rules(text=text, facts=FACTS, base=_OURS)
    if held.names == (UNREAD,):
        raise UsageError(f"rules: expected a rule `violation(name) :- ...` of a name that is not {UNREAD}, got none")
    return held


def broken(held: Rules, prompt: str, output: str, dialect: str) -> tuple[str, ...]:
    """The names of the rules that an answer breaks, in the order of the program; ``limit`` where it says too much."""
    said = read(output, dialect)
    if len(said) > MAX_FACTS:
        return ("limit",)
    return held.broken([*_asked(prompt, dialect), *said])


def read(script: str, dialect: str) -> list[Fact]:
    """Facts of an answer's statements; at most a few more than `MAX_FACTS`."""
    found: list[Fact] = []
    try:
        statements = split_statements(script)
    except ValueError:  # a character that no engine takes
        return [(UNREAD, 1)]
    for number, statement in enumerate(statements, start=1):
        found += _statement(number, statement, dialect)
        if len(found) > MAX_FACTS:
            break
    return found


@lru_cache(maxsize=4096)
def _asked(prompt: str, dialect: str) -> tuple[Fact, ...]:
    """Facts of a prompt: what is there, what is wanted, and what becomes of what."""
    before, after, renames = read_prompt(prompt)
    found = [*_schema("old", before, dialect), *_schema("new", after, dialect)]
    for old, new in renames:
        names = tuple(part.lower() for part in (*parts(old), *parts(new)))
        if len(names) in (2, 4):
            found.append(("moves_table" if len(names) == 2 else "moves_column", *names))
    return tuple(found)


def _schema(when: str, statements: Sequence[str], dialect: str) -> Iterator[Fact]:
    """Tables, columns and indexes that statements make."""
    kept = {"create_table": "table", "defines": "column", "create_index": "index"}
    for statement in statements:
        for name, _, *names in _statement(0, statement, dialect):
            if name in kept:
                yield (f"{when}_{kept[name]}", *names)


def _statement(number: int, statement: str, dialect: str) -> list[Fact]:
    try:
        tree = sqlglot.parse_one(statement, read=dialect)
        said = words(statement)
        if tree.find(exp.Command):
            found = _short(said)
        else:
            found = _facts(tree) if _indexed(tree, said) else [(UNREAD,)]
        return [(name, number, *names) for name, *names in found]
    except (SqlglotError, RecursionError, ValueError, TypeError, AttributeError, KeyError, IndexError):
        return [(UNREAD, number)]  # a parser of another's, on hostile text: whatever it dies of


def _short(said: list[str]) -> list[tuple[str, ...]]:
    """Two forms that SQLite takes and the parser does not know: a column without a type, and DROP without COLUMN."""
    match said[:-1] if said[-1:] == [";"] else said:
        case ["alter", "table", table, "add", "column", column] | ["alter", "table", table, "add", column]:
            return [("does", "add_column"), ("add_column", table, column), ("defines", table, column)]
        case ["alter", "table", table, "drop", column]:
            return [("does", "drop_column"), ("drop_column", table, column)]
    return [(UNREAD,)]


def _indexed(tree: exp.Expr, said: list[str]) -> bool:
    """Whether the table of a new index stands after ON: of an index with a schema's name the parser reads another."""
    found = [name for kind, *_, name in _named(tree) if kind == "create_index"]
    return all(after == name for name in found for on, after in pairwise(said) if on == "on")


def _facts(tree: exp.Expr) -> Iterator[tuple[str, ...]]:
    """Of one statement, without its number."""
    named = list(_named(tree))
    yield from (("does", kind) for kind in dict.fromkeys(name for name, *_ in named if name in KINDS) or ("other",))
    if any(node.args.get("exists") for node in (tree, *tree.args.get("actions", ()))):
        yield ("guarded",)
    yield from named
    selects = (table for select in tree.find_all(exp.Select) for table in select.find_all(exp.Table))
    yield from (("reads", table) for table in dict.fromkeys(map(_name, selects)) if table)


def _named(tree: exp.Expr) -> Iterator[tuple[str, ...]]:
    """What a statement does, and to what."""
    if isinstance(tree, exp.Create):
        yield from _created(tree)
    elif isinstance(tree, exp.Alter):
        for action in tree.args.get("actions") or () if _kind(tree) == "TABLE" else ():
            yield from _altered(_name(tree.this), action)
    elif isinstance(tree, exp.Drop):
        kind = {"TABLE": "drop_table", "INDEX": "drop_index"}.get(_kind(tree))
        yield from ((kind, _name(target)) for target in _targets(tree) if kind)
    else:
        for type_, kind in ((exp.Insert, "insert"), (exp.Update, "update"), (exp.Delete, "delete")):
            if isinstance(tree, type_):
                yield (kind, _name(tree.this))


def _created(tree: exp.Create) -> Iterator[tuple[str, ...]]:
    if _kind(tree) == "INDEX":
        yield ("create_index", _name(tree.this), _name(tree.this.args["table"]))
    elif _kind(tree) == "TABLE":
        yield ("create_table", _name(tree.this))
        if isinstance(tree.this, exp.Schema):
            yield from _columns(_name(tree.this), tree.this.expressions)


def _altered(table: str, action: exp.Expr) -> Iterator[tuple[str, ...]]:
    if isinstance(action, exp.AlterRename):
        yield ("rename_table", table, _name(action.this))
    elif isinstance(action, exp.RenameColumn):
        yield ("rename_column", table, _name(action.this), _name(action.args["to"]))
    elif isinstance(action, exp.ColumnDef):
        yield ("add_column", table, _name(action))
        yield from _columns(table, [action])
    elif isinstance(action, exp.Drop) and _kind(action) == "COLUMN":
        yield from (("drop_column", table, _name(target)) for target in _targets(action))


def _columns(table: str, columns: Sequence[exp.Expr]) -> Iterator[tuple[str, ...]]:
    marks = {exp.NotNullColumnConstraint: "not_null", exp.DefaultColumnConstraint: "has_default"}
    for column in columns:
        if isinstance(column, exp.Identifier):  # without a type
            yield ("defines", table, _name(column))
        elif isinstance(column, exp.ColumnDef):
            yield ("defines", table, _name(column))
            for constraint in column.args.get("constraints") or ():
                said = marks.get(type(constraint.args.get("kind")))
                if said and not constraint.args["kind"].args.get("allow_null"):
                    yield (said, table, _name(column))


def _kind(node: exp.Expr) -> str:
    return str(node.args.get("kind")).upper()


def _targets(drop: exp.Drop) -> list[exp.Expr]:
    return drop.args.get("tables") or [drop.this]


def _name(node: object) -> str:
    """The last part of a name, as engines compare them: without quotes, in small letters."""
    if isinstance(node, exp.Schema):
        node = node.this
    return str(getattr(node, "name", node) or "").lower()
