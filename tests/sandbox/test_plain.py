"""Values come back as what they were, and nothing that `encode` would not write is taken."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolvent.sandbox.plain import MAX_DEPTH, NotPlain, Opaque, canonical, decode, encode

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text(st.characters())  # with surrogates
)
HASHABLE = st.recursive(LEAVES, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.sets(HASHABLE, max_size=4)
        | st.frozensets(HASHABLE, max_size=4)
    ),
    max_leaves=20,
)


def shape(value: Any) -> Any:
    """A value with its types written out, so that == says what we mean."""
    kind = type(value)
    if kind is float:
        return kind, value.hex()
    if kind in (list, tuple):
        return kind, [shape(item) for item in value]
    if kind in (set, frozenset):
        return kind, sorted(map(repr, map(shape, value)))
    if kind is dict:
        return kind, [(shape(key), shape(item)) for key, item in value.items()]
    return kind, value


@given(VALUES)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    over_the_wire = json.loads(json.dumps(encode(value), ensure_ascii=False, allow_nan=False).encode())
    assert shape(decode(over_the_wire)) == shape(value)


@given(VALUES, VALUES)
def test_encodings_are_equal_exactly_if_the_values_are(one: Any, other: Any) -> None:
    assert (encode(one) == encode(other)) == (shape(one) == shape(other))


@given(st.dictionaries(HASHABLE, VALUES, max_size=5))
def test_canonical_forgets_the_order_of_a_dict_only(value: dict[Any, Any]) -> None:
    turned = dict(reversed(value.items()))
    assert canonical(encode(turned)) == canonical(encode(value))
    again = decode(canonical(encode(value)))
    assert sorted(map(repr, shape(again)[1])) == sorted(map(repr, shape(value)[1])) or _holds_a_dict(value.values())


def _holds_a_dict(values: Any) -> bool:
    """Inner dicts may change their order too; then the two differ as written."""
    return "dict" in repr([shape(value) for value in values])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        (0, False),
        ([1], (1,)),
        ("1", 1),
        ({1}, frozenset({1})),
        ({}, set()),
        (b"a", "a"),
    ],
)
def test_what_python_calls_equal_stays_apart(one: Any, other: Any) -> None:
    assert encode(one) != encode(other)


def test_nan_equals_nan_and_a_huge_number_is_short_work() -> None:
    assert encode(math.nan) == encode(-math.nan)
    assert decode(encode(1 << 200_000)) == 1 << 200_000


class Liar(int):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


class Named(type):
    @property
    def __name__(cls) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        raise AssertionError("a type's own code was called")


class Lazy(metaclass=Named):
    def __getattribute__(self, name: str) -> Any:
        raise AssertionError("a value's own code was called")


def make_lazy() -> object:
    return Lazy()  # pytest would look into a class that it is given


def opaque_values() -> list[object]:
    return [Liar(3), (i for i in range(3)), range(3), 1j, Lazy(), print, Liar]


@pytest.mark.parametrize("index", range(7))  # not the values: pytest would look into them
def test_anything_else_is_opaque_and_none_of_its_code_runs(index: int) -> None:
    value = opaque_values()[index]
    plain = encode([value])
    assert isinstance(plain, list)
    assert decode(plain) == [Opaque(type.__dict__["__name__"].__get__(type(value)))]


def test_depth_and_size_are_capped() -> None:
    loop: list[Any] = []
    loop.append(loop)
    wide: list[Any] = []
    for _ in range(40):
        wide = [wide, wide]
    for value in (loop, wide):
        with pytest.raises(NotPlain, match="at most"):
            encode(value)
    deep: Any = None
    for _ in range(MAX_DEPTH + 1):
        deep = ["l", deep]
    for read in (decode, canonical):
        with pytest.raises(NotPlain, match="levels"):
            read(deep)


@pytest.mark.parametrize(
    "forged",
    [
        1, 1.5, {}, [], [1], ["x", "1"], ["i"], ["i", 1], ["i", "1"], ["i", "0x01"], ["i", " 0x1"], ["i", "0x1_0"],
        ["f", "1.0"], ["f", "NAN"], ["f", "0x1p99999"], ["y", "AB"], ["u", "61"], ["d", "a"], ["d", ["l"], "a"],
        ["d", "a", "b", "a", "c"], ["s", "b", "a"], ["s", "a", "a"], ["s", ["l"]], ["s", ["i", "0x1"], True],
        ["o", "a" * 999], ["o"], ["o", "\ud800"], "\ud800",
    ],
)  # fmt: skip
def test_a_forged_encoding_is_refused(forged: Any) -> None:
    with pytest.raises(NotPlain):
        decode(forged)
