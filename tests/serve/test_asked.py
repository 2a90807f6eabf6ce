"""Requests are read strictly, and pieces of an answer never have to be taken back."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evolvent.models.codec import CharCodec, Codec, PythonCodec, SqlCodec
from evolvent.serve.asked import Limits, Refused, parse
from evolvent.serve.model import Answer

LIMITS = Limits()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
FIELDS = (
    "model",
    "messages",
    "prompt",
    "n",
    "temperature",
    "max_tokens",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "top_p",
)


@settings(deadline=None)
@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")), st.booleans())
@example(b"[" * 100_000, True)
@example(b'{"messages":' * 20_000, True)
@example(b"9" * 100_000, False)
def test_no_body_does_more_than_be_refused(body: bytes, chat: bool) -> None:
    with pytest.raises(Refused) as refused:
        parse(body, chat=chat, limits=LIMITS)
    assert len(json.dumps(refused.value.plain)) < 2000
    assert refused.value.status == 400


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), json_values, max_size=8), st.booleans())
def test_what_is_understood_is_within_the_limits(body: dict[str, Any], chat: bool) -> None:
    try:
        ask = parse(json.dumps(body).encode(), chat=chat, limits=LIMITS)
    except Refused:
        return
    assert 1 <= ask.n <= LIMITS.choices
    assert 0 <= ask.temperature <= 2
    assert ask.max_tokens is None or 1 <= ask.max_tokens <= LIMITS.max_tokens
    assert all(ask.stop)


def test_null_is_as_good_as_nothing_and_a_little_warmth_is_none() -> None:
    least = {"model": "m", "prompt": "p"}
    whole = {
        **least,
        "n": None,
        "temperature": None,
        "stop": None,
        "stream": None,
        "seed": None,
        "top_p": 1,
        "user": "u",
    }
    asks = [parse(json.dumps(body).encode(), chat=False, limits=LIMITS) for body in (least, whole)]
    assert asks[0] == asks[1]
    cold = parse(json.dumps({**least, "temperature": 1e-300}).encode(), chat=False, limits=LIMITS)
    assert cold.temperature == 0.0


PYTHON = "-- fix\ndef f(a, b):\n    return [a, b][0]  # 'x y'\n"
CASES: list[tuple[Codec, str]] = [
    (CharCodec("abc \n"), "abc"),
    (SqlCodec(16), 'CREATE TABLE "a b" (x TEXT, y INTEGER); DROP TABLE t ;'),
    (PythonCodec(["x y"]), PYTHON),
]


@pytest.mark.parametrize(("codec", "prompt"), CASES, ids=["char", "sql", "python"])
def test_pieces_add_up_whatever_the_codec(codec: Codec, prompt: str) -> None:
    encoded = codec.encode(prompt)
    for seed in range(200):
        rng = random.Random(seed)
        ids = [rng.choice([*encoded.ids, *encoded.ids, rng.randrange(2, codec.size)]) for _ in range(12)]
        whole = codec.decode(ids, encoded)
        stop = (whole[4:6],) if seed % 2 and whole[4:6] else ()
        answer, sent = Answer(), ""
        for n in range(1, len(ids) + 1):
            if not answer.finish:
                answer.look(codec.decode(ids[:n], encoded), stop, final=n == len(ids))
            assert answer.text.startswith(sent)
            sent = answer.text
        assert sent == (whole.split(stop[0])[0] if stop else whole)


def test_half_a_character_waits_for_the_rest() -> None:
    answer = Answer()
    for decoded in ("a", "a\ufffd", "a\ufffd\ufffd", "a\u20ac", "a\u20acb"):
        answer.look(decoded, (), final=False)
        assert "\ufffd" not in answer.text
    assert answer.text == "a\u20ac"
    answer.look("a\u20acb", (), final=True)
    assert answer.text == "a\u20acb"
