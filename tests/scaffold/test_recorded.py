"""The hand-written programs answer as they did before there was a language: recorded from their first form."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import toy_tools as toy

from evolvent.scaffold.programs import run
from evolvent.scaffold.tools import Tools

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text(encoding="utf-8"))


def test_all_programs_are_recorded() -> None:
    assert {row["scaffold"]["kind"] for row in RECORDED} == {"direct", "vote", "retry", "stepwise", "revise"}
    assert len(RECORDED) == 52


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"{row['scaffold']}-{row['explore']}-{row['seed']}")
def test_outputs_costs_steps_and_questions_are_the_same(row: dict[str, Any]) -> None:
    model = toy.Digits()
    tools = Tools(toy.feedback, toy.advance, toy.revise)
    answered = run(row["scaffold"], model, tools, toy.PROMPTS, row["seed"], float(row["explore"]))
    told = json.dumps([answered.outputs, answered.tokens, answered.steps, model.calls])
    assert hashlib.sha256(told.encode()).hexdigest() == row["told"]
