"""Effect estimates: a fold in whole numbers that shrinks to its prior and survives export."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolvent.errors import UsageError
from evolvent.memory.effects import FORMAT, Effects

screening = st.tuples(
    st.sampled_from(["gold", "policy"]), st.sampled_from(["a", "b"]), st.integers(0, 50), st.integers(0, 50)
)


def seen(screenings: list[tuple[str, str, int, int]]) -> Effects:
    effects = Effects()
    for operator, failure, wins, losses in screenings:
        effects.screened(operator, failure, wins, losses, 200, 3_000_000)
        effects.judged(operator, failure, wins > losses)
    return effects


@given(st.lists(screening, max_size=20))
def test_order_does_not_count(screenings: list[tuple[str, str, int, int]]) -> None:
    assert seen(screenings).plain() == seen(screenings[::-1]).plain()


@given(st.lists(screening, max_size=10))
def test_it_survives_export(screenings: list[tuple[str, str, int, int]]) -> None:
    effects = seen(screenings)
    assert Effects.from_plain(json.loads(json.dumps(effects.plain()))).plain() == effects.plain()


def test_the_estimate_starts_at_the_prior_and_follows_the_evidence() -> None:
    assert Effects().estimate("gold", 2.0)[0] == 2.0
    few, many = seen([("gold", "a", 20, 0)]), seen([("gold", "a", 20, 0)] * 50)
    assert 2.0 < few.estimate("gold", 2.0)[0] < many.estimate("gold", 2.0)[0] < 10.0
    assert many.estimate("gold", 2.0)[0] == pytest.approx(10.0, abs=0.5)
    assert many.estimate("gold", 2.0)[1] < few.estimate("gold", 2.0)[1] < Effects().estimate("gold", 2.0)[1]
    assert many.estimate("policy", 2.0)[0] == 2.0, "another operator's evidence is not its own"


def test_all_classes_of_an_operator_count() -> None:
    both = seen([("gold", "a", 20, 0), ("gold", "b", 0, 20)])
    assert both.estimate("gold", 0.0)[0] == pytest.approx(0.0, abs=1e-9)


def test_counts_are_whole_numbers() -> None:
    effects = seen([("gold", "a", 1, 0)] * 3)
    assert effects.of("gold", "a").plain() == {
        "n": 3, "total": 1500, "squares": 0, "accepted": 3, "judged": 3, "mflops": 9
    }  # fmt: skip


@pytest.mark.parametrize(
    "data", [{}, [], {"format": "other"}, {"format": FORMAT, "effects": {"a": {"n": "x"}}},
             {"format": FORMAT, "effects": {"a": {"surprise": 1}}}, {"format": FORMAT, "effects": 3}],
)  # fmt: skip
def test_what_is_no_memory_is_refused(data: Any) -> None:
    with pytest.raises(UsageError, match="expected a memory as `evolvent memory export` writes it"):
        Effects.from_plain(data, "there")
