"""Programs in Python: what they may say, that their bounds are kept, and that a sandbox is all they see."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_tools import PROMPTS, Digits, advance, feedback, revise

from evolvent import plan, tasks
from evolvent.models.files import from_files
from evolvent.models.sampler import Sampled
from evolvent.observe.rollout import execute, rollout
from evolvent.scaffold import code
from evolvent.scaffold.grammar import check
from evolvent.scaffold.programs import Answered, run
from evolvent.scaffold.tools import Tools

TOOLS = Tools(feedback, advance, revise, execute)


def program(*lines: str, answers: int = 4, tools: Sequence[str] = ()) -> dict[str, Any]:
    source = "def act(prompt, attempts):\n" + "".join(f"    {line}\n" for line in lines)
    return {"kind": "code", "answers": answers, "tools": list(tools), "source": source}


def answered(scaffold: dict[str, Any], prompts: Sequence[str] = PROMPTS[:3], model: Any = None) -> Answered:
    check(scaffold)
    return run(scaffold, model or Digits(), TOOLS, prompts, 7)


# -- what it may say ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"answers": 0}, "answers"), ({"answers": 17}, "1 to 16"), ({"answers": True}, "answers"),
        ({"tools": ["verify"]}, "tools"), ({"tools": ["revise", "advance"]}, "in that order"),
        ({"tools": "feedback"}, "tools"), ({"source": 3}, "expected a text"), ({"shell": "sh"}, "shell"),
        ({"source": "def act(prompt:"}, "no Python"), ({"source": "x = 1"}, "expected one function act"),
        ({"source": "def act(prompt): pass"}, "expected one function act"),
        ({"source": "def act(a, b): pass\ndef act(a, b): pass"}, "expected one function act"),
        ({"source": "import os\ndef act(a, b): pass"}, "imports os"),
        ({"source": "def act(a, b):\n    from random import random"}, "imports random"),
        ({"source": "from . import x\ndef act(a, b): pass"}, r"imports \."),
        ({"source": "def act(a, b): pass\n" + "#" * 4000}, "at most 4000"), ({"source": "# \x07"}, "printable"),
        ({"source": "# \ufb2c"}, "NFC"),
        ({"source": "def act(a, b): return " + "(" * 900 + ")" * 900}, "no Python"),
        ({"source": "\ud800"}, "printable"), ({"source": "\0"}, "printable"),
    ],
)  # fmt: skip
def test_what_is_no_program_is_refused_before_it_runs(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check({**program("return {'answer': prompt}"), **change})


@pytest.mark.parametrize("name", code.WRITTEN)
def test_programs_by_hand_are_programs_and_may_stand_in_the_settings(name: str) -> None:
    scaffold = {"kind": "code", **code.WRITTEN[name]}
    check(scaffold)
    target = {"target": "a", "protected": {"a": 5}}
    assert plan.parse({"task": "t", "model": "m", "scaffold": scaffold, "plan": target}, "t").scaffold == scaffold


WISHES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats() | st.text(max_size=3) | st.just("0.6"),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["answer", "ask", "n", "temperature", "x"]), inner, max_size=4)
    ),
    max_leaves=6,
)


@given(said=WISHES, left=st.integers(0, 4))
def test_whatever_comes_back_is_a_wish_within_bounds_or_refused(said: Any, left: int) -> None:
    try:
        wish = code.read(said, "7", left)
    except ValueError:
        return
    if wish.answer is None:
        assert wish.ask.strip()
        assert type(wish.n) is int
        assert 1 <= wish.n <= left
        assert wish.temperature in code.TEMPERATURES
    else:
        assert said == {"answer": wish.answer}


# -- what it does ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("stepwise", {"kind": "stepwise", "answers": 4}),
        ("retry", {"kind": "retry", "answers": 8}),
        ("consistent", {"kind": "consistent", "answers": 12}),
    ],
)
def test_a_program_in_python_does_what_the_same_program_does_in_steps(name: str, steps: dict[str, Any]) -> None:
    """With a model that says the same whatever the seed, so that only the programs could differ."""

    def stubborn(prompts: Sequence[str], num_samples: int, temperature: float, seed: int) -> Sampled:
        outputs = [["123x"[int(prompt.partition("+")[0]) % 4]] * num_samples for prompt in prompts]
        return Sampled(outputs, len(prompts), len(prompts) * num_samples)

    coded, stepped = (answered(s, PROMPTS, stubborn) for s in ({"kind": "code", **code.WRITTEN[name]}, steps))
    assert (coded.outputs, coded.tokens) == (stepped.outputs, stepped.tokens)
    assert len(set(coded.outputs)) > 3


def test_it_sees_attempts_and_the_word_of_its_tools_and_nothing_else() -> None:
    told = answered(
        program(
            "if not attempts:",
            "    return {'ask': prompt, 'n': 1, 'temperature': '0'}",
            "import json",
            "return {'answer': json.dumps([prompt, attempts, sorted(globals().keys() - {'__builtins__'})])}",
            tools=["advance", "feedback", "revise"],
        ),
        ["7"],
    )
    text = told.outputs[0]
    assert text.startswith('["7", [{"prompt": "7", "output": ')
    assert all(f'"{tool}": ' in text for tool in ("advance", "feedback", "revise"))
    assert '"act"' in text
    assert "answer" not in text.split('"act"')[1]


def test_the_same_program_twice_gives_the_same_and_learns_from_the_model_alone() -> None:
    scaffold = {"kind": "code", **code.WRITTEN["consistent"]}
    first, again = answered(scaffold, PROMPTS), answered(scaffold, PROMPTS)
    assert first == again
    assert all(pairs == [(prompt, text)] for prompt, text, pairs in zip(
        PROMPTS, first.outputs, first.steps, strict=True))  # fmt: skip
    made_up = answered(program("return {'answer': 'the program wrote this'}"))
    assert made_up.outputs == ["the program wrote this"] * 3
    assert made_up.steps == [[], [], []]
    assert made_up.tokens == 0


def test_a_tool_is_handed_no_prompt_that_the_program_made_up() -> None:
    handed: list[str] = []

    def notes(prompt: str, output: str) -> str | None:
        handed.append(prompt)
        return feedback(prompt, output)

    asks = program(
        "if attempts: return {'answer': attempts[0]['output']}",
        "return {'ask': 'made up', 'n': 1, 'temperature': '0'}",
        tools=["feedback"],
    )
    model = Digits()
    run(asks, model, Tools(notes, advance, revise, execute), ["7"], 1)
    assert model.calls[0][0] == ("made up",)
    assert handed == ["7"]


@pytest.mark.parametrize(
    "line",
    [
        "return {'ask': prompt, 'n': 5, 'temperature': '0.6'}", "return None", "return {'ask': prompt}", "1 / 0",
        "return {'ask': ' ', 'n': 1, 'temperature': '0'}", "return {'ask': 'x' * 9999, 'n': 1, 'temperature': '0'}",
        "return {'ask': prompt, 'n': True, 'temperature': '0.6'}", "return [0] * 10**6", "exit()",
        "return {'ask': prompt, 'n': 2, 'temperature': '0'}", "return {'ask': prompt, 'n': 1, 'temperature': 'inf'}",
        "return act(prompt, attempts)", "raise SystemExit", "return {'answer': prompt, 'tokens': -1}",
        "return {'answer': chr(0xd800)}", "return {'answer': chr(0)}", "return {'answer': 'x' * 40000}",
        "return {'ask': chr(0xd800), 'n': 1, 'temperature': '0'}",
    ],
)  # fmt: skip
def test_a_program_that_breaks_leaves_what_the_model_said_first(line: str) -> None:
    told = answered(program("if attempts:", f"    {line}", "return {'ask': prompt, 'n': 1, 'temperature': '0'}"))
    plain = answered({"kind": "direct"})
    assert (told.outputs, told.tokens) == (plain.outputs, plain.tokens)
    assert answered(program(line)).outputs == ["", "", ""]


def test_its_bound_is_kept_whatever_it_asks() -> None:
    model = Digits()
    answered(program("return {'ask': prompt, 'n': 1, 'temperature': '0.9'}", answers=3), ["7", "8"], model)
    assert sum(len(prompts) * n for prompts, n, _, _ in model.calls) == 6


# -- what it reaches ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "__import__('os').environ['HOME']", "open('/etc/passwd').read()", "open('/proc/self/environ').read()",
        "__import__('socket').socket().connect(('127.0.0.1', 1))", "__import__('os').fork()",
        "__import__('subprocess').run(['id'])", "__import__('evolvent.tasks')", "__import__('torch')",
    ],
)  # fmt: skip
def test_it_reaches_nothing(line: str) -> None:
    assert answered(program(f"reached = str({line})", "return {'answer': 'reached ' + reached}")).outputs == [""] * 3


def test_no_problem_knows_of_another_and_no_call_of_the_one_before() -> None:
    counts = "seen = []\n" + program("seen.append(prompt)", "return {'answer': str(len(seen))}")["source"]
    scaffold = {"kind": "code", "answers": 1, "tools": [], "source": counts}
    assert answered(scaffold).outputs == ["1", "1", "1"]


def test_one_that_hangs_costs_its_own_problem_and_no_other() -> None:
    """Outcomes of problems must not hang together: the judge's test stands on that."""
    hangs = program("while prompt == '3': pass", "return {'answer': prompt}")
    assert answered(hangs, ["2", "3", "4", "3", "5"]).outputs == ["2", "", "4", "", "5"]


