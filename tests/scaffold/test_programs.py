"""The programs: what they ask for, what they choose, what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evolvent.models.sampler import Sampled
from evolvent.policy import BY_HAND, text_of
from evolvent.scaffold.grammar import TEMPERATURE
from evolvent.scaffold.programs import run
from evolvent.scaffold.tools import Tools


class Model:
    """Gives texts from a script, call by call."""

    def __init__(self, *script: list[list[str]]) -> None:
        self.script = list(script)
        self.calls: list[tuple[tuple[str, ...], int, float]] = []
        self.seeds: list[int] = []

    def __call__(self, prompts: Sequence[str], num_samples: int, temperature: float, seed: int) -> Sampled:
        self.calls.append((tuple(prompts), num_samples, temperature))
        self.seeds.append(seed)
        return Sampled(self.script.pop(0), 10 * len(prompts), len(prompts) * num_samples)


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


# -- steps beyond the hand-written programs ----------------------------------------------------------------------------


def steps(*made: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "steps", "steps": list(made)}


def sample(n: int, temperature: str = "0.6") -> dict[str, Any]:
    return {"do": "sample", "n": n, "temperature": temperature}


def test_check_keeps_what_passes_and_all_where_nothing_does() -> None:
    program = steps(sample(3), {"do": "check", "by": "feedback"}, {"do": "vote", "by": "text"})
    model = Model([["bad", "bad", "ok"], ["bad", "worse", "worse"]])
    assert run(program, model, TOOLS, ["a", "b"], 1).outputs == ["ok", "worse"]


def test_votes_are_for_what_answers_come_to() -> None:
    """``1`` and ``01`` are one sum; what does not run stands for itself only."""
    program = steps(sample(5), {"do": "vote", "by": "revise"})
    model = Model([["x", "x", "1", "01", "001"]])
    assert run(program, model, TESTED, ["9"], 1).outputs == ["1"]
    by_advance = steps(sample(4), {"do": "vote", "by": "advance"})
    assert run(by_advance, Model([["bad", "bad", "ok1", "ok2"]]), TOOLS, ["5"], 1).outputs == ["bad"]
    assert run(by_advance, Model([["bad", "ok0", "ok1", "ok2"]]), TOOLS, ["5"], 1).outputs == ["ok0"]


def test_abstaining_says_nothing_and_teaches_nothing() -> None:
    program = steps(sample(4), {"do": "abstain", "below": "0.6"}, {"do": "vote", "by": "text"})
    answered = run(program, Model([["p", "p", "p", "q"], ["p", "p", "q", "r"]]), TOOLS, ["a", "b"], 1)
    assert answered.outputs == ["p", ""]
    assert answered.steps == [[("a", "p")], []]


def test_a_share_is_counted_exactly() -> None:
    pool = ["p"] * 3 + list("abcdefghijkl")  # 3 of 15 are .2 of them, and .2 * 15 is a little more than 3
    program = steps(sample(15), {"do": "abstain", "below": "0.2"}, {"do": "vote", "by": "text"})
    assert run(program, Model([pool]), TOOLS, ["a"], 1).outputs == ["p"]


def test_what_is_settled_is_answered_and_only_the_others_go_on() -> None:
    program = steps(sample(2), {"do": "settle", "by": "text", "share": "1"}, sample(3), {"do": "vote", "by": "text"})
    model = Model([["p", "q"], ["r", "r"], ["s", "t"]], [["u", "q", "q"], ["t", "t", "v"]])
    answered = run(program, model, TOOLS, ["a", "b", "c"], 1)
    assert answered.outputs == ["q", "r", "t"], "in the order in which the problems came"
    assert [call[0] for call in model.calls] == [("a", "b", "c"), ("a", "c")]
    assert answered.steps == [[("a", "q")], [("b", "r")], [("c", "t")]]
    assert answered.tokens == 30 + 6 + 20 + 6


def test_where_all_is_settled_nothing_more_is_asked() -> None:
    settle = {"do": "settle", "by": "text", "share": "0.6"}
    program = steps(sample(3), settle, sample(4), {"do": "vote", "by": "text"}, {"do": "abstain", "below": "0.8"})
    model = Model([["p", "q", "q"]])
    assert run(program, model, TOOLS, ["a"], 1).outputs == ["q"]
    assert len(model.calls) == 1


RETRY = {"do": "retry", "by": "feedback", "times": 1, "temperature": "0.6"}


def test_one_attempt_is_no_agreement_but_may_pass() -> None:
    by_text = steps(sample(1, "0"), {"do": "settle", "by": "text", "share": "0.2"}, RETRY)
    assert run(by_text, Model([["bad"]], [["ok"]]), TOOLS, ["1"], 1).outputs == ["ok"]
    passes = steps(
        sample(1, "0"), {"do": "settle", "by": "feedback", "share": "1"}, sample(1), {"do": "abstain", "below": "0.8"}
    )
    model = Model([["ok"], ["bad"]], [["worse"]])
    assert run(passes, model, TOOLS, ["a", "b"], 1).outputs == ["ok", ""]


def test_what_agrees_but_fails_its_tool_is_not_settled() -> None:
    settle = {"do": "settle", "by": "feedback", "share": "0.4"}
    program = steps(sample(2), {"do": "check", "by": "feedback"}, settle, RETRY)
    assert run(program, Model([["bad", "bad"]], [["ok"]]), TOOLS, ["a"], 1).outputs == ["ok"]
    few = steps(sample(3), settle, sample(1, "0"), {"do": "abstain", "below": "0.8"})
    assert run(few, Model([["bad", "bad", "ok"]], [["x"]]), TOOLS, ["a"], 1).outputs == [""], "a third is not enough"
    assert run(few, Model([["bad", "ok", "ok"]]), TOOLS, ["a"], 1).outputs == ["ok"]


def test_settled_by_advance_is_what_leaves_nothing() -> None:
    settle = {"do": "settle", "by": "advance", "share": "0.6"}
    further = {"do": "advance", "times": 1, "n": 1, "temperature": "0.6"}
    program = steps(sample(3), settle, further)
    model = Model([["ok1", "ok2", "ok3"], ["ok4", "bad", "ok5"]], [["ok6"]])
    answered = run(program, model, TOOLS, ["2", "1"], 1)
    assert answered.outputs == ["ok1\nok6", "ok4"]
    assert [call[0] for call in model.calls] == [("2", "1"), ("1",)]
    assert answered.steps == [[("2", "ok1"), ("1", "ok6")], [("1", "ok4")]]


def test_settled_by_its_tests_needs_no_repair() -> None:
    program = steps(
        sample(2), {"do": "settle", "by": "revise", "share": "1"}, {"do": "repair", "times": 1, "temperature": "0.6"}
    )
    model = Model([["9", "9"], ["4", "3"]], [["5"]])
    answered = run(program, model, TESTED, ["9", "9"], 1)
    assert answered.outputs == ["9", "9"]
    assert [call[0] for call in model.calls] == [("9", "9"), ("9+4",)]


def test_settled_by_what_was_recalled_teaches_nothing() -> None:
    program = steps({"do": "recall", "n": 2}, {"do": "settle", "by": "text", "share": "1"}, sample(1, "0"))
    program["examples"] = [["apple", "zz"], ["apples", "zz"], ["plum", "yy"], ["plums", "xx"]]
    answered = run(program, Model([["u"]]), TOOLS, ["apple", "plum"], 1)
    assert answered.outputs == ["zz", "yy"]
    assert answered.steps == [[], []]


def test_a_settled_problem_is_not_asked_under_another_prompt() -> None:
    scaffold = steps(sample(2), {"do": "settle", "by": "text", "share": "1"}, {"do": "show", "n": 1}, sample(1))
    scaffold["examples"] = [["aa", "zz"], ["bb", "yy"]]
    model = Model([["p", "q"], ["r", "r"], ["s", "t"]], [["u"], ["v"]])
    answered = run(scaffold, model, TOOLS, ["a1", "b1", "bb1"], 1)
    assert answered.outputs == ["p", "r", "s"]
    assert [prompt.endswith(own) for prompt, own in zip(model.calls[1][0], ("a1", "bb1"), strict=True)] == [True, True]
    assert model.calls[1][0][1] == "bbyy\n\nbb1"


def test_advance_votes_in_each_step_and_prefers_what_leaves_nothing() -> None:
    program = steps({"do": "advance", "times": 2, "n": 3, "temperature": "0.6"})
    model = Model([["bad", "okx", "oky"], ["bad", "bad", "bad"]], [["ok1", "ok2", "ok3"], ["ok", "ok", "bad"]])
    answered = run(program, model, TOOLS, ["2", "1"], 1)
    assert answered.outputs == ["okx\nok1", "ok"]
    assert [call[1:] for call in model.calls] == [(3, 0.6), (3, 0.6)]


def test_advance_goes_on_from_the_first_attempt() -> None:
    program = steps(
        sample(3), {"do": "vote", "by": "text"}, {"do": "advance", "times": 1, "n": 1, "temperature": "0.9"}
    )
    model = Model([["ok1", "ok2", "ok2"], ["bad", "bad", "ok"], ["ok", "ok", "ok"]], [["ok3"]], [["ok4"]])
    answered = run(program, model, TOOLS, ["2", "1", "1"], 1)
    assert answered.outputs == ["ok2\nok3", "ok4", "ok"]
    assert [(call[0], call[2]) for call in model.calls[1:]] == [(("1",), 0.0), (("1",), 0.9)]


def test_a_schedule_of_temperatures_is_retries_in_a_row() -> None:
    retries = [{"do": "retry", "by": "feedback", "times": 1, "temperature": t} for t in ("0.3", "0.6", "0.9")]
    model = Model([["bad"]], [["bad"]], [["bad"]], [["ok"]])
    assert run(steps(sample(1, "0"), *retries), model, TOOLS, ["a"], 1).outputs == ["ok"]
    assert [call[2] for call in model.calls] == [0.0, 0.3, 0.6, 0.9]
    assert len(set(model.seeds)) == 4


def test_repair_begins_with_the_attempt_that_fails_least() -> None:
    program = steps(sample(3), {"do": "repair", "times": 1, "temperature": "0.6"})
    model = Model([["1", "4", "x"]], [["1"]])
    assert run(program, model, TESTED, ["5"], 1).outputs == ["5"]
    assert model.calls[1][0] == ("5+4",)


def test_a_policy_answers_with_itself_and_asks_no_model() -> None:
    scaffold = {"kind": "policy", **BY_HAND}
    said = run(scaffold, Model(), TOOLS, ["a>", "b>"], 0)
    assert said.outputs == [text_of(BY_HAND)] * 2
    assert (said.tokens, said.steps) == (0, [[], []])
