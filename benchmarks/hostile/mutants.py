"""Mutants of what decides: one small change to gate, statistics, bench or a verifier, and a battery that must notice.

A mutant is made on the syntax tree (a comparison, an operator, a constant, a returned value, a condition, a call left out) and
lives in a child process; no file changes. The battery (`battery_*.py`) knows references, formulas written down a second time in
the audit, and answers that are right or wrong by construction. It never compares with the unmutated code.

Not here: judges spoiled on purpose (`sabotage.py`). A mutant that means the same as the original is named in `EQUIVALENT`
with the reason, and is not counted.
"""

from __future__ import annotations

import ast
import importlib
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from evolvent.sandbox import namespaces
from hostile import battery_bench, battery_judge, battery_verifiers

__all__ = ["EQUIVALENT", "TARGETS", "Mutant", "Target", "equivalent", "mutants", "run_mutants"]

_MUTANT_S = 60.0
_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.RShift: ast.LShift,
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A module under mutation.

    Attributes:
        name: dotted.
        dependents: modules that hold names of it, in the order of importing; they are executed again after it.
        battery: raises what it notices.
        left_out: functions that decide nothing (starting, ending, words for people), and are not mutated.
        boxed: the battery holds hostile text that a mutant may let through, so it runs in a box.
    """

    name: str
    dependents: tuple[str, ...]
    battery: Callable[[], None]
    left_out: tuple[str, ...] = ()
    boxed: bool = False


@dataclass(frozen=True)
class Mutant:
    """One change: what and where in words, the source, which of its places, and what is done there."""

    label: str
    source: str
    place: int
    change: Callable[[Any], None]

    def tree(self) -> ast.Module:
        """The source's tree with the change."""
        made = ast.parse(self.source)
        self.change(next(node for i, (node, _) in enumerate(_places(made)) if i == self.place))
        return ast.fix_missing_locations(made)


TARGETS = {
    "gate": Target(name="evolvent.judge.gate", dependents=("evolvent.judge.server",), battery=battery_judge.gate),
    "stats": Target(
        name="evolvent.judge.stats",
        dependents=("evolvent.judge.gate", "evolvent.judge.server"),
        battery=battery_judge.stats_and_gate,
        left_out=("wilson", "clopper_pearson", "newcombe_paired", "_pair_correlation", "smallest_effect"),
    ),
    "bench": Target(
        name="evolvent.judge.bench",
        dependents=("evolvent.judge.server",),
        battery=battery_bench.bench,
        left_out=("Bench.warm", "TwinBench.warm", "Bench.__exit__", "TwinBench.__exit__", "TwinBench.close"),
    ),
    "sql": Target(
        name="evolvent.tasks.sql_migration.verify",
        dependents=("evolvent.tasks.sql_migration",),
        battery=battery_verifiers.sql,
        boxed=True,
    ),
    "python": Target(
        name="evolvent.tasks.python_fix.verify",
        dependents=("evolvent.tasks.python_fix",),
        battery=battery_verifiers.python,
        left_out=("_gave", "_line", "Trial"),
    ),
}
# By what its label begins with and holds, its column where other mutants of the line are faults: why it is none. Read
# against the code, entry by entry, by somebody who had not written the list.
EQUIVALENT: dict[tuple[str, str], str] = {
    ("Bench._solves: left out", "print("): "words for people",
    ("Bench._solves: returns nothing", "return False"): "None becomes False in the array of outcomes",
    ("Bench.__init__: one more", "threads: int = 1"): "how fast, not what",
    ("Bench.__init__: half as much again", "timeout_s"): "a worker that does not answer is replaced later",
    ("TwinBench.__init__: one more", "max_workers=1"): "one thread of two is never used: the first half is waited for",
    ("Bench.repeats: the other truth", "strict=True"): "`_outputs` refuses another number of texts",
    ("Bench.clear: left out", "self._texts.clear()"): "memory only: texts are written again with the outcome",
    ("module: one more", "_MAX_ANSWER_BYTES"): "a limit one byte further",
    ("module: half as much again", "_START_TIMEOUT_S"): "a worker that does not start is given up later",
    (
        "_fault: the other truth",
        "strict=True",
    ): "an outcome that is `ok` has as many results as calls, by its own contract",
    (
        "_steady: the other truth",
        "strict=True",
    ): "an outcome that is `ok` has as many results as calls, by its own contract",
    ("_same: returns nothing", "return False"): "None is read as False",
    ("_equal: returns nothing", "return False"): "None is read as False",
    ("_equal: the other truth", "return False"): "never reached: `_call_result` has decoded the value before",
    ("_Test.read: Sub to Add", "len(path) - 1"): "a slice past the end is the whole path",
    ("module: one more", "_REMEMBERED"): "the size of a cache",
    (
        "Bench.score: the other truth",
        "strict=True",
    ): "`_outputs` refuses another number of texts; a block is made with as many seeds as problems",
    ("_hidden: Add to Sub", "@39"): "no valid statement ends with these words",
    ("_hidden: Lt to LtE", "i + 1 < len(found_words)"): "no valid statement ends with these words",
    ("_run: one more", "set_progress_handler(None, 0)"): "a handler that is taken off has no period",
    ("_refuse: not raised", ""): "another error instead, which the engine reports alike",
    ("_probe: one more", ""): "other hidden rows of the same kind, no less distinct",
    ("module: one more", "_LONGEST_FAILURE"): "how much of a failure a testing program is shown; no verdict reads it",
    ("module: one more", "MAX_VM_STEPS"): "not even one look more: 400,001 // 100 is 4,000 too",
}


