"""Each promotion has one signed statement, and what the statement says is what ledger and evidence say."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evolvent.audit import Findings, audit
from evolvent.ledger import Ledger
from evolvent.provenance.statement import STATEMENT_KIND, _program
from evolvent.run import JUDGE, LEDGER, SIGNING, STORE, Run
from evolvent.store import Store
from evolvent.types import content_hash
from evolvent.witness.signing import Signer, envelope
from run_on_disk import RunOnDisk


@pytest.fixture(scope="session")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two promotions: one by the gate, before anybody signed, and one forced, which signs both."""
    folder = tmp_path_factory.mktemp("signed") / "run"
    RunOnDisk(folder).force_check_and_seal()
    return folder


@pytest.fixture
def copy(signed: Path, tmp_path: Path) -> Path:
    shutil.copytree(signed, tmp_path / "run")
    return tmp_path / "run"


def found(folder: Path) -> Findings:
    with Ledger.open(folder / LEDGER) as ledger:
        return audit(ledger, Store(folder / STORE), folder / JUDGE, folder / SIGNING)


def files(folder: Path) -> list[Path]:
    return sorted((folder / SIGNING / "statements").iterdir(), key=lambda path: int(path.name.split("-")[0]))


def body(path: Path) -> dict[str, Any]:
    return json.loads(base64.b64decode(json.loads(path.read_text())["payload"]))


def test_each_promotion_has_one_and_the_audit_agrees(signed: Path) -> None:
    findings = found(signed)
    assert findings.wrong == []
    assert findings.counts["statements"] == findings.counts["promotions"] == 2


def test_a_statement_says_what_why_and_who(signed: Path) -> None:
    proven, forced = map(body, files(signed))
    assert proven["_type"] == "https://in-toto.io/Statement/v1"
    assert proven["predicateType"] == "https://slsa.dev/provenance/v1"
    with Ledger.open(signed / LEDGER) as ledger:
        first, second = ledger.events(kinds={"promoted"})
    subjects = {row["name"]: row["digest"]["sha256"] for row in proven["subject"]}
    assert subjects == {"version": first.payload["version"], "model": first.payload["candidate"]["model"]}
    decision = proven["predicate"]["evolvent_decision"]
    assert (decision["forced"], decision["by"], decision["verdict"]["decision"]) == (False, "gate", "accept")
    assert all(float(test["log_e"]) >= float(test["threshold_log_e"]) for test in decision["tests"])
    assert {test["name"] for test in decision["tests"]} >= {"superiority", "ni:single:incumbent"}
    assert proven["predicate"]["evolvent_cost"] == {"flops": 100, "ms": 2400, "problems": decision_items(signed),
                                                    "tokens": 100 + tokens(signed)}  # fmt: skip
    inputs = proven["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert {"name": "parent", "digest": {"sha256": first.payload["parent"]}} in inputs
    after = forced["predicate"]["evolvent_decision"]
    assert (after["forced"], after["by"], after["reason"]) == (True, "dana", "a hurry")
    assert after["verdict"]["decision"] == "reject"
    assert after["event"]["chain_hash"] == second.chain_hash


def decision_items(folder: Path) -> int:
    with Ledger.open(folder / LEDGER) as ledger:
        return next(ledger.events(kinds={"verdict"})).payload["problems"]


def tokens(folder: Path) -> int:
    with Ledger.open(folder / LEDGER) as ledger:
        return next(ledger.events(kinds={"verdict"})).payload["tokens"]


def test_a_lost_statement_is_written_again_as_it_was(copy: Path) -> None:
    first, _ = files(copy)
    before = first.read_bytes()
    first.unlink()
    assert any("has no signed statement" in line for line in found(copy).wrong)
    run = Run.open(copy)
    with run.ledger() as ledger:
        ledger.acquire()
        run.keeper(ledger).begin()
    assert first.read_bytes() == before
    assert found(copy).wrong == []


def resigned(folder: Path, signer: Signer, change: Callable[[dict[str, Any]], None]) -> list[str]:
    path = files(folder)[0]
    said = body(path)
    change(said)
    path.write_text(json.dumps(envelope(signer, STATEMENT_KIND, json.dumps(said).encode())))
    return found(folder).wrong


def test_a_statement_by_another_key_shows(copy: Path, tmp_path: Path) -> None:
    wrong = resigned(copy, Signer.own(tmp_path / "other.pem"), lambda said: None)
    assert any("is not signed by key" in line for line in wrong)


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said["subject"][1]["digest"].update(sha256="0" * 64),
        lambda said: said["predicate"]["evolvent_decision"].update(by="somebody"),
        lambda said: said["predicate"]["evolvent_decision"]["tests"][0].update(log_e="99"),
        lambda said: said["predicate"]["evolvent_cost"].update(flops=1),
        lambda said: said["predicate"]["buildDefinition"]["externalParameters"].update(plan="0" * 64),
        lambda said: said["predicate"]["buildDefinition"].update(resolvedDependencies=[]),
        lambda said: said["predicate"].pop("runDetails"),
        lambda said: said.pop("predicate"),
    ],
)
def test_a_statement_that_says_something_else_shows_even_under_the_runs_own_key(
    copy: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    wrong = resigned(copy, Signer.read(copy / SIGNING / "key.pem"), change)
    assert any("statement" in line for line in wrong), wrong


def test_what_is_no_envelope_shows(copy: Path) -> None:
    files(copy)[0].write_text("[]")
    assert any("statement" in line for line in found(copy).wrong)


def test_of_the_examples_that_a_program_carries_number_and_hash_are_stated() -> None:
    steps = [{"do": "recall", "n": 1}]
    examples = [["a ticket of a customer", "refund"], ["lost my purse", "theft"]]
    stated = _program({"scaffold": {"kind": "steps", "steps": steps, "examples": examples}})
    assert stated == {"kind": "steps", "steps": steps, "examples": {"count": 2, "sha256": content_hash(examples)}}
    assert _program({"scaffold": {"kind": "direct"}}) == {"kind": "direct"}
