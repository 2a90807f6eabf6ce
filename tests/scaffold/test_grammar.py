"""What a program may say, and what can be read off its text."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from evolvent import plan
from evolvent.errors import UsageError
from evolvent.named import check_scaffold
from evolvent.scaffold.grammar import KINDS, MOST_ANSWERS, VERBS, answers, check, steps_of, tools
from evolvent.scaffold.programs import _Work
from evolvent.types import canonical_json

SAMPLE = {"do": "sample", "n": 2, "temperature": "0.6"}
CHECK = {"do": "check", "by": "feedback"}


def program(*steps: Any) -> dict[str, Any]:
    return {"kind": "steps", "steps": list(steps)}


def test_each_verb_can_be_run() -> None:
    assert set(VERBS) == {name for name in vars(_Work) if not name.startswith("_")} - {"ask", "chosen"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most", [2, 7, MOST_ANSWERS])
def test_a_hand_written_program_is_a_program_of_the_language(kind: str, most: int) -> None:
    scaffold = {"kind": kind} if kind == "direct" else {"kind": kind, "answers": most}
    check(scaffold)
    written = steps_of(scaffold)
    check(program(*written))
    assert answers(written) == (1 if kind == "direct" else most)
    canonical_json(written)  # goes into the genome: no floats


def test_tools_are_read_off_the_text() -> None:
    used = {kind: tools(steps_of({"kind": kind, "answers": 3})) for kind in KINDS}
    assert used == {
        "direct": set(), "vote": set(), "retry": {"feedback"}, "stepwise": {"advance"}, "revise": {"revise"},
        "consistent": {"feedback"},
    }  # fmt: skip
    assert tools([SAMPLE, {"do": "vote", "by": "text"}, {"do": "vote", "by": "revise"}]) == {"revise"}


@pytest.mark.parametrize(
    ("scaffold", "told"),
    [
        ({}, "kind"), ({"kind": "agent"}, "kind"), ({"kind": "direct", "answers": 4}, "expected kind"),
        ({"kind": "vote"}, "answers"), ({"kind": "vote", "answers": 1}, "2 to 16"),
        ({"kind": "vote", "answers": 17}, "2 to 16"),
        ({"kind": "vote", "answers": "4"}, "2 to 16"), ({"kind": "retry", "answers": 4, "shell": "sh"}, "shell"),
        ({"kind": "steps"}, "steps"), (program(), "1 to 6"), ({"kind": "steps", "steps": "sample"}, "list"),
        (program(SAMPLE, *[CHECK] * 6), "1 to 6"), (program("sample"), r"steps\[0\]"),
        (program({"do": "shell"}), r"steps\[0\]: expected do"),
        (program({"do": []}), "expected do"), (program(CHECK), "no attempt yet"),
        (program(SAMPLE, {**CHECK, "by": "verify"}), r"steps\[1\]\.by"), (program({**SAMPLE, "n": True}), r"\.n"),
        (program({**SAMPLE, "n": 10**9}), r"\.n"), (program({**SAMPLE, "code": "x"}), "code"),
        (program({**SAMPLE, "temperature": 0.6}), "temperature"), (program({**SAMPLE, "temperature": "0"}), "greedy"),
        (program({**SAMPLE, "n": 16}, SAMPLE), "at most 16 answers, got 18"),
        (program({"do": "advance", "times": 5, "n": 4, "temperature": "0.6"}), "got 20"),
    ],
)  # fmt: skip
def test_other_programs_are_refused(scaffold: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match="scaffold") as refused:
        check(scaffold)
    refused.match(told)


@pytest.mark.parametrize(
    ("scaffold", "said"),
    [
        ("{kind: steps, steps: [{do: sample, n: 4, temperature: 0.6}]}", 'got 0.6; write it in quotes: "0.6"'),
        ('{kind: steps, steps: [{do: sample, n: 4.0, temperature: "0.6"}]}', "steps[0].n: expected one of 1, 2"),
        ('{kind: steps, steps: [{do: sample, n: true, temperature: "0.6"}]}', "steps[0].n: expected one of 1, 2"),
        ("{kind: steps, steps: [{do: [sample]}]}", "steps[0]: expected do to be one of sample"),
        ('{kind: steps, steps: [{do: sample, n: 1, temperature: "0"}, {do: check, by: [feedback]}]}', "steps[1].by: "),
        ("{kind: steps, steps: 7}", "steps: expected a list of 1 to 6 steps, got int"),
        ("{kind: vote, answers: 4.0}", "answers: expected 2 to 16, got 4.0"),
        ("{kind: vote, answers: [4]}", "answers: expected 2 to 16, got [4]"),
        ("{kind: [vote]}", "kind: expected one of direct"),
    ],
)
def test_what_yaml_makes_of_a_slip_is_told_in_the_grammars_words(scaffold: str, said: str) -> None:
    text = f"{{task: strings, model: none, plan: {{target: short, protected: {{short: 5}}}}, scaffold: {scaffold}}}"
    found = plan.parse(yaml.safe_load(text), "test").scaffold
    with pytest.raises(UsageError) as refused:
        check_scaffold(found)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
