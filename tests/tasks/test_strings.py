"""The science task: right answers pass, wrong ones are named, the way back is the function itself."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolvent.tasks.strings import ALPHABET, MARK, Strings
from evolvent.tasks.strings.reference import FUNCTIONS, INVOLUTIONS, reference

texts = st.text(ALPHABET, min_size=1, max_size=15)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_reference_solves_every_problem(function: str) -> None:
    task = Strings(function=function)
    problems = [p for skill in task.skills for p in task.generate(skill, random.Random(1), 300)]
    problems += [p for n in task.axes["length"] for p in task.challenge({"length": n}, random.Random(2), 5)]
    assert all(task.verify(p, reference(p), 0).correct for p in problems)
    assert all(task.well_posed(p) for p in problems)


def test_skills_are_lengths() -> None:
    task = Strings()
    assert {len(p.prompt) - 1 for p in task.generate("short", random.Random(1), 300)} == set(range(1, 6))
    assert {len(p.prompt) - 1 for p in task.generate("long", random.Random(1), 300)} == set(range(6, 16))
    for length in task.axes["length"]:
        (problem,) = task.challenge({"length": length}, random.Random(0), 1)
        assert problem.skill == ("short" if int(length) <= 5 else "long")


@given(texts, st.text(max_size=30))
def test_exactly_one_text_is_right(text: str, output: str) -> None:
    task = Strings()
    problem = task.challenge({"length": "3"}, random.Random(0), 1)[0]
    problem = type(problem)(**{**problem.plain(), "prompt": text + MARK})
    scored = task.verify(problem, output, 0)
    assert scored.correct == (output == text[::-1])
    assert scored.error in (None, "wrong_length", "wrong_letters")


@pytest.mark.parametrize("function", sorted(INVOLUTIONS))
@given(text=texts)
def test_involutions_undo_themselves(function: str, text: str) -> None:
    assert FUNCTIONS[function](FUNCTIONS[function](text)) == text


def test_what_does_not_undo_itself_has_no_way_back() -> None:
    assert Strings(function="sort").inverse_prompt("ba>", "ab") is None
    assert Strings().inverse_prompt("ba>", "ab") == ("ab>", "ba")
    assert Strings().inverse_prompt("ba>", "abc") is None


def test_feedback_sees_length_and_letters_only() -> None:
    task = Strings()
    assert task.feedback("abc>", "ccc") is None
    assert task.feedback("abc>", "cb") == "length 2, expected 3"
    assert task.feedback("abc>", "cbz") == "foreign letters"


def test_wrong_settings_and_skills_are_named() -> None:
    with pytest.raises(ValueError, match="expected one of copy, reverse"):
        Strings(function="shuffle")
    with pytest.raises(ValueError, match="expected one of short, long, got 'medium'"):
        Strings().generate("medium", random.Random(0), 1)
