"""Settings: strict, explained, hashed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evolvent.errors import UsageError
from evolvent.plan import load, parse

GOOD: dict[str, Any] = {"task": "strings", "model": "m", "plan": {"target": "a", "protected": {"a": 5, "b": 8}}}


def with_plan(**changes: Any) -> dict[str, Any]:
    return {**GOOD, "plan": {**GOOD["plan"], **changes}}


def test_defaults_are_filled_in() -> None:
    settings = parse(GOOD, "x")
    assert settings.plan.alpha_safety == "0.05"
    assert settings.budget.flops == 0
    assert parse(settings.model_dump(), "x") == settings


def test_the_same_settings_are_the_same_run() -> None:
    assert parse(GOOD, "x").run_id == parse(dict(reversed(GOOD.items())), "y").run_id
    assert parse(GOOD, "x").run_id != parse({**GOOD, "seed": 1}, "x").run_id


def test_the_hash_of_the_plan_is_of_the_plan_alone() -> None:
    assert parse(GOOD, "x").plan.hash == parse({**GOOD, "seed": 1}, "x").plan.hash
    assert parse(GOOD, "x").plan.hash != parse(with_plan(max_items=100), "x").plan.hash


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({**GOOD, "sed": 1}, r"unknown key 'sed'; did you mean 'seed'\?"),
        (with_plan(alpha_saftey="0.1"), r"unknown key 'plan.alpha_saftey'; did you mean 'alpha_safety'\?"),
        ({**GOOD, "zzzzz": 1}, "unknown key 'zzzzz'; known keys: task, model"),
        ({"model": "m", "plan": GOOD["plan"]}, "task: Field required"),
        (with_plan(target="c"), "target 'c' must be listed under protected"),
        (with_plan(protected={"a": 0, "b": 8}), r"protected.a: expected a margin of 1 to 99 points, got 0"),
        (with_plan(alpha_progress="much"), "alpha_progress: expected a number in quotes, got 'much'"),
        (with_plan(alpha_safety="1"), "alpha_safety: expected a number between 0 and 1"),
        (with_plan(alpha_safety="nan"), "alpha_safety: expected a number between 0 and 1"),
        (with_plan(alpha_safety=0.05), "alpha_safety: Input should be a valid string, got 0.05"),
        ({**GOOD, "seed": -1}, "seed: .*greater than or equal to 0, got -1"),
        ({**GOOD, "seed": "1"}, "seed: .*valid integer, got '1'"),
        ({**GOOD, "proposers": []}, "proposers: .*at least 1 item"),
        ({**GOOD, "proposer": "bandit"}, "unknown key 'proposer'; did you mean 'proposers'"),
        ([], "expected keys and values, got list"),
    ],
)
def test_wrong_settings_are_explained(data: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse(data, "evolvent.yaml")


def test_each_error_is_told() -> None:
    with pytest.raises(UsageError) as told:
        parse({**GOOD, "sed": 1, "seed": -1}, "f")
    assert len(str(told.value).splitlines()) == 2


def test_files_that_are_not_there_or_not_yaml(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file; `evolvent init"):
        load(tmp_path / "evolvent.yaml")
    path = tmp_path / "evolvent.yaml"
    path.write_text("a: [", "utf-8")
    with pytest.raises(UsageError, match="is not YAML"):
        load(path)
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="cannot be read"):
        load(path)
    path.write_text("task: strings\nmodel: m\nplan: {target: a, protected: {a: 5}}\n", "utf-8")
    assert load(path).plan.target == "a"


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "evolvent.yaml"
    path.write_text("task: !!python/object/apply:os.system ['true']\n", "utf-8")
    with pytest.raises(UsageError, match="is not YAML"):
        load(path)


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evolvent.yaml"
    path.write_text("task: strings\nseed: 1\nseed: 2\n", "utf-8")
    with pytest.raises(UsageError, match="'seed' is given twice"):
        load(path)
