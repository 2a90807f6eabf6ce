"""The cascade keeps what passes every check, and asks the model only about what passed the cheap ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from evolvent.curate.cascade import CHECKS, cascade
from evolvent.curate.challenger import edge_reward, passing_answers
from evolvent.models.sampler import Sampled
from evolvent.tasks.strings import MARK, Strings

TASK = Strings()


@dataclass
class Reverser:
    """Reverses rightly; remembers what it was asked."""

    asked: list[str] = field(default_factory=list)

    def __call__(self, prompts: Sequence[str], num_samples: int, temperature: float, seed: int) -> Sampled:
        self.asked += prompts
        return Sampled([[p.removesuffix(MARK)[::-1]] * num_samples for p in prompts], 3, 4)


def test_each_check_turns_its_own_kind_away() -> None:
    model = Reverser()
    candidates = [
        ["cba", "cba", "abc"],  # right, and most often
        ["cba", "abc", "bca"],  # no answer has more than half
        ["dda", "dda", "dda"],  # unanimous and wrong: the way back shows it
        ["ab", "ab", "ab"],  # another length
        ["ab", "dcb", "dcb"],  # the vote is among those of the right form
    ]
    checked = cascade(TASK, model, ["abc>", "abc>", "abc>", "abc>", "bcd>"], candidates)
    assert tuple(checked.passed) == CHECKS
    assert checked.chosen == ("cba", "cba", "dda", "ab", "dcb")
    assert checked.passed["form"] == (True, True, True, False, True)
    assert checked.passed["vote"] == (True, False, True, False, True)
    assert checked.passed["cycle"] == (True, False, False, False, True)
    assert checked.kept == (True, False, False, False, True)
    assert model.asked == ["cba>", "dda>", "dcb>"]
    assert checked.tokens == 7


def test_nothing_to_ask_costs_nothing() -> None:
    checked = cascade(TASK, Reverser(), ["abc>"], [["ab"]])
    assert (checked.kept, checked.tokens) == ((False,), 0)


def test_prompts_and_candidates_must_match() -> None:
    with pytest.raises(ValueError, match="zip"):
        cascade(TASK, Reverser(), ["abc>", "abd>"], [["cba"]])


def test_the_reward_peaks_in_the_middle() -> None:
    assert [edge_reward(share / 4) for share in range(5)] == [0.0, 0.5, 1.0, 0.5, 0.0]


def test_answers_that_find_their_way_back_stay_with_their_prompt() -> None:
    assert passing_answers(TASK, Reverser(), ["abc>", "b>"], 2, 0.7, 0) == [["cba", "cba"], ["b", "b"]]
    wrong = passing_answers(
        TASK, lambda p, n, t, s: Sampled([["aaa"] * n for _ in p], 3, 4), ["abc>", "aaa>"], 2, 0.7, 0
    )
    assert wrong == [[], ["aaa", "aaa"]]
