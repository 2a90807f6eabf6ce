"""Effect estimates: a fold in whole numbers that shrinks to its prior and survives export."""

from __future__ import annotations

import json
import random
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


def test_what_is_foreseen_is_one_trial_and_not_the_mean() -> None:
    many = seen([("gold", "a", 20, 0), ("gold", "a", 0, 4)] * 50)
    mean, error = many.estimate("gold", 2.0)
    foreseen = many.foresee("gold", 2.0)
    assert foreseen.points == mean
    assert foreseen.deviation > 5 * error
    assert foreseen.flops == 3_000_000
    assert Effects().foresee("gold", 2.0).flops == 0, "nothing of its kind was built"


def test_the_range_foreseen_holds_what_comes_as_often_as_it_should() -> None:
    """Gains drawn from one law; each foreseen from those before it. At 80 %, within what 3,000 draws allow."""
    inside = trials = 0
    for run in range(100):
        rng, effects = random.Random(run), Effects()
        mean = rng.gauss(3, 4)
        for trial in range(40):
            foreseen = effects.foresee("gold", 3.0)
            gain = round(rng.gauss(mean, 5))
            if trial >= 10:
                trials += 1
                inside += abs(gain - foreseen.points) <= 1.2816 * foreseen.deviation
            effects.screened("gold", "a", max(gain, 0), max(-gain, 0), 100, 10**6)
    assert trials == 3000
    assert 0.75 <= inside / trials <= 0.87
