"""Edits of programs in Python: always programs, never run while they are made."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from toy_tools import PROMPTS, Digits, advance, feedback, revise

from evolvent.observe.rollout import execute
from evolvent.scaffold import code
from evolvent.scaffold.code_edits import mutated
from evolvent.scaffold.grammar import check
from evolvent.scaffold.programs import run
from evolvent.scaffold.tools import Tools
from evolvent.types import canonical_json

NAMES = tuple(code.WRITTEN)


def written(name: str) -> dict[str, Any]:
    return {"kind": "code", **code.WRITTEN[name]}


@settings(max_examples=60, deadline=None)
@given(names=st.tuples(st.sampled_from(NAMES), st.sampled_from((None, *NAMES))), seed=st.integers(0, 10**6))
def test_any_chain_of_edits_stays_a_program_under_its_bound(names: tuple[str, str | None], seed: int) -> None:
    name, lender = names
    now, rng = written(name), random.Random(seed)
    partner = written(lender) if lender else None
    for _ in range(6):
        before = canonical_json(now)
        child = mutated(now, rng, partner)
        assert canonical_json(now) == before  # its arguments are left alone
        check(child)
        assert child["answers"] == now["answers"]
        assert {*child["tools"]} <= {*now["tools"], *(partner or now)["tools"]}
        now = child


def test_edits_repeat_by_their_generator_and_differ_from_each_other() -> None:
    made = [mutated(written("stepwise"), random.Random(n), written("retry")) for n in range(40)]
    assert made == [mutated(written("stepwise"), random.Random(n), written("retry")) for n in range(40)]
    assert len({child["source"] for child in made}) > 20
    assert any(child["tools"] == ["advance", "feedback"] for child in made)


def test_nothing_of_a_program_runs_while_it_is_edited() -> None:
    harmful = "raise SystemExit('run!')\ndef act(prompt, attempts):\n    n = 1\n    return {'answer': str(n)}\n"
    scaffold = {"kind": "code", "answers": 1, "tools": [], "source": harmful}
    made = [mutated(scaffold, random.Random(n))["source"] for n in range(20)]
    assert all("raise SystemExit" in source and source != harmful for source in made)


def test_a_program_too_deep_to_be_copied_is_edited_elsewhere_or_comes_back() -> None:
    deep = "def act(prompt, attempts):\n    x = 1" + "+1" * 300 + "\n    return {'answer': str(x)}\n"
    scaffold = {"kind": "code", "answers": 1, "tools": [], "source": deep}
    children = [mutated(scaffold, random.Random(n), written("retry") if n % 2 else None) for n in range(16)]
    for child in children:
        check(child)
    assert any(child != scaffold for child in children)


def test_edited_programs_run_within_their_bound_or_break_without_harm() -> None:
    broken = 0
    for n in range(30):
        child, model = mutated(written(NAMES[n % 3]), random.Random(n), written(NAMES[n % 2])), Digits()
        told = run(child, model, Tools(feedback, advance, revise, execute), PROMPTS[:4], 1)
        assert len(told.outputs) == 4
        assert sum(len(prompts) * count for prompts, count, _, _ in model.calls) <= 4 * child["answers"]
        broken += told.outputs == [""] * 4
    assert broken < 20
