"""Examples that travel with a program: which are found, how they are shown, what is learned from it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_programs import TESTED, TOOLS, Model, sample, steps

from evolvent.scaffold import edits, examples, grammar
from evolvent.scaffold.programs import run

TEXTS = st.text("abc ", min_size=1, max_size=12)
TICKETS = [["card lost", "cards"], ["card stolen abroad", "cards"], ["rate of exchange", "rates"], ["top up", "cash"]]
RECALL: dict[str, Any] = {"do": "recall", "n": 2}
SHOW: dict[str, Any] = {"do": "show", "n": 2}


def program(*made: dict[str, Any], bank: list[list[str]] | None = None) -> dict[str, Any]:
    return {**steps(*made), "examples": bank or TICKETS}


@pytest.mark.parametrize(
    ("prompt", "alike"),
    [
        ("my card is lost", [0.855433, 0.182712, 0, 0, 0.351601, 0]), ("EXCHANGE rate?", [0, 0, 0.829156, 0, 0, 0]),
        ("top", [0, 0, 0, 0.707107, 0.450228, 0]), ("aa", [0, 0, 0, 0, 0, 0.57735]), ("zzz", [0, 0, 0, 0, 0, 0]),
    ],
)  # fmt: skip
def test_similarity_is_that_of_a_published_package(prompt: str, alike: list[float]) -> None:
    """scikit-learn 1.9.1: `TfidfVectorizer` over trigrams of the padded text in small letters, and cosines."""
    bank = ["card lost", "card stolen abroad", "rate of exchange", "top up", "Top up by card", "aaaa"]
    assert examples.Bank([(text, "") for text in bank]).alike(prompt) == pytest.approx(alike, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(bank=st.lists(TEXTS, max_size=8, unique=True), prompt=TEXTS, n=st.integers(1, 9))
def test_the_nearest_are_the_most_alike_in_their_order(bank: list[str], prompt: str, n: int) -> None:
    made = examples.Bank([(text, "") for text in bank])
    scores = dict(zip(bank, made.alike(prompt), strict=True))
    assert all(0 <= score <= 1 + 1e-9 for score in scores.values())
    found = [scores[text] for text, _ in made.nearest(prompt, n)]
    assert found == sorted(scores.values(), reverse=True)[:n]


def test_of_equals_the_earlier_is_nearest_and_a_strange_prompt_finds_the_first() -> None:
    bank = examples.Bank([("ab", "1"), ("xy", "2"), ("ab ", "3")])
    assert bank.nearest("??", 2) == [("ab", "1"), ("xy", "2")]
    assert examples.Bank([]).nearest("ab", 3) == []


def test_what_is_recalled_is_voted_on_and_asks_nothing() -> None:
    answered = run(
        program(RECALL, {"do": "vote", "by": "text"}), Model(), TOOLS, ["my card is lost", "exchange rate"], 1
    )
    assert answered.outputs == ["cards", "rates"]
    assert (answered.tokens, answered.steps) == (0, [[], []]), "nobody's answer to this problem: nothing to learn"


def test_what_is_recalled_is_adapted() -> None:
    """Retrieve, test, read the failure, fix: ``3`` is recalled for a prompt that wants ``5``, and 2 are missing."""
    repair = {"do": "repair", "times": 2, "temperature": "0.6"}
    model = Model([["2"]])
    answered = run(program({**RECALL, "n": 1}, repair, bank=[["6", "3"], ["999", "9"]]), model, TESTED, ["5"], 1)
    assert model.calls == [(("5+3",), 1, 0.0)]
    assert answered.outputs == ["5"]
    assert answered.steps == [[("5+3", "2"), ("5", "5")]]


def test_what_is_shown_stands_before_the_problems_own_prompt_the_most_alike_last() -> None:
    model = Model([["bad"], ["ok"]], [["ok"]])
    asking = program(SHOW, sample(1, "0"), {"do": "retry", "by": "feedback", "times": 1, "temperature": "0.6"})
    answered = run(asking, model, TOOLS, ["card lost?", "top"], 1)
    assert model.calls[0][0][0] == "card stolen abroadcards\n\ncard lostcards\n\ncard lost?"
    assert model.calls[1][0] == (model.calls[0][0][0],), "asked again as before"
    assert model.calls[0][0][1].endswith("top upcash\n\ntop")
    assert answered.steps == [[("card lost?", "ok")], [("top", "ok")]], "what is learned is the answer without examples"


def test_a_prompt_that_is_not_the_problems_own_is_asked_as_it_stands() -> None:
    model = Model([["1"]], [["2"]])
    run(program(SHOW, sample(1, "0"), {"do": "repair", "times": 1, "temperature": "0.6"}, bank=[["9", "9"]]), model,
        TESTED, ["3"], 1)  # fmt: skip
    assert [call[0][0] for call in model.calls] == ["99\n\n3", "3+1"]


@pytest.mark.parametrize(
    ("scaffold", "told"),
    [
        (steps(RECALL), "examples: recall and show need them"),
        ({**steps(sample(2)), "examples": TICKETS}, "examples: no step uses them"),
        (program(SHOW), "no step makes an attempt"), (program(SHOW, {"do": "vote", "by": "text"}), r"steps\[1\]"),
        (program({**RECALL, "n": 9}), r"steps\[0\]\.n"), (program(RECALL, bank=[["a"]]), r"examples\[0\]"),
        (program(RECALL, bank=[["a", 1]]), r"examples\[0\]"), (program(RECALL, bank=[["", "a"]]), r"examples\[0\]"),  # type: ignore[list-item]
        (program(RECALL, bank=[["a", "1"], ["a", "2"]]), "each prompt once"),
        (program(RECALL, bank=[["a\0", "1"]]), r"examples\[0\]"), (program(RECALL, bank=[["e\u0301", "1"]]), "NFC"),
        (program(RECALL, bank=[[str(i), ""] for i in range(65)]), "1 to 64"),
        (program(RECALL, bank=[["a" * 7000, ""], ["b" * 5001, ""]]), "12001"),
        ({**steps(RECALL), "examples": "a"}, "1 to 64"), ({**steps(RECALL), "examples": [5]}, r"examples\[0\]"),
        ({"kind": "vote", "answers": 3, "examples": TICKETS}, "expected answers, kind"),
    ],
)  # fmt: skip
def test_other_examples_are_refused(scaffold: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        grammar.check(scaffold)


def uses(made: list[dict[str, Any]]) -> int:
    return sum(step["do"] in ("recall", "show") for step in made)


def test_edits_keep_take_out_and_never_put_in_the_use_of_examples() -> None:
    using = [RECALL, *grammar.steps_of({"kind": "vote", "answers": 4})]
    allowed = {*grammar.TOOLS, *grammar.tools(using)}
    children = [edits.mutate(using, random.Random(n), allowed) for n in range(200)]
    assert {uses(child) for child in children} == {0, 1}
    kept = [grammar.of_steps(child, program(*using)) for child in children]
    for scaffold in kept:
        grammar.check(scaffold)
    assert {"examples" in scaffold for scaffold in kept} == {True, False}
    assert {child[0]["n"] for child in children if child[0]["do"] == "recall"} >= {1, 2, 3, 4}


def test_what_is_recalled_or_shown_is_no_answer_asked_for_and_moves_no_seed() -> None:
    twelve = grammar.steps_of({"kind": "vote", "answers": 12})
    assert grammar.answers([RECALL, SHOW, *twelve]) == 12
    models = [Model([["ok"]], [["ok"]]), Model([["ok"]], [["ok"]])]
    later = [sample(1, "0"), sample(1)]
    run(program(SHOW, *later), models[0], TOOLS, ["a"], 1)
    run(steps(*later), models[1], TOOLS, ["a"], 1)
    assert models[0].seeds == models[1].seeds


def test_only_the_models_own_steps_are_learned_from_where_it_goes_on_from_what_was_recalled() -> None:
    going = program(
        {**RECALL, "n": 1}, {"do": "advance", "times": 2, "n": 1, "temperature": "0.6"}, bank=[["9", "ok9"]]
    )
    answered = run(going, Model([["ok"]]), TOOLS, ["2", "1"], 1)
    assert answered.outputs == ["ok9\nok", "ok9"]
    assert answered.steps == [[("1", "ok")], []]


def test_in_a_vote_the_models_own_words_stand_for_what_says_the_same() -> None:
    agreed = program({**RECALL, "n": 1}, sample(1, "0"), {"do": "vote", "by": "text"}, bank=[["a", "x"]])
    assert run(agreed, Model([["x"], ["y"]]), TOOLS, ["a", "b"], 1).steps == [[("a", "x")], []]


def test_what_a_problem_is_asked_does_not_depend_on_its_neighbours() -> None:
    """What is left of ``2`` is ``1``, which is another problem's own prompt."""
    going = program({**SHOW, "n": 1}, {"do": "advance", "times": 2, "n": 1, "temperature": "0.6"}, bank=[["9", "ok9"]])
    model = Model([["ok"], ["ok"]], [["ok"]])
    run(going, model, TOOLS, ["2", "1"], 1)
    assert [call[0] for call in model.calls] == [("9ok9\n\n2", "9ok9\n\n1"), ("1",)]


def test_of_examples_as_many_are_shown_as_the_model_can_read() -> None:
    for room, shown in ((0, 0), (20, 0), (31, 1), (200, 2)):
        model, tools = Model([["ok"]]), replace(TOOLS, readable=lambda prompt, room=room: len(prompt) <= room)
        run(program(SHOW, sample(1, "0")), model, tools, ["card lost?"], 1)
        asked = model.calls[0][0][0]
        assert asked.count("cards") == shown
        assert asked.endswith("card lost?")
        assert shown != 1 or asked.startswith("card lostcards"), "the most alike stays"
