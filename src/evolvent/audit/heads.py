"""Signed heads against the ledger: was it put back, cut, forked or rewritten since somebody elsewhere was told of it?

Everything is read with suspicion: a line may be of another run, another key, out of order or cut off.

Not here: signing heads (`witness/heads.py`); whether the ledger is sound in itself (the rest of the audit).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evolvent.errors import StoreError
from evolvent.witness import HeadLog, SignedHead, event_leaf
from evolvent.witness.merkle import EMPTY_ROOT, Tree, check_consistency

if TYPE_CHECKING:
    from evolvent.audit import Findings

__all__ = ["check_heads"]


class _Places:
    """What signed heads say, by place, and which key they should be of."""

    def __init__(self, findings: Findings, run: str, key: str) -> None:
        self.findings, self.run, self.key = findings, run, key
        self.claims: dict[int, list[tuple[str, SignedHead]]] = {}  # by size of the ledger
        self.newest = 0

    def read(self, log: HeadLog, required: bool) -> None:
        """Take in one place, and hold its lines against each other."""
        where, expect = str(log.path), self.findings.expect
        try:
            lines = log.lines()
        except StoreError as exc:
            self.findings.wrong.append(str(exc))
            return
        if not expect(bool(lines) or not required, f"{where}: no signed heads there"):
            return
        parsed = [SignedHead.parse(line) for line in lines]
        if cut := parsed.count(None):
            self.findings.notes.append(f"{where}: {cut} of {len(lines)} lines cannot be read, as after a power loss")
        before: SignedHead | None = None
        for number, signed in enumerate(parsed, 1):
            if signed is not None:
                self._line(f"{where} line {number}", where, signed, before)
                before = signed

    def _line(self, at: str, where: str, signed: SignedHead, before: SignedHead | None) -> None:
        self.findings.count("signed heads")
        expect, head = self.findings.expect, signed.head
        if not expect(head.run == self.run, f"{at}: is of run {head.run}, not of {self.run}"):
            return
        if not expect(signed.signed(), f"{at}: the signature does not hold"):
            return
        self.key = self.key or signed.key
        expect(signed.key == self.key, f"{at}: is signed by another key: the signing key was exchanged")
        size, root = (before.head.size, before.head.root) if before else (0, EMPTY_ROOT.hex())
        if head.size == size and head.root != root:
            expect(False, f"{at}: fork: another history of {size} events was signed before")
        elif expect(head.size >= size, f"{at}: fork: {size} events were signed before, now {head.size}"):
            proof = [bytes.fromhex(text) for text in signed.proof]
            grew = check_consistency(size, head.size, bytes.fromhex(root), bytes.fromhex(head.root), proof)
            expect(signed.after == size and grew, f"{at}: does not continue the line before")
        self.claims.setdefault(head.size, []).append((where, signed))

    def compare(self, chain: Sequence[str]) -> None:
        """Hold every head against the ledger's own chain hashes."""
        tree = Tree()
        for size, chain_hash in enumerate(chain, 1):
            tree.add(event_leaf(chain_hash))
            if size in self.claims:
                root = tree.root().hex()
                for where, signed in self.claims[size]:
                    same = (signed.head.root, signed.head.chain) == (root, chain_hash)
                    self.findings.expect(
                        same, f"{where}: signed another history of {size} events: the ledger was rewritten since"
                    )
        self.newest = max((size for size in self.claims if size <= tree.size), default=0)
        for size in sorted(size for size in self.claims if size > tree.size):
            for where in sorted({where for where, _ in self.claims[size]}):
                self.findings.wrong.append(
                    f"{where}: was told of {size} events, the ledger has {tree.size}: an older copy was put back, or "
                    f"events were cut off"
                )


def check_heads(findings: Findings, run: str, chain: Sequence[str], own: Path, witnesses: Sequence[Path]) -> str:
    """Hold a ledger against the heads signed of it; returns the key that they are of, ``""`` when there are none.

    Args:
        findings: where faults go.
        run: the run's id.
        chain: chain hashes of its events, in order, verified.
        own: the run's ``signing`` folder; one that is not there says nothing.
        witnesses: folders of witnesses; each must hold heads of this run.
    """
    # The first witness's key counts: what lies in the run's own folder is what an attacker has.
    places = _Places(findings, run, "")
    for place in witnesses:
        places.read(HeadLog(place), required=True)
    places.read(HeadLog(own), required=False)
    places.compare(chain)
    if witnesses and (late := len(chain) - places.newest) > 0 and not findings.wrong:
        findings.notes.append(f"the last {late} of {len(chain)} events are newer than the last signed head")
    if not places.claims:
        findings.notes.append("there are no signed heads: nothing would show a ledger that was put back or rewritten")
    return places.key
