"""The registry: names lead to components, and a wrong name to the nearest right one."""

from __future__ import annotations

import math
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from evolvent import registry
from evolvent.errors import UsageError


def test_every_entry_point_of_the_project_is_listed() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    groups = tomllib.loads(text)["project"]["entry-points"]
    assert "sql_migration" in groups[registry.TASKS]
    for group, entries in groups.items():
        assert registry.names(group) == sorted(entries)
    assert registry.names("evolvent.nothing") == []


def test_installed_entry_points_count(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = metadata.EntryPoints([metadata.EntryPoint("root", "math:sqrt", "evolvent.plugin")])
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries.select(group=group))
    assert registry.names("evolvent.plugin") == ["root"]
    assert registry.load("evolvent.plugin", "root") is math.sqrt


def test_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'sql_migration'"):
        registry.load(registry.TASKS, "sql_migrations")
    with pytest.raises(UsageError, match=r"there is: .*sql_migration"):
        registry.load(registry.TASKS, "zzz")
    with pytest.raises(UsageError, match="there is: nothing"):
        registry.load("evolvent.nothing", "x")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("math", "expected 'package.module:name'"),
        (":sqrt", "expected 'package.module:name'"),
        ("math:", "expected 'package.module:name'"),
        ("math:sqrt()", "expected 'package.module:name'"),
        ("evolvent.nowhere:x", "does not load"),
        ("math:sqr", "did you mean 'sqrt'"),
    ],
)
def test_unusable_target_says_why(target: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        registry.resolve(target)
