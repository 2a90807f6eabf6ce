"""Parsing from several threads at once, and what is no Python."""

from __future__ import annotations

import ast
from concurrent.futures import ThreadPoolExecutor

import pytest

from evolvent.syntax import parse

DEEP = "def f(x):\n    return " + "(x + " * 40 + "1" + ")" * 40 + "\n"


def test_threads_that_parse_at_once_are_told_of_no_mismatch() -> None:
    with ThreadPoolExecutor(8) as pool:
        trees = list(pool.map(parse, [DEEP] * 400))
    assert {ast.dump(tree) for tree in trees} == {ast.dump(parse(DEEP))}


@pytest.mark.parametrize("source", ["def", "(" * 300, "\0", "\ud800", "-" * 200_000 + "1"])
def test_what_is_no_python_is_said_and_spoils_nothing_after_it(source: str) -> None:
    with pytest.raises((SyntaxError, ValueError, RecursionError, MemoryError)):
        parse(source)
    assert parse(DEEP)


def test_a_strangers_escapes_warn_nobody() -> None:
    assert parse(r"x = '\d'")
