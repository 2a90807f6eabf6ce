"""The audit of people's part: a limit that was passed over, an approval that nobody gave, a pick that was not kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evolvent.audit import Findings, audit
from evolvent.audit.approved import Approved
from evolvent.ledger import Ledger
from evolvent.run import JUDGE, LEDGER, STORE
from evolvent.store import Store
from evolvent.types import Event
from run_on_disk import RunOnDisk

LIMIT = {"jump_points": 5}


@pytest.fixture(scope="session")
def approved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("approved") / "run"
    RunOnDisk(folder, LIMIT)
    return folder


def found(folder: Path) -> Findings:
    with Ledger.open(folder / LEDGER) as ledger:
        return audit(ledger, Store(folder / STORE), folder / JUDGE)


def rewritten(run: Path, folder: Path, change: Callable[[Event, dict[str, Any]], dict[str, Any] | None]) -> list[str]:
    """What the audit says of the run written anew with a valid chain, payloads passed through `change`."""
    shutil.copytree(run, folder)
    with Ledger.open(run / LEDGER) as ledger:
        events = list(ledger.events())
    (folder / LEDGER).unlink()
    with Ledger.open(folder / LEDGER, events[0].run, create=True) as ledger:
        ledger.acquire()
        for event in events:
            payload = change(event, json.loads(json.dumps(event.payload)))
            if payload is not None:
                ledger.append(event.kind, payload, actor=event.actor, key=event.key, cost=event.cost)
    return found(folder).wrong


def test_an_approved_jump_is_clean(approved: Path) -> None:
    findings = found(approved)
    assert findings.wrong == []
    assert (findings.counts["held for a person"], findings.counts["approvals"]) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        ("request.approve", None, "no person's approval before it"),
        ("held", None, "never held for one"),
        ("promoted", {"by": "gate"}, "held for a person, and none approved it"),
        ("promoted", {"approval": "0" * 64}, "no person's approval before it"),
        ("promoted", {"approved_by": "bo"}, "no person's approval before it"),
        ("request.approve", {"version": "0" * 64}, "no person's approval before it"),
        ("held", {"gains": {}}, "the outcomes say"),
    ],
)
def test_what_a_person_did_not_say_is_found(
    approved: Path, tmp_path: Path, kind: str, fields: dict[str, Any] | None, said: str
) -> None:
    def change(event: Event, payload: dict[str, Any]) -> dict[str, Any] | None:
        return payload if event.kind != kind else None if fields is None else {**payload, **fields}

    wrong = rewritten(approved, tmp_path / "run", change)
    assert any(said in line for line in wrong), wrong


def test_a_declined_candidate_that_is_promoted_is_found(approved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(approved, folder)
    with Ledger.open(approved / LEDGER) as ledger:
        events = list(ledger.events())
    (folder / LEDGER).unlink()
    with Ledger.open(folder / LEDGER, events[0].run, create=True) as ledger:
        ledger.acquire()
        for event in events:
            kind = "request.decline" if event.kind == "request.approve" else event.kind
            ledger.append(kind, event.payload, actor=event.actor, key=event.key, cost=event.cost)
    assert any("no person's approval" in line for line in found(folder).wrong)


def test_a_promotion_beyond_a_limit_that_never_waited_is_found(approved: Path, tmp_path: Path) -> None:
    def change(event: Event, payload: dict[str, Any]) -> dict[str, Any] | None:
        if event.kind in ("held", "request.approve"):
            return None
        if event.kind == "promoted":
            return {
                name: value for name, value in payload.items() if name not in ("approved_by", "approval", "note")
            } | {"by": "gate"}
        return payload

    wrong = rewritten(approved, tmp_path / "run", change)
    assert [line.partition(": ")[2] for line in wrong] == [
        "more than 5 points over the anchor on multi, and no person approved it"
    ]


class Told:
    """`Approved`, fed by hand."""

    def __init__(self, folder: Path, **limits: int) -> None:
        self.findings, self.store = Findings(), Store(folder)
        self.approved = Approved(self.findings, folder, self.store)
        self.take("run.started", config={"plan": limits})

    def take(self, kind: str, key: str = "k", **payload: Any) -> str:
        event = Event(
            run="r", seq=1, time_ns=0, actor="a", kind=kind, key=key, schema=2, payload=payload, cost={},
            content_hash=f"hash of {key}", chain_hash="",
        )  # fmt: skip
        self.approved.take(event)
        return event.content_hash

    def screen(self, differ: int, said: int) -> None:
        rows = [{"output": "same", "correct": True}] * 10
        other = [{"output": "other", "correct": True}] * differ + rows[differ:]
        traces = {"candidate": {"a": self.store.put_json(rows)}, "anchor": {"a": self.store.put_json(other)}}
        self.take("screened", id="1.0", drift={"counts": {"n": 10, "differ": said}, "traces": traces})

    def promote(self) -> None:
        self.take("promoted", id="1.0", version="v", forced=False, by="gate", evidence="e")


def test_drift_is_counted_again_from_the_traces(tmp_path: Path) -> None:
    told = Told(tmp_path, drift_percent=20)
    told.screen(differ=3, said=0)
    told.promote()
    first, second = told.findings.wrong
    assert "the traces say {'n': 10, 'differ': 3}" in first
    assert "drift of more than 20 %" in second
    small = Told(tmp_path, drift_percent=20)
    small.screen(differ=2, said=2)
    small.promote()
    assert small.findings.wrong == []
    unmeasured = Told(tmp_path, drift_percent=20)
    unmeasured.promote()
    assert "or none measured" in unmeasured.findings.wrong[0]


@pytest.mark.parametrize(
    ("asked", "judged", "said"),
    [
        (["1.0"], "1.0", ""),
        (["1.0"], "1.1", "a person picked others"),
        (["1.0"], "1.2", ""),
        (None, "1.0", "no person's"),
    ],
)
def test_what_was_not_picked_is_not_judged(tmp_path: Path, asked: list[str] | None, judged: str, said: str) -> None:
    told = Told(tmp_path)
    told.take("proposed", id="1.2", proposal={"operator": "null"})  # probes are nobody's choice
    word = told.take("request.pick", "request/1/pick", ids=asked) if asked else "none"
    told.take("picked", turn=1, ids=["1.0"], by="dana", request=word)
    told.take("slot.opened", id=judged, question={})
    assert [line for line in told.findings.wrong if not said or said not in line] == []
    assert bool(told.findings.wrong) == bool(said)
