"""SQL as text: statements, words, names. SQLite is asked wherever it can answer; this is for what it does not show.

A quoted name may look like a comment and a comment like a quoted name, so both are read at once, in order.

Not here: parsing. What counts is what the engine made of a statement (`verify.py`).
"""

from __future__ import annotations

import re
import sqlite3

__all__ = ["parts", "split_statements", "words"]

_WORDS = re.compile(r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'|`[^`]*`|\[[^\]]*\]|\w+|[^\s\w]')
# A comment; or what may look like one inside of quotes and is none.
_COMMENT = re.compile(r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'|`[^`]*`|\[[^\]]*\]|(--[^\n]*|/\*.*?(?:\*/|\Z))', re.DOTALL)


def split_statements(script: str) -> list[str]:
    """A script's statements, as SQLite itself delimits them (triggers and strings included)."""
    statements: list[str] = []
    current = ""
    for piece in re.split(r"(?<=;)", script):
        current += piece
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    statements.append(current)
    return [s for s in statements if _bare(s).strip(" \t\r\n;")]


def words(sql: str) -> list[str]:
    """A statement's words: comments, white space, quotes and case taken off; literals as they are."""
    return [w.strip('"`[]').lower() if w[0] != "'" else w for w in _WORDS.findall(_bare(sql))]


def _unquote(name: str) -> str:
    name = name.strip()
    if len(name) > 1 and name[0] in '"`[':
        return name[1:-1].replace('""', '"')
    return name


def parts(name: str) -> list[str]:
    """The parts of a dotted name, unquoted."""
    return [_unquote(p) for p in re.findall(r'"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|[^.]+', name)]


def _bare(sql: str) -> str:
    return _COMMENT.sub(lambda found: " " if found[1] else found[0], sql)
