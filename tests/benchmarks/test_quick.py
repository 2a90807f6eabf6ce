"""Every benchmark runs in small: else a script could rot until somebody wants its figure again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    path.name
    for path in (ROOT / "benchmarks").glob("*.py")
    if path.name != "common.py" and "bench_main(" in path.read_text(encoding="utf-8")
)

ON_DATA = {"python_fix.py", "real_migrations.py", "retrieval.py"}  # read data from outside; the second nothing else
DATA = os.environ.get("EVOLVENT_DATA", "")


def test_most_of_the_folder_are_benchmarks() -> None:
    assert len(SCRIPTS) >= 20


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """This one with a folder of benchmarks of its own, which has computed nothing yet."""
    for entry in ROOT.iterdir():
        if entry.name not in ("benchmarks", ".git"):
            (tmp_path / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks", ignore=shutil.ignore_patterns(".cache"))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_it_ends_with_its_figures(name: str, checkout: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    data = ["--data", DATA] if DATA and name in ON_DATA else []
    if name == "real_migrations.py" and not data:
        pytest.skip("EVOLVENT_DATA names no folder with data from outside")
    argv = [sys.executable, str(checkout / "benchmarks" / name), "--quick", *data]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["bench"] == name.removesuffix(".py")
    assert told["bars"]
