"""A history's steps become problems without their migrations; variants ask for the same under other names."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from evolvent.errors import UsageError
from evolvent.tasks.sql_migration.history import FIELDS, History, read_step, write_steps
from evolvent.types import Problem

TABLE = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, timestamp TIMESTAMP)"
ADD: dict[str, Any] = {
    "name": "add", "before_schema": TABLE, "after_schema": TABLE[:-1] + ", b TEXT)",
    "migration_sql": "-- new\nALTER TABLE t ADD COLUMN b TEXT;",
}  # fmt: skip
RENAME = {
    **ADD, "name": "rename", "after_schema": TABLE.replace(" a ", " c "),
    "migration_sql": "ALTER TABLE t RENAME COLUMN a TO c",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"after_schema": TABLE}, "schema unchanged"),
        ({"before_schema": "CREATE TABLE t (id REFERENCES"}, "does not stand alone"),
        ({"migration_sql": "ALTER TABLE t ADD COLUMN wrong TEXT"}, "does not pass alone"),
        ({"migration_sql": "DROP TABLE t;" * 40}, "migration over"),
        ({"after_schema": "CREATE TABLE t (" + ", ".join(f"column_{i} TEXT" for i in range(60)) + ")"}, "over 600"),
    ],
)
def test_what_is_left_out_says_why(changes: dict[str, str], reason: str) -> None:
    made = read_step({**ADD, **changes})
    assert isinstance(made, str)
    assert reason in made


def test_a_step_becomes_a_problem_without_its_migration() -> None:
    made = read_step(RENAME)
    assert isinstance(made, Problem)
    assert made.given["renames"] == [["t.a", "t.c"]]
    assert "ALTER" not in str(made.plain())


def test_variants_are_well_posed_differ_and_keep_the_lineage(tmp_path: Path) -> None:
    assert write_steps([ADD, RENAME, {**ADD, "after_schema": TABLE}], tmp_path / "s") == {
        "in": 2,
        "schema unchanged": 1,
    }
    task = History.read(tmp_path / "s")
    problems = task.generate("own", random.Random(3), 40)
    assert len({p.prompt for p in problems}) > 30
    assert {p.tags["step"] for p in problems} == {"add", "rename"}
    assert [p.plain() for p in problems] == [p.plain() for p in task.generate("own", random.Random(3), 40)]
    for problem in problems:
        assert task.well_posed(problem)
        if problem.tags["step"] == "rename":
            ((old, new),) = problem.given["renames"]
            table, column = old.split(".")
            right = f"ALTER TABLE {table} RENAME COLUMN {column} TO {new.split('.')[1]}"
            assert task.verify(problem, right, 1).correct
            assert not task.verify(problem, right + "; DELETE FROM " + table, 1).correct
    one = task.challenge({"step": "1"}, random.Random(0), 5)
    assert {p.tags["step"] for p in one} == {"rename"}
    assert {p.skill for p in task.generate("single", random.Random(0), 3)} == {"single"}


def test_a_file_that_is_no_history_is_refused(tmp_path: Path) -> None:
    for text in ("{}", "nonsense", ""):
        (tmp_path / "s").write_text(text)
        with pytest.raises(UsageError, match="expected"):
            History.read(tmp_path / "s")
    with pytest.raises(UsageError, match="expected lines"):
        History.read(tmp_path / "absent")


def test_a_row_needs_its_fields() -> None:
    for name in FIELDS:
        with pytest.raises(UsageError, match=name):
            read_step({key: value for key, value in ADD.items() if key != name})
