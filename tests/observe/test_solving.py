"""Shares solved, and pass@k against its definition."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolvent.models.codec import CharCodec
from evolvent.models.transformer import EvolventConfig, fresh
from evolvent.observe.solving import accuracy, correct, pass_at
from evolvent.tasks.strings import ALPHABET, MARK, Strings

TASK = Strings()


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.integers(1, 7))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(solved: list[bool], k: int) -> None:
    if k > len(solved):
        with pytest.raises(ValueError, match=f"expected at least {k} samples"):
            pass_at(k, [solved])
        return
    subsets = [any(some) for some in itertools.combinations(solved, k)]
    assert pass_at(k, [solved]) == pytest.approx(sum(subsets) / len(subsets))


def test_it_averages_over_problems() -> None:
    assert pass_at(1, [[True, False], [False, False]]) == 0.25
    assert pass_at(2, [[True, False], [False, False]]) == 0.5


def test_each_output_is_verified() -> None:
    problems = TASK.generate("short", random.Random(0), 2)
    right = [p.prompt.removesuffix(MARK)[::-1] for p in problems]
    assert correct(TASK, problems, [[right[0], "x"], [right[1], right[1]]], 0) == [[True, False], [True, True]]


def test_an_untrained_model_solves_nearly_nothing() -> None:
    codec = CharCodec(ALPHABET + MARK)
    model = fresh(EvolventConfig(vocab_size=codec.size, hidden_size=16, num_hidden_layers=1), 0).eval()
    assert accuracy(model, codec, TASK, TASK.generate("long", random.Random(0), 20)) == 0.0
