"""The programs: what they ask for, what they choose, what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from evolvent.scaffold.programs import TEMPERATURE, Tools, check, run


@dataclass(frozen=True)
class Told:
    outputs: list[list[str]]
    tokens_read: int
    tokens_written: int


class Model:
    """Gives texts from a script, call by call."""

    def __init__(self, *script: list[list[str]]) -> None:
        self.script = list(script)
        self.calls: list[tuple[tuple[str, ...], int, float]] = []
        self.seeds: list[int] = []

    def __call__(self, prompts: Sequence[str], num_samples: int, temperature: float, seed: int) -> Told:
        self.calls.append((tuple(prompts), num_samples, temperature))
        self.seeds.append(seed)
        return Told(self.script.pop(0), 10 * len(prompts), len(prompts) * num_samples)


def complains(prompt: str, output: str) -> str | None:
    return None if output.startswith("ok") else "syntax error"


def advances(prompt: str, output: str) -> tuple[str, str | None]:
    """Prompts count what is left; ``ok`` does one of it."""
    if not output.startswith("ok"):
        return "", None
    left = int(prompt) - 1
    return output, str(left) if left else None


def revises(prompt: str, output: str) -> None:
    """A task without tests."""


TOOLS = Tools(complains, advances, revises)


def test_direct_is_one_greedy_answer() -> None:
    model = Model([["x"], ["y"]])
    answered = run({"kind": "direct"}, model, TOOLS, ["a", "b"], 1)
    assert answered.outputs == ["x", "y"]
    assert answered.tokens == 22
    assert model.calls == [(("a", "b"), 1, 0.0)]


def test_vote_takes_the_most_frequent_the_earliest_of_equals() -> None:
    model = Model([["x", "y", "y", "z"], ["p", "q", "q", "p"]])
    answered = run({"kind": "vote", "answers": 4}, model, TOOLS, ["a", "b"], 1)
    assert answered.outputs == ["y", "p"]
    assert model.calls == [(("a", "b"), 4, TEMPERATURE)]


def test_retry_asks_again_only_where_the_engine_complains() -> None:
    model = Model([["ok1"], ["bad"], ["bad"]], [["ok2"], ["worse"]], [["ok3"]])
    answered = run({"kind": "retry", "answers": 4}, model, TOOLS, ["a", "b", "c"], 1)
    assert answered.outputs == ["ok1", "ok2", "ok3"]
    assert [call[0] for call in model.calls] == [("a", "b", "c"), ("b", "c"), ("c",)]
    assert answered.tokens == 33 + 22 + 11
    assert len(set(model.seeds)) == 3


def test_retry_keeps_the_first_answer_when_nothing_runs_and_stops_at_its_bound() -> None:
    model = Model(*[[["bad"]]] * 3)
    assert run({"kind": "retry", "answers": 3}, model, TOOLS, ["a"], 1).outputs == ["bad"]
    assert len(model.calls) == 3


def test_stepwise_goes_on_from_what_ran_and_tries_again_what_did_not() -> None:
    model = Model([["ok1"], ["bad"], ["ok3"]], [["ok4"]], [["ok5"]], [["bad"]])
    answered = run({"kind": "stepwise", "answers": 3}, model, TOOLS, ["2", "1", "1"], 1)
    assert answered.outputs == ["ok1\nok4", "ok5", "ok3"]
    assert answered.steps == [[("2", "ok1"), ("1", "ok4")], [("1", "ok5")], [("1", "ok3")]]
    assert [(call[0], call[2]) for call in model.calls] == [
        (("2", "1", "1"), 0.0), (("1",), 0.0), (("1",), TEMPERATURE)
    ]  # fmt: skip
    assert answered.tokens == 33 + 11 + 11


def test_stepwise_ends_at_its_bound_with_what_it_has() -> None:
    model = Model([["ok"], ["bad"]], [["ok"]], [["bad"]])
    answered = run({"kind": "stepwise", "answers": 2}, model, TOOLS, ["9", "9"], 1)
    assert answered.outputs == ["ok\nok", "bad"]


def test_every_program_says_what_there_is_to_learn() -> None:
    scaffolds = ({"kind": "direct"}, {"kind": "vote", "answers": 2}, {"kind": "retry", "answers": 2})
    for scaffold in scaffolds:
        answered = run(scaffold, Model([["ok", "ok"]]), TOOLS, ["a"], 1)
        assert answered.steps == [[("a", "ok")]]


def test_retry_costs_one_answer_when_all_is_well() -> None:
    model = Model([["ok"]])
    assert run({"kind": "retry", "answers": 4}, model, TOOLS, ["a"], 1).tokens == 11


@pytest.mark.parametrize(
    "scaffold",
    [
        {}, {"kind": "agent"}, {"kind": "direct", "answers": 4}, {"kind": "vote"}, {"kind": "vote", "answers": 1},
        {"kind": "vote", "answers": 17}, {"kind": "retry", "answers": 4, "shell": "sh"},
    ],
)  # fmt: skip
def test_other_programs_are_refused(scaffold: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="scaffold"):
        check(scaffold)


@dataclass(frozen=True)
class Tried:
    whole: str
    brief: str
    faults: tuple[int, int]
    prompt: str | None


def sums(prompt: str, output: str) -> Tried | None:
    """Outputs are digits that must add up to the prompt: ``3`` is answered by ``3``, or by ``1`` and then ``2``."""
    if prompt == "untested":
        return None
    first, _, before = prompt.partition("+")
    if not output.isdigit():
        return Tried("", output, (9, 9), None)
    done = int(before or 0) + int(output) if len(output) == 1 else int(output[1:])
    missing = abs(int(first) - done)
    whole = f"0{done}"
    return Tried(whole, str(done), (missing, 0), f"{first}+{done}" if missing else None)


TESTED = Tools(complains, advances, sums)
REVISE = {"kind": "revise", "answers": 4}


def test_revise_asks_for_a_fix_of_the_best_attempt_and_stops_when_nothing_fails() -> None:
    model = Model([["3"], ["1"], ["x"], ["y"]], [["2"], ["2"]])
    answered = run(REVISE, model, TESTED, ["3", "3", "untested", "2"], 1)
    assert answered.outputs[:3] == ["3", "3", "x"]
    assert model.calls[1] == (("3+1", "2"), 1, 0.0) or model.calls[1][0] == ("3+1",)
    assert answered.steps[0] == [("3", "3")]
    assert answered.steps[1] == [("3+1", "2"), ("3", "3")]  # the failed attempt is in the fix's prompt, never an answer
    assert answered.steps[2] == [("untested", "x")]


def test_revise_keeps_the_best_and_samples_where_it_is_stuck() -> None:
    model = Model([["1"]], [["9"]], [["1"]], [["3"]])
    answered = run(REVISE, model, TESTED, ["5"], 1)
    asked = [(call[0][0], call[2]) for call in model.calls]
    assert asked == [("5", 0.0), ("5+1", 0.0), ("5", TEMPERATURE), ("5+1", TEMPERATURE)]
    assert answered.outputs == ["4"]
    assert answered.steps == [[("5+1", "3"), ("5", "4")]]
    assert answered.tokens == 4 * 11
    assert len(set(model.seeds)) == 4
