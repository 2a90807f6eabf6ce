"""Runs our own functions, and our own mutants of them, in this process, under a budget of steps.

Only code drawn by `families.py` and changed by `mutate.py` and `restyle.py` comes here; what a model wrote never does.
A mutant may loop for ever or grow without bound, so loops, comprehensions and calls count their steps, and sizes are
looked at once a step. Steps are counted, not seconds: every machine gets the same problems.

Not here: a sandbox. This holds no hostile code.
"""

from __future__ import annotations

import ast
import builtins
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from evolvent import syntax
from evolvent.sandbox import plain

STEPS = 2_000
LARGEST_BITS, LONGEST = 192, 2_000
_NAMES = (
    "abs", "all", "any", "bool", "chr", "dict", "enumerate", "int", "len", "list", "max", "min", "ord", "range",
    "reversed", "set", "sorted", "str", "sum", "tuple", "zip",
)  # fmt: skip
_BUILTINS = {name: getattr(builtins, name) for name in _NAMES}


class _Spent(Exception):
    """The budget is gone."""


@dataclass(frozen=True)
class Ran:
    """What a call gave.

    Attributes:
        value: what it returned.
        told: the value as `same` writes it.
        error: the name of what it raised; ``budget`` when it did not end, or gave what cannot be told.
    """

    value: Any = None
    told: str = ""
    error: str | None = None


class Trusted:
    """One of our functions, ready to be called.

    Args:
        source: a module with one function.
        name: of the function.

    Raises:
        SyntaxError: the source does not compile (a mutant may not).
    """

    def __init__(self, source: str, name: str) -> None:
        tree = _Counting().visit(syntax.parse(source))
        self._code = compile(ast.fix_missing_locations(tree), "<ours>", "exec")
        self._name = name

    def call(self, arguments: Sequence[Any]) -> Ran:
        """Call it on copies of the arguments."""
        left = [STEPS]

        def tick(values: dict[str, Any]) -> None:
            left[0] -= 1
            if left[0] < 0 or any(_grown(value) for value in values.values()):
                raise _Spent

        def each(items: Iterable[Any]) -> Iterator[Any]:
            for item in items:
                left[0] -= 1
                if left[0] < 0 or _grown(item):
                    raise _Spent
                yield item

        space: dict[str, Any] = {"__builtins__": {**_BUILTINS, "locals": locals}, "_tick": tick, "_each": each}
        exec(self._code, space)
        try:
            value = space[self._name](*map(copied, arguments))
        except (_Spent, RecursionError, MemoryError, OverflowError):
            return Ran(error="budget")
        except Exception as exc:
            return Ran(error=type(exc).__name__)
        try:
            return Ran(error="budget") if _grown(value) else Ran(value, same(value))
        except plain.NotPlain:
            return Ran(error="budget")


def _grown(value: Any) -> bool:
    if isinstance(value, int):
        return value.bit_length() > LARGEST_BITS
    return isinstance(value, str | list | dict | set | tuple) and len(value) > LONGEST


class _Counting(ast.NodeTransformer):
    """Puts a step counter into each function, loop and comprehension."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.body.insert(0, _tick())
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        self.generic_visit(node)
        node.body.insert(0, _tick())
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        node.body.insert(0, _tick())
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        node.iter = ast.Call(ast.Name("_each", ast.Load()), [node.iter], [])
        return node


def _tick() -> ast.stmt:
    return syntax.parse("_tick(locals())").body[0]


def copied(value: Any) -> Any:
    """A copy of an input: lists and dicts of plain values."""
    if isinstance(value, list):
        return [copied(item) for item in value]
    return {key: copied(item) for key, item in value.items()} if isinstance(value, dict) else value


def same(value: Any) -> str:
    """A text that two values share exactly when they are equal throughout, types included.

    Raises:
        NotPlain: a value that holds itself, or is far too large.
    """
    return json.dumps(plain.canonical(plain.encode(value)))
