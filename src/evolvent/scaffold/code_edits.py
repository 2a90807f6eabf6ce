"""Small changes to programs in Python, made on their syntax tree: nothing is run here.

A number, text or comparison is changed, a condition turned round, a statement left out, moved or said twice, or one
program's statement put into another. What comes out is Python that `code.parsed` accepts; whether it does anything
sensible is for the dev problems and the judge to see. Most edits of a program break it or change nothing, and that is
cheap to find out.

Pure functions of their arguments and the generator.
"""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Callable, Mapping
from typing import Any

from evolvent.scaffold.code import TEMPERATURES, parsed

__all__ = ["TRIES", "mutated"]

TRIES = 64
Code = dict[str, Any]


def mutated(scaffold: Mapping[str, Any], rng: random.Random, partner: Mapping[str, Any] | None = None) -> Code:
    """A program that is one edit away, which `grammar.check` accepts; the same where none was found.

    Args:
        scaffold: of kind ``code``.
        rng: draws the edit.
        partner: may lend a statement, with the tools that it names.
    """
    lent = parsed(partner["source"]) if partner else None
    before = ast.dump(parsed(scaffold["source"]))
    for _ in range(TRIES):
        tree, edit = parsed(scaffold["source"]), rng.choice(_EDITS)
        try:
            if not edit(tree, lent or tree, rng):
                continue
            source = ast.unparse(ast.fix_missing_locations(tree)) + "\n"
            changed = ast.dump(parsed(source)) != before
        except (ValueError, RecursionError):  # no program, or one so deep that it cannot be copied
            continue
        if changed:
            tools = sorted({*scaffold["tools"], *(partner["tools"] if partner and edit is _graft else ())})
            return {"kind": "code", "answers": scaffold["answers"], "tools": tools, "source": source}
    return dict(scaffold)


def _blocks(tree: ast.AST) -> list[list[ast.stmt]]:
    """All lists of statements, the module's own left out: its functions stay."""
    found: list[list[ast.stmt]] = []
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block and not isinstance(node, ast.Module):
                found.append(block)
    return found


def _constant(tree: ast.Module, _: ast.Module, rng: random.Random) -> bool:
    """Another number near by, or another temperature."""
    places = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and _turnable(n.value)]
    if not places:
        return False
    node = rng.choice(places)
    if isinstance(node.value, str):
        node.value = rng.choice([t for t in TEMPERATURES if t != node.value])
    else:
        assert isinstance(node.value, int)
        node.value = max(0, rng.choice((node.value - 1, node.value + 1, node.value // 2, 2 * node.value)))
    return True


def _turnable(value: object) -> bool:
    return type(value) is int or value in TEMPERATURES


def _comparison(tree: ast.Module, _: ast.Module, rng: random.Random) -> bool:
    """Another comparison, or the condition turned round."""
    places = [n for n in ast.walk(tree) if isinstance(n, ast.If | ast.IfExp)]
    if not places:
        return False
    node = rng.choice(places)
    if isinstance(node.test, ast.Compare) and isinstance(node.test.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):
        node.test.ops[0] = rng.choice((ast.Lt, ast.LtE, ast.Gt, ast.GtE))()
    else:
        node.test = ast.UnaryOp(op=ast.Not(), operand=node.test)
    return True


def _drop(tree: ast.Module, _: ast.Module, rng: random.Random) -> bool:
    """A statement left out."""
    blocks = [block for block in _blocks(tree) if len(block) > 1]
    if blocks:
        block = rng.choice(blocks)
        del block[rng.randrange(len(block))]
    return bool(blocks)


def _swap(tree: ast.Module, _: ast.Module, rng: random.Random) -> bool:
    """Two neighbours change places."""
    blocks = [block for block in _blocks(tree) if len(block) > 1]
    if blocks:
        block = rng.choice(blocks)
        place = rng.randrange(len(block) - 1)
        block[place], block[place + 1] = block[place + 1], block[place]
    return bool(blocks)


def _graft(tree: ast.Module, lent: ast.Module, rng: random.Random) -> bool:
    """A statement of another program, or of this one, somewhere in it."""
    block = rng.choice(_blocks(tree))
    given = copy.deepcopy(rng.choice(rng.choice(_blocks(lent))))
    block.insert(rng.randint(0, len(block)), given)
    return True


_EDITS: tuple[Callable[[ast.Module, ast.Module, random.Random], bool], ...] = (
    _constant, _constant, _comparison, _drop, _swap, _graft,
)  # fmt: skip
