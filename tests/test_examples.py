"""Examples are tests: each runs as a person would run it, and says what its page promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from evolvent.run import Run

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TIMEOUT_S = 300  # a minute on two idle cores; a shared machine gets more


def run_example(name: str, *arguments: str) -> str:
    paths = filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH")))
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_examples_are_numbered_documented_and_all_run_here() -> None:
    names = [path.name for path in EXAMPLES]
    assert [name[:2] for name in names] == [f"{i:02d}" for i in range(1, len(names) + 1)]
    page = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    here = Path(__file__).read_text(encoding="utf-8")
    for name in names:
        assert f"`{name}`" in page
        assert f'run_example("{name}"' in here, f"no test runs {name}"


def test_own_task() -> None:
    out = run_example("01_quickstart.py")
    assert out.count("  right ") == 2
    assert "not_snake_case" in out
    assert "wrong_count" in out


def test_own_task_passes_what_check_asks_of_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    import random

    from evolvent import tasks
    from evolvent.cli.checks import HOSTILE

    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    task = tasks.load("01_quickstart:Headers")
    for skill in task.skills:
        problems = task.generate(skill, random.Random(0), 20)
        assert problems == task.generate(skill, random.Random(0), 20)
        for problem in problems:
            assert task.well_posed(problem)
            assert not any(task.verify(problem, output, 0).correct for output in HOSTILE)


def test_gate_statistics() -> None:
    out = run_example("02_gate.py")
    assert "e = 31.875" in out
    found = [int(n) for n in re.findall(r"in (\d+) of 400 streams", out)]
    # Level 5 %: correct code gives at most 20 of 400 on average, and the seed is fixed.
    assert found[0] <= 20 < found[1] < found[2]
    assert re.findall(r": +(accept|reject|abstain) +(\S+)", out) == [
        ("accept", "superior"),
        ("reject", "futile"),
        ("reject", "inferior:single"),
    ]


def test_ledger_shows_each_tampering() -> None:
    lines = run_example("03_ledger.py").splitlines()
    assert len(lines) == 6
    assert " ok, " in lines[0]
    assert all("CORRUPT:" in line for line in lines[1:])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the judge can only abstain")
def test_a_run_in_miniature_and_its_events_as_documented(tmp_path: Path) -> None:
    out = run_example("04_read_a_run.py", str(tmp_path / "run"))
    assert "events verified" in out
    assert "2.0 null  rejected: futile" in out
    assert "<- champion" in out
    page = (ROOT / "docs" / "concepts" / "events.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `([\w.]+)` \|[^|]*\|([^|]*)\|", page, re.MULTILINE))
    kinds: set[str] = set()
    with Run.open(tmp_path / "run").ledger() as ledger:
        for event in ledger.events():
            kinds.add(event.kind)
            cell = table[event.kind]
            while other := re.search(r"as `([\w.]+)`", cell):  # a cell that refers to another
                cell = cell.replace(other[0], table[other[1]])
            optional = set(re.findall(r"\*`(\w+)`\*", cell))
            named = set(re.findall(r"`(\w+)`", cell))
            assert named - optional <= set(event.payload) <= named, f"event {event.seq} ({event.kind})"
    assert len(kinds) >= 15


@pytest.mark.slow
def test_own_history(tmp_path: Path) -> None:
    out = run_example("05_own_history.py", "--dir", str(tmp_path / "own"))
    assert "steps: 3 in" in out
    assert len(re.findall(r"variants solved by the seed", out)) == 3
    assert len(re.findall(r"variants solved by the champion", out)) == 3
    assert re.search(r"champion [0-9a-f]{12} after 1 turns", out)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the judge can only abstain")
def test_planted_violation(tmp_path: Path) -> None:
    out = run_example("06_planted_violation.py", str(tmp_path))
    planted, control = re.split(r"^control: ", out, flags=re.MULTILINE)
    assert re.search(r"weakest: steps=3: \d+ of \d+ fail: wrong_end \d+;", planted)
    assert "answering wrong_end: promoted (superior)" in planted
    assert control.startswith("0 promoted by the gate")
    assert "promoted (" not in control
