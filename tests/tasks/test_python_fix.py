"""Functions drawn, bugs planted, answers run: the truth always passes, a bug never does, nothing fells the verifier."""

from __future__ import annotations

import ast
import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolvent.errors import UsageError
from evolvent.sandbox import plain, running
from evolvent.tasks.python_fix import PythonFix, families, generate, inputs, mbpp, mutate, prompts, restyle, verify
from evolvent.tasks.python_fix.prompts import Asked, Example
from evolvent.tasks.python_fix.reference import reference
from evolvent.tasks.python_fix.trusted import STEPS, Trusted
from evolvent.types import Problem

TASK = PythonFix()
seeds = st.integers(0, 2**32)


def problem(skill: str, seed: int) -> Problem:
    return TASK.generate(skill, random.Random(seed), 1)[0]


def shown(made: Problem) -> Asked:
    asked = prompts.read(made.prompt)
    assert asked is not None
    return asked


@pytest.mark.parametrize("skill", TASK.skills)
@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_the_truth_passes_and_the_bug_does_not(skill: str, seed: int) -> None:
    made = problem(skill, seed)
    answer = reference(made)
    score = TASK.verify(made, answer, seed)
    assert (score.correct, score.error, score.executed) == (True, None, True), (made.prompt, answer, score)
    assert TASK.feedback(made.prompt, answer) is None
    code = shown(made).code
    if code is not None:
        bug = TASK.verify(made, "\n".join(code), seed)
        assert not bug.correct
        assert bug.error in verify.ERRORS
        assert TASK.feedback(made.prompt, "\n".join(code)) is not None


def test_the_library_is_large_and_each_family_is_one_function() -> None:
    library = families.library()
    assert len(library) >= 100
    assert {family.theme for family in library.values()} == set(generate.AXES["theme"])
    assert {kind for family in library.values() for _, kind in family.parameters} <= set(inputs.KINDS)


@pytest.mark.parametrize("name", sorted(families.library()))
def test_every_sketch_and_every_form_of_a_family_means_the_same(name: str) -> None:
    family = families.library()[name]
    for seed in range(2):
        first = families.draw(family, random.Random(seed), plain=True)
        calls = generate.own_calls(first.kinds, seed, 24)
        truth = [Trusted(first.source, first.name).call(call) for call in calls]
        assert not any(ran.error for ran in truth)
        for i in range(len(family.sketches)):
            only = families.Family(**{**vars(family), "sketches": (family.sketches[i], *family.sketches)})
            other = families.draw(only, random.Random(seed), plain=True)
            styled = restyle.restyle(other.source, random.Random(seed))
            for source in (other.source, styled):
                assert [Trusted(source, other.name).call(call).told for call in calls] == [ran.told for ran in truth]


@settings(max_examples=12, deadline=None)
@given(seed=seeds, skill=st.sampled_from(TASK.skills))
def test_the_same_generator_state_gives_the_same_problems(seed: int, skill: str) -> None:
    assert problem(skill, seed) == problem(skill, seed)
    made = problem(skill, seed)
    assert TASK.well_posed(made)
    assert shown(made).text() == made.prompt
    assert made.skill == skill


def test_fresh_problems_do_not_repeat_and_carry_no_answer() -> None:
    made = [p for skill in TASK.skills for p in TASK.generate(skill, random.Random(3), 20)]
    assert len({p.prompt for p in made}) == len(made)
    for one in made:
        truth = generate.truth(one.given).source
        assert truth not in json.dumps(one.plain())
        body = truth.split("\n", 1)[1]
        assert body not in one.prompt
    assert len({one.tags["family"] for one in made}) > 30