def equivalent(label: str) -> str:
    """Why a mutant is no fault; empty if it is one."""
    return next((why for (begins, holds), why in EQUIVALENT.items() if label.startswith(begins) and holds in label), "")


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module's source, in order."""
    lines = source.splitlines()
    tree = ast.parse(source)
    for number, (node, parent) in enumerate(_places(tree)):
        for what, change in _changes(node, parent):
            label = f"{_function(tree, node)}: {what}: {lines[node.lineno - 1].strip()[:120]} @{node.col_offset}"
            yield Mutant(label, source, number, change)


def _places(tree: ast.Module) -> Iterator[tuple[Any, ast.AST | None]]:
    """Nodes that may change, with their parents; no docstrings, annotations, decorators, messages, or names of the module."""
    waiting: list[tuple[ast.AST, ast.AST | None]] = [(tree, None)]
    while waiting:
        node, parent = waiting.pop(0)
        if isinstance(node, ast.JoinedStr | ast.alias | ast.Assert):
            continue
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            continue
        if hasattr(node, "lineno"):
            yield node, parent
        if isinstance(node, ast.Raise):
            continue
        for field, value in ast.iter_fields(node):
            if field in {
                "annotation",
                "returns",
                "decorator_list",
                "type_params",
                "bases",
                "keywords",
            } and not isinstance(node, ast.Call):
                continue
            waiting += [
                (child, node) for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)
            ]


def _function(tree: ast.Module, node: Any) -> str:
    inside = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.lineno <= node.lineno <= (n.end_lineno or 0)
    ]
    return ".".join(n.name for n in sorted(inside, key=lambda n: n.lineno)) or "module"


