"""The recipe about repairs: who learns from which traces, and that all begin with the same ones."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from evolvent.curate.repairs import Trace
from evolvent.jobs import JobContext
from evolvent.recipes.base import Unit
from evolvent.recipes.python_start import TASK, fresh, python_start, true_turns
from evolvent.recipes.repair import RECIPE, keep, turns
from evolvent.store import Store
from evolvent.types import Problem

START = {"rounds": 2, "problems": 4, "test": 4}


def trace(name: str, *, passes: bool, repair: bool) -> tuple[Problem, Trace]:
    asked, fix, patch = (f"{name}, again", "fix", "patch") if repair else ("", "", "")
    faults = (0, 0) if passes else (1, 0)
    made = Trace(prompt=name, first="try", asked=asked, fix=fix, patch=patch, faults=faults, answer=patch or "try")
    return Problem(task=TASK.name, skill="single", prompt=name), made


TRACED = [
    *(trace(f"right at once {i}", passes=True, repair=False) for i in range(3)),
    *(trace(f"no form {i}", passes=False, repair=False) for i in range(3)),
    *(trace(f"fixed {i}", passes=True, repair=True) for i in range(2)),
    *(trace(f"not fixed {i}", passes=False, repair=True) for i in range(30)),
]


def learned(arm: str) -> list[tuple[str, str]]:
    kept = keep(arm, TRACED, random.Random(0))
    assert len(kept) == 2
    return [(e.prompt, e.answer) for problem, trace in kept for e in turns(arm, problem, trace)]


def test_arms_differ_in_what_they_keep_and_in_nothing_else() -> None:
    assert learned("verified") == [
        ("fixed 0", "patch"), ("fixed 0, again", "fix"), ("fixed 1", "patch"), ("fixed 1, again", "fix"),
    ]  # fmt: skip
    assert learned("final patch only") == [("fixed 0", "patch"), ("fixed 1", "patch")]
    assert all(prompt.startswith("right at once") and answer == "try" for prompt, answer in learned("successes only"))
    assert sum(prompt.startswith("not fixed") for prompt, _ in learned("unverified")) >= 2
    assert len(learned("unverified")) == 4


def test_fewer_successes_than_repairs_are_all_learned() -> None:
    some = [pair for pair in TRACED if "at once 1" in pair[0].prompt or "fixed" in pair[0].prompt]
    assert [problem.prompt for problem, _ in keep("successes only", some, random.Random(0))] == ["right at once 1"]


def test_true_fixes_solve_both_prompts() -> None:
    (problem,) = TASK.generate("double", random.Random(3), 1)
    told = TASK.revise(problem.prompt, "1+    pass")
    assert told is not None
    assert told.prompt is not None
    begun = replace(trace("", passes=False, repair=True)[1], prompt=problem.prompt, asked=told.prompt)
    first, second = true_turns(problem, begun)
    assert TASK.verify(problem, first.answer, 0).correct
    assert TASK.verify(replace(problem, prompt=second.prompt), second.answer, 0).correct


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Unit:
    store = Store(tmp_path_factory.mktemp("repair") / "store")
    start = python_start(JobContext(store=store, inputs={}, params=START, seed=5))
    settings = {**RECIPE.quick, "start": START}
    return Unit(arm="verified", seed=5, settings=settings, store=store, start=start)


def test_all_arms_begin_with_the_same_traces_of_fresh_problems(unit: Unit) -> None:
    rounds, traces, test = fresh(unit)
    assert [trace.prompt for trace in traces] == [problem.prompt for problem in rounds[0]]
    assert [problem.skill for problem in test] == ["single", "double"] * 2
    everything = [problem.prompt for problem in (*rounds[0], *rounds[1], *test)]
    assert len(set(everything)) == 12
    for problem, made in zip(rounds[0], traces, strict=True):
        told = TASK.revise(problem.prompt, made.patch or made.first)
        assert told is not None
        assert made.passed == (told.faults == (0, 0))
