"""Canonical JSON, hashes, seeds, records."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolvent.types import Candidate, Genome, Problem, Proposal, canonical_json, content_hash, dec, derive_seed

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_canonical_json_is_one_text(value: Any) -> None:
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text
    assert unicodedata.is_normalized("NFC", text)
    assert content_hash(value) == content_hash(json.loads(text))


@given(st.dictionaries(st.text(), st.integers(), max_size=6))
def test_order_of_keys_does_not_count(value: dict[str, int]) -> None:
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


@pytest.mark.parametrize("value", [1.0, {"a": [float("nan")]}, {1: 2}, b"x", {1, 2}, object()])
def test_what_has_no_one_text_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="canonical JSON"):
        canonical_json(value)


def test_known_values() -> None:
    assert canonical_json({"b": [1, None, True], "a": "e\u0301"}) == '{"a":"é","b":[1,null,true]}'
    assert content_hash({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert dec(0.1 + 0.2) == "0.3"
    assert dec(1 / 3, 3) == "0.333"


@given(st.lists(st.text(st.characters(exclude_characters="\x1f")), min_size=1, max_size=4))
def test_seeds_depend_on_the_path_alone(parts: list[str]) -> None:
    seed = derive_seed(*parts)
    assert seed == derive_seed(*parts)
    assert 0 <= seed < 2**63
    assert seed != derive_seed(*parts, "x")


def test_parts_of_a_path_do_not_run_together() -> None:
    assert derive_seed("a", "b") != derive_seed("ab")
    assert derive_seed(1, 23) != derive_seed(12, 3)


def test_a_record_comes_back_from_its_plain_form() -> None:
    proposal = Proposal(turn=1, index=0, operator="gold", params={"a": [1, "2"]}, parent="p")
    again = Proposal(**json.loads(canonical_json(proposal.plain())))
    assert again == proposal
    assert again.hash == proposal.hash


def test_nested_records_and_tuples_become_plain() -> None:
    assert Genome(architecture={}, parents=("a", "b")).plain()["parents"] == ["a", "b"]


def test_a_candidate_is_named_by_weights_scaffold_and_genome() -> None:
    base = Candidate(model="m", scaffold={"kind": "direct"}, genome="g")
    others = [
        Candidate(model="n", scaffold={"kind": "direct"}, genome="g"),
        Candidate(model="m", scaffold={"kind": "vote", "answers": 4}, genome="g"),
        Candidate(model="m", scaffold={"kind": "direct"}, genome="h"),
    ]
    assert len({base.hash, *(other.hash for other in others)}) == 4


def test_records_cannot_be_changed() -> None:
    problem = Problem(task="t", skill="s", prompt="p")
    with pytest.raises(AttributeError):
        problem.prompt = "q"  # type: ignore[misc]
