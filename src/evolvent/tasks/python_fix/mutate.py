"""Bugs: one change of a function's syntax tree that people make by mistake.

A mutation knows its kind and gives a changed source. Whether the change matters is for `generate.py` to find out by
running both.

Not here: which mutation is chosen, and whether it terminates.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from evolvent import syntax

KINDS = (
    "operator", "comparison", "logic", "off_by_one", "constant", "variable", "arguments", "branches", "else", "return",
    "negation", "initial", "index", "removed", "method", "early_return",
)  # fmt: skip
_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub, ast.Mult), ast.Sub: (ast.Add,), ast.Mult: (ast.Add,), ast.FloorDiv: (ast.Mod, ast.Mult),
    ast.Mod: (ast.FloorDiv,),
}  # fmt: skip
_CALLS = {
    "max": "min", "min": "max", "upper": "lower", "lower": "upper", "append": "extend", "any": "all", "all": "any",
    "isdigit": "isalpha", "isalpha": "isdigit", "startswith": "endswith", "endswith": "startswith", "values": "keys",
    "isupper": "islower", "islower": "isupper", "sum": "len", "keys": "values",
}  # fmt: skip


_Change = tuple[str, Callable[[Any], ast.AST | None]]


@dataclass(frozen=True)
class Mutation:
    """A change that could be made to a source: its kind, and how to make it."""

    kind: str
    tree: ast.Module
    number: int
    change: Callable[[Any], ast.AST | None]

    def apply(self) -> str | None:
        """The changed source; ``None`` where the change gives no Python, or nothing else than before."""
        changed = _apply(self.tree, self.number, self.change)
        return None if changed == ast.unparse(self.tree) else changed


def mutations(source: str) -> list[Mutation]:
    """All mutations of a source, in a fixed order."""
    tree = syntax.parse(source)
    variables = _variables(tree)
    return [
        Mutation(kind, tree, number, change)
        for number, node in enumerate(ast.walk(tree))
        for kind, change in _changes(node, variables)
    ]


def _apply(tree: ast.Module, number: int, change: Callable[[Any], ast.AST | None]) -> str | None:
    """The source with node `number` of the walk changed: in place, or replaced by what `change` returns."""
    made = copy.deepcopy(tree)
    node = list(ast.walk(made))[number]
    new = change(node)
    if new is not None and new is not node:
        _Swap(node, new).visit(made)
    try:
        text = ast.unparse(ast.fix_missing_locations(made))
        syntax.parse(text)
    except (SyntaxError, ValueError, AttributeError):
        return None
    return text


class _Swap(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> Any:
        return self._new if node is self._old else super().visit(node)


def _changes(node: ast.AST, variables: list[str]) -> Iterator[_Change]:
    yield from _of_expressions(node)
    yield from _of_constants(node)
    yield from _of_statements(node)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in variables:
        for name in variables:
            if name != node.id:
                yield "variable", lambda n, name=name: ast.Name(name, ast.Load())
    if isinstance(node, ast.FunctionDef | ast.If | ast.For | ast.While):
        for i in range(len(node.body)):
            yield from _of_bodies(node, i)


def _of_expressions(node: ast.AST) -> Iterator[_Change]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for new in _COMPARISONS.get(type(node.ops[0]), ()):
            yield "comparison", lambda n, new=new: _set(n, ops=[new()])
    elif isinstance(node, ast.BinOp | ast.AugAssign):
        for new in _OPERATORS.get(type(node.op), ()):
            yield "operator", lambda n, new=new: _set(n, op=new())
        if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.Mult):
            yield "arguments", lambda n: _set(n, left=n.right, right=n.left)
    elif isinstance(node, ast.Call):
        yield from _of_calls(node)
    elif isinstance(node, ast.Subscript | ast.Slice):
        yield from _of_indexes(node)
    else:
        yield from _of_conditions(node)


def _of_conditions(node: ast.AST) -> Iterator[_Change]:
    if isinstance(node, ast.BoolOp):
        new = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield "logic", lambda n, new=new: _set(n, op=new())
        yield "removed", lambda n: n.values[0] if len(n.values) == 2 else _set(n, values=n.values[:-1])
    elif isinstance(node, ast.UnaryOp):
        yield "negation", lambda n: n.operand
    elif isinstance(node, ast.IfExp):
        yield "branches", lambda n: _set(n, body=n.orelse, orelse=n.body)
        yield "negation", lambda n: _set(n, test=ast.UnaryOp(ast.Not(), n.test))
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield "removed", lambda n: _set(n, ifs=[])
        yield "negation", lambda n: _set(n, ifs=[ast.UnaryOp(ast.Not(), n.ifs[0])])


def _of_indexes(node: ast.Subscript | ast.Slice) -> Iterator[_Change]:
    if isinstance(node, ast.Subscript):
        if not isinstance(node.slice, ast.Slice | ast.Constant | ast.UnaryOp):
            yield "index", lambda n: _set(n, slice=ast.BinOp(n.slice, ast.Add(), ast.Constant(1)))
            yield "index", lambda n: _set(n, slice=ast.BinOp(n.slice, ast.Sub(), ast.Constant(1)))
    elif node.lower is not None and node.upper is not None:
        yield "index", lambda n: _set(n, lower=None)
        yield "index", lambda n: _set(n, upper=None)
    elif node.lower is not None or node.upper is not None:
        yield "index", lambda n: _set(n, lower=n.upper, upper=n.lower)


def _of_calls(node: ast.Call) -> Iterator[_Change]:
    called = node.func
    if len(node.args) == 2:
        yield "arguments", lambda n: _set(n, args=n.args[::-1])
    if isinstance(called, ast.Name) and called.id in _CALLS:
        yield "method", lambda n: _set(n, func=ast.Name(_CALLS[n.func.id], ast.Load()))
    if isinstance(called, ast.Attribute) and called.attr in _CALLS:
        yield "method", lambda n: _set(n, func=ast.Attribute(n.func.value, _CALLS[n.func.attr], ast.Load()))
    if isinstance(called, ast.Name) and called.id == "range":
        for sign in (ast.Add, ast.Sub):
            place = min(1, len(node.args) - 1)
            yield "off_by_one", lambda n, sign=sign, place=place: _off(n, place, sign)
    if isinstance(called, ast.Name) and called.id in {"abs", "sorted", "int", "str", "set"} and node.args:
        yield "removed", lambda n: n.args[0]


def _off(node: ast.Call, place: int, sign: type[ast.operator]) -> ast.AST:
    value = node.args[place]
    if isinstance(value, ast.BinOp) and isinstance(value.right, ast.Constant) and value.right.value == 1:
        node.args[place] = value.left  # people forget the 1 more often than they add another
    else:
        node.args[place] = ast.BinOp(value, sign(), ast.Constant(1))
    return node


def _of_constants(node: ast.AST) -> Iterator[_Change]:
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield "constant", lambda n: ast.Constant(not n.value)
    elif isinstance(value, int):
        yield "off_by_one", lambda n: ast.Constant(n.value + 1)
        if value > 0:
            yield "off_by_one", lambda n: ast.Constant(n.value - 1)
        for other in (0, 1, 2, 10):
            if abs(other - value) > 1:
                yield "constant", lambda n, other=other: ast.Constant(other)
    elif isinstance(value, str) and len(value) == 1:
        yield "constant", lambda n: ast.Constant("")
    elif value == "":
        yield "constant", lambda n: ast.Constant(" ")


def _of_statements(node: ast.AST) -> Iterator[_Change]:
    if isinstance(node, ast.If | ast.While):
        if isinstance(node.test, ast.UnaryOp) or not isinstance(node.test, ast.Compare):
            yield "negation", lambda n: _set(n, test=ast.UnaryOp(ast.Not(), n.test))
    if isinstance(node, ast.If) and node.orelse:
        yield "else", lambda n: _set(n, orelse=[])
        yield "branches", lambda n: _set(n, body=n.orelse, orelse=n.body)
    if isinstance(node, ast.If | ast.While) and isinstance(node.test, ast.Compare):
        yield "comparison", lambda n: _set(n, test=ast.Constant(True))
    if isinstance(node, ast.AugAssign):
        yield "operator", lambda n: ast.Assign([n.target], n.value, lineno=n.lineno)
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
        value = node.value.value
        if isinstance(value, int) and not isinstance(value, bool):
            for new in (0, 1, -1):
                yield "initial", lambda n, new=new: _set(n, value=ast.Constant(new))
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
        yield "initial", lambda n: _set(n, value=ast.Constant(0))


def _of_bodies(node: ast.FunctionDef | ast.If | ast.For | ast.While, i: int) -> Iterator[_Change]:
    statement = node.body[i]
    if isinstance(statement, ast.Return) and statement.value is not None:
        if not isinstance(statement.value, ast.Constant):
            yield "return", lambda n: _put(n, i, [ast.Expr(n.body[i].value)])
        if i and isinstance(node.body[i - 1], ast.For | ast.While):
            yield "early_return", lambda n: _into_loop(n, i)
    elif len(node.body) > 1:
        yield "removed", lambda n: _put(n, i, [])
    if len(node.body) == 1 and isinstance(statement, ast.If) and isinstance(node, ast.For | ast.While):
        yield "removed", lambda n: _put(n, i, n.body[i].body)


def _into_loop(node: Any, i: int) -> ast.AST:
    loop = node.body[i - 1]
    loop.body = [*loop.body, node.body[i]]
    node.body = node.body[:i] + node.body[i + 1 :]
    return node


def _put(node: Any, i: int, statements: list[ast.stmt]) -> ast.AST:
    node.body = [*node.body[:i], *statements, *node.body[i + 1 :]]
    return node


def _set(node: Any, **fields: Any) -> ast.AST:
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def _variables(tree: ast.Module) -> list[str]:
    """Parameters and assigned names, in order."""
    names: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            names[node.arg] = None
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id] = None
    return list(names)
