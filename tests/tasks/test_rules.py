"""Rules: what they say of facts, which programs are refused and how, and that no fact is ever read as a program."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolvent.errors import UsageError
from evolvent.tasks.rules import Rules

FACTS = {"edge": 2, "step": 2}
GRAVE = "violation(grave) :- step(I, A), step(J, A), I < J."
SLIGHT = "violation(slight) :- step(1, A), not edge(A, A)."

constants = st.one_of(
    st.integers(0, 9), st.text(max_size=12), st.sampled_from(["a", "not", "x). violation(slight", "#end"])
)
facts = st.lists(
    st.tuples(st.sampled_from(["edge", "step", "p). violation(grave", "violation(grave"]), constants, constants),
    max_size=8,
)


def test_they_are_named_in_the_order_of_the_program() -> None:
    rules = Rules(text=f"{GRAVE}\n{SLIGHT}", facts=FACTS)
    assert rules.names == ("grave", "slight")
    assert rules.broken([]) == ()
    assert rules.broken([("step", 1, "a"), ("step", 2, "a")]) == ("grave", "slight")
    assert rules.broken([("step", 1, "a"), ("edge", "a", "a")]) == ()


def test_a_program_stands_upon_another() -> None:
    rules = Rules(text="violation(known) :- seen(b).", facts=FACTS, base=f"seen(A) :- step(_, A).\n{GRAVE}")
    assert rules.names == ("grave", "known")
    assert rules.broken([("step", 1, "b")]) == ("known",)


@given(facts)
def test_no_fact_is_read_as_a_program(found: list[tuple[str, int | str, int | str]]) -> None:
    """Whatever text stands in a fact: what is broken is what a few lines of Python say of it."""
    rules = Rules(text=f"{GRAVE}\n{SLIGHT}", facts=FACTS)
    steps = {(number, letter) for name, number, letter in found if name == "step"}
    edges = {(a, b) for name, a, b in found if name == "edge"}
    # clingo orders constants by kind, integers first; Python does not compare them.
    grave = any(_before(i, j) and a == b for i, a in steps for j, b in steps)
    slight = any(number == 1 and (letter, letter) not in edges for number, letter in steps)
    assert rules.broken(found) == (*(["grave"] * grave), *(["slight"] * slight))


def _before(one: int | str, other: int | str) -> bool:
    if isinstance(one, int) != isinstance(other, int):
        return isinstance(one, int)
    return (len(one), one) < (len(other), other) if isinstance(one, str) else one < other  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{GRAVE}\nviolation(x) :- step(I, A)\nviolation(y).", "line 3: syntax error"),
        (f"{GRAVE}\nviolation(x) :- not step(I, A).", "line 2: unsafe variables"),
        ("violation(x) :- stp(I, A).", "line 1: nothing gives stp/2; facts are edge/2, step/2"),
        ("edge(a, b).\nviolation(x).", "line 1: edge/2 is read off prompt and output, not derived"),
        ("violation(A) :- step(_, A).", "line 1: expected violation.name. with one name"),
        ('violation("a b").', "line 1: expected violation.name. with one name"),
        ("violation(a, b).", "one name, got violation/2"),
        ("p(a).", "expected a rule `violation.name. :- ...`, got none"),
        ("", "got none"),
        ("p(a) :- not q(a).\nq(a) :- not p(a).\nviolation(x) :- p(a).", "depends on its own negation"),
        ("{ violation(x) }.", "expected one atom as head"),
        ("violation(x); violation(y).", "expected one atom as head"),
        (":- step(I, A).", "expected an atom such as"),
        ("violation(x) :- 2 { step(_, A) }.", "expected an atom"),
        ("violation(x) :- -step(I, A).", "expected an atom such as"),
        ("violation(x) :- not not step(1, a).", "expected an atom or a comparison"),
        ("violation(x) :- step(I, A) : edge(A, A).", "expected an atom or a comparison"),
        ("p(0). p(I + 1) :- p(I). violation(x).", "expected a variable or a constant, got `.I.1.`"),
        ("p(f(A)) :- step(_, A). violation(x).", "expected a variable or a constant"),
        ("violation(x) :- @now() < 1.", "expected a variable or a constant"),
        ("p(1..9). violation(x).", "expected a variable or a constant"),
        ("violation(x) :- step(A, B), step(C, D), step(E, _).", "at most 4 variables, got 5"),
        ("#const n = 1.", "expected a rule"),
        ("#script (python) import os #end.", "expected a rule"),
        ('#include "/etc/passwd".', "#include is refused"),
    ],
)
def test_what_is_no_program_of_ours_is_refused_with_its_line(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Rules(text=text, facts=FACTS)


def test_lines_are_those_of_ones_own_text() -> None:
    with pytest.raises(UsageError, match="line 2: nothing gives stp/2"):
        Rules(text="% mine\nviolation(x) :- stp(_, a).", facts=FACTS, base=f"{GRAVE}\n{SLIGHT}\n")


def test_without_clingo_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['clingo'] = None\n"
        "from evolvent import tasks\n"
        "try: tasks.load('logic')\n"
        "except Exception as exc: print(type(exc).__name__, exc)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("UsageError")
    assert "pip install 'evolvent[rules]'" in said
