"""What somebody with a database tool can do to a ledger's file, by class; for `crash.py`.

Each mutation changes a copy of a whole ledger. `ALONE` are the classes that the chain must show by itself, `WITNESS`
those that no chain can show, because what is left is a good ledger: they show only against a head kept elsewhere.

Not here: whether they are found.
"""

from __future__ import annotations

import json
import random
import sqlite3
import unicodedata
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from evolvent.ledger import Ledger, chain
from evolvent.types import SCHEMA_VERSION, canonical_json, sha256_hex

NUMBERS = ("seq", "time_ns", "schema")
TEXTS = ("run", "actor", "kind", "key", "payload", "cost", "content_hash", "chain_hash")
Mutation = Callable[[sqlite3.Connection, random.Random, int], None]


def make_ledger(path: Path, events: int) -> None:
    """A ledger with nested payloads, text beyond ASCII, and requests between the controller's events."""
    with Ledger.open(path, "run", create=True) as ledger:
        ledger.acquire()
        for i in range(events):
            skills = {name: {"n": 200, "correct": i * 7 % 200} for name in ("größe", "single")}
            ledger.append("judged", {"id": f"{i}.0", "skills": skills, "seen": True}, key=f"turn/{i}", cost={"ms": i})
            if i % 5 == 0:
                ledger.request("request.note", {"text": "ça va, Ω, 1"}, key=str(i))


def make_long_ledger(path: Path, events: int) -> None:
    """A ledger with payloads of a real run's size (about 500 characters), in one go: appends would take minutes."""
    with Ledger.open(path, "run", create=True):
        pass
    row: dict[str, Any] = {"run": "run", "actor": "controller", "kind": "screened", "schema": SCHEMA_VERSION}
    previous = chain.GENESIS
    with closing(sqlite3.connect(path)) as raw, raw:
        for seq in range(1, events + 1):
            skills = {name: {"n": 200, "wins": seq % 200, "losses": 3} for name in ("long", "multi", "short", "single")}
            plain = {"id": f"{seq}.0", "version": sha256_hex(str(seq)), "against": sha256_hex("seed"), "skills": skills}
            plain |= {"target": "multi", "passed": seq % 3 == 0, "flops": seq * 10**9, "tokens": seq * 100}
            row |= {"seq": seq, "time_ns": seq, "key": f"{seq}/screened", "payload": canonical_json(plain)}
            row["cost"] = canonical_json({"ms": seq})
            row["content_hash"] = chain.content_hash(row)
            row["chain_hash"] = previous = chain.chain_hash(previous, row)
            raw.execute(
                f"INSERT INTO events ({','.join(row)}) VALUES ({','.join('?' * len(row))})", tuple(row.values())
            )
        raw.execute("UPDATE head SET seq = ?, chain_hash = ?", (events, previous))


def mutate(path: Path, change: Mutation, rng: random.Random) -> bool:
    """Apply one to a file; returns whether it holds anything else now (SQLite takes ``"7 "`` for 7)."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        before = _content(raw)
        change(raw, rng, raw.execute("SELECT max(seq) FROM events").fetchone()[0])
        return [list(map(repr, rows)) for rows in before] != [list(map(repr, rows)) for rows in _content(raw)]


def _content(raw: sqlite3.Connection) -> list[list[Any]]:
    return [raw.execute(f"SELECT * FROM {table}").fetchall() for table in ("events ORDER BY seq", "head", "meta")]


def _free(raw: sqlite3.Connection) -> None:
    """Take the table's own guards off."""
    raw.execute("CREATE TABLE e AS SELECT * FROM events")
    raw.execute("DROP TABLE events")
    raw.execute("ALTER TABLE e RENAME TO events")


def _column(name: str) -> Mutation:
    def edit(raw: sqlite3.Connection, rng: random.Random, last: int) -> None:
        seq = rng.randint(1, last)
        old = raw.execute(f"SELECT {name} FROM events WHERE seq = ?", (seq,)).fetchone()[0]
        _free(raw)
        new = old
        while new == old:
            new = rng.choice(_near(old, rng))
        raw.execute(f"UPDATE events SET {name} = ? WHERE seq = ?", (new, seq))

    return edit


