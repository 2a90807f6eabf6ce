"""The logic task: rules agree with a checker of a few lines, prompts hold no answer, own rules count, steps go on."""

from __future__ import annotations

import random
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evolvent import tasks
from evolvent.errors import UsageError
from evolvent.models.codec import CharCodec
from evolvent.models.files import from_files, to_files
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.observe.diagnose import diagnose
from evolvent.observe.rollout import rollout
from evolvent.sandbox import IsolatedProcess
from evolvent.scaffold import programs
from evolvent.scaffold.tools import Tools
from evolvent.tasks.logic import UNREADABLE, Logic
from evolvent.tasks.logic.prompts import ALPHABET, FACTS, MARKS, Asked, steps
from evolvent.tasks.logic.reference import reference
from evolvent.types import Problem, Trace

TASK = Logic()
PATH = "ab,bd,ce,ac|a?d/f="
PROOF = "ab>c,c>d,ae>f|ab?d/f="
letters = st.text(ALPHABET[:6], min_size=1, max_size=6)
edges = st.lists(st.tuples(*[st.sampled_from(ALPHABET[:6])] * 2), min_size=1, max_size=8)
implications = st.lists(
    st.tuples(st.text(ALPHABET[:6], min_size=1, max_size=2), st.sampled_from(ALPHABET[:6])), min_size=1, max_size=8
)


def problem(prompt: str) -> Problem:
    return Problem(task="logic", skill="reach", prompt=prompt)


def fresh(count: int = 60) -> list[Problem]:
    return [p for skill in TASK.skills for p in TASK.generate(skill, random.Random(1), count)]


def test_it_is_registered() -> None:
    assert isinstance(tasks.load("logic"), Logic)
    assert TASK.skills == ("reach", "deduction") == tuple(FACTS)


def test_problems_are_as_long_as_they_say_and_have_one_candidate_that_holds() -> None:
    for made in fresh():
        asked = Asked.read(made.prompt)
        assert asked is not None
        assert asked.text() == made.prompt
        assert TASK.well_posed(made)
        assert made.given == {}
        answer = reference(made)
        assert TASK.verify(made, answer, 0).correct
        assert len(answer) - (made.skill == "reach") == made.difficulty == int(made.tags["steps"])
        other = next(letter for letter in asked.candidates if letter != answer[-1])
        with pytest.raises(ValueError, match="neither candidate holds"):
            reference(replace(made, prompt=replace(asked, candidates=(other, "z")).text().replace("z", _unused(made))))


def _unused(made: Problem) -> str:
    return next(letter for letter in ALPHABET if letter not in made.prompt)


def test_cells_are_what_is_asked_for() -> None:
    for skill in TASK.skills:
        for count in TASK.axes["distractors"]:
            made = TASK.challenge({"form": skill, "steps": "3", "distractors": count}, random.Random(0), 4)
            assert {(p.skill, p.tags["steps"], p.tags["distractors"]) for p in made} == {(skill, "3", count)}


@pytest.mark.parametrize(
    ("prompt", "output", "error"),
    [
        (PATH, "abd", None),
        (PATH, "ab\nbd", None),
        (PATH, "bd", "wrong_start"),
        (PATH, "ad", "step_without_edge"),
        (PATH, "ab", "wrong_end"),
        (PATH, "abdd", "step_without_edge"),
        ("ab,ba,bd|a?d/f=", "ababd", "repeats"),
        (PATH, "ab\nd", UNREADABLE),
        (PATH, "abd ", UNREADABLE),
        (PATH, "ABD", UNREADABLE),
        (PATH, "", UNREADABLE),
        (PATH, "a" * 33, UNREADABLE),
        (PATH, "d). violation(x", UNREADABLE),
        (PROOF, "cd", None),
        (PROOF, "c\nd", None),
        (PROOF, "d", "does_not_follow"),
        (PROOF, "cf", "does_not_follow"),
        (PROOF, "c", "wrong_end"),
        (PROOF, "ccd", "repeats"),
        ("ab>c,c>d,c>a|ab?d/f=", "cad", "repeats"),
    ],
)
def test_each_fault_has_its_name(prompt: str, output: str, error: str | None) -> None:
    score = TASK.verify(problem(prompt), output, 0)
    assert score.error == TASK.feedback(prompt, output) == error
    assert score.correct == (error is None)
    assert error is None or error in TASK.errors


@settings(max_examples=60)
@given(edges, st.sampled_from(ALPHABET[:6]), letters)
def test_paths_are_judged_as_plain_python_would(graph: list[tuple[str, str]], start: str, output: str) -> None:
    asked = Asked(statements=tuple(graph), given=start, candidates=("e", "f"), deduction=False)
    right = (
        output[0] == start
        and all(pair in graph for pair in pairwise(output))
        and len(set(output)) == len(output)
        and output[-1] in "ef"
    )
    assert TASK.verify(problem(asked.text()), output, 0).correct == right


@settings(max_examples=60)
@given(implications, st.text(ALPHABET[:6], min_size=1, max_size=3), letters)
def test_proofs_are_judged_as_plain_python_would(rules: list[tuple[str, str]], given_: str, output: str) -> None:
    asked = Asked(statements=tuple(rules), given=given_, candidates=("e", "f"), deduction=True)
    known, right = set(given_), True
    for letter in output:
        right &= letter not in known and any(c == letter and set(p) <= known for p, c in rules)
        known.add(letter)
    assert TASK.verify(problem(asked.text()), output, 0).correct == (right and output[-1] in "ef")


