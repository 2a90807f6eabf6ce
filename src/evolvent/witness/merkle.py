"""The Merkle tree of RFC 6962 over SHA-256: one hash for a whole history, and short proofs about it.

A leaf is ``H(0x00 | data)``, a node ``H(0x01 | left | right)``. A tree that only grows is kept as its *peaks*, the
roots of its perfect subtrees, one for each 1 in the binary form of its size: adding a leaf costs O(log n), and so does
the state. An *inclusion proof* shows that a leaf is in a tree, a *consistency proof* that a larger tree begins with a
smaller one; both are checked with the roots alone.

Not here: what a leaf is (`heads.py`), signatures (`signing.py`).

References:
    RFC 6962, section 2.1 (trees and proofs), and RFC 9162, sections 2.1.3 and 2.1.4 (how proofs are checked).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

__all__ = ["EMPTY_ROOT", "Tree", "check_consistency", "check_inclusion", "leaf_hash", "node_hash"]

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf that holds `data`."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of a node over two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A growing tree, kept as its peaks.

    Attributes:
        size: leaves so far.
        peaks: roots of the perfect subtrees, the largest (and oldest) first; as many as `size` has ones in binary.
    """

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if size < 0 or len(peaks) != size.bit_count():
            raise ValueError(f"tree of {size} leaves: expected {max(size, 0).bit_count()} peaks, got {len(peaks)}")
        self.size, self.peaks = size, list(peaks)

    def add(self, leaf: bytes) -> None:
        """Append a leaf, given by its `leaf_hash`."""
        ones = self.size
        while ones & 1:  # a perfect subtree of that size is there: both become one of twice the size
            leaf = node_hash(self.peaks.pop(), leaf)
            ones >>= 1
        self.peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The hash of everything so far."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def copy(self) -> Tree:
        """A tree of its own with the same leaves."""
        return Tree(self.size, self.peaks)

    def consistency(self, added: Sequence[bytes]) -> list[bytes]:
        """Proof that the tree with the leaf hashes `added` behind it begins with this one.

        Needs no older leaf: a proof is made of peaks of the old tree and of subtrees of what was added.
        """
        ranges, size = _Ranges(self, added), self.size + len(added)
        low, high, whole, proof = 0, size, True, list[bytes]()
        while low < self.size < high:
            middle = low + _split(high - low)
            if self.size <= middle:
                proof.append(ranges.hash(middle, high))
                high = middle
            else:
                proof.append(ranges.hash(low, middle))
                low, whole = middle, False
        if self.size and not whole:
            proof.append(ranges.hash(low, high))
        return proof[::-1]

    def inclusion(self, added: Sequence[bytes], index: int) -> list[bytes]:
        """Proof that leaf `index`, one of `added`, is in the tree with `added` behind it.

        Raises:
            ValueError: the leaf is older than what was added, or there is none of that number.
        """
        size = self.size + len(added)
        if not self.size <= index < size:
            raise ValueError(f"inclusion proof: expected a leaf of {self.size} to {size - 1}, got {index}")
        ranges, low, high, proof = _Ranges(self, added), 0, size, list[bytes]()
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                proof.append(ranges.hash(middle, high))
                high = middle
            else:
                proof.append(ranges.hash(low, middle))
                low = middle
        return proof[::-1]


class _Ranges:
    """Hashes of ranges of leaves: peaks of the old tree, and anything within what was added."""

    def __init__(self, old: Tree, added: Sequence[bytes]) -> None:
        self._start, self._added = old.size, added
        self._peaks: dict[tuple[int, int], bytes] = {}
        low, left = 0, old.size
        for peak in old.peaks:
            width = 1 << (left.bit_length() - 1)
            self._peaks[low, low + width] = peak
            low, left = low + width, left - width

    def hash(self, low: int, high: int) -> bytes:
        """Hash of the leaves ``low .. high - 1``."""
        known = self._peaks.get((low, high))
        if known is not None:
            return known
        if high - low == 1:
            assert low >= self._start, "a proof needs no single old leaf that is no peak"
            return self._added[low - self._start]
        middle = low + _split(high - low)
        return node_hash(self.hash(low, middle), self.hash(middle, high))


def _split(width: int) -> int:
    """The largest power of two below `width`, where a tree of that many leaves is parted."""
    return 1 << ((width - 1).bit_length() - 1)


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that the leaf hash `leaf` stands at `index` in the tree of that size and root."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for hash_ in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(hash_, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, hash_)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def check_consistency(old_size: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `size` leaves begins with the one of `old_size` leaves."""
    if not 0 <= old_size <= size:
        return False
    if old_size in (0, size):
        return not proof and old_root == (root if old_size else EMPTY_ROOT)
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]  # a perfect old tree is a node itself
    if not path:
        return False
    at, last = old_size - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for hash_ in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(hash_, old), node_hash(hash_, new)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, hash_)
        at, last = at >> 1, last >> 1
    return last == 0 and old == old_root and new == root