@pytest.mark.parametrize("axis", generate.AXES)
def test_each_value_of_each_axis_can_be_drawn(axis: str) -> None:
    for value in generate.AXES[axis]:
        made = TASK.challenge({axis: value}, random.Random(1), 2)
        assert len(made) == 2
        assert axis not in ("theme", "length") or all(p.tags[axis] == value for p in made)
        assert axis != "work" or all(p.skill == value for p in made)
    with pytest.raises(ValueError, match=f"{axis}: expected one of"):
        TASK.challenge({axis: "odd"}, random.Random(1), 1)


@settings(max_examples=30, deadline=None)
@given(output=st.text(max_size=80) | st.from_regex(r"(\d\d?[|+-][ a-z]{0,8}\n){1,4}", fullmatch=True))
def test_no_text_fells_the_verifier(output: str) -> None:
    made = problem("single", 1)
    score = TASK.verify(made, output, 1)
    assert not score.correct or prompts.resolve(shown(made), output) == generate.truth(made.given).source
    assert score.error is None or score.error in verify.ERRORS
    TASK.feedback(made.prompt, output)
    TASK.feedback(output, output)
    TASK.revise(made.prompt, output)


CASES = {
    "form": "the function is wrong",
    "syntax": "def F(x:\n    return",
    "wrong_name": "def other(*a):\n    return 1",
    "load": "raise ValueError\ndef F(*a):\n    return 1",
    "raises": "def F(*a):\n    return 1 / 0",
    "wrong_type": "def F(*a):\n    return 1.5",
    "wrong_value": "def F(*a):\n    return 10 ** 20",
    "timeout": "def F(*a):\n    while True:\n        pass",
    "memory": "def F(*a):\n    return [0] * 10 ** 10",
    "crashed": "import os\ndef F(*a):\n    os._exit(0)",
    "output": "def F(*a):\n    return 'a' * 10 ** 6",
}


@pytest.mark.parametrize("error", CASES)
def test_each_failure_has_its_name(error: str) -> None:
    (made,) = [p for p in TASK.generate("single", random.Random(8), 12) if p.tags["family"] in INTEGERS][:1]
    assert TASK.verify(made, CASES[error].replace("F", shown(made).function), 0).error == error


INTEGERS = {"count_if", "sum_if", "factorial", "sum_to", "digit_sum", "gcd", "clamp", "grade", "sum_map", "extreme",
"span",
            "sum_above", "larger", "distance", "sign", "power", "collatz", "choose", "first_place",
            "last_place"}  # fmt: skip