@settings(max_examples=30)
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_borne(prompt: str, output: str) -> None:
    for one in (prompt, PATH, PROOF):
        score = TASK.verify(problem(one), output, 0)
        assert score.error in (None, *TASK.errors)
        assert TASK.feedback(one, output) in (None, *TASK.errors)
        kept, _ = TASK.advance(one, output)
        assert kept == "" or set(kept) <= set(ALPHABET)
    assert not TASK.verify(problem(f"{prompt} "), output, 0).correct
    assert steps(output, deduction=True) is None or set(output) <= {*ALPHABET, "\n"}


def test_attacks_keep_what_solves_the_problem() -> None:
    for made in fresh(20):
        other = TASK.attack(made, "reordered", random.Random(1))
        assert other is None or TASK.verify(other, reference(made), 0).correct
        renamed = TASK.attack(made, "renamed", random.Random(1))
        assert renamed is not None
        assert len(reference(renamed)) == len(reference(made))


def test_rules_of_ones_own_count_and_are_named() -> None:
    task = Logic(own={"reach": "violation(by_b) :- step(_, b).", "deduction": "violation(long) :- step(3, _)."})
    assert set(task.errors) == {*TASK.errors, "by_b", "long"}
    assert task.verify(problem(PATH), "abd", 0).error == "by_b"
    assert task.feedback("ac,cd|a?d/f=", "acd") is None
    assert task.verify(problem(PATH), "ad", 0).error == "step_without_edge", "ours are graver"
    with pytest.raises(UsageError, match="line 1: nothing gives stop/2; facts are asked/1, edge/2"):
        Logic(own={"reach": "violation(by_b) :- stop(_, b)."})
    with pytest.raises(UsageError, match=r"own: expected rules by skill \(reach, deduction\), got 'reech'"):
        Logic(own={"reech": ""})


def test_what_keeps_the_rules_is_kept_and_gone_on_from() -> None:
    assert TASK.advance(PATH, "abd") == ("abd", None)
    assert TASK.advance(PATH, "abc") == ("ab", "ab,bd,ce,ac|b?d/f=")
    assert TASK.advance(PATH, "ad") == ("", None)
    assert TASK.advance(PROOF, "cf") == ("c", "ab>c,c>d,ae>f|abc?d/f=")
    assert TASK.advance(PROOF, "cdf") == ("cd", None)
    assert TASK.advance("x", "y") == ("", None)


class Scripted:
    """Answers a prompt with the next of its texts."""

    tokens_read = tokens_written = 1

    def __init__(self, **answers: list[str]) -> None:
        self.answers = {prompt: iter(texts) for prompt, texts in answers.items()}
        self.outputs: list[list[str]] = []

    def __call__(self, prompts: object, num_samples: int, temperature: float, seed: int) -> Scripted:
        assert isinstance(prompts, list)
        self.outputs = [[next(self.answers[prompt])] for prompt in prompts]
        return self


@pytest.mark.parametrize(
    ("kind", "answers", "output"),
    [
        ("retry", {PATH: ["ad", "abc", "abd"]}, "abd"),
        ("stepwise", {PATH: ["ad", "abc"], "ab,bd,ce,ac|b?d/f=": ["bd"]}, "ab\nbd"),
    ],
)
def test_rules_steer_programs(kind: str, answers: dict[str, list[str]], output: str) -> None:
    tools = Tools(TASK.feedback, TASK.advance, TASK.revise)
    answered = programs.run({"kind": kind, "answers": 4}, Scripted(**answers), tools, [PATH], 0)
    assert answered.outputs == [output]
    assert TASK.verify(problem(PATH), output, 0).correct


def test_diagnosis_names_the_rule_that_is_broken() -> None:
    traces = []
    for made in TASK.generate("reach", random.Random(3), 60):
        answer = reference(made)
        output = answer[:1] + answer[2:] if made.tags["steps"] == "3" else answer
        score = TASK.verify(made, output, 0)
        traces.append(
            Trace(
                problem=made.hash,
                skill=made.skill,
                tags=made.tags,
                output=output,
                correct=score.correct,
                error=score.error,
            )
        )
    worst = diagnose(traces)[0]
    assert worst.slice == {"steps": "3"}
    assert worst.errors == {"step_without_edge": worst.failures}
    assert worst.cause == "takes steps that no edge allows"
    assert Counter(trace.error for trace in traces).keys() == {None, "step_without_edge"}


def test_rules_hold_where_the_judge_runs_a_version() -> None:
    """In the locked-in worker, too: what the engine needs was loaded before."""
    torch.manual_seed(0)
    codec = CharCodec(ALPHABET + MARKS)
    config = EvolventConfig(vocab_size=codec.size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    model = Decoder(config)
    files = to_files(model, codec)
    prompts = [made.prompt for made in fresh(4)]
    scaffold = {"kind": "retry", "answers": 3}
    argv = [sys.executable, "-m", "evolvent.observe.worker", "--task", "logic"]
    with IsolatedProcess(argv, hidden=[]) as worker:
        assert worker.receive(timeout_s=120)["ready"] is True
        load = {"op": "load", "handle": "m", "files": {name: len(data) for name, data in files.items()}}
        assert worker.call(load, list(files.values()), timeout_s=120) == {"ok": True}
        ask = {"op": "rollout", "handle": "m", "scaffold": scaffold, "prompts": prompts, "seed": 1}
        there = worker.call(ask, [], timeout_s=120)
    model, codec = from_files(files)
    here = rollout(model, codec, TASK, scaffold, prompts, 1)
    assert there == {"outputs": here.outputs, "tokens": here.tokens}
