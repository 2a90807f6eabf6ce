import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolvent.errors import SandboxError
from evolvent.sandbox.frames import read_frame, read_json, write_bytes, write_json

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def frame(kind: bytes, payload: bytes) -> io.BytesIO:
    return io.BytesIO(kind + len(payload).to_bytes(4, "big") + payload)


@settings(max_examples=40, deadline=None)
@given(value=st.dictionaries(st.text(), JSON_VALUES), blob=st.binary(max_size=300))
def test_what_is_written_is_read(value: dict[str, object], blob: bytes) -> None:
    stream = io.BytesIO()
    write_json(stream, value)
    write_bytes(stream, blob)
    stream.seek(0)
    assert read_json(stream) == value
    assert read_frame(stream) == blob
    assert read_frame(stream) is None


@given(st.binary(max_size=64))
def test_any_bytes_give_a_frame_an_end_or_a_typed_error(data: bytes) -> None:
    try:
        read_frame(io.BytesIO(data))
    except SandboxError:
        pass


@pytest.mark.parametrize(
    "payload",
    [
        b"[1]",
        b"1",
        b"",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1,"a":2}',
        b'{"b":{"a":1,"a":2}}',
        b"\xff\xfe",
        b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    ],
)
def test_json_that_is_not_strict_is_refused(payload: bytes) -> None:
    with pytest.raises(SandboxError, match="JSON"):
        read_json(frame(b"J", payload))


def test_length_is_capped_before_reading() -> None:
    with pytest.raises(SandboxError, match="at most 10 bytes"):
        read_frame(io.BytesIO(b"B" + (11).to_bytes(4, "big")), max_bytes=10)


@pytest.mark.parametrize("cut", [1, 4, 5, 7])
def test_a_cut_stream_is_an_error(cut: int) -> None:
    whole = frame(b"B", b"abcd").getvalue()
    with pytest.raises(SandboxError, match="early"):
        read_frame(io.BytesIO(whole[:cut]))


def test_unknown_kind_and_wrong_kind_are_refused() -> None:
    with pytest.raises(SandboxError, match="kind"):
        read_frame(frame(b"P", b""))
    with pytest.raises(SandboxError, match="raw bytes"):
        read_json(frame(b"B", json.dumps({}).encode()))


def test_nan_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(io.BytesIO(), {"a": float("nan")})