def _near(old: Any, rng: random.Random) -> list[Any]:
    if isinstance(old, int):
        return [old + 1, old - 1, -old, old ^ 1 << rng.randrange(40), str(old) + " ", float(old) + 0.5, None]
    at = rng.randrange(len(old))
    other = chr(rng.choice([rng.randint(32, 126), rng.randint(0xA0, 0x2FF)]))
    edits = [old[:at] + other + old[at + 1 :], old[:at] + old[at + 1 :], old[:at] + other + old[at:], old + " "]
    return [*edits, old.upper() + other, old.encode(), None, ""]


def _drop(raw: sqlite3.Connection, rng: random.Random, last: int) -> None:
    first = rng.randint(1, last)
    raw.execute("DELETE FROM events WHERE seq BETWEEN ? AND ?", (first, first + rng.choice([0, 0, 1, 5])))


def _drop_and_close_up(raw: sqlite3.Connection, rng: random.Random, last: int) -> None:
    seq = rng.randint(1, last - 1)
    raw.execute("DELETE FROM events WHERE seq = ?", (seq,))
    _free(raw)
    raw.execute("UPDATE events SET seq = seq - 1 WHERE seq > ?", (seq,))
    raw.execute("UPDATE head SET seq = seq - 1")


def _double(raw: sqlite3.Connection, rng: random.Random, last: int) -> None:
    _free(raw)
    raw.execute("INSERT INTO events SELECT * FROM events WHERE seq = ?", (rng.randint(1, last),))


def _double_at_the_end(raw: sqlite3.Connection, rng: random.Random, last: int) -> None:
    _free(raw)
    raw.execute("CREATE TABLE d AS SELECT * FROM events WHERE seq = ?", (rng.randint(1, last),))
    raw.execute("UPDATE d SET seq = ?", (last + 1,))
    raw.execute("INSERT INTO events SELECT * FROM d")
    raw.execute("UPDATE head SET seq = ?, chain_hash = (SELECT chain_hash FROM d)", (last + 1,))


def _swap(raw: sqlite3.Connection, rng: random.Random, last: int) -> None:
    a, b = rng.sample(range(1, last + 1), 2)
    for old, new in ((a, -1), (b, a), (-1, b)):
        raw.execute("UPDATE events SET seq = ? WHERE seq = ?", (new, old))


def _cut(raw: sqlite3.Connection, rng: random.Random, last: int) -> None:
    raw.execute("DELETE FROM events WHERE seq > ?", (rng.randint(0, last - 1),))


def _head(raw: sqlite3.Connection, rng: random.Random, last: int) -> None:
    name, value = rng.choice([("seq", rng.randint(0, last - 1)), ("chain_hash", f"{rng.getrandbits(256):064x}")])
    raw.execute(f"UPDATE head SET {name} = ?", (value,))


def _insert(raw: sqlite3.Connection, rng: random.Random, last: int) -> None:
    """An event more, well-made and rightly hashed, but the chain after it is not made anew."""
    rows = _rows(raw)
    at = rng.randint(0, last - 1)
    rows.insert(at, {**rows[at], "key": f"forged/{rng.random()}", "payload": '{"seen":true}'})
    _write(raw, rows, until=at + 1)


def _unicode(raw: sqlite3.Connection, rng: random.Random, last: int) -> None:
    """The same text to the eye: another normal form, a letter of another alphabet, an invisible sign."""
    rows = _rows(raw)
    row = rng.choice([row for row in rows[:-1] if not row["payload"].isascii()])
    text = row["payload"]
    forms = [unicodedata.normalize("NFD", text), text.replace("a", "\u0430"), text.replace("Ω", "\u2126")]
    new = rng.choice([form for form in [*forms, text.replace('":', '\u200b":', 1)] if form != text])
    _edit(raw, rows, row, new, rng)


