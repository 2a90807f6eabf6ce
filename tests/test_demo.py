"""The demo's steps around the loop; the whole of it runs under `make demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evolvent import demo, plan
from evolvent.cli.forecast import forecast
from evolvent.errors import UsageError
from evolvent.run import LEDGER, Run
from run_on_disk import RunOnDisk


def test_its_settings_hold_and_its_gate_can_see() -> None:
    settings = plan.parse(demo.DEMO, "demo")
    assert set(demo.SEALED) == set(settings.plan.protected)
    gain, *kept = forecast(settings.plan)
    assert gain.q80 is not None
    assert all(row.q80 is not None and row.share_percent >= 80 for row in kept)
    assert settings.goal.turns >= 2 * settings.probes.every_turns, "no planted regression would come up"


def test_a_fresh_folder_is_made_once_and_then_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    run = demo.prepare(folder, seed=7, turns=3, fresh=False)
    assert (run.settings.seed, run.settings.goal.turns) == (7, 3)
    assert demo.prepare(folder, seed=None, turns=None, fresh=False).settings == run.settings
    with pytest.raises(UsageError, match="--fresh"):
        demo.prepare(folder, seed=8, turns=None, fresh=False)
    assert demo.prepare(folder, seed=8, turns=None, fresh=True).settings.seed == 8


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    for fresh in (False, True):
        with pytest.raises(UsageError, match=r"thesis\.tex"):
            demo.prepare(tmp_path, seed=None, turns=None, fresh=fresh)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_persons_own_run_is_never_taken_for_a_demo(tmp_path: Path) -> None:
    RunOnDisk(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    for fresh in (False, True):
        with pytest.raises(UsageError, match="a run of your own"):
            demo.prepare(tmp_path, seed=None, turns=None, fresh=fresh)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_mistake_is_the_refused_regression_and_made_once(tmp_path: Path) -> None:
    made = RunOnDisk(tmp_path)
    run = Run.open(tmp_path)
    said: list[str] = []
    events: list[Any] = []
    for _ in range(2):
        demo.force_a_regression(run, on_event=events.append, say=said.append)
    assert len(events) == 1
    payload = events[0].payload
    assert (payload["version"], payload["by"], payload["forced"]) == (made.versions["planted"], demo.USER, True)
    with run.ledger() as ledger:
        assert [e.kind for e in ledger.events(kinds={"promoted"}) if e.payload["forced"]] == ["promoted"]
    assert (tmp_path / LEDGER).is_file()
