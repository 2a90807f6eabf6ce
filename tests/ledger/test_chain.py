"""The chain: hashes are over canonical JSON, however they are put together, and only canonical text passes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolvent.errors import LedgerCorrupt
from evolvent.ledger import chain
from evolvent.types import canonical_json, sha256_hex

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


def row(payload: Any, cost: Any, words: tuple[str, str, str, str], seq: int = 1) -> dict[str, Any]:
    names = dict(zip(("run", "actor", "kind", "key"), (canonical_json(word)[1:-1] for word in words), strict=True))
    plain: dict[str, Any] = {**names, "schema": 2, "payload": canonical_json(payload), "cost": canonical_json(cost)}
    plain |= {"content_hash": chain.content_hash(plain), "seq": seq, "time_ns": 7}
    return {**plain, "chain_hash": chain.chain_hash(chain.GENESIS, plain)}


@given(payload=json_values, cost=json_values, words=st.tuples(text, text, text, text))
def test_hashes_are_of_canonical_json(payload: Any, cost: Any, words: tuple[str, str, str, str]) -> None:
    made = row(payload, cost, words)
    said = {name: made[name] for name in ("run", "actor", "kind", "key", "schema")} | {"payload": payload}
    assert made["content_hash"] == sha256_hex(canonical_json(said))
    rest = {name: made[name] for name in ("seq", "time_ns", "content_hash")} | {"cost": cost}
    assert made["chain_hash"] == sha256_hex(chain.GENESIS + canonical_json({**said, **rest}))
    assert chain.check_row(made, made["run"], 1, chain.GENESIS) == made["chain_hash"]


@pytest.mark.parametrize(
    "forged",
    ['{"a": 1}', '{"a":1.0}', '{"a":1e2}', '{"a":NaN}', '{"a":-0}', '{"b":1,"a":1}', '{"a":1,"a":1}', '{"\\u00e9":1}',
     '{"\\u0061":1}', '{"a":"\\/"}', '{"e\u0301":1}', '{"a":"\\ud800"}', '{"a":1}\n', "", "[" * 100_000],
)  # fmt: skip
def test_text_with_the_same_meaning_but_another_form_is_refused(forged: str) -> None:
    good = row({"a": 1}, {}, ("r", "controller", "k", "key"))
    bad = {**good, "payload": forged}
    bad["content_hash"] = chain.content_hash(bad) if "\\ud800" not in forged else good["content_hash"]
    bad["chain_hash"] = chain.chain_hash(chain.GENESIS, bad)
    with pytest.raises(LedgerCorrupt, match="payload was changed"):
        chain.check_row(bad, "r", 1, chain.GENESIS)
