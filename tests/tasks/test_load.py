"""Tasks by name, or by module and attribute."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from evolvent import registry, tasks
from evolvent.errors import UsageError

BROKEN = SimpleNamespace(skills=())


def explode() -> object:
    raise RuntimeError("no data here")


@pytest.mark.parametrize("name", ["logic", "sql_migration", "strings"])
def test_registered_tasks_keep_the_contract(name: str) -> None:
    task = tasks.load(name)
    assert name in registry.names(registry.TASKS)
    assert task.name == name
    assert len(task.skills) >= 2
    assert task.max_output_tokens > 0
    assert task.filter in ("verified", "cycle", "feedback")
    assert all(task.axes.values())


def test_an_extra_that_is_missing_is_named() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from evolvent import tasks\n"
        "try: tasks.load('sql_migration_postgres')\n"
        "except Exception as exc: print(type(exc).__name__, exc)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("UsageError")
    assert "pip install 'evolvent[postgres]'" in said


def test_a_class_of_a_module_is_a_task_too() -> None:
    assert tasks.load("evolvent.tasks.strings:Strings").name == "strings"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sql_migraton", "did you mean 'sql_migration'"),
        ("test_load:BROKEN", "expected a Task .* lacks axes, attacks, max_output_tokens"),
        ("test_load:explode", "calling it raised RuntimeError: no data here"),
        ("no.such.module:x", "does not load"),
    ],
)
def test_what_is_no_task_is_explained(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        tasks.load(name)
