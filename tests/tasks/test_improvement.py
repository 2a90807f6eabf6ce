"""The improvement task: problems are small runs, answers are policies, and what is none is wrong at no cost."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolvent import policy, tasks
from evolvent.errors import SandboxError
from evolvent.tasks import improvement
from evolvent.tasks.improvement import Improvement
from evolvent.tasks.strings import INVOLUTIONS, small
from evolvent.types import Problem

TEXT = policy.text_of(policy.BY_HAND)


def one(task: Improvement, seed: int = 1) -> Problem:
    return task.generate("small", random.Random(seed), 1)[0]


def answering(monkeypatch: pytest.MonkeyPatch, code: str) -> Improvement:
    """The task with another program in place of the small run's process."""
    monkeypatch.setattr(improvement, "COMMAND", (sys.executable, "-c", code))
    return Improvement()


def test_what_is_learned_on_is_not_what_is_shown() -> None:
    assert len(small.LEARNING) == len(small.SHOWING) == 12
    assert set(small.LEARNING) | set(small.SHOWING) == set(INVOLUTIONS)
    assert not set(small.LEARNING) & set(small.SHOWING)
    problems = Improvement().generate("small", random.Random(0), 400)
    assert {p.given["function"] for p in problems} == set(small.LEARNING)
    assert len({p.prompt for p in problems}) > 390


def test_the_same_generator_gives_the_same_problems_and_cells_are_kept() -> None:
    task = Improvement()
    assert task.generate("small", random.Random(3), 5) == task.generate("small", random.Random(3), 5)
    assert {p.given["function"] for p in task.challenge({"function": "mirror"}, random.Random(0), 5)} == {"mirror"}
    assert all(task.well_posed(p) for p in task.generate("small", random.Random(3), 5))
    for spoiled in ({"function": "reverse"}, {"start": -1}, {"start": True}, {"seed": "1"}, {"gflops": 4.0}):
        problem = one(task)
        assert not task.well_posed(replace(problem, given={**problem.given, **spoiled}))
    with pytest.raises(ValueError, match="expected one of small"):
        task.generate("large", random.Random(0), 1)


def test_it_is_registered_and_keeps_the_contract_with_the_one_skill_that_it_has() -> None:
    task = tasks.load("improvement")
    assert (task.name, task.skills) == ("improvement", ("small",))
    assert all(task.axes.values())
    assert task.filter == "verified"
    assert (task.advance("", TEXT), task.revise("", TEXT), task.inverse_prompt("", TEXT)) == (("", None), None, None)


@given(st.text() | st.sampled_from(["{}", "null", TEXT + " x", TEXT.replace("bandit", "bandits")]))
def test_what_is_no_policy_starts_no_run(output: str) -> None:
    task = Improvement()
    assert task.verify(one(task), output, 0).error == "not_a_policy"
    assert task.feedback("", output)


def test_a_run_is_done_once_and_its_answer_is_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process counts its lines: the same question is not asked twice."""
    code = (
        "import sys, json\n"
        "for n, line in enumerate(sys.stdin):\n"
        "    print(json.dumps({'reached': n == 0, 'flops': 1}), flush=True)\n"
    )
    task = answering(monkeypatch, code)
    first, second = task.generate("small", random.Random(0), 2)
    assert [task.verify(p, TEXT, 0).correct for p in (first, first, second, first)] == [True, True, False, True]
    assert Improvement().verify(first, TEXT, 0).correct, "another task of this process asks the same process"
    spaced = json.dumps(json.loads(TEXT), indent=1)
    assert task.verify(first, spaced, 0).correct
    assert task.verify(second, TEXT, 0).error == "not_reached"


@pytest.mark.parametrize(("code", "said"), [("pass", "got ''"), ("print('{}')", "got '{}"), ("print('no')", "got 'no")])
def test_a_run_that_cannot_be_done_says_nothing_of_the_policy(
    code: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = answering(monkeypatch, code)
    with pytest.raises(SandboxError, match=said):
        task.verify(one(task), TEXT, 0)


def test_a_process_that_does_not_start_says_nothing_of_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(improvement, "COMMAND", ("/nowhere/python",))
    task = Improvement()
    with pytest.raises(SandboxError, match="does not start"):
        task.verify(one(task), TEXT, 0)


def test_a_real_small_run_in_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets: dict[str, Any] = {"flops": 10**8, "truth": 20, "seed_share": 0.0}
    monkeypatch.setattr(improvement, "SMALL_RUN", {**budgets, "target": 1.0})
    task = Improvement()
    assert task.verify(one(task), TEXT, 0).error == "not_reached"
    monkeypatch.setattr(improvement, "SMALL_RUN", {**budgets, "target": 0.0})
    assert task.verify(one(task, 2), TEXT, 0).correct
