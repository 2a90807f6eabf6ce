"""Building a version again: the same weights, or a word on what was different."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import toy_world
from evolvent.cli import again
from evolvent.cli.app import main
from evolvent.environment import environment
from evolvent.inputs import seed_files
from evolvent.jobs import Job, JobEngine
from evolvent.ledger import Ledger
from evolvent.provenance.rebuild import JobAgain, line_of, maker_of, run_again
from evolvent.run import LEDGER, STORE
from evolvent.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def recorded(store: Store, **changes: Any) -> dict[str, Any]:
    """A cheap job as a ``built`` event lists it, run once."""
    model = store.put_tree(seed_files("sql-seed"), "model", {"parameters": 1})
    job = Job(function="toy_world:bloat", inputs={"model": model})
    with JobEngine(store, workers=1) as engine:
        outputs = engine.run(job).outputs
    return {"key": job.key, **job.plain(), "outputs": dict(outputs), **changes}


def said(store: Store, row: dict[str, Any]) -> Any:
    (found,) = run_again(store, [row], threads=1, task="", told=lambda function: None)
    return found


def test_the_same_comes_out_and_the_run_is_left_alone(store: Store) -> None:
    row = recorded(store)
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    found = said(store, row)
    assert (found.same, found.error, found.differs) == (True, "", [])
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before


def test_another_result_is_told_with_what_was_different(store: Store) -> None:
    row = recorded(store, outputs={"model": "0" * 64})
    assert said(store, row).differs == []  # the same machine, versions and threads: it does not repeat
    path = store.root / "jobs" / f"{row['key']}.json"
    record = json.loads(path.read_text())
    assert record["environment"] == environment(1)
    path.write_text(json.dumps({**record, "environment": {**record["environment"], "torch": "1.0", "threads": "8"}}))
    differs = said(store, row).differs
    assert [line.split(" was ")[0] for line in differs] == ["torch", "threads"]
    path.unlink()
    assert said(store, row).differs == ["what it was built with is not known any more"]
    assert said(store, {**row, "key": "1" * 64}).differs[-1] == "the job's code has another version than then"


def test_a_lost_input_is_told(store: Store) -> None:
    row = recorded(store)
    found = said(store, {**row, "inputs": {"model": "0" * 64}})
    assert not found.same
    assert "is not in the store" in found.error


def version_by(folder: Path, operator: str) -> str:
    events = toy_world.events(folder)
    id_ = next(
        e.payload["id"] for e in events if e.kind == "proposed" and e.payload["proposal"]["operator"] == operator
    )
    return next(e.payload["version"] for e in events if e.kind == "built" and e.payload["id"] == id_)


def test_who_made_the_weights(toy_run: Path) -> None:
    seed = next(e.payload["version"] for e in toy_world.events(toy_run) if e.kind == "seed.imported")
    with Ledger.open(toy_run / LEDGER) as ledger:
        trained, null = (line_of(ledger, version_by(toy_run, name)) for name in ("policy", "null"))
    assert [built["version"] for built in trained] == [trained[0]["version"], seed]
    assert maker_of(trained) is trained[0]
    assert maker_of(null) is null[-1]  # a null carries its parent's weights
    assert null[-1]["version"] == seed
    assert maker_of([{**trained[0], "jobs": []}, *trained[1:]]) is None


def test_a_real_version_comes_out_the_same_or_the_command_fails(
    toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = version_by(toy_run, "planted_regression")  # two jobs, the quickest that train
    with pytest.raises(SystemExit) as ended:
        main(["rebuild", version[:12], "-C", str(toy_run), "--json"])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert ended.value.code == 0
    assert (told["same"], len(told["rebuilt"][0]["jobs"])) == (True, 2)

    shutil.copytree(toy_run, tmp_path / "run")
    cut = told["rebuilt"][0]["jobs"][0]["expected"]["data"]
    for name in (cut, next(e.payload["gold"] for e in toy_world.events(toy_run) if e.kind == "seed.imported")):
        (tmp_path / "run" / STORE / name[:2] / name[2:]).unlink()
    with pytest.raises(SystemExit) as ended:
        main(["rebuild", version[:12], "-C", str(tmp_path / "run")])
    assert ended.value.code == 3
    assert "evolvent.train.jobs:finetune failed: artifact" in capsys.readouterr().err


def test_a_difference_in_words() -> None:
    job = JobAgain(function="a:b", key="k", expected={"model": "1", "stats": "2"}, found={"model": "3", "stats": "2"},
                   error="", differs=[])  # fmt: skip
    assert again._said(job) == "a:b gave another model in the same environment: it does not repeat"
    assert again._said(replace(job, differs=["torch was 1, is 2"])) == "a:b gave another model (torch was 1, is 2)"
    assert again._said(replace(job, error="no space")) == "a:b failed: no space"
