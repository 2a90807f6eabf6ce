"""Attacks on the record: on a run's ledger as it lies on disk, by somebody who may write there.

A made-up run of the tests (real ledger, store, judge's evidence) is copied, tampered with, and audited. Where the chain can
be made whole again, only the audit of contents or a witness elsewhere can tell; each class says which.

Not here: a disk that fails (`benchmarks/crash.py` has every step of it).
"""

from __future__ import annotations

import atexit
import importlib
import json
import random
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from evolvent.audit import audit
from evolvent.errors import EvolventError
from evolvent.ledger import Ledger
from evolvent.run import JUDGE, LEDGER, STORE
from evolvent.store import Store
from evolvent.witness import Notary
from evolvent.witness.signing import Signer
from hostile.base import Attack, Ending, Field, Found, Json

__all__ = ["ATTACKS", "finished"]

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
_SIGNING = "signing"
_QUICK = "/dev/shm" if Path("/dev/shm").is_dir() else None  # thousands of small syncs: not what is measured here
Change = Callable[[Path, random.Random], None]
Payload = Callable[[str, dict[str, Any], random.Random], bool]
_OWN = "its work is to be found afterwards; nothing is executed"


@lru_cache(maxsize=1)
def finished() -> tuple[Path, Path]:
    """A run that ended well, signed and witnessed; and the witness' folder."""
    run_on_disk = importlib.import_module("run_on_disk")
    root = Path(tempfile.mkdtemp(prefix="evolvent-attacks-run-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    folder, witness = root / "run", root / "witness"
    witness.mkdir()
    run_on_disk.RunOnDisk(folder).force_check_and_seal()
    with Ledger.open(folder / LEDGER) as ledger:
        Notary(ledger, Signer.own(folder / _SIGNING / "key.pem"), folder / _SIGNING, [witness]).publish(must=True)
    return folder, witness


def _audited(folder: Path, witness: Path | None) -> list[str]:
    """What the audit says; with a witness, also what is signed there."""
    try:
        with Ledger.open(folder / LEDGER) as ledger:
            signing = {"signing": folder / _SIGNING, "witnesses": [witness]} if witness else {}
            return audit(ledger, Store(folder / STORE), folder / JUDGE, **signing).wrong
    except EvolventError as exc:
        return [str(exc)]


def tampering(name: str, trust: str, stops: str, change: Change, *, witnessed: bool = False) -> Attack:
    """A class of changes to a copied run. The control is the untouched copy, in which the audit finds nothing."""

    def run(_: Field, variants: int, seed: int) -> Iterator[Ending]:
        whole, witness = finished()
        if wrong := _audited(whole, witness):
            yield Ending(Found.NO_PROBE, f"the untouched run is not clean: {wrong[0]}")
        for i in range(variants):
            with tempfile.TemporaryDirectory(dir=_QUICK) as root:
                folder = Path(root) / "run"
                shutil.copytree(whole, folder)
                change(folder, random.Random(f"{name}{seed}{i}"))
                wrong = _audited(folder, witness if witnessed else None)
            yield Ending(Found.FLAGGED, wrong[0]) if wrong else Ending(Found.ESCAPED, f"variant {i}: nobody noticed")

    return Attack(name=name, trust=trust, stops=stops, run=run, no_control=_OWN)


def _sql(*statements: str) -> Change:
    def change(folder: Path, rng: random.Random) -> None:
        with closing(sqlite3.connect(folder / LEDGER, isolation_level=None)) as db:
            last = db.execute("SELECT max(seq) FROM events").fetchone()[0]
            at, other = sorted(rng.sample(range(1, last), 2))
            for statement in rng.choice(statements).split(";"):
                db.execute(statement.format(at=at, other=other, last=last, n=rng.randrange(1, 9)))
        _settle(folder)

    return change


def _settle(folder: Path) -> None:
    """What lies in SQLite's journal goes into the file."""
    with closing(sqlite3.connect(folder / LEDGER)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _again(
    folder: Path, change: Callable[[str, str, Json], Json | None], more: Callable[[Ledger], None] = lambda _: None
) -> None:
    """Write the whole ledger anew with a valid chain, each payload passed through `change` (None drops the event)."""
    with Ledger.open(folder / LEDGER) as ledger:
        events = list(ledger.events())
    for path in folder.glob(f"{LEDGER}*"):
        path.unlink()
    with Ledger.open(folder / LEDGER, events[0].run, create=True) as ledger:
        ledger.acquire()
        for event in events:
            payload = change(event.kind, event.key, json.loads(json.dumps(event.payload)))
            if payload is not None:
                ledger.append(event.kind, payload, actor=event.actor, key=event.key, cost=event.cost)
        more(ledger)


def _same(_kind: str, _key: str, payload: Json) -> Json:
    return payload


def _forged(*edits: tuple[str, str, Any]) -> Change:
    """One of the edits ``(key of the event, path in its payload, value)``, and a chain that is whole again."""

    def change(folder: Path, rng: random.Random) -> None:
        wanted, path, value = rng.choice(edits)

        def edit(_kind: str, key: str, payload: Json) -> Json | None:
            if key != wanted:
                return payload
            if not path:
                return None
            at = payload
            *way, last = path.split(".")
            for step in way:
                at = at[step]
            at[last] = value(rng) if callable(value) else value
            return payload

        _again(folder, edit)

    return change


def _replayed(folder: Path, rng: random.Random) -> None:
    """A promotion that was real is told a second time."""

    def more(ledger: Ledger) -> None:
        old = rng.choice([event for event in ledger.events() if event.kind in ("promoted", "verdict", "rolled_back")])
        ledger.append(
            old.kind,
            {**old.payload, "id": rng.choice([old.payload.get("id", ""), "9.9"])},
            actor=old.actor,
            key=f"again{rng.random()}",
        )
        promoted = next(event for event in ledger.events() if event.kind == "promoted")
        ledger.append("promoted", promoted.payload, actor="controller", key=f"more{rng.random()}")

    _again(folder, _same, more)


def _older(folder: Path, rng: random.Random) -> None:
    """The file as it was some events ago, whole and well."""
    with Ledger.open(folder / LEDGER) as ledger:
        keep = rng.randrange(1, ledger.head()[0])
    keys = iter(range(1, 1000))
    _again(folder, lambda _kind, _key, payload: payload if next(keys) <= keep else None)


def _forked(folder: Path, rng: random.Random) -> None:
    """Another history from some event on."""
    with Ledger.open(folder / LEDGER) as ledger:
        keep = rng.randrange(1, ledger.head()[0])
    keys = iter(range(1, 1000))

    def more(ledger: Ledger) -> None:
        for i in range(rng.randrange(1, 30)):
            ledger.append("note", {"n": rng.randrange(100)}, key=f"fork{i}")

    _again(folder, lambda _kind, _key, payload: payload if next(keys) <= keep else None, more)


def _resigned(folder: Path, rng: random.Random) -> None:
    """Rewritten as a whole, and signed anew with a key of the attacker's own."""
    _again(folder, lambda _kind, key, payload: {**payload, "n": rng.randrange(9)} if key == "1/start" else payload)
    shutil.rmtree(folder / _SIGNING)
    with Ledger.open(folder / LEDGER) as ledger, tempfile.TemporaryDirectory() as elsewhere:
        Notary(ledger, Signer.own(folder / _SIGNING / "key.pem"), folder / _SIGNING, [Path(elsewhere)]).publish(
            must=True
        )


_SPELLINGS = (
    "UPDATE events SET payload = ' ' || payload WHERE seq = {at}",
    "UPDATE events SET payload = payload || char(10) WHERE seq = {at}",
    "UPDATE events SET payload = replace(payload, ':', ': ') WHERE seq = {at}",
    "UPDATE events SET payload = replace(payload, ',\"', ', \"') WHERE seq = 1",
    "UPDATE events SET payload = '{{\"a\":1,' || substr(payload, 2) WHERE seq = {at}",
    "UPDATE events SET payload = replace(payload, 'e', '\\u0065') WHERE seq = {at}",
    "UPDATE events SET payload = CAST(payload AS BLOB) WHERE seq = {at}",
    "UPDATE events SET cost = '{{\"ms\":1200.0}}' WHERE seq = {at}",
    "UPDATE events SET cost = '{{\"ms\":1.2e3}}' WHERE seq = {at}",
    'UPDATE events SET cost = \'{{"ms":1200,"ms":1200}}\' WHERE seq = {at}',
    "UPDATE events SET kind = kind || char(769) WHERE seq = {at}",
    "UPDATE events SET key = key || char(0) WHERE seq = {at}",
    "UPDATE events SET actor = upper(actor) WHERE seq = {at}",
    "UPDATE events SET payload = 'NaN' WHERE seq = {at}",
    "UPDATE events SET cost = '[]' WHERE seq = {at}",
    "UPDATE events SET schema = 1.0 * schema WHERE seq = {at}",
    "UPDATE events SET payload = replace(payload, 'a', char(1072)) WHERE seq = 1",
)


def _spelled(folder: Path, rng: random.Random) -> None:
    def content() -> list[Any]:
        with closing(sqlite3.connect(folder / LEDGER)) as db:
            return db.execute("SELECT * FROM events ORDER BY seq").fetchall()

    before = content()
    while content() == before:  # some spellings leave some events as they are
        _sql(*_SPELLINGS)(folder, rng)


def _two_controllers(_: Field, variants: int, seed: int) -> Iterator[Ending]:
    """A second controller takes over; the first one must not write any more."""
    whole, _witness = finished()
    with tempfile.TemporaryDirectory(dir=_QUICK) as root:
        shutil.copytree(whole, Path(root) / "run")
        path = Path(root) / "run" / LEDGER
        for i in range(variants):
            with Ledger.open(path) as first, Ledger.open(path) as second:
                first.acquire()
                with closing(sqlite3.connect(path, isolation_level=None)) as db:
                    db.execute("UPDATE controller SET pid = 0, started_ms = 0")  # as if its machine had died
                second.acquire()
                try:
                    first.append("note", {"n": i}, key=f"late{seed}-{i}")
                except EvolventError as exc:
                    yield Ending(Found.BLOCKED, f"{type(exc).__name__}: {exc}")
                else:
                    yield Ending(Found.ESCAPED, "both wrote")


def _clocks(_: Field, variants: int, seed: int) -> Iterator[Ending]:
    """The clock stands still, goes back, jumps: the same events must have the same content."""
    rng = random.Random(f"clock{seed}")
    for i in range(variants):
        hashes = []
        for ticks in (iter(range(1, 99)), iter(lambda: rng.randrange(1 << 40), None)):
            with tempfile.TemporaryDirectory(dir=_QUICK) as root:
                with Ledger.open(
                    Path(root) / LEDGER, "run", create=True, clock=lambda ticks=ticks: next(ticks)
                ) as ledger:
                    ledger.acquire()
                    hashes.append([ledger.append("note", {"n": n + i}, key=f"k{n}").content_hash for n in range(5)])
                    ledger.verify()
        same = hashes[0] == hashes[1]
        yield Ending(Found.NO_EFFECT if same else Found.ESCAPED, "content hashes leave the clock out")


ATTACKS: tuple[Attack, ...] = (
    tampering(
        "an event edited",
        "L1",
        "hash chain",
        _sql(
            "UPDATE events SET payload = '{{\"n\":{n}}}' WHERE seq = {at}",
            "UPDATE events SET actor = 'human{n}' WHERE seq = {at}",
            "UPDATE events SET kind = 'promoted{n}' WHERE seq = {at}",
            "UPDATE events SET key = 'k{n}' WHERE seq = {at}",
            "UPDATE events SET time_ns = {n} WHERE seq = {at}",
            "UPDATE events SET cost = '{{\"ms\":{n}}}' WHERE seq = {at}",
            "UPDATE events SET run = 'r{n}' WHERE seq = {at}",
            "UPDATE events SET chain_hash = content_hash WHERE seq = {at}",
            "UPDATE head SET chain_hash = 'x{n}'",
            "UPDATE meta SET run = 'r{n}'",
        ),
    ),
    tampering(
        "an event deleted",
        "L1",
        "hash chain",
        _sql(
            "DELETE FROM events WHERE seq = {at}",
            "DELETE FROM events WHERE seq BETWEEN {at} AND {other}",
            "DELETE FROM events WHERE seq = {at}; UPDATE events SET seq = seq - 1 WHERE seq > {at}",
        ),
    ),
    tampering(
        "events in another order",
        "L1",
        "hash chain",
        _sql(
            "UPDATE events SET seq = 9000 WHERE seq = {at}; UPDATE events SET seq = {at} WHERE seq = {other}; UPDATE events SET seq = {other} WHERE seq = 9000"
        ),
    ),
    tampering(
        "the end cut off",
        "L1",
        "the head is kept beside the events",
        _sql(
            "DELETE FROM events WHERE seq > {at}",
            "DELETE FROM events WHERE seq > {at}; UPDATE head SET seq = {at}",
            "DELETE FROM events WHERE seq = {last}",
        ),
    ),
    tampering(
        "an event twice",
        "L1",
        "hash chain",
        _sql(
            "INSERT INTO events (seq, run, time_ns, actor, kind, key, schema, payload, cost, content_hash, chain_hash) SELECT {last} + 1, run, time_ns, actor, kind, key || 'x', schema, payload, cost, content_hash, chain_hash FROM events WHERE seq = {at}"
        ),
    ),
    tampering(
        "every hash rewritten, contents forged",
        "L2",
        "the audit recomputes what events claim",
        _forged(
            ("1.1/verdict", "verdict.decision", "accept"),
            ("1.0/verdict", "verdict.isolation", "reduced"),
            ("1.0/decided", "version", "0" * 64),
            ("1.1/verdict", "verdict.reason", "superior"),
            ("1.0/verdict", "verdict.evidence", lambda rng: f"{rng.getrandbits(256):064x}"),
            ("check", "alarm", False),
            ("check/rolled_back", "from", "0" * 64),
            ("reported", "skills.multi.wins", lambda rng: rng.randrange(300, 900)),
            ("1.0/verdict", "", None),
            ("1.0/slot", "", None),
            ("sealed", "", None),
            ("check/opened", "", None),
        ),
    ),
    tampering(
        "every hash rewritten, nothing claimed",
        "L2",
        "a witness elsewhere",
        lambda folder, rng: _again(
            folder,
            lambda _kind, key, payload: {**payload, "note": rng.randrange(999)} if key == "1/diagnosed" else payload,
        ),
        witnessed=True,
    ),
    tampering(
        "rewritten, and signed with another key", "L2", "the key that the witness knows", _resigned, witnessed=True
    ),
    tampering("another history from some event on", "L3", "a witness elsewhere", _forked, witnessed=True),
    tampering(
        "a promotion told twice", "L4", "each needs a verdict of its own, against the champion of its time", _replayed
    ),
    Attack(name="two controllers", trust="L5", stops="fencing token", run=_two_controllers, no_control=_OWN),
    Attack(
        name="the clock goes back",
        trust="L6",
        stops="no decision reads the clock; content hashes leave it out",
        run=_clocks,
        no_control=_OWN,
    ),
    tampering("an older copy put back", "L8", "a witness elsewhere", _older, witnessed=True),
    tampering("the same JSON, spelled otherwise", "L9", "only canonical JSON in normal form is read", _spelled),
    tampering(
        "levels, slots and margins reset",
        "L10",
        "the audit adds up the error budget from the plan",
        _forged(
            ("1.0/slot", "question.alpha_ni", "0.04"),
            ("1.0/slot", "question.alpha_sup", "0.05"),
            ("1.1/slot", "slot", 1),
            ("1.1/slot", "question.slot", 1),
            ("1.0/slot", "question.max_items", 9000),
            ("1.0/slot", "question.beta", "0.99"),
            ("1.0/slot", "question.mei_points", 1),
            ("check", "alpha", "0.05"),
            ("check/opened", "question.alpha", "0.05"),
            ("check/opened", "number", 2),
            ("check/opened", "question.beta", "0.99"),
            ("judge", "commitment", "0" * 64),
            ("1.0/slot", "question.protected", []),
            ("1.0/slot", "question.target", "single"),
            ("run", "config.plan.alpha_progress", "0.000001"),
        ),
    ),
)
