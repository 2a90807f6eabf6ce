"""The benchmarks' frame: units are computed once, a failure keeps the others, a quick run leaves the results alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPT = '''"""A toy."""
import sys
from pathlib import Path

sys.path.insert(0, {folder!r})
import common

common.HERE = Path({here!r})
common.RESULTS = common.HERE / "RESULTS.md"


def run_unit(unit):
    with open({here!r} + "/calls", "a") as file:
        file.write(unit.arm)
    if unit.arm == "bad" and not unit.data:
        raise RuntimeError("planned")
    return {{"value": unit.seed + unit.settings["add"]}}


def summarise(results, settings):
    values = [r["value"] for r in results["good"].values()]
    low, mean, high = common.paired_interval(values[:1])
    bar = {{"figure": sum(values), "bar": 3, "holds": sum(values) >= 3}}
    return {{"figures": {{"low": low}}, "bars": {{"sum | all": bar}}}}


if __name__ == "__main__":
    full = {{"seeds": [0, 1], "arm_seeds": {{"bad": [0]}}, "add": 1}}
    quick = {{**full, "add": 9}}
    sys.exit(common.bench_main("toy", ("good", "bad"), run_unit, summarise, full=full, quick=quick, needed=["good"]))
'''


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    script = folder / "toy.py"
    script.write_text(SCRIPT.format(folder=str(BENCHMARKS), here=str(folder)))
    return subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
def test_a_run_resumes_and_writes_one_row(tmp_path: Path) -> None:
    broken = run(tmp_path)
    assert broken.returncode == 1
    assert "planned" in broken.stderr
    assert sorted((tmp_path / "calls").read_text()) == sorted("goodgoodbad")
    run(tmp_path, "--data", str(tmp_path))
    done = run(tmp_path, "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert sorted((tmp_path / "calls").read_text()) == sorted("goodgoodbadbad"), "finished units ran again"
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["figures"] == {"low": "-inf"}
    assert last["bars"]["sum | all"] == {"figure": 3, "bar": 3, "holds": True}
    rows = [line for line in (tmp_path / "RESULTS.md").read_text().splitlines() if line.startswith("| `toy.py`")]
    assert len(rows) == 1
    assert "sum \\| all" in rows[0]
    assert run(tmp_path, "--arms", "good", "--data", str(tmp_path)).returncode == 0
    assert "| 0, 1 (good only) |" in (tmp_path / "RESULTS.md").read_text()
    for wrong in ("god", "bad"):
        refused = run(tmp_path, "--arms", wrong)
        assert (refused.returncode, refused.stderr.count("error: --arms: expected good")) == (2, 1)
    before = (tmp_path / "RESULTS.md").read_text()
    assert run(tmp_path, "--quick", "--data", str(tmp_path)).returncode == 0
    assert (tmp_path / "RESULTS.md").read_text() == before
