"""What is signed when; and that an accepting verdict waits for a witness while a rollback does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evolvent import plan
from evolvent.errors import LedgerCorrupt, StoreError
from evolvent.ledger import Ledger
from evolvent.run import LEDGER, SIGNING, Run
from evolvent.types import Event
from evolvent.witness import HeadLog, SignedHead
from run_on_disk import SETTINGS, RunOnDisk


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "run"
    RunOnDisk(folder)
    return folder


@pytest.fixture
def run(plain: Path, tmp_path: Path) -> Run:
    shutil.copytree(plain, tmp_path / "run")
    (tmp_path / "witness").mkdir()
    return Run(tmp_path / "run", plan.parse({**SETTINGS, "witness": ["../witness"]}, "test"))


def sizes(folder: Path) -> list[int]:
    return [signed.head.size for line in HeadLog(folder).lines() if (signed := SignedHead.parse(line))]


def event_of(ledger: Ledger, kind: str, **wanted: str) -> Event:
    return next(
        e
        for e in ledger.events(kinds={kind})
        if wanted.items() <= {**e.payload, **e.payload.get("verdict", {})}.items()
    )


def test_a_start_signs_and_states_what_is_there(run: Run) -> None:
    with run.ledger() as ledger:
        ledger.acquire()
        run.keeper(ledger).begin()
        run.keeper(ledger).begin()
        assert sizes(run.witnesses[0]) == sizes(run.folder / SIGNING) == [ledger.head()[0]]
    assert len(list((run.folder / SIGNING / "statements").iterdir())) == 1


def test_heads_are_signed_where_something_counts(run: Run) -> None:
    with run.ledger() as ledger:
        ledger.acquire()
        keeper = run.keeper(ledger)
        keeper.begin()
        first = ledger.head()[0]
        for kind in ("diagnosed", "turn.ended", "screened", "run.stopped"):
            keeper.told(ledger.append(kind, {}, key=f"more/{kind}"))
        assert sizes(run.folder / SIGNING) == [first, first + 2, first + 4]


def test_an_accepting_verdict_waits_for_a_witness(run: Run) -> None:
    missed: list[str] = []
    with run.ledger() as ledger:
        ledger.acquire()
        keeper = run.keeper(ledger, on_stage=lambda stage, fields: missed.extend(fields["failed"]))
        keeper.begin()
        shutil.rmtree(run.witnesses[0])
        ledger.append("turn.ended", {}, key="more/end")
        keeper.told(event_of(ledger, "verdict", decision="reject"))  # nothing follows from it
        assert missed == []
        keeper.told(event_of(ledger, "turn.ended"))  # said, and the run goes on
        assert "no such folder" in missed[0]
        with pytest.raises(StoreError, match="nothing is promoted that no witness has seen"):
            keeper.told(event_of(ledger, "verdict", decision="accept"))
        with pytest.raises(StoreError, match="nothing is promoted"):  # nor does a new start get round it
            run.keeper(ledger).begin()


def test_a_person_promotes_with_a_witness_and_rolls_back_without(run: Run) -> None:
    with Ledger.open(run.folder / LEDGER) as ledger:
        planted = event_of(ledger, "verdict", decision="reject").payload["verdict"]["candidate"]
    run.promote(planted, by="dana", reason="a hurry")
    shutil.rmtree(run.witnesses[0])
    run.rollback(by="dana")
    with pytest.raises(StoreError, match="nothing is promoted"):
        run.promote(planted, by="dana", reason="a hurry")
    with Ledger.open(run.folder / LEDGER) as ledger:
        assert [event.kind for event in ledger.events()][-1] == "rolled_back"


def test_a_ledger_that_was_put_back_is_not_promoted_on(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "older")
    with run.ledger() as ledger:
        ledger.acquire()
        ledger.append("turn.ended", {}, key="more/end")
        run.keeper(ledger).begin()
        version = event_of(ledger, "verdict", decision="reject").payload["verdict"]["candidate"]
    shutil.copytree(run.folder / SIGNING, tmp_path / "older" / SIGNING)  # whoever puts back the file has the key too
    older = Run(tmp_path / "older", run.settings)
    with pytest.raises(LedgerCorrupt, match="an older copy was put back"):
        older.promote(version, by="dana", reason="a hurry")
