"""Diagnosis: the weakest slices first, neither rare nor doubtful ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from evolvent.observe.diagnose import SMALLEST_SLICE, diagnose, wilson
from evolvent.types import Trace


def traces(skill: str, kind: str, n: int, failures: int, error: str = "syntax") -> list[Trace]:
    return [
        Trace(problem=f"{skill}{kind}{i}", skill=skill, tags={"kind": kind}, output="", correct=i >= failures,
              error=error if i < failures else None)
        for i in range(n)
    ]  # fmt: skip


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_wilsons(counts: tuple[int, int]) -> None:
    failures, n = counts
    expected = binomtest(failures, n).proportion_ci(0.9, "wilson")
    assert wilson(failures, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_no_data_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert diagnose([]) == []


def test_the_weakest_slice_comes_first_with_its_cause() -> None:
    seen = traces("multi", "retype", 60, 50, "lost_rows") + traces("multi", "add", 60, 3) + traces("single", "a", 60, 1)
    worst = diagnose(seen)[0]
    assert (worst.skill, worst.slice) == ("multi", {"kind": "retype"})
    assert (worst.n, worst.failures, worst.errors) == (60, 50, {"lost_rows": 50})
    assert worst.cause == "loses rows on the way"
    assert float(worst.low) < 50 / 60 < float(worst.high)


def test_small_and_flawless_slices_are_left_out() -> None:
    seen = traces("a", "tiny", SMALLEST_SLICE - 1, SMALLEST_SLICE - 1) + traces("b", "good", 50, 0)
    assert diagnose(seen) == []


def test_the_order_of_traces_does_not_matter() -> None:
    seen = traces("a", "x", 20, 5) + traces("a", "y", 20, 5) + traces("b", "z", 20, 12)
    assert diagnose(seen) == diagnose(seen[::-1])
    assert len(diagnose(seen, limit=2)) == 2
