"""C8: whatever is changed in a change plan once a run has begun stops the run for a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from evolvent import plan, tasks
from evolvent.errors import UsageError
from evolvent.plan import CONFIG_NAME, ChangePlan
from evolvent.run import Run
from run_on_disk import SETTINGS, RunOnDisk

BEGAN = plan.parse(SETTINGS, "test")
SHARES = st.integers(1, 999).map(lambda n: f"0.{n:03d}")
# Every field of the plan, with values that are valid and mean something else.
CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "operators": st.lists(st.sampled_from(["self_labels", "gold", "scaffold", "policy", "null", "own"]), min_size=1),
    "max_parameters": st.integers(1, 10**9),
    "target": st.sampled_from(["single", "multi"]),
    "protected": st.fixed_dictionaries({"single": st.integers(1, 99), "multi": st.integers(1, 99)}),
    **dict.fromkeys(["alpha_progress", "alpha_safety", "alpha_standing", "discordance"], SHARES),
    **dict.fromkeys(["standing_every", "first_epoch_slots"], st.integers(1, 10**4)),
    "minimum_gain_points": st.integers(1, 99),
    "max_items": st.integers(64, 10**5),
    "block_items": st.integers(8, 10**3),
    **dict.fromkeys(["jump_points", "drift_percent"], st.integers(0, 100)),
}


@pytest.fixture(scope="session")
def began(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("began") / "run"
    RunOnDisk(folder)
    return folder


def test_every_field_of_the_plan_is_tried() -> None:
    assert CHANGES.keys() == ChangePlan.model_fields.keys()


@example_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_run_does_not_go_on_under_another_plan(began: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(CHANGES)))
    value = data.draw(CHANGES[name])
    changed = plan.parse({**SETTINGS, "plan": {**BEGAN.plan.model_dump(), name: value}}, "test")
    run = Run(began, changed)
    if changed.plan == BEGAN.plan:
        run.ledger().close()
        return
    with pytest.raises(UsageError, match="was changed after the run began"):
        run.ledger()


def test_other_seed_data_are_another_source(began: Path, tmp_path: Path) -> None:
    """The seed's own data are named by path, so the settings cannot show that they are others: their hash does."""
    run = Run.open(began)
    rows = tmp_path / "gold.jsonl"
    rows.write_text(json.dumps({"prompt": "a", "answer": "b"}) + "\n")
    other = Run(began, BEGAN.model_copy(update={"gold": str(rows)}))
    with run.ledger() as ledger, pytest.raises(UsageError, match="holds other data than when the run began"):
        other._gold(ledger)  # what `working` asks first


def test_the_code_of_a_task_of_ones_own_has_a_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module, package = tmp_path / "own_rules.py", tmp_path / "own_task"
    package.mkdir()
    for path in (module, package / "__init__.py", package / "rules.py"):
        path.write_text("RULE = 1\n")
    before = [tasks.source_hash(name) for name in ("own_rules:task", "own_task.rules:task")]
    (package / "rules.py").write_text("RULE = 2\n")
    after = [tasks.source_hash(name) for name in ("own_rules:task", "own_task.rules:task")]
    assert before[0] == after[0] != ""
    assert before[1] != after[1]
    assert tasks.source_hash("strings") == tasks.source_hash("nowhere_at_all:task") == ""


def test_where_the_record_is_copied_to_may_change(began: Path) -> None:
    told = plan.parse({**SETTINGS, "witness": ["elsewhere"], "signing_key": "k.pem"}, "test")
    assert told.run_id == BEGAN.run_id
    assert json.loads((began / CONFIG_NAME).read_text()) == SETTINGS
    with Run(began, told).ledger() as ledger:
        assert ledger.run == told.run_id
