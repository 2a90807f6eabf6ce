"""The audit finds what was changed, and agrees with the judge's own arithmetic where nothing was."""

from __future__ import annotations

import ast
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evolvent.audit import Findings, audit, recompute
from evolvent.judge import stats
from evolvent.judge.gate import slot_levels
from evolvent.ledger import Ledger
from evolvent.run import JUDGE, LEDGER, STORE
from evolvent.store import Store
from evolvent.types import canonical_json, sha256_hex
from run_on_disk import RunOnDisk

Change = Callable[[Path], None]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    RunOnDisk(folder).force_check_and_seal()
    return folder


def found(folder: Path) -> Findings:
    with Ledger.open(folder / LEDGER) as ledger:
        return audit(ledger, Store(folder / STORE), folder / JUDGE)


def changed(finished: Path, root: Path, change: Change) -> list[str]:
    folder = root / "changed"
    shutil.copytree(finished, folder)
    change(folder)
    return found(folder).wrong


def sql(statement: str) -> Change:
    def change(folder: Path) -> None:
        with sqlite3.connect(folder / LEDGER) as db:
            db.execute(statement)
        db.close()

    return change


def test_a_clean_run_passes_and_everything_was_looked_at(finished: Path) -> None:
    findings = found(finished)
    assert findings.wrong == []
    assert len(findings.notes) == 1
    assert "dana" in findings.notes[0]
    counts = findings.counts
    assert (counts["slots"], counts["verdicts"], counts["promotions"], counts["standing checks"]) == (2, 2, 2, 1)
    assert (counts["rollbacks"], counts["sealed reports"]) == (1, 1)
    # superiority and two skills; then also against the anchor; then the standing check's two
    assert counts["e-values"] == 3 + 5 + 2
    assert counts["artifacts"] >= 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            sql("UPDATE events SET payload = replace(payload, '\"turn\":1', '\"turn\":9') WHERE key = '1/start'"),
            "was changed",
        ),
        (sql("DELETE FROM events WHERE key = '1.1/decided'"), "one is missing"),
        (sql("DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)"), "cut off"),
        (sql("UPDATE events SET actor = 'human' WHERE key = '1.0/verdict'"), "content hash differs"),
        (sql("UPDATE events SET time_ns = time_ns + 1 WHERE seq = 4"), "chain hash differs"),
    ],
    ids=["edited", "dropped", "tail dropped", "forged actor", "moved in time"],
)
def test_a_changed_event_shows(finished: Path, tmp_path: Path, change: Change, said: str) -> None:
    wrong = changed(finished, tmp_path, change)
    assert len(wrong) == 1
    assert said in wrong[0]


def test_reordered_events_show(finished: Path, tmp_path: Path) -> None:
    def swap(folder: Path) -> None:
        with sqlite3.connect(folder / LEDGER) as db:
            for old, new in ((6, 900), (7, 6), (900, 7)):
                db.execute("UPDATE events SET seq = ? WHERE seq = ?", (new, old))
        db.close()

    assert "event 6" in changed(finished, tmp_path, swap)[0]


def test_an_altered_or_lost_artifact_shows(finished: Path, tmp_path: Path) -> None:
    weights = sha256_hex(json.dumps({"single": 70, "multi": 60}).encode())

    def alter(folder: Path) -> None:
        path = folder / STORE / weights[:2] / weights[2:]
        path.chmod(0o644)
        path.write_bytes(b"other")

    assert any("altered" in line for line in changed(finished, tmp_path, alter))

    def lose(folder: Path) -> None:
        (folder / STORE / weights[:2] / weights[2:]).unlink()

    assert changed(finished, tmp_path / "b", lose)


def test_altered_and_missing_evidence_show(finished: Path, tmp_path: Path) -> None:
    names = [path.name for path in (finished / JUDGE / "evidence").iterdir()]
    assert len(names) == 4
    for i, name in enumerate(names):
        lost = changed(finished, tmp_path / f"lost{i}", lambda f, n=name: (f / JUDGE / "evidence" / n).unlink())
        assert len(lost) == 1
        assert "evidence" in lost[0]

        def alter(folder: Path, name: str = name) -> None:
            path = folder / JUDGE / "evidence" / name
            path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))

        assert any("evidence" in line for line in changed(finished, tmp_path / f"altered{i}", alter))


def rewritten(finished: Path, folder: Path, change: Callable[[str, dict[str, Any]], None]) -> list[str]:
    """The whole run written anew with a valid chain, payloads passed through `change`: only its content can tell."""
    shutil.copytree(finished, folder)
    with Ledger.open(finished / LEDGER) as ledger:
        events = list(ledger.events())
    (folder / LEDGER).unlink()
    with Ledger.open(folder / LEDGER, events[0].run, create=True) as ledger:
        ledger.acquire()
        for event in events:
            payload = json.loads(json.dumps(event.payload))
            change(event.key, payload)
            if payload:
                ledger.append(event.kind, payload, actor=event.actor, key=event.key, cost=event.cost)
    return found(folder).wrong


