"""Signed tree heads: one line that fixes a whole history, kept where whoever runs the run cannot take it back.

A chain of hashes shows an edit, but not a ledger that was rewritten as a whole or put back from an older copy: both are
sound in themselves. So the controller signs a *head* (events so far, root of their Merkle tree, last chain hash) when
it starts, at the end of each turn, and around each promotion, and appends it to ``signing/heads.jsonl`` in the run's
folder and to each *witness*, a folder elsewhere. Each line also carries the proof that its tree begins with that of the
line before, so a witness can be checked by itself.

A leaf of the tree is an event's chain hash. A head holds no clock but that of its last event: the same ledger and key
give the same line, byte for byte. Heads lie beside the ledger, never in it, so that a run's events do not depend on its
key.

What a witness is worth depends on who can write there. The controller must be able to append, and whoever has its
account can do what it can: use a place that only lets it append (another machine's export, ``chattr +a``), or let
another machine copy ``signing/heads.jsonl`` by itself.

Not here: reading a witness with suspicion (`audit/heads.py`), keys (`signing.py`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evolvent.disk import append_line, sync_file, sync_folder, write_atomic
from evolvent.errors import LedgerCorrupt, StoreError
from evolvent.ledger import GENESIS, Ledger
from evolvent.types import Record, canonical_json, sha256_hex
from evolvent.witness.merkle import Tree, leaf_hash
from evolvent.witness.signing import PublicKey, Signer

__all__ = ["HEADS", "HEAD_KIND", "Head", "HeadLog", "Notary", "SignedHead", "event_leaf"]

HEADS = "heads.jsonl"
HEAD_KIND = "application/vnd.evolvent.head+json"
_SNAPSHOT = "tree"
_HASH = re.compile(r"[0-9a-f]{64}")
_TAIL_BYTES = 1 << 14  # a line holds at most some forty hashes of 64 digits


@dataclass(frozen=True, kw_only=True)
class Head(Record):
    """What is signed: the state of a ledger.

    Attributes:
        run: run id.
        size: events so far.
        root: root of the Merkle tree over their chain hashes, hex.
        chain: chain hash of the last one.
        time_ns: wall clock of the last one.
    """

    run: str
    size: int
    root: str
    chain: str
    time_ns: int


@dataclass(frozen=True, kw_only=True)
class SignedHead:
    """One line of a head log.

    Attributes:
        head: what is signed.
        key: raw public key, base64.
        signature: over the head's canonical JSON, base64.
        after: size of the tree that `proof` starts from: that of the line before, 0 for the first.
        proof: that the tree begins with that one, hashes in hex.
    """

    head: Head
    key: str
    signature: str
    after: int
    proof: tuple[str, ...]

    def line(self) -> str:
        """As one line of JSON."""
        proof = {"after": self.after, "path": list(self.proof)}
        return canonical_json({"head": self.head.plain(), "key": self.key, "proof": proof, "sig": self.signature})

    @classmethod
    def parse(cls, line: str) -> SignedHead | None:
        """From a line; ``None`` when it is none."""
        try:
            row = json.loads(line)
            head = Head(**row["head"])
            proof = tuple(row["proof"]["path"])
            found = cls(head=head, key=row["key"], signature=row["sig"], after=row["proof"]["after"], proof=proof)
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        kinds = ((head.size, int), (head.time_ns, int), (found.after, int), (head.run, str), (found.key, str))
        texts = all(type(value) is kind for value, kind in kinds) and isinstance(found.signature, str)
        hashes = all(isinstance(text, str) and _HASH.fullmatch(text) for text in (head.root, head.chain, *proof))
        return found if texts and hashes else None

    def signed(self) -> bool:
        """Whether the signature is that of its own key."""
        public = PublicKey.from_text(self.key)
        body = canonical_json(self.head.plain()).encode()
        return public is not None and public.holds(HEAD_KIND, body, self.signature)


class HeadLog:
    """Signed heads in a folder, oldest first; lines are only ever appended.

    Attributes:
        folder: where ``heads.jsonl`` lies; a witness's own folder, of one run.
        path: the file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / HEADS
        self._lasting = False

    def lines(self) -> list[str]:
        """All lines; none when there is no file.

        Raises:
            StoreError: it cannot be read.
        """
        try:
            return _lines(self.path.read_bytes()) if self.path.exists() else []
        except OSError as exc:
            raise StoreError(f"{self.path}: cannot be read: {exc.strerror}") from None

    def last(self) -> SignedHead | None:
        """The newest whole line; what a crash cut off is passed over. Reads the end of the file only."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                tail = _lines(file.read())
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise StoreError(f"{self.path}: cannot be read: {exc.strerror}") from None
        return next(filter(None, map(SignedHead.parse, reversed(tail))), None)

    def append(self, signed: SignedHead) -> None:
        """Add a line, durably.

        Raises:
            StoreError: the folder is not there or cannot be written.
        """
        append_line(self.path, signed.line().encode())

    def settle(self) -> None:
        """Make what lies there last: who wrote it may have been killed before it could. Once is enough.

        Raises:
            StoreError: the disk refuses.
        """
        if not self._lasting and self.path.exists():
            sync_file(self.path)
            sync_folder(self.folder)
        self._lasting = True


def _lines(data: bytes) -> list[str]:
    """Split at line feeds alone: other signs that end a line are changes, and are to be seen as such."""
    lines = data.decode("utf-8", "replace").split("\n")
    return lines if lines[-1] else lines[:-1]


def event_leaf(chain_hash: str) -> bytes:
    """Leaf hash of the event with that chain hash, which is over the event and everything before it."""
    return leaf_hash(bytes.fromhex(chain_hash))


class Notary:
    """Signs a ledger's heads and takes them to the witnesses.

    Args:
        ledger: open, with the controller's token held.
        signer: the run's key.
        folder: the run's own ``signing`` folder.
        places: the witnesses' folders, which must be there.

    A turn costs what its own events cost, however long the run is: the tree is kept as a snapshot. A witness that
    missed heads gets one over everything since.
    """

    def __init__(self, ledger: Ledger, signer: Signer, folder: Path, places: Sequence[Path]) -> None:
        self._ledger, self._signer, self._folder = ledger, signer, folder
        self._own, self._witnesses = HeadLog(folder), [HeadLog(place) for place in places]
        snapshot = ledger.load_snapshot(_SNAPSHOT)
        self._tree = Tree(snapshot[0], [bytes.fromhex(peak) for peak in snapshot[1]]) if snapshot else Tree()

    def publish(self, *, must: bool = False) -> list[str]:
        """Sign the ledger as it is now, and append the head everywhere.

        Args:
            must: there are witnesses, and one of them at least has to take it.

        Returns:
            What went wrong at witnesses, one sentence each. The next head makes good for it.

        Raises:
            LedgerCorrupt: the ledger contradicts a head that was signed before: it was put back or rewritten.
            StoreError: the run's own folder cannot be written, or `must` and no witness can.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        before, added = self._tree.copy(), list[bytes]()
        for event in self._ledger.events(before.size):
            added.append(event_leaf(event.chain_hash))
            self._tree.add(added[-1])
        head = self._head()
        self._deliver(self._own, head, before, added)
        failed: list[str] = []
        for log in self._witnesses:
            try:
                self._check_place(log)
                self._deliver(log, head, before, added)
                if head.size:
                    self._remember(log)
            except StoreError as exc:
                failed.append(f"witness {exc}")
        if added:
            self._ledger.save_snapshot(_SNAPSHOT, self._tree.size, [peak.hex() for peak in self._tree.peaks])
        if must and self._witnesses and len(failed) == len(self._witnesses):
            raise StoreError(
                f"{'; '.join(failed)}: nothing is promoted that no witness has seen. Make the folder reachable, or "
                f"take it out of `witness` in evolvent.yaml, and run again"
            )
        return failed

    def _head(self) -> Head:
        size = self._tree.size
        last = next(self._ledger.events(size - 1), None) if size else None
        chain, time_ns = (last.chain_hash, last.time_ns) if last else (GENESIS, 0)
        return Head(run=self._ledger.run, size=size, root=self._tree.root().hex(), chain=chain, time_ns=time_ns)

    def _deliver(self, log: HeadLog, head: Head, before: Tree, added: list[bytes]) -> None:
        """Append the head to one log, unless it holds it already."""
        last, key = log.last(), self._signer.public.text
        if last is not None:
            self._check_last(log, last, head)
            log.settle()
        size = last.head.size if last else 0
        if size != before.size:  # this log has another head than the snapshot: the long way, once
            leaves = [event_leaf(event.chain_hash) for event in self._ledger.events()][: head.size]
            before, added = Tree(), leaves[size:]
            for leaf in leaves[:size]:
                before.add(leaf)
        if last is not None and last.head.root != before.root().hex():
            raise LedgerCorrupt(
                f"{log.path}: its head of {size} events is not of this history: the ledger was rewritten since. "
                f"`evolvent audit --witness {log.folder}` says more"
            )
        if size < head.size:
            proof = tuple(hash_.hex() for hash_ in before.consistency(added)) if size else ()
            signature = self._signer.sign(HEAD_KIND, canonical_json(head.plain()).encode())
            log.append(SignedHead(head=head, key=key, signature=signature, after=size, proof=proof))

    def _check_last(self, log: HeadLog, last: SignedHead, head: Head) -> None:
        key = self._signer.public.text
        if last.head.run != head.run or last.key != key or not last.signed():
            whose = "another run" if last.head.run != head.run else "another key"
            raise LedgerCorrupt(
                f"{log.path}: its last head is signed by or for {whose}. A witness serves one run: name an empty "
                f"folder, or restore the run's own signing key"
            )
        if last.head.size > head.size:
            raise LedgerCorrupt(
                f"{log.path}: was told of {last.head.size} events, the ledger has {head.size}: an older copy was put "
                f"back, or events were cut off. Restore the newer ledger"
            )

    def _check_place(self, log: HeadLog) -> None:
        """A folder that is not there may be a disk that is not mounted: never make it in its place."""
        if not log.folder.is_dir():
            raise StoreError(f"{log.folder}: no such folder (make it once; is its disk mounted?)")
        if self._note_of(log).exists() and not log.path.exists():
            raise StoreError(f"{log.folder}: is empty, but held heads of this run before (is its disk mounted?)")

    def _remember(self, log: HeadLog) -> None:
        note = self._note_of(log)
        if not note.exists():
            write_atomic(note, f"{log.folder}\n".encode())

    def _note_of(self, log: HeadLog) -> Path:
        return self._folder / "witnesses" / sha256_hex(str(log.folder))[:16]