def test_a_problem_has_a_bound_on_its_time_over_all_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "MOST_SECONDS", 0.05)
    calls: list[str] = []

    def slow(source: str, function: str, arguments: Sequence[Any]) -> tuple[Any, float]:
        calls.append(arguments[0])
        return {"ask": arguments[0], "n": 1, "temperature": "0"}, 0.03

    told = run(program("pass", answers=16), Digits(), Tools(feedback, advance, revise, slow), ["7", "8"], 1)
    assert sorted(calls) == ["7", "7", "8", "8"]
    assert told.outputs == answered({"kind": "direct"}, ["7", "8"]).outputs


def test_waiting_for_the_sandbox_is_not_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves of a block share one: a problem that sleeps in there must not make one of the other half late."""
    monkeypatch.setattr(code, "MOST_SECONDS", 0.01)

    def waits(source: str, function: str, arguments: Sequence[Any]) -> tuple[Any, float]:
        time.sleep(0.02)
        return {"answer": arguments[0]}, 0.0

    told = run(program("pass"), Digits(), Tools(feedback, advance, revise, waits), ["7", "8"], 1)
    assert told.outputs == ["7", "8"]
    _, seconds = execute("def act(a, b): __import__('time').sleep(0.2)", "act", ["7", []])
    assert seconds >= 0.2


@pytest.mark.parametrize("text", ["a\r\nb", "a\u00a0b", "x\x0cy", "é", "e\u0301"])
def test_what_the_problem_or_the_model_says_may_be_said_again(text: str) -> None:
    assert code.read({"ask": text, "n": 1, "temperature": "0"}, text, 1).ask == text
    assert code.read({"answer": text}, "7", 1).answer == text


def test_a_prompt_of_a_program_that_is_too_long_in_tokens_is_not_asked(toy_seed: Path) -> None:
    names = ("model.safetensors", "config.json", "codec.json")
    model, codec = from_files({name: (toy_seed / name).read_bytes() for name in names})
    task = tasks.load("strings")
    asks = "if attempts: return {'answer': 'said ' + attempts[0]['output']}"
    for length, says in ((200, True), (900, False)):
        made_up = f"return {{'ask': 'a' * {length} + '>', 'n': 1, 'temperature': '0'}}"
        (output,) = rollout(model, codec, task, program(asks, made_up), ["abc>"], 1).outputs
        assert (output != "said ") == says


def test_without_a_sandbox_nothing_is_run() -> None:
    told = run(program("return {'answer': 'x'}"), Digits(), Tools(feedback, advance, revise), ["7"], 1)
    assert told.outputs == [""]