@pytest.mark.parametrize(
    ("key", "path", "value", "said"),
    [
        ("1.0/slot", "question.alpha_ni", "0.04", "above what the plan allows"),
        ("1.0/slot", "question.max_items", 9000, "the plan says 3000"),
        ("1.0/slot", "question.block_items", 8, "the plan says 64"),
        ("1.1/verdict", "verdict.decision", "accept", "the outcomes say reject"),
        ("1.0/verdict", "verdict.isolation", "reduced", "isolation"),
        ("1.0/decided", "version", "0" * 64, "not the hash of its candidate"),
        ("check", "alarm", False, "contradict alarm=False"),
        ("check", "alpha", "0.05", "not what was opened"),
        ("check/opened", "question.alpha", "0.05", "above"),
        ("check/opened", "champion", "0" * 64, "not of the champion"),
        ("check/opened", "number", 2, "out of order"),
        ("check/opened", "question.beta", "0.99", "beta is 0.99"),
        ("check/opened", "question.max_items", 1, "max_items is 1"),
        ("check/rolled_back", "evidence", "0" * 64, "no alarm before it"),
        ("1.0/slot", "question.beta", "0.99", "the plan says '0.1'"),
        ("check/opened", "", None, "was not opened"),
        ("reported", "skills.multi.wins", 299, "other counts"),
        ("judge", "commitment", "0" * 64, "another secret"),
        ("1.0/slot", "", None, "never committed"),
        ("1.0/verdict", "", None, "no accepting verdict"),
        ("sealed", "", None, "before the sealed split was opened"),
        ("check/rolled_back", "from", "0" * 64, "was not the champion"),
        ("check/rolled_back", "to", "0" * 64, "not the hash of its candidate"),
        ("check/rolled_back", "certified", "0" * 64, "expected"),
        ("1.0/slot", "question.incumbent", {}, "champion no more"),
    ],
)
def test_a_run_rewritten_as_a_whole_must_still_add_up(
    finished: Path, tmp_path: Path, key: str, path: str, value: Any, said: str
) -> None:
    def change(at: str, payload: dict[str, Any]) -> None:
        if at != key:
            return
        if not path:
            payload.clear()
            return
        *outer, last = path.split(".")
        for name in outer:
            payload = payload[name]
        payload[last] = value

    wrong = rewritten(finished, tmp_path / "rewritten", change)
    assert any(said in line for line in wrong), wrong


def test_forged_evidence_with_a_matching_hash_does_not_add_up(finished: Path, tmp_path: Path) -> None:
    """Someone turns a rejection into a promotion and rewrites evidence, hash and chain, but not the outcomes."""
    old = next(
        p
        for p in (finished / JUDGE / "evidence").iterdir()
        if b'"reason":"inferior' in p.read_bytes() or b'"futile"' in p.read_bytes()
    )
    proof = json.loads(old.read_text())
    proof |= {"decision": "accept", "reason": "superior"}
    for stage in proof["stages"]:
        stage["outcome"] = "proven"
    text = canonical_json(proof)
    name = sha256_hex(text)

    def change(key: str, payload: dict[str, Any]) -> None:
        if key == "1.1/verdict":
            payload["verdict"] |= {"decision": "accept", "reason": "superior", "evidence": name}

    (tmp_path / "source").mkdir()
    shutil.copytree(finished, tmp_path / "source" / "run")
    (tmp_path / "source" / "run" / JUDGE / "evidence" / f"{name}.json").write_text(text)
    wrong = rewritten(tmp_path / "source" / "run", tmp_path / "forged", change)
    assert any("the outcomes say reject" in line for line in wrong)
    assert any("the evidence says" in line for line in wrong)


def test_the_two_ways_of_computing_agree() -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        outcomes = rng.choice([-1, 0, 1], 700, p=[0.05, 0.8, 0.15])
        marks = "".join("-0+"[int(value) + 1] for value in outcomes)
        kept, lost = recompute.margin_bets({"margin_points": 5, "discordance": "0.15"})
        pairs = [
            (recompute.log_e(marks, 1, 0.0, stats.SUPERIORITY_STAKES), stats.superiority_path(outcomes)),
            (recompute.log_e(marks, *kept), stats.non_inferiority_path(outcomes, 0.05, 0.15)),
            (recompute.log_e(marks, *lost), stats.inferiority_path(outcomes, 0.05, 0.15)),
            (recompute.log_e(marks, *recompute.futility_bets(0.08, 0.15)), stats.futility_path(outcomes, 0.08, 0.15)),
        ]
        for mine, theirs in pairs:
            np.testing.assert_allclose(list(mine), theirs, rtol=1e-9, atol=1e-9)


def test_levels_agree_with_the_gate() -> None:
    for slot in (1, 8, 9, 24, 25, 1000):
        level = slot_levels(alpha=0.05, slot=slot, promotions=0, spend=lambda k: stats.spend_epochs(k, 8))[1]
        assert float(level) == pytest.approx(0.05 * float(recompute.share(slot, 8)), rel=1e-5)


def test_the_recomputation_shares_no_code_with_the_judge() -> None:
    found = "[m for m in sys.modules if m.startswith(('evolvent.judge', 'scipy'))]"
    code = f"import sys, evolvent.audit; print({found})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
    source = Path(recompute.__file__).read_text(encoding="utf-8")
    names = {n.module for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom)}
    assert names <= {"__future__", "collections.abc", "dataclasses", "fractions", "typing"}, "plain Python"
