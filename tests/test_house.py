"""The house rules, read off the syntax tree: imports point one way, torch stays in its rooms, files stay small."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evolvent.types import Record

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "evolvent"
MODULES = sorted(SOURCE.rglob("*.py"))

# Rooms and root modules by level (docs/design: "The house"); a module may import its own level and those below.
LEVELS = {
    **dict.fromkeys(["__init__", "types", "errors"], 0),
    **dict.fromkeys(
        [
            "disk",
            "ledger",
            "store",
            "budget",
            "jobs",
            "sandbox",
            "registry",
            "plan",
            "policy",
            "inputs",
            "precheck",
            "environment",
            "witness",
            "endpoint",
            "syntax",
        ],
        1,
    ),
    **dict.fromkeys(["models", "tasks", "scaffold"], 2),
    **dict.fromkeys(["train", "curate", "observe", "judge", "propose", "archive", "memory", "goals"], 3),
    **dict.fromkeys(
        [
            "operators",
            "building",
            "provenance",
            "named",
            "proposers",
            "state",
            "champions",
            "asking",
            "standing",
            "people",
            "steering",
            "limits",
            "dev",
            "loop",
            "trial",
            "run",
            "recipes",
            "serve",
            "report",
            "audit",
        ],
        4,
    ),
    **dict.fromkeys(["cli", "demo", "__main__", "testing"], 5),
}
# On one level, who must not import whom.
FORBIDDEN = {
    "models": {"tasks", "scaffold"},
    "tasks": {"models", "scaffold"},
    "scaffold": {"models", "tasks"},
    "judge": {"train", "curate"},
    "train": {"judge"},
    "curate": {"judge"},
    "propose": {"models", "tasks", "scaffold"},
    "archive": {"models", "tasks", "scaffold"},
    "memory": {"models", "tasks", "scaffold"},
    "goals": {"models", "tasks", "scaffold"},
    "operators": {"loop", "recipes", "serve"},
    "loop": {"recipes", "serve"},
    "serve": {"loop", "recipes", "operators"},
}
HEAVY = {"torch", "transformers"}
HEAVY_ROOMS = {"models", "train", "observe"}

MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 400, 60, 8
# What is over a size guide: measured number and reason. May only shrink; an entry no longer needed fails the test.
ALLOWED: dict[str, tuple[int, str]] = {}


def room(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Dotted names of everything that a module imports, wherever in it; relative imports made absolute."""
    package = ["evolvent", *path.relative_to(SOURCE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    parts = [name.split(".") for name in imported(path)]
    # `from evolvent import __version__` names no room: it is the package itself.
    return {p[1] if (SOURCE / p[1]).is_dir() or (SOURCE / f"{p[1]}.py").is_file() else "__init__"
            for p in parts if p[0] == "evolvent" and len(p) > 1}  # fmt: skip


def test_modules_are_found() -> None:
    assert len(MODULES) >= 8, "the house test looks at an empty folder"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_one_way(path: Path) -> None:
    own = room(path)
    assert own in LEVELS, f"'{own}' is a new room: give it a level"
    for other in rooms_imported(path) - {own}:
        assert LEVELS[other] <= LEVELS[own], f"{path.name} (level {LEVELS[own]}) imports up: {other}"
        assert other not in FORBIDDEN.get(own, set()), f"{own} must not import {other}"


def test_imports_have_no_cycle_between_rooms() -> None:
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        graph.setdefault(room(path), set()).update(rooms_imported(path) - {room(path)})
    while leaves := [name for name, others in graph.items() if not others & graph.keys()]:
        for name in leaves:
            del graph[name]
    assert not graph, f"rooms that import each other: {sorted(graph)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_torch_stays_in_its_rooms(path: Path) -> None:
    heavy = {name.split(".")[0] for name in imported(path)} & HEAVY
    assert not heavy or room(path) in HEAVY_ROOMS, f"{path.name} imports {sorted(heavy)}"


@pytest.mark.parametrize("path", [SOURCE / "types.py", SOURCE / "errors.py"], ids=lambda p: p.name)
def test_level_zero_is_standard_library_only(path: Path) -> None:
    outside = {name.split(".")[0] for name in imported(path)} - sys.stdlib_module_names - {"evolvent"}
    assert not outside


def measured() -> Iterator[tuple[str, int, int]]:
    """Everything with a size guide: its name, its size, the guide."""
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        name = str(path.relative_to(SOURCE))
        yield name, len(text.splitlines()), MAX_FILE_LINES
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield f"{name}:{node.name}", lines, MAX_FUNCTION_LINES
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                count = sum(argument.arg not in {"self", "cls"} for argument in arguments)
                yield f"{name}:{node.name}()", count, MAX_PARAMETERS


def test_sizes_only_shrink() -> None:
    over: dict[str, int] = {}
    for name, size, guide in measured():
        if size > guide:
            over[name] = max(size, over.get(name, 0))
    # The command line's options are its parameters: Typer reads them from the signature.
    over = {name: size for name, size in over.items() if not (name.startswith("cli") and name.endswith("()"))}
    new = {name: size for name, size in over.items() if size > ALLOWED.get(name, (0, ""))[0]}
    assert not new, f"over the size guides (400 lines, 60 a function, 8 parameters): {new}"
    stale = {name: bound for name, (bound, _reason) in ALLOWED.items() if over.get(name, 0) < bound}
    assert not stale, f"smaller now: lower or remove in ALLOWED: {stale}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path.name} has no docstring"


def test_every_record_field_has_a_line() -> None:
    importlib.import_module("evolvent.jobs")
    records = {cls for cls in Record.__subclasses__() if cls.__module__.startswith("evolvent.")}
    assert len(records) >= 10, "records were not found"
    for cls in records:
        assert cls.__doc__, f"{cls.__name__} has no docstring"
        described = set(re.findall(r"^\s+(\w+): ", cls.__doc__.partition("Attributes:")[2], re.MULTILINE))
        missing = {field.name for field in dataclasses.fields(cls)} - described
        assert not missing, f"{cls.__name__}: fields without a line: {sorted(missing)}"


def test_nothing_is_left_undone() -> None:
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    assert [str(p) for p in MODULES if marks.search(p.read_text(encoding="utf-8"))] == []