def _changes(node: Any, parent: ast.AST | None) -> Iterator[tuple[str, Callable[[Any], None]]]:
    match node:
        case ast.Compare() if type(node.ops[0]) in _COMPARE:
            other = _COMPARE[type(node.ops[0])]
            yield f"{type(node.ops[0]).__name__} to {other.__name__}", lambda n: n.ops.__setitem__(0, other())
        case ast.BinOp() if type(node.op) in _BINARY:
            other_op = _BINARY[type(node.op)]
            yield f"{type(node.op).__name__} to {other_op.__name__}", lambda n: setattr(n, "op", other_op())
        case ast.BoolOp():
            swapped = ast.Or if isinstance(node.op, ast.And) else ast.And
            yield f"to {swapped.__name__}", lambda n: setattr(n, "op", swapped())
        case ast.UnaryOp() if isinstance(node.op, ast.Not | ast.USub):
            yield (
                "sign or not left out",
                lambda n: (
                    setattr(n, "op", ast.UAdd() if isinstance(n.op, ast.USub) else ast.Not())
                    or (setattr(n, "operand", ast.UnaryOp(ast.Not(), n.operand)) if isinstance(n.op, ast.Not) else None)
                ),
            )
        case ast.Constant() if isinstance(node.value, bool):
            yield "the other truth", lambda n: setattr(n, "value", not n.value)
        case ast.Constant() if isinstance(node.value, int):
            yield "one more", lambda n: setattr(n, "value", n.value + 1)
        case ast.Constant() if isinstance(node.value, float):
            yield "half as much again", lambda n: setattr(n, "value", n.value * 1.5 or 0.5)
        case ast.Constant() if isinstance(node.value, str) and isinstance(
            parent, ast.Compare | ast.Set | ast.List | ast.Return
        ):
            yield "another word", lambda n: setattr(n, "value", n.value + "x")
        case ast.Return() if node.value is not None and not (
            isinstance(node.value, ast.Constant) and node.value.value is None
        ):
            yield "returns nothing", lambda n: setattr(n, "value", ast.Constant(None))
        case ast.If() | ast.While() | ast.IfExp():
            yield "the other way", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
        case ast.Expr() if isinstance(node.value, ast.Call):
            yield "left out", lambda n: setattr(n, "value", ast.Constant(None))
        case ast.Raise() if node.exc is not None:
            yield (
                "not raised",
                lambda n: n.__dict__.update(exc=ast.Call(ast.Name("Warning", ast.Load()), [], []), cause=None),
            )


def run_mutants(target: Target, most: int, seed: int) -> dict[str, Any]:
    """Make mutants of a module, and ask its battery about each.

    Returns:
        How many were made, caught, and left out as equivalent, and the labels of those that survived.

    Raises:
        RuntimeError: the unmutated module does not pass its own battery.
    """
    modules = [target.name, *target.dependents]
    sources = {name: _source(name) for name in modules}
    original = ast.parse(sources[target.name])
    if (said := _asked(target, sources, original)) is not None:
        raise RuntimeError(f"{target.name}: the battery does not pass the original: {said}")
    made = [m for m in mutants(sources[target.name]) if not m.label.startswith(target.left_out or ("\0",))]
    chosen = made if len(made) <= most else random.Random(seed).sample(made, most)
    skipped = [f"{mutant.label}: {equivalent(mutant.label)}" for mutant in chosen if equivalent(mutant.label)]
    tried = [mutant for mutant in chosen if not equivalent(mutant.label)]
    survivors = [mutant.label for mutant in tried if _asked(target, sources, mutant.tree()) is None]
    return {
        "possible": len(made),
        "tried": len(tried),
        "caught": len(tried) - len(survivors),
        "equivalent": skipped,
        "survivors": survivors,
    }


def _source(name: str) -> str:
    path = importlib.import_module(name).__file__
    assert path is not None, f"{name} has no file"
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def _asked(target: Target, sources: dict[str, str], tree: ast.Module) -> str | None:
    """What the battery says of a tree, in a child; None if it noticed nothing."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        _child(target, sources, tree, tell)
    os.close(tell)
    deadline, said = time.monotonic() + _MUTANT_S, b""
    while (left := deadline - time.monotonic()) > 0 and select.select([told], [], [], left)[0]:
        chunk = os.read(told, 4096)
        if not chunk:
            break
        said += chunk
    os.close(told)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.waitpid(pid, 0)
    return None if said == b"ok" else said.decode(errors="replace") or "no end, or no word"


def _child(target: Target, sources: dict[str, str], tree: ast.Module, tell: int) -> None:
    said = b"ok"
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        if target.boxed:
            namespaces.enter(namespaces.standard_library())
            namespaces._mount("box", "/tmp", "tmpfs", 2 | 4, "size=64m,mode=777")
            os.chdir("/tmp")
        for name in (target.name, *target.dependents):
            code = tree if name == target.name else ast.parse(sources[name])
            exec(compile(code, f"<mutant of {name}>", "exec", dont_inherit=True), vars(sys.modules[name]))
        target.battery()
    except BaseException as exc:
        said = (f"{type(exc).__name__}: {exc} " + " ".join(traceback.format_exc().split()[-60:])).encode()[:1000]
    finally:
        os.write(tell, said)
        os._exit(0)
