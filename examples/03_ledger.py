"""The ledger on its own: append, verify, tamper, detect.

Run it: ``python examples/03_ledger.py``. Each event carries the hash of the one before it, and a head row shows a cut
tail.

Not here: someone who rewrites the whole file, head included. Against that, keep a copy of ``ledger.head()`` elsewhere.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from evolvent.errors import LedgerCorrupt
from evolvent.ledger import Ledger

TAMPERINGS = {
    "edit a payload": "UPDATE events SET payload = replace(payload, 'reject', 'accept') WHERE seq = 3",
    "change a clock": "UPDATE events SET time_ns = time_ns + 1 WHERE seq = 2",
    "drop an event": "DELETE FROM events WHERE seq = 2",
    "cut off the end": "DELETE FROM events WHERE seq = 4",
    "swap two events": "UPDATE events SET seq = CASE seq WHEN 2 THEN -3 ELSE -2 END WHERE seq IN (2, 3)",
}


def write(path: Path) -> None:
    """Four events, one of them appended twice under the same key."""
    with Ledger.open(path, "example", create=True) as ledger:
        ledger.acquire()
        ledger.append("turn.started", {"turn": 1}, key="1/start")
        ledger.append("proposed", {"id": "1.0", "operator": "null"}, key="1.0/proposed")
        first = ledger.append("verdict", {"id": "1.0", "decision": "reject"}, actor="judge", key="1.0/verdict")
        again = ledger.append("verdict", {"id": "1.0", "decision": "reject"}, actor="judge", key="1.0/verdict")
        assert first == again  # the same key and content: the first event, so a killed step can simply run again
        ledger.append("turn.ended", {"turn": 1}, key="1/end")


def verify(path: Path) -> str:
    """What an audit of the chain says."""
    with Ledger.open(path) as ledger:
        try:
            return f"ok, {ledger.verify()} events, head {ledger.head()[1][:12]}"
        except LedgerCorrupt as exc:
            return f"CORRUPT: {exc}"


def main() -> None:
    """Write a ledger, then tamper with copies of it."""
    with tempfile.TemporaryDirectory() as folder:
        for name, sql in {"untouched": "", **TAMPERINGS}.items():
            path = Path(folder) / f"{name.replace(' ', '-')}.sqlite"
            write(path)
            with closing(sqlite3.connect(path)) as raw, raw:
                raw.execute(sql)
                if name.startswith("swap"):
                    raw.execute("UPDATE events SET seq = -seq WHERE seq < 0")
            print(f"{name:<16} {verify(path)}")


if __name__ == "__main__":
    main()