def _json(raw: sqlite3.Connection, rng: random.Random, last: int) -> None:
    """The same value, or nearly, in another text: spaces, order, doubled keys, escapes, number forms."""
    rows = _rows(raw)
    row = rng.choice(rows[:-1])
    text, value = row["payload"], json.loads(row["payload"])
    key = next(iter(value))
    forms = [
        json.dumps(value), json.dumps(dict(reversed(value.items())), separators=(",", ":"), ensure_ascii=False),
        json.dumps(value, separators=(",", ":"), sort_keys=True), "{" + f'"{key}":{json.dumps(value[key])},' + text[1:],
        text + "\n", " " + text, text.replace("200", "200.0"), text.replace("200", "2e2"), text.replace("true", "1"),
        text.replace('"id"', '"\\u0069d"'), text.replace(":0,", ":-0,"), text[:-1] + ',"x":NaN}',
    ]  # fmt: skip
    _edit(raw, rows, row, rng.choice([form for form in forms if form != text]), rng)


def _edit(
    raw: sqlite3.Connection, rows: list[dict[str, Any]], row: dict[str, Any], text: str, rng: random.Random
) -> None:
    """Put the text in; half of the time also make the row's own hashes fit."""
    row["payload"] = text
    _write(raw, rows, until=row["seq"] if rng.random() < 0.5 else 0)


def _rows(raw: sqlite3.Connection) -> list[dict[str, Any]]:
    cursor = raw.execute("SELECT * FROM events ORDER BY seq")
    return [dict(zip([name for name, *_ in cursor.description], row, strict=True)) for row in cursor]


def _write(raw: sqlite3.Connection, rows: list[dict[str, Any]], until: int) -> None:
    """Put rows back, numbered anew, with hashes that fit as far as `until`; the head is the last row's."""
    _free(raw)
    raw.execute("DELETE FROM events")
    previous = chain.GENESIS
    for seq, row in enumerate(rows, 1):
        row["seq"] = seq
        if seq <= until:
            row["content_hash"] = chain.content_hash(row)
            row["chain_hash"] = chain.chain_hash(previous, row)
        previous = row["chain_hash"]
        raw.execute(f"INSERT INTO events ({','.join(row)}) VALUES ({','.join('?' * len(row))})", tuple(row.values()))
    raw.execute("UPDATE head SET seq = ?, chain_hash = ?", (len(rows), previous))


def _rewritten(raw: sqlite3.Connection, rng: random.Random, last: int) -> None:
    rows = _rows(raw)
    row = rng.choice(rows)
    row["payload"] = canonical_json({**json.loads(row["payload"]), "forged": rng.getrandbits(30)})
    _write(raw, rows, until=last)


def _rewritten_without(raw: sqlite3.Connection, rng: random.Random, last: int) -> None:
    rows = _rows(raw)
    del rows[rng.randrange(last)]
    _write(raw, rows, until=last)


def _rolled_back(raw: sqlite3.Connection, rng: random.Random, last: int) -> None:
    """As it was some events ago: a cut tail with the head to match is the older copy of the file."""
    _write(raw, _rows(raw)[: rng.randint(1, last - 1)], until=0)


ALONE: dict[str, Mutation] = {
    **{f"column {name}": _column(name) for name in (*NUMBERS, *TEXTS)},
    "dropped": _drop, "dropped, the rest renumbered": _drop_and_close_up, "doubled": _double,
    "replayed at the end": _double_at_the_end, "swapped": _swap, "tail cut": _cut, "head": _head,
    "forged event put in": _insert, "Unicode": _unicode, "JSON": _json,
}  # fmt: skip
WITNESS: dict[str, Mutation] = {
    "edited, everything hashed anew": _rewritten, "dropped, everything hashed anew": _rewritten_without,
    "older copy": _rolled_back,
}  # fmt: skip
