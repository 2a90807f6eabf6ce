"""The tree against RFC 6962's own definition, its reference roots, and anything that is not a proof."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolvent.witness.merkle import EMPTY_ROOT, Tree, check_consistency, check_inclusion, leaf_hash, node_hash

# The reference tree of the certificate-transparency projects: eight leaves and the first half of each prefix's root.
TEXTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
LEAVES = [bytes.fromhex(text) for text in TEXTS]
ROOTS = ["6e340b9cffb37a98", "fac54203e7cc696c", "aeb6bcfe274b70a1", "d37ee418976dd957", "4e3bbb1f7b478dcf",
         "76e67dadbcdf1e10", "ddb89be403809e32", "5dc9da79a70659a9"]  # fmt: skip


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return node_hash(by_definition(leaves[:k]), by_definition(leaves[k:]))


def proof_by_definition(m: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2, word for word."""
    if m == len(leaves):
        return [] if whole else [by_definition(leaves)]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if m <= k:
        return [*proof_by_definition(m, leaves[:k], whole), by_definition(leaves[k:])]
    return [*proof_by_definition(m - k, leaves[k:], False), by_definition(leaves[:k])]


def tree(leaves: list[bytes]) -> Tree:
    grown = Tree()
    for leaf in leaves:
        grown.add(leaf)
    return grown


def made(count: int) -> list[bytes]:
    return [leaf_hash(i.to_bytes(4, "big")) for i in range(count)]


def test_reference_roots() -> None:
    for size, root in enumerate(ROOTS, 1):
        assert tree([leaf_hash(data) for data in LEAVES[:size]]).root().hex()[:16] == root
    assert Tree().root().hex().startswith("e3b0c44298fc1c14")  # SHA-256 of nothing


def test_the_state_is_the_peaks_of_the_binary_size() -> None:
    leaves, grown = made(300), Tree()
    for size, leaf in enumerate(leaves, 1):
        grown.add(leaf)
        assert len(grown.peaks) == size.bit_count()
        assert grown.root() == by_definition(leaves[:size])
    with pytest.raises(ValueError, match="expected 2 peaks, got 1"):
        Tree(3, grown.peaks[:1])


def test_every_prefix_of_small_trees_is_proven_as_the_definition_says() -> None:
    for size in range(34):
        leaves = made(size)
        root = by_definition(leaves)
        for old in range(size + 1):
            prefix = tree(leaves[:old])
            proof = prefix.consistency(leaves[old:])
            assert proof == (proof_by_definition(old, leaves) if old else [])
            assert check_consistency(old, size, prefix.root(), root, proof)
            for index in range(old, size):
                path = prefix.inclusion(leaves[old:], index)
                assert check_inclusion(leaves[index], index, size, path, root)


@given(size=st.integers(1, 3000), share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_no_other_history_is_proven(size: int, share: float, seed: int) -> None:
    rng, leaves = random.Random(seed), made(size)
    old = round(share * size)
    prefix, grown = tree(leaves[:old]), tree(leaves)
    proof = prefix.consistency(leaves[old:])
    before, after = prefix.root(), grown.root()
    assert check_consistency(old, size, before, after, proof)
    assert len(proof) <= 2 * size.bit_length()
    if not old:
        return
    # Another event somewhere in the part that was promised: no proof made for the new tree shows the old root in it.
    forged = list(leaves)
    forged[rng.randrange(old)] = leaf_hash(b"forged")
    forged_proof = tree(forged[:old]).consistency(forged[old:])
    assert not check_consistency(old, size, before, tree(forged).root(), forged_proof)
    assert not check_consistency(old, size, before, tree(forged).root(), proof)
    # A changed, cut or lengthened proof, and a history that is shorter than it was.
    if proof:
        at = rng.randrange(len(proof))
        for wrong in ([*proof[:at], b"\x01" * 32, *proof[at + 1 :]], proof[:-1], [*proof, proof[-1]]):
            assert not check_consistency(old, size, before, after, wrong)
    assert old == size or not check_consistency(size, old, after, before, proof)


@given(size=st.integers(1, 600), share=st.floats(0, 0.999), seed=st.integers(0, 2**32))
def test_a_leaf_is_proven_at_its_own_place_only(size: int, share: float, seed: int) -> None:
    rng, leaves = random.Random(seed), made(size)
    index = int(share * size)
    prefix = tree(leaves[: rng.randint(0, index)])
    proof, root = prefix.inclusion(leaves[prefix.size :], index), tree(leaves).root()
    assert check_inclusion(leaves[index], index, size, proof, root)
    assert not check_inclusion(leaf_hash(b"forged"), index, size, proof, root)
    assert not check_inclusion(leaves[index], index, size, [*proof, root], root)
    assert not check_inclusion(leaves[index], size, size, proof, root)
    if size > 1:
        assert not check_inclusion(leaves[index], (index + 1) % size, size, proof, root)
        assert not check_inclusion(leaves[index], index, size, proof[:-1], root)


def test_only_what_was_added_can_be_proven_from_peaks() -> None:
    with pytest.raises(ValueError, match="expected a leaf of 3 to 4, got 2"):
        tree(made(3)).inclusion(made(5)[3:], 2)
