"""What of a hostile script may be sent to the server at all, one statement at a time.

Cutting a script at its semicolons follows the server's own rules of quoting. A mistake there costs an honest answer,
never safety: each piece goes in a message of its own, which the server parses as exactly one statement or refuses
(extended query protocol); and a piece is sent only if its first bytes are keywords of the list, which the server's
parser must then read as these keywords too. The server has lists of its own behind this one (`engine.py`).

Not here: what a statement does. That is decided by what its role may do.
"""

from __future__ import annotations

import re

MAX_OUTPUT_CHARS = 8_000
MAX_STATEMENTS = 64
# What changes tables, indexes, enumerations, sequences, views, or rows. Everything else is refused: no transaction
# control, SET, COPY, DO, CALL, GRANT, functions, triggers, rules, schemas, extensions, roles, databases.
_OBJECTS = "TABLE|INDEX|TYPE|SEQUENCE|VIEW|MATERIALIZED VIEW"
_BEGINNINGS = (
    f"(?:ALTER|CREATE|DROP) (?:{_OBJECTS})", "CREATE UNIQUE INDEX", "CREATE OR REPLACE VIEW", "INSERT INTO", "UPDATE",
    "DELETE FROM", "COMMENT ON (?:TABLE|COLUMN|INDEX|CONSTRAINT|SEQUENCE|TYPE|VIEW)",
)  # fmt: skip
_ALLOWED = re.compile(
    f"(?:{'|'.join(_BEGINNINGS)})".replace(" ", r"[ \t\r\n\f]+") + r"(?![A-Za-z0-9_$\x80-\U0010ffff])", re.IGNORECASE
)
_RAN = re.compile(rf"(?:(?:ALTER|CREATE|DROP) (?:{_OBJECTS})|COMMENT|INSERT 0 \d+|UPDATE \d+|DELETE \d+)")
# A string, an escape string, a quoted name, a dollar-quoted string, a comment to the end of the line; block comments
# nest, so that they are counted by hand.
_PIECE = re.compile(
    r"(?<![\w$])[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\""
    r"|(?<![\w$])\$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*)?)\$.*?\$(?P=tag)\$|--[^\r\n]*|/\*|;",
    re.DOTALL,
)
_BLANK = " \t\r\n\f\v"


def split(script: str) -> list[str]:
    """A script's statements, without their semicolons, leading and trailing blanks and comments outside of strings."""
    statements: list[str] = []
    current: list[str] = []
    at = 0
    while (match := _PIECE.search(script, at)) is not None:
        current.append(script[at : match.start()])
        piece, at = match[0], match.end()
        if piece == ";":
            statements.append("".join(current))
            current = []
        elif piece == "/*":
            at = _comment_end(script, at)
            current.append(" ")
        elif piece.startswith("--"):
            current.append(" ")
        else:
            current.append(piece)
    statements.append("".join([*current, script[at:]]))
    return [text for statement in statements if (text := statement.strip(_BLANK))]


def allowed(statement: str) -> bool:
    """The statement begins as one of the list does; decided by its very first bytes."""
    return _ALLOWED.match(statement) is not None


def ran(command: str) -> bool:
    """The server says that what it ran was of the list; asked after each statement, in case the list was passed."""
    return _RAN.fullmatch(command) is not None


def sendable(script: str) -> bool:
    """The server would be shown all of it: a NUL ends a message's text, and half a character is none."""
    try:
        return b"\0" not in script.encode("utf-8")
    except UnicodeEncodeError:
        return False


def _comment_end(script: str, at: int) -> int:
    depth = 1
    for mark in re.finditer(r"/\*|\*/", script[at:]):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return at + mark.end()
    return len(script)
