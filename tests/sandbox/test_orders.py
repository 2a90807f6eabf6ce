"""Orders to a zygote and its answers keep their numbers."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolvent.sandbox import orders
from evolvent.sandbox.orders import Bounds

NUMBERS = st.integers(0, 2**64 - 1)


@given(number=NUMBERS, bounds=st.builds(Bounds, *[NUMBERS] * 5))
def test_a_birth_is_told_as_it_was_ordered(number: int, bounds: Bounds) -> None:
    order = orders.bear(number, bounds)
    assert (orders.number_of(order), orders.read_bear(order)) == (number, bounds)
    endings = [orders.end(number, at_once=at_once) for at_once in (False, True)]
    assert len({order[0], *(ending[0] for ending in endings)}) == 3
    assert [ending[0] == orders.KILL for ending in endings] == [False, True]
    assert {orders.number_of(ending) for ending in endings} == {number}


@given(number=NUMBERS, code=st.integers(-64, 255), cpu_s=st.floats(0, 1e9), killed=st.booleans())
def test_an_end_is_told_as_it_was(number: int, code: int, cpu_s: float, killed: bool) -> None:
    assert orders.read_ended(orders.ended(number, code, cpu_s, killed=killed)) == (number, code, cpu_s, killed)
    assert code != orders.NEVER_BORN


@given(answer=st.binary().filter(lambda answer: len(answer) != len(orders.ended(0, 0, 0.0, killed=False))))
def test_anything_else_is_no_answer(answer: bytes) -> None:
    with pytest.raises(struct.error):
        orders.read_ended(answer)
