"""The ledger: any change shows, one controller writes, the same key is written once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import crash_world
from evolvent.errors import LedgerBusy, LedgerCorrupt, StoreError, UsageError
from evolvent.ledger import GENESIS, Ledger, sqlite
from evolvent.types import Event

COLUMNS = ["seq", "run", "time_ns", "actor", "kind", "key", "schema", "payload", "cost", "content_hash", "chain_hash"]
NUMBERS = {"seq", "time_ns", "schema"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger.open(path, "r1", create=True) as ledger:
        ledger.acquire()
        yield ledger


def fill(ledger: Ledger, count: int = 5) -> list[Event]:
    return [ledger.append("turn.started", {"turn": i}, key=f"turn-{i}", cost={"ms": i}) for i in range(count)]


def edit(path: Path, *statements: str, values: tuple[Any, ...] = ()) -> None:
    """Do what an intruder with the file could do."""
    with closing(sqlite3.connect(path)) as raw, raw:
        for statement in statements:
            raw.execute(statement, values)


def test_events_come_back_in_order_and_verify(ledger: Ledger) -> None:
    written = fill(ledger)
    assert list(ledger.events()) == written
    assert [event.seq for event in ledger.events(after=3)] == [4, 5]
    assert list(ledger.events(kinds={"other"})) == []
    assert ledger.verify() == 5
    assert ledger.head() == (5, written[-1].chain_hash)
    assert ledger.get("turn-2") == written[2]
    assert ledger.get("nothing") is None


def test_empty_ledger_is_whole(ledger: Ledger) -> None:
    assert ledger.verify() == 0
    assert ledger.head() == (0, GENESIS)


def test_same_key_is_written_once(ledger: Ledger) -> None:
    first = ledger.append("a", {"x": [1, "é"]}, key="k", cost={"ms": 1})
    assert ledger.append("a", {"x": [1, "e\u0301"]}, key="k", cost={"ms": 99}) == first
    with pytest.raises(LedgerCorrupt, match="other content"):
        ledger.append("a", {"x": [2]}, key="k")
    assert ledger.verify() == 1


def test_same_run_gives_the_same_hashes_but_for_the_clock(tmp_path: Path) -> None:
    heads: list[str] = []
    for name in "ab":
        with Ledger.open(tmp_path / name, "r", create=True, clock=lambda: 7) as ledger:
            ledger.acquire()
            heads.append(fill(ledger)[-1].chain_hash)
    assert heads[0] == heads[1]


def test_floats_are_refused(ledger: Ledger) -> None:
    with pytest.raises(TypeError, match="float"):
        ledger.append("a", {"x": 0.5}, key="k")
    assert ledger.head()[0] == 0


def test_more_events_than_a_page_are_all_read(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evolvent.ledger.ledger._PAGE", 3)
    fill(ledger, 10)
    assert [event.seq for event in ledger.events()] == list(range(1, 11))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "ledger.sqlite"
    with Ledger.open(path, "r1", create=True) as ledger:
        ledger.acquire()
        fill(ledger)
        ledger.request("request.stop", {"why": "é"}, key="stop")
    return path


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_to_any_column_is_detected(whole: Path, data: st.DataObject) -> None:
    column = data.draw(st.sampled_from(COLUMNS))
    seq = data.draw(st.integers(1, 6))
    with closing(sqlite3.connect(whole)) as raw:
        old = raw.execute(f"SELECT {column} FROM events WHERE seq = ?", (seq,)).fetchone()[0]
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    number = st.integers(-(2**63), 2**63 - 1)
    near = (
        st.just(old + 1) if column in NUMBERS else st.sampled_from([f"{old} ", old.upper() + "x", old[1:], f"{old}é"])
    )
    value = data.draw(st.one_of(number, near) if column in NUMBERS else st.one_of(text, near, st.binary(max_size=4)))
    with closing(sqlite3.connect(whole, isolation_level=None)) as raw:
        raw.execute("BEGIN")
        try:
            raw.execute(f"UPDATE events SET {column} = ? WHERE seq = ?", (value, seq))
            changed = raw.execute(f"SELECT {column} FROM events WHERE seq = ?", (seq,)).fetchone() != (old,)
            raw.execute("COMMIT")
        except sqlite3.IntegrityError:  # taken by another row: the file itself refuses
            raw.execute("ROLLBACK")
            changed = False
    try:
        with Ledger.open(whole, "r1") as ledger:
            if changed:
                with pytest.raises(LedgerCorrupt):
                    ledger.verify()
            else:
                assert ledger.verify() == 6
    finally:
        where = (value, seq) if column != "seq" else (value, value)
        if changed:
            edit(whole, f"UPDATE events SET {column} = '{old}' WHERE {column} IS ? AND seq = ?", values=where)


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["DELETE FROM events WHERE seq = 3"], "one is missing"),
        (["DELETE FROM events WHERE seq = 1"], "one is missing"),
        (["DELETE FROM events WHERE seq = 5"], "cut off"),
        (["DELETE FROM events"], "cut off"),
        (["UPDATE events SET seq = -seq", "UPDATE events SET seq = seq + 6"], "chain hash|content hash"),
        (["UPDATE events SET seq = 99 WHERE seq = 2", "UPDATE events SET seq = 2 WHERE seq = 3",
          "UPDATE events SET seq = 3 WHERE seq = 99"], "event 2: chain hash"),
        (["CREATE TABLE e AS SELECT * FROM events", "DROP TABLE events", "ALTER TABLE e RENAME TO events",
          "INSERT INTO events SELECT * FROM events WHERE seq = 4"], "event 4: is there twice"),
        (["UPDATE head SET seq = 4"], "head says 4"),
        (["UPDATE head SET chain_hash = ''"], "chain hash differs"),
        (["DELETE FROM head"], "bookkeeping"),
        (["DROP TABLE events"], "no such table"),
        (["""UPDATE events SET payload = '{"turn": 1}' WHERE seq = 2"""], "event 2: payload.*canonical"),
        (["""UPDATE events SET payload = '{"turn":2}' WHERE seq = 2"""], "event 2: content hash"),
        (["""UPDATE events SET payload = '{"turn":1,"turn":1}' WHERE seq = 2"""], "event 2: payload"),
        (["""UPDATE events SET payload = '{"turn":1.0}' WHERE seq = 2"""], "event 2: payload"),
        (["UPDATE events SET time_ns = 1 WHERE seq = 2"], "event 2: chain hash"),
        (["""UPDATE events SET cost = '{}' WHERE seq = 5"""], "event 5: chain hash"),
        (["UPDATE events SET key = CAST(x'ff' AS TEXT) WHERE seq = 2"], "decode"),
    ],
)  # fmt: skip
def test_tampering_is_named(ledger: Ledger, path: Path, statements: list[str], message: str) -> None:
    fill(ledger)
    ledger.close()
    edit(path, *statements)
    with Ledger.open(path, "r1") as again, pytest.raises(LedgerCorrupt, match=message):
        again.verify()


def test_append_needs_the_token(path: Path) -> None:
    with Ledger.open(path, "r1", create=True) as ledger, pytest.raises(LedgerBusy, match="acquire"):
        ledger.append("a", {}, key="k")


def test_second_controller_is_refused_and_replaces_a_dead_one(path: Path) -> None:
    with Ledger.open(path, "r1", create=True) as first, Ledger.open(path, "r1") as second:
        token = first.acquire()
        assert first.acquire() == token + 1
        with pytest.raises(LedgerBusy, match="running this run"):
            second.acquire()
        edit(path, "UPDATE controller SET started_ms = started_ms - 60000")  # the same number, another process
        assert second.acquire() == token + 2
        second.append("a", {}, key="k")
        with pytest.raises(LedgerBusy, match="took over"):
            first.append("b", {}, key="k2")
        first.release()
        second.append("c", {}, key="k3")
        assert [event.kind for event in second.events()] == ["a", "c"]


def test_killed_controller_leaves_a_whole_ledger_that_can_be_taken(path: Path) -> None:
    code = (
        "import os, sys, pathlib; from evolvent.ledger import Ledger\n"
        "l = Ledger.open(pathlib.Path(sys.argv[1]), 'r1', create=True); l.acquire()\n"
        "[l.append('a', {'i': i}, key=str(i)) for i in range(3)]; os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    with Ledger.open(path, "r1") as ledger:
        assert ledger.verify() == 3
        ledger.acquire()
        assert ledger.append("a", {"i": 2}, key="2").seq == 3
        assert ledger.append("a", {"i": 3}, key="3").seq == 4


def test_requests_need_no_token_and_cannot_pose_as_the_controller(ledger: Ledger, path: Path) -> None:
    with Ledger.open(path) as other:
        assert other.run == "r1"
        assert other.request("request.stop", {"reason": "enough"}, key="r").seq == 1
        assert ledger.get("r") is None, "no request stands where a decision is looked for"
        with pytest.raises(UsageError, match="request"):
            other.request("promoted", {}, key="x")
        with pytest.raises(UsageError, match="actor"):
            other.request("request.x", {}, key="x", actor="judge")
    assert ledger.append("a", {}, key="k").seq == 2
    assert ledger.verify() == 2


def test_opening_says_what_is_wrong(ledger: Ledger, path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        Ledger.open(tmp_path / "none", "r1")
    (tmp_path / "text").write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(UsageError, match="is not a ledger"):
        Ledger.open(tmp_path / "text", "r1")
    (tmp_path / "empty").touch()
    with pytest.raises(UsageError, match="is not a ledger"):
        Ledger.open(tmp_path / "empty", "r1")
    with pytest.raises(UsageError, match=r"is of \['r1'\], not of 'r2'"):
        Ledger.open(path, "r2")
    with pytest.raises(UsageError, match="run id"):
        Ledger.open(tmp_path / "new", create=True)
    fill(ledger)
    with Ledger.open(path, "r1", create=True) as again:
        assert again.verify() == 5


def test_full_disk_is_a_store_error_and_leaves_the_ledger_whole(ledger: Ledger) -> None:
    fill(ledger)
    with ledger._db.read() as conn:
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
        conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="free space"):
        ledger.append("big", {"text": "x" * 100_000}, key="big")
    assert ledger.verify() == 5


def test_snapshot_is_a_cache_that_tells_when_it_is_false(ledger: Ledger, path: Path) -> None:
    fill(ledger)
    assert ledger.load_snapshot("fold") is None
    ledger.save_snapshot("fold", 3, {"champion": "a"})
    ledger.save_snapshot("fold", 4, {"champion": "b"})
    assert ledger.load_snapshot("fold") == (4, {"champion": "b"})
    with pytest.raises(UsageError, match="no event 9"):
        ledger.save_snapshot("fold", 9, {})
    edit(path, """UPDATE snapshots SET state = '{"champion":"c"}'""")
    assert ledger.load_snapshot("fold") is None


def test_an_archived_ledger_is_read_as_it_lies_and_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger.open(tmp_path / "l.sqlite", "r1", create=True) as ledger:
        ledger.acquire()
        ledger.append("run.started", {"a": 1}, key="run")
    there = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setattr(os, "access", lambda *_: False)
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        assert [event.payload for event in ledger.events()] == [{"a": 1}]
        assert ledger.verify() == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == there
        with pytest.raises(StoreError, match="permissions"):
            ledger.acquire()


def test_each_connection_is_as_durable_as_was_asked(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ledger._db.read() as conn, ledger._db.read() as another:
        for connection in (conn, another):
            found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in sqlite._PRAGMAS}
            assert found == {"journal_mode": "wal", "synchronous": 2, "fullfsync": 1, "foreign_keys": 1}
    monkeypatch.setitem(sqlite._PRAGMAS, "journal_mode", ("DELETE", "wal"))  # as where no shared memory is to be had
    with pytest.raises(StoreError, match=r"journal_mode at 'delete'.*local disk"):
        Ledger.open(path.with_name("other.sqlite"), "r1", create=True)


def test_what_a_killed_writer_left_is_synced_before_it_is_seen(path: Path) -> None:
    """It may have been killed between a commit's write and its sync."""
    steps: list[tuple[str, str]] = []
    crash_world.listen(lambda name, args: steps.append((name, args[0].name)))
    try:
        with Ledger.open(path, "r1", create=True) as first:
            first.request("request.stop", {}, key="stop")
            steps.clear()
            with Ledger.open(path) as second:
                assert steps == [("sync", "ledger.sqlite-wal")]
                second.request("request.stop", {}, key="stop")
        assert [name for name, _ in steps] == ["sync", "commit", "committed"]
    finally:
        crash_world.listen(None)
