"""Edits: whatever they are given, a program comes out that keeps its bounds, and the same one again."""

from __future__ import annotations

import random

import toy_tools as toy
from hypothesis import given, settings
from hypothesis import strategies as st

from evolvent.scaffold.edits import cross, mutate
from evolvent.scaffold.grammar import KINDS, MOST_ANSWERS, TOOLS, answers, check_steps, steps_of, tools
from evolvent.scaffold.programs import run
from evolvent.scaffold.tools import Tools

HAND_WRITTEN = [steps_of({"kind": kind, "answers": 4}) for kind in KINDS]


@settings(max_examples=150, deadline=None)
@given(
    first=st.sampled_from(HAND_WRITTEN), partner=st.sampled_from(HAND_WRITTEN), seeds=st.lists(st.integers(0, 2**32)),
    most=st.integers(4, MOST_ANSWERS),
)  # fmt: skip
def test_any_chain_of_edits_stays_a_program_under_its_bounds(
    first: list[dict[str, object]], partner: list[dict[str, object]], seeds: list[int], most: int
) -> None:
    steps, allowed = first, tools(first) | tools(partner)
    for seed in seeds:
        made = [
            (mutate if seed % 2 else lambda s, *rest: cross(s, partner, *rest))(
                steps, random.Random(seed), allowed, most
            )
            for _ in range(2)
        ]
        assert made[0] == made[1], "an edit is a function of its arguments"
        steps = made[0]
        check_steps(steps)
        assert answers(steps) <= most
        assert tools(steps) <= allowed


def test_edits_leave_their_arguments_alone_and_reach_every_verb() -> None:
    start = steps_of({"kind": "direct"})
    before, seen = repr(start), set()
    steps = start
    for number in range(400):
        steps = mutate(steps, random.Random(number), TOOLS)
        seen |= {step["do"] for step in steps}
    assert repr(start) == before
    assert seen == {"sample", "check", "vote", "retry", "advance", "repair", "settle"}, "abstain is never put in"


def test_a_program_without_room_for_an_edit_comes_back() -> None:
    direct = steps_of({"kind": "direct"})
    assert cross(direct, direct, random.Random(0), (), 1) == direct


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_program_runs_within_its_bound_and_answers_each_prompt(seed: int) -> None:
    rng, steps = random.Random(seed), steps_of({"kind": "vote", "answers": 3})
    for _ in range(12):
        steps = mutate(steps, rng, TOOLS)
    model = toy.Digits()
    answered = run(
        {"kind": "steps", "steps": steps}, model, Tools(toy.feedback, toy.advance, toy.revise), toy.PROMPTS, 1
    )
    assert len(answered.outputs) == len(answered.steps) == len(toy.PROMPTS)
    assert sum(len(prompts) * n for prompts, n, _, _ in model.calls) <= answers(steps) * len(toy.PROMPTS)
    warm = [seed for _, _, temperature, seed in model.calls if temperature > 0]
    assert len(set(warm)) == len(warm), "no two rounds share their noise"
