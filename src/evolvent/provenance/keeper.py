"""What is kept beside the ledger as it grows: signed heads, here and at witnesses, and a statement for each promotion.

A head is signed where something counts (a turn ended, a version was promoted, rolled back or measured), and before
anything is promoted: an accepting verdict that no witness has taken stops the run, which goes on from there later. A
witness that misses another head is reported and caught up: each head is over everything before it.

Not here: heads and logs (`witness/heads.py`), what a statement says (`statement.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evolvent.disk import write_atomic
from evolvent.ledger import Ledger
from evolvent.provenance.statement import STATEMENT_KIND, statement
from evolvent.store import Store
from evolvent.types import Event, canonical_json
from evolvent.witness import Notary
from evolvent.witness.signing import Signer, envelope

__all__ = ["Keeper", "statement_file"]

_SIGNED_AFTER = frozenset({"turn.ended", "promoted", "rolled_back", "reported", "run.stopped"})


def statement_file(folder: Path, promoted: Event) -> Path:
    """Where the statement about a promotion lies, in the run's ``signing`` folder."""
    return folder / "statements" / f"{promoted.seq}-{promoted.payload['version']}.dsse.json"


class Keeper:
    """Keeps the signed record of one run.

    Args:
        ledger: open, with the controller's token held.
        store: the run's.
        evidence: opens the judge's evidence by hash.
        folder: the run's ``signing`` folder.
        key: file of a person's own key; ``None`` makes or takes the run's.
        witnesses: folders elsewhere.
        missed: told of each witness that did not take a head.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        evidence: Callable[[str], Mapping[str, Any]],
        *,
        folder: Path,
        key: Path | None,
        witnesses: Sequence[Path],
        missed: Callable[[list[str]], None] = lambda failed: None,
    ) -> None:
        self._ledger, self._store, self._evidence, self._folder = ledger, store, evidence, folder
        self._signer = Signer.read(key) if key else Signer.own(folder / "key.pem")
        self._notary, self._missed = Notary(ledger, self._signer, folder, witnesses), missed

    def begin(self) -> None:
        """Sign what is there, and write the statements that a crash left out.

        Raises:
            LedgerCorrupt: the ledger is not the one that was signed before.
            StoreError: none of the witnesses can be written to.
        """
        self._publish(must=True)
        for event in self._ledger.events(kinds={"promoted"}):
            if not statement_file(self._folder, event).exists():
                self._state(event)

    def told(self, event: Event) -> None:
        """Take in an event that was just appended. Raises what `begin` does, for want of a witness only if accepted."""
        if event.kind == "promoted":
            self._state(event)
        accepted = event.kind == "verdict" and event.payload["verdict"]["decision"] == "accept"
        if accepted or event.kind in _SIGNED_AFTER:
            self._publish(must=accepted)

    def after(self, watch: Callable[[Event], None]) -> Callable[[Event], None]:
        """`watch`, and then `told`."""

        def both(event: Event) -> None:
            watch(event)
            self.told(event)

        return both

    def _publish(self, *, must: bool) -> None:
        if failed := self._notary.publish(must=must):
            self._missed(failed)

    def _state(self, promoted: Event) -> None:
        body = canonical_json(statement(self._ledger, promoted, self._evidence, self._store)).encode()
        wrapped = json.dumps(envelope(self._signer, STATEMENT_KIND, body), sort_keys=True) + "\n"
        write_atomic(statement_file(self._folder, promoted), wrapped.encode())
