"""The label firewall, read off the syntax tree and off the problems themselves."""

from __future__ import annotations

import ast
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from evolvent.tasks import logic, python_fix, sql_migration, strings
from evolvent.tasks.logic.reference import reference as steps
from evolvent.tasks.sql_migration.reference import reference as migration
from evolvent.tasks.strings.reference import reference as truth

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "evolvent"
GENERATING = ("curate", "train", "operators", "propose", "observe", "models", "scaffold", "memory")
JUDGES_WORDS = re.compile(r"\b(gate|sealed|evidence|secret|judge)\b")
# Who may read a reference answer, and why.
READERS = {
    "src/evolvent/tasks/strings/__init__.py": "its verifier computes the answer; never a filter (`filter` is cycle)",
    "src/evolvent/trial.py": "labelled base data of its tiny seeds, as its docstring declares",
    "src/evolvent/recipes/strings_seed.py": "labelled easy data of the recipes' seed, declared oracle arms, reports",
    "src/evolvent/recipes/python_start.py": "true fixes for declared oracle arms",
    "examples/06_planted_violation.py": "trains its two seeds, one of them on spoiled answers",
    "scripts/train_seed.py": "trains the seed, the only labels that there ever are",
    "scripts/train_python_seed.py": "the same for `python_fix`",
    "benchmarks/curation.py": "the declared oracle of its second check, never of the filter",
    "benchmarks/length.py": "labelled base data and the declared oracle arm",
    "benchmarks/hostile/battery_verifiers.py": "right answers, to be spoiled or not to be turned away",
    "benchmarks/hostile/honest.py": "right answers, to be spoiled or not to be turned away",
    "benchmarks/hostile/sql.py": "right answers, to be spoiled or not to be turned away",
    "benchmarks/retrieval.py": "trains the model that is taught to read examples, and gives it gold to go by",
    "benchmarks/selfimprove.py": "the declared oracle arm",
}


def python_files(*folders: str) -> list[Path]:
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py") if ".cache" not in p.parts)


def imported(path: Path) -> Iterator[str]:
    """Dotted names that a module imports, wherever in it, and dotted names in its texts (registry targets)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
            yield from re.findall(r"\bevolvent(?:\.\w+)+", node.value)


def rooms(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("evolvent.")}


def test_the_files_are_found() -> None:
    assert len(python_files("src")) > 60
    for room in GENERATING:
        assert list((SOURCE / room).glob("*.py")), room


def test_reference_answers_are_read_by_name_only() -> None:
    readers = set()
    for path in python_files("src", "scripts", "benchmarks", "examples"):
        names = list(imported(path))
        if any("reference" in name.split(".") for name in names if "tasks" in name):
            readers.add(str(path.relative_to(ROOT)))
    assert readers <= READERS.keys(), f"reads reference answers: {sorted(readers - READERS.keys())}"
    assert {r for r in READERS if (ROOT / r).is_file()} <= readers, "reads none any more: take it off the list"


def test_benchmarks_that_read_labels_say_so() -> None:
    for name in READERS:
        if name.startswith("benchmarks/") and (ROOT / name).is_file():
            docstring = ast.get_docstring(ast.parse((ROOT / name).read_text(encoding="utf-8"))) or ""
            assert "declared" in docstring, name


@pytest.mark.parametrize("room", GENERATING)
def test_the_generating_side_knows_no_judge(room: str) -> None:
    for path in sorted((SOURCE / room).rglob("*.py")):
        assert not rooms(path) & {"judge", "ledger", "run", "loop", "audit", "report"}, path


@pytest.mark.parametrize("room", ["curate", "train", "operators", "observe", "scaffold"])
def test_the_generating_side_names_no_split_and_no_folder_of_the_judge(room: str) -> None:
    for path in sorted((SOURCE / room).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                assert not JUDGES_WORDS.search(node.value), f"{path}: {node.value!r}"


def test_the_worker_has_no_store_and_no_task_answers() -> None:
    assert not rooms(SOURCE / "observe" / "worker.py") & {"store", "ledger", "judge", "jobs", "curate", "train"}


def statements(script: str) -> list[str]:
    return [part.strip() for part in script.split(";") if part.strip()]


def test_a_migration_problem_carries_no_answer() -> None:
    task, rng, hidden = sql_migration.SqlMigration(), random.Random(1), 0
    problems = [p for skill in task.skills for p in task.generate(skill, rng, 200)]
    problems += [p for tier in ("alter", "rebuild") for p in task.challenge({"tier": tier}, rng, 100)]
    for problem in problems:
        text = json.dumps(problem.plain(), ensure_ascii=False)
        for statement in statements(migration(problem)):
            if statement not in problem.given["after"]:  # what B itself states is the question
                hidden += 1
                assert statement not in text, statement
    assert hidden > 500


def test_a_string_problem_carries_no_answer() -> None:
    task = strings.Strings()
    for problem in task.generate("long", random.Random(1), 200):
        answer = truth(problem)
        assert answer == problem.prompt[:-1] or answer not in json.dumps(problem.plain())


def test_a_logic_problem_carries_no_answer() -> None:
    task = logic.Logic()
    for problem in [p for skill in task.skills for p in task.generate(skill, random.Random(1), 200)]:
        assert steps(problem) not in problem.prompt
        assert problem.given == {}


def test_only_verifiers_that_read_no_answer_may_filter() -> None:
    assert sql_migration.SqlMigration().filter == "verified"
    assert logic.Logic().filter == "verified"
    assert not any("reference" in ".".join(imported(p)) for p in (SOURCE / "tasks" / "logic").glob("*.py"))
    assert strings.Strings().filter == "cycle"
    assert python_fix.PythonFix().filter == "feedback"
    tree = ast.parse((SOURCE / "tasks" / "sql_migration" / "verify.py").read_text(encoding="utf-8"))
    assert not any("reference" in ast.dump(node) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
