"""The chain: how an event is hashed, and how a row of the ledger is held against the one before it.

``content_hash`` is of what an event says; ``chain_hash`` of that, of its clock and cost, and of the chain hash before.
Both are over canonical JSON. Payload and cost lie in the ledger as canonical text, so that what is hashed is put
together from that very text: nothing is parsed and written again only to be hashed.

Not here: where rows lie (`ledger.py`); who wrote them (a chain made anew from its beginning is a good chain).
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from json.encoder import encode_basestring as _quoted
from typing import Any, NoReturn

from evolvent.errors import LedgerCorrupt
from evolvent.types import canonical_json, sha256_hex

GENESIS = "0" * 64
_NUMBERS = ("seq", "time_ns", "schema")
_TEXTS = ("run", "actor", "kind", "key", "payload", "cost", "content_hash", "chain_hash")
Row = Mapping[str, Any]  # columns by name; payload and cost as canonical JSON text


def content_hash(row: Row) -> str:
    """Hash of what an event says: run, actor, kind, key, schema and payload."""
    return sha256_hex(
        f'{{"actor":{_quoted(row["actor"])},"key":{_quoted(row["key"])},"kind":{_quoted(row["kind"])},'
        f'"payload":{row["payload"]},"run":{_quoted(row["run"])},"schema":{row["schema"]}}}'
    )


def chain_hash(previous: str, row: Row) -> str:
    """Hash of a row, its content hash among it, and of the chain before it."""
    return sha256_hex(
        f'{previous}{{"actor":{_quoted(row["actor"])},"content_hash":{_quoted(row["content_hash"])},'
        f'"cost":{row["cost"]},"key":{_quoted(row["key"])},"kind":{_quoted(row["kind"])},"payload":{row["payload"]},'
        f'"run":{_quoted(row["run"])},"schema":{row["schema"]},"seq":{row["seq"]},"time_ns":{row["time_ns"]}}}'
    )


def check_row(row: Row, run: str, expected: int, previous: str) -> str:
    """Hold a row against its place.

    Args:
        row: as it was read, of whatever types.
        run: run id that it must bear.
        expected: its sequence number.
        previous: chain hash before it.

    Returns:
        Its chain hash.

    Raises:
        LedgerCorrupt: it was edited, moved or doubled, or one before it is missing.
    """
    if row["seq"] != expected:
        wrong = "is there twice" if row["seq"] == expected - 1 else f"follows event {expected - 1}: one is missing"
        raise LedgerCorrupt(f"event {row['seq']}: {wrong}")
    where = f"event {expected}"
    if not _plain(row):
        for name, value in row.items():
            if type(value) is not (int if name in _NUMBERS else str):
                raise LedgerCorrupt(f"{where}: {name} has the wrong type")
            if isinstance(value, str) and not unicodedata.is_normalized("NFC", value):
                raise LedgerCorrupt(f"{where}: {name} was changed (its text is not in normal form)")
    for name in ("payload", "cost"):
        try:
            canonical = _canonical(row[name])
        except (ValueError, TypeError, RecursionError) as exc:
            raise LedgerCorrupt(f"{where}: {name} was changed (not JSON: {exc})") from exc
        if canonical != row[name]:
            raise LedgerCorrupt(f"{where}: {name} was changed (not canonical JSON)")
    if row["run"] != run:
        raise LedgerCorrupt(f"{where}: belongs to run '{row['run']}', not to '{run}'")
    if row["content_hash"] != content_hash(row):
        raise LedgerCorrupt(f"{where}: content hash differs: run, actor, kind, key, schema or payload was changed")
    if row["chain_hash"] != chain_hash(previous, row):
        raise LedgerCorrupt(f"{where}: chain hash differs: the event was edited, moved, or one before it was")
    return row["chain_hash"]


def _plain(row: Row) -> bool:
    """Whether nothing but whole numbers and ASCII text is in it, which is most rows and needs no closer look."""
    try:
        return "".join(map(row.__getitem__, _TEXTS)).isascii() and all(type(row[name]) is int for name in _NUMBERS)
    except TypeError:  # not text
        return False


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is no whole number")


_decode = json.JSONDecoder(parse_float=_no_number, parse_constant=_no_number).raw_decode
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def _canonical(text: str) -> str:
    """The canonical form of a JSON text. Of ASCII text nothing needs a look at each string within."""
    value, end = _decode(text)
    if end != len(text):
        raise ValueError("something follows it")
    return _encode(value) if text.isascii() else canonical_json(value)
