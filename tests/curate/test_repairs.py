"""Traces keep both attempts, what the second was told, and what both come to; fixes that fail are kept as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from evolvent.curate.repairs import repair_traces
from evolvent.models.sampler import Sampled
from evolvent.tasks.python_fix import PythonFix, prompts
from evolvent.tasks.strings import Strings

TASK = PythonFix()
HEAD = "# Count the values of xs that are greater than 3.\nassert tally([1, 3, 7]) == 1\nassert tally([4, 3]) == 1\n"
BODY = "# code\n1|def tally(xs):\n2|    return len([x for x in {values} if x {sign} 3]){more}\n# fix\n"


def asked(values: str = "xs", sign: str = ">", more: str = "") -> str:
    """A prompt whose bugs are what differs from the defaults."""
    return HEAD + BODY.format(values=values, sign=sign, more=more)


@dataclass
class Fixer:
    """Mends one thing at an attempt, in the code that it is shown; where it knows no bug it writes no edit."""

    knows: tuple[tuple[str, str], ...]
    calls: list[tuple[list[str], float]] = field(default_factory=list)

    def __call__(self, some: Sequence[str], num_samples: int, temperature: float, seed: int) -> Sampled:
        self.calls.append((list(some), temperature))
        return Sampled([[self.mend(prompt)] * num_samples for prompt in some], 3, 4)

    def mend(self, prompt: str) -> str:
        read = prompts.read(prompt)
        assert read is not None
        line = (read.code or ("", ""))[1]
        found = [line.replace(bug, right) for bug, right in self.knows if bug in line]
        return f"2|{found[0]}" if found else "I see none"


def test_an_attempt_that_passes_is_not_asked_again() -> None:
    model = Fixer(((">=", ">"),))
    (trace,) = repair_traces(TASK, model, [asked(sign=">=")], 0.0, 0).traces
    assert trace.passed
    assert (trace.asked, trace.fix, trace.patch, trace.turns) == ("", "", "", ())
    assert trace.answer == trace.first == "2|    return len([x for x in xs if x > 3])"


def test_the_second_attempt_sees_the_first_and_its_failure() -> None:
    model = Fixer(((">=", ">"), ("xs[1:]", "xs")))
    prompt = asked(values="xs[1:]", sign=">=")
    traced = repair_traces(TASK, model, [prompt], 0.7, 0)
    (trace,) = traced.traces
    assert trace.first == "2|    return len([x for x in xs[1:] if x > 3])"
    assert "# failed: tally([4, 3]) gave 0, expected 1\n" in trace.asked
    assert "2|    return len([x for x in xs[1:] if x > 3])\n" in trace.asked
    assert trace.passed
    assert trace.fix == trace.patch == trace.answer == "2|    return len([x for x in xs if x > 3])"
    assert trace.turns == ((prompt, trace.patch), (trace.asked, trace.fix))
    assert TASK.feedback(prompt, trace.patch) is None
    assert [temperature for _, temperature in model.calls] == [0.7, 0.7]
    assert traced.tokens == 14


def test_a_fix_that_fails_is_kept_and_is_no_answer_unless_it_fails_less() -> None:
    worse = Fixer(((">=", ">"), (" + 1", " + 2")))
    (trace,) = repair_traces(TASK, worse, [asked(sign=">=", more=" + 1")], 0.0, 0).traces
    assert not trace.passed
    assert [text for _, text in trace.turns] == ["2|    return len([x for x in xs if x > 3]) + 2"] * 2
    assert trace.answer == trace.first
    better = Fixer(((">=", ">"), (" + 2", "")))
    (trace,) = repair_traces(TASK, better, [asked("xs[1:]", ">=", " + 2")], 0.0, 0).traces
    assert trace.faults == (1, 0)
    assert trace.answer == trace.patch == "2|    return len([x for x in xs[1:] if x > 3])"


def test_what_stands_for_nothing_teaches_nothing() -> None:
    model = Fixer(((">=", ">"),))
    nothing, half = repair_traces(TASK, model, [asked(more=" + 1"), asked(sign=">=", more=" + 1")], 0.0, 0).traces
    assert (nothing.asked, nothing.turns, nothing.passed) == ("", (), False)
    assert half.fix == "I see none"
    assert (half.patch, half.turns, half.passed, half.answer) == ("", (), False, half.first)
    assert [len(some) for some, _ in model.calls] == [2, 1]


def test_a_prompt_without_tests_is_refused() -> None:
    with pytest.raises(ValueError, match="expected some with tests that strings can run, got 'abc>'"):
        repair_traces(Strings(), lambda some, *_: Sampled([["cba"] for _ in some], 3, 4), ["abc>"], 0.0, 0)