def lying(body: str) -> str:
    return f"class Lie:\n    def __eq__(self, other): return True\n    def __hash__(self): return 0\n{body}"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("1", "True"), ("1", "1.0"), ("[1]", "(1,)"), ("0", "-0.0"), ("'a'", "b'a'"), ("[]", "None"), ("1", "Lie()"),
     ("1", "type('I', (int,), {})(1)"), ("[1]", "type('L', (list,), {})([1])"), ("0", "float('nan')"), ("[1]",
     "(x for x in [1])")],
)  # fmt: skip
def test_types_count(right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = problem("synthesis", 4)
    name = shown(made).function
    function = families.Function("f", "lists", name, ("int",), "One value.", f"def {name}(x):\n    return {right}")
    monkeypatch.setattr(generate, "truth", lambda given: function)
    assert TASK.verify(made, lying(function.source), 0).correct
    assert not TASK.verify(made, lying(f"def {name}(x):\n    return {wrong}"), 0).correct


def test_expected_values_never_enter_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Spy:
        def call(self, *arguments: object) -> object:
            seen.append(repr(arguments))
            return real.call(*arguments)  # type: ignore[arg-type]

    real = running.runner()
    made = problem("synthesis", 11)
    calls, expected = verify.hidden(made, 5)
    monkeypatch.setattr(verify, "runner", Spy)
    answer = f"def {shown(made).function}(*a):\n    return None"
    assert not TASK.verify(made, answer, 5).correct
    (sent,) = seen
    inside = {repr(argument) for call in calls for argument in call}
    hidden = [repr(value) for value in expected if len(repr(value)) > 14 and repr(value) not in str(inside)]
    assert not any(value in sent for value in hidden)


def test_edits_replace_drop_and_insert() -> None:
    asked = Asked(("A sentence.",), (Example("f", (1,), 1),), None, ("def f(x):", "    x += 1", "    return x"))
    assert prompts.resolve(asked, "2-") == "def f(x):\n    return x"
    assert prompts.resolve(asked, "2|    x = 1\n2+    x -= 1\n2+    x *= 1") == (
        "def f(x):\n    x = 1\n    x -= 1\n    x *= 1\n    return x"
    )
    assert prompts.resolve(asked, "0+import math\n1|def f(y):") == "import math\ndef f(y):\n    x += 1\n    return x"
    assert prompts.resolve(asked, "import math\ndef f(x):\n    return x") == "import math\ndef f(x):\n    return x"
    for wrong in (
        "",
        "4|x",
        "0|x",
        "2-x",
        "2|a\n2|b",
        "3|a\n2|b",
        "2|a\nthen",
        "return x",
        "2 |a",
        "99999|a",
        "2+a\n2|b",
        "02|a",
        "٢|a",
    ):
        assert prompts.resolve(asked, wrong) is None, wrong
    assert prompts.resolve(Asked(asked.sentence, asked.examples), "2-") is None


lines = st.lists(st.text("abc ", max_size=3), min_size=1, max_size=8)


@given(before=lines, after=lines)
def test_edits_between_two_texts_lead_from_one_to_the_other(before: list[str], after: list[str]) -> None:
    edits = prompts.edits_between(before, after)
    asked = Asked(("s",), (Example("f", (), 0),), None, tuple(before))
    if before == after:
        assert edits == ""
    else:
        assert prompts.resolve(asked, edits) == "\n".join(after)


def test_a_line_of_code_is_never_read_as_a_test_or_a_mark() -> None:
    hostile = ("assert f(1) == 9", "# fix", "# code", "# write", "# failed: x")
    asked = Asked(("s",), (Example("f", (1,), 2),), "f(1) gave 3, expected 2", hostile)
    assert prompts.read(asked.text()) == asked
    assert prompts.read("no prompt") is None
    assert prompts.read("# s\nassert f(g()) == 1\n# write\n") is None


def test_mutants_that_do_not_end_are_seen_without_a_clock() -> None:
    assert Trusted("def f(x):\n    while x == x:\n        x += 1\n    return x", "f").call([1]).error == "budget"
    assert Trusted("def f(x):\n    return f(x)", "f").call([1]).error == "budget"
    assert Trusted("def f(x):\n    r = []\n    r.append(r)\n    return r", "f").call([1]).error == "budget"
    assert Trusted("def f(x):\n    while x > 0:\n        x = x * x\n    return x", "f").call([3]).error == "budget"
    assert Trusted(f"def f(x):\n    return sum([i for i in range({STEPS + 9})])", "f").call([1]).error == "budget"
    assert Trusted("def f(x):\n    return x[9]", "f").call([[1]]).error == "IndexError"


def test_every_kind_of_bug_is_planted() -> None:
    found = set()
    for family in families.library().values():
        source = families.draw(family, random.Random(1)).source
        for mutation in mutate.mutations(source):
            if mutation.kind not in found:
                changed = mutation.apply()
                if changed is not None:
                    assert changed != source
                    ast.parse(changed)
                    found.add(mutation.kind)
    assert found == set(mutate.KINDS)


def test_revision_keeps_the_whole_tells_the_failure_and_asks_on() -> None:
    made = problem("double", 6)
    answer = reference(made)
    half = answer.split("\n")[0]
    revised = TASK.revise(made.prompt, half)
    assert revised is not None
    assert revised.whole == prompts.resolve(shown(made), half)
    assert revised.faults > (0, 0)
    assert revised.prompt is not None
    asked = prompts.read(revised.prompt)
    assert asked is not None
    assert asked.failed
    assert "\n".join(asked.code or ()) == revised.whole
    right = TASK.revise(revised.prompt, generate.truth(made.given).source)
    assert right is not None
    assert (right.faults, right.prompt) == ((0, 0), None)
    again = TASK.revise(made.prompt, right.whole)
    assert again is not None
    assert again.brief == answer


@settings(max_examples=12, deadline=None)
@given(seed=seeds, skill=st.sampled_from(TASK.skills))
def test_own_tests_do_not_doubt_the_truth(seed: int, skill: str) -> None:
    made = problem(skill, seed)
    revised = TASK.revise(made.prompt, reference(made))
    assert revised is not None
    assert revised.faults == (0, 0), revised.prompt


def test_problems_in_mbpps_form_are_read_from_a_folder(tmp_path: Path) -> None:
    rows = [
        {"text": "Double it.", "task_id": 1, "test_list": ["assert d(2) == 4", "assert d(0)==0", "assert d(-1) == -2"]},
        {"text": "Not literal.", "task_id": 2, "test_list": ["assert math.isclose(d(2), 4)"]},
    ]
    (tmp_path / "mbpp.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (made,) = mbpp.read(tmp_path)
    assert made.prompt == "# Double it.\nassert d(2) == 4\n# write\n"
    assert TASK.well_posed(made)
    assert TASK.verify(made, "def d(x):\n    return 2.0 * x", 1).correct  # as its asserts ask it
    assert TASK.verify(made, "def d(x):\n    return 4", 1).error == "wrong_value"
    (tmp_path / "mbpp.jsonl").write_text("{}\n")
    with pytest.raises(UsageError, match="line 1: expected an MBPP problem"):
        mbpp.read(tmp_path)
    with pytest.raises(UsageError, match="found none"):
        mbpp.read(tmp_path / "nowhere")


@pytest.mark.skipif("EVOLVENT_MBPP" not in os.environ, reason="needs a copy of MBPP: EVOLVENT_MBPP=folder")
def test_mbpps_own_solutions_pass() -> None:
    folder = Path(os.environ["EVOLVENT_MBPP"])
    rows = [json.loads(line) for line in (folder / "mbpp.jsonl").read_text(encoding="utf-8").splitlines()]
    code = {str(row["task_id"]): row["code"] for row in rows}
    made = mbpp.read(folder)
    passed = sum(TASK.verify(p, code[p.tags["family"]], 0).correct for p in made)
    assert passed >= 0.95 * len(made)


@pytest.mark.slow
def test_two_thousand_honest_answers_are_not_turned_away() -> None:
    made = [p for skill in TASK.skills for p in TASK.generate(skill, random.Random(77), 667)]
    refused = [p for i, p in enumerate(made) if not TASK.verify(p, reference(p), i).correct]
    assert len(refused) <= 0.005 * len(made), [p.prompt for p in refused]


def test_tests_that_contradict_each_other_are_met_by_nobody() -> None:
    pairs = [(3, 9), (4, 16), (3, 10)]
    stored = [[plain.encode([n]), plain.encode(value)] for n, value in pairs]
    prompt = "# Square a number.\nassert f(3) == 9\nassert f(3) == 10\n# write\n"
    impossible = Problem(task="python_fix", skill="synthesis", prompt=prompt, given={"hidden": stored})
    counts = "import os\n_seen = {}\ndef f(n):\n    _seen[n] = _seen.get(n, -1) + 1\n    return n * n + _seen[n]\n"
    for answer in (counts, "def f(n): return n * n"):
        assert TASK.verify(impossible, answer, 1).error == "wrong_value"
    fair = Problem(task="python_fix", skill="synthesis", prompt=prompt, given={"hidden": [*stored[:2], stored[0]]})
    assert TASK.verify(fair, "def f(n): return n * n", 1).correct
