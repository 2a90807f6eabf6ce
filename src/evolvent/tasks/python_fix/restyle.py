"""Changes of form that keep the meaning, so that two functions of a family rarely look alike.

Each is tried with a small chance at each place where it fits.

Not here: changes of meaning (`mutate.py`).
"""

from __future__ import annotations

import ast
import random

from evolvent import syntax

_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE, ast.Eq: ast.Eq, ast.NotEq: ast.NotEq,
}  # fmt: skip
_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def restyle(source: str, rng: random.Random) -> str:
    """The same function in another form."""
    tree = syntax.parse(source)
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    _Style(rng).visit(function)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | {a.arg for a in function.args.args}
    _name_the_result(function, names, rng)
    _name_the_length(function, names, rng)
    return ast.unparse(ast.fix_missing_locations(tree))


class _Style(ast.NodeTransformer):
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """``c += e`` as ``c = c + e``."""
        if not isinstance(node.target, ast.Name) or self._rng.random() > 0.3:
            return node
        left = ast.Name(node.target.id, ast.Load())
        return ast.Assign([node.target], ast.BinOp(left, node.op, node.value), lineno=node.lineno)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """``a < b`` as ``b > a``; both sides of ours are free of effects."""
        self.generic_visit(node)
        if len(node.ops) == 1 and type(node.ops[0]) in _FLIPPED and self._rng.random() < 0.15:
            return ast.Compare(node.comparators[0], [_FLIPPED[type(node.ops[0])]()], [node.left])
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        """Branches the other way round under the opposite condition."""
        self.generic_visit(node)
        plain = node.orelse and not isinstance(node.orelse[0], ast.If)
        if plain and not isinstance(node.body[0], ast.If) and self._rng.random() < 0.25:
            return ast.If(_negated(node.test), node.orelse, node.body)
        return node


def _negated(test: ast.expr) -> ast.expr:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and type(test.ops[0]) in _OPPOSITE:
        return ast.Compare(test.left, [_OPPOSITE[type(test.ops[0])]()], test.comparators)
    return ast.UnaryOp(ast.Not(), test)


def _fresh(names: set[str], rng: random.Random, pool: tuple[str, ...]) -> str | None:
    free = [name for name in pool if name not in names]
    return rng.choice(free) if free else None


def _name_the_result(function: ast.FunctionDef, names: set[str], rng: random.Random) -> None:
    last = function.body[-1]
    if not isinstance(last, ast.Return) or isinstance(last.value, ast.Name | ast.Constant) or rng.random() > 0.2:
        return
    name = _fresh(names, rng, ("result", "answer", "out", "final", "value"))
    if name is not None and last.value is not None:
        names.add(name)
        assign = ast.Assign([ast.Name(name, ast.Store())], last.value, lineno=last.lineno)
        function.body[-1:] = [assign, ast.Return(ast.Name(name, ast.Load()))]


def _name_the_length(function: ast.FunctionDef, names: set[str], rng: random.Random) -> None:
    """``len(xs)`` of a parameter that never changes, computed once at the top."""
    changed = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for parameter in function.args.args:
        uses = [node for node in ast.walk(function) if _is_length(node, parameter.arg)]
        if not uses or parameter.arg in changed or rng.random() > 0.25:
            continue
        name = _fresh(names, rng, ("size", "length", "count_of", "width", "n_items"))
        if name is not None:
            names.add(name)
            _Replace(parameter.arg, name).visit(function)
            value = syntax.parse(f"{name} = len({parameter.arg})").body[0]
            function.body.insert(0, value)


def _is_length(node: ast.AST, of: str) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "len"
        and isinstance(node.args[0], ast.Name)
        and node.args[0].id == of
    )


class _Replace(ast.NodeTransformer):
    def __init__(self, of: str, name: str) -> None:
        self._of, self._name = of, name

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        return ast.Name(self._name, ast.Load()) if _is_length(node, self._of) else node
