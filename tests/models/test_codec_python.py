"""Whatever goes in comes out: prompts and answers of the task, and any other text with few enough names."""

from __future__ import annotations

import ast
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolvent.models.codec import PythonCodec, from_plain
from evolvent.tasks.python_fix import PythonFix, families
from evolvent.tasks.python_fix.reference import reference

CODEC = PythonCodec(["Count", "the", "values", "of", "that", "are", "x", "c", "i", "xs"], 64)
WIDE = PythonCodec([], 4000)


def back(codec: PythonCodec, text: str, variant: int = 0) -> str:
    encoded = codec.encode(text, variant)
    return codec.decode(encoded.ids, encoded)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), skill=st.sampled_from(PythonFix().skills), variant=st.integers(0, 3))
def test_prompts_and_answers_of_the_task_come_back(seed: int, skill: str, variant: int) -> None:
    (problem,) = PythonFix().generate(skill, random.Random(seed), 1)
    assert back(CODEC, problem.prompt, variant) == problem.prompt
    both = CODEC.encode(problem.prompt + reference(problem), variant)
    answer = CODEC.encode_answer(reference(problem), both)
    assert CODEC.decode(answer, both) == reference(problem)
    assert answer[-1] == CODEC.eos
    assert max(answer) < CODEC.size


@given(st.text(st.sampled_from("ab_1 9\n\t()[]{}'\"\\#|+-=:.,!é"), max_size=60))
def test_any_text_comes_back(text: str) -> None:
    assert back(WIDE, text) == text


@given(st.text(max_size=40))
def test_any_text_at_all_comes_back(text: str) -> None:
    assert back(WIDE, text) == text


def test_python_as_unparse_writes_it_costs_no_space() -> None:
    glue = WIDE.encode("a  b").ids[1]
    for family in families.library().values():
        source = families.draw(family, random.Random(1)).source
        numbered = "\n".join(f"{i}|{line}" for i, line in enumerate(source.split("\n"), 1))
        lexemes = len(WIDE.encode(numbered).ids)
        spaces = sum(token < 10 for token in WIDE.encode(numbered).ids)
        indented = sum(line.startswith(" ") for line in source.split("\n"))
        assert spaces <= indented + 0.12 * lexemes, source
        assert ast.parse(source)
    assert glue < 10


def test_names_are_slots_drawn_anew_by_prompt_and_variant() -> None:
    one, two = CODEC.encode("def f(alpha):"), CODEC.encode("def f(alpha):", 1)
    assert one.ids != two.ids
    assert set(one.slots) == {"f", "alpha"}
    assert CODEC.encode("def f(x):").slots.keys() == {"f"}
    assert CODEC.decode([CODEC.size - 1], CODEC.encode("x")) == "?"
    with pytest.raises(ValueError, match="neither a known word nor in the prompt"):
        CODEC.encode_answer("beta", one)
    with pytest.raises(ValueError, match="expected at most 64 distinct"):
        CODEC.encode(" ".join(f"name{i}" for i in range(65)))


def test_it_is_kept_as_json() -> None:
    again = from_plain(CODEC.plain())
    assert isinstance(again, PythonCodec)
    assert again.size == CODEC.size
    assert again.encode("Count alpha").ids == CODEC.encode("Count alpha").ids
