"""What every registered proposer owes; the exam is taken by all of them."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from places import SCAFFOLD, WORST, A, B, situation, tried

import toy_world
from evolvent import named, plan, registry
from evolvent.errors import UsageError
from evolvent.propose.base import OperatorSpec, Prices, Proposer, Written, due_probes, failure_class, fingerprint
from evolvent.proposers import load_proposers

NAMES = registry.names(registry.PROPOSERS)
SETTINGS = plan.parse(toy_world.settings(Path("seed")), "test")
OFFLINE = [name for name in NAMES if name != "language_model"]  # examined in test_language_model.py
MEMORIES = {"cold": None, "warm": tried("a", {"x": 3}, 9.0, times=6, memory=tried("b", {"x": 1}, -4.0, times=3))}
each = pytest.mark.parametrize(("name", "memory"), list(product(OFFLINE, MEMORIES.values())))


def test_all_are_found() -> None:
    assert NAMES == sorted([*OFFLINE, "language_model"])
    assert OFFLINE == ["bandit", "bayes", "crossover", "population", "random", "rules"]
    assert {*OFFLINE} == named.DRAWING


def made(name: str) -> Proposer:
    return registry.load(registry.PROPOSERS, name)(SETTINGS, lambda heard: None)


@each
def test_ideas_are_allowed_and_told_apart(name: str, memory: object) -> None:
    specs = {spec.name: spec for spec in (A, B, SCAFFOLD)}
    here = situation(memory)  # type: ignore[arg-type]
    for seed in range(10):
        ideas = made(name).propose(here, list(specs.values()), 3, random.Random(seed))
        assert 1 <= len(ideas) <= 3
        assert len({idea.fingerprint for idea in ideas}) == len(ideas)
        assert all(here.allows(specs[i.operator], i.params) and i.diagnosis == WORST for i in ideas)
        assert all(i.foreseen.deviation > 0 for i in ideas), "a prediction without doubt cannot be scored"


@each
def test_the_same_situation_gives_the_same_ideas(name: str, memory: object) -> None:
    first, again = (
        made(name).propose(situation(memory), [A, B], 3, random.Random(7))  # type: ignore[arg-type]
        for _ in range(2)
    )
    assert first == again


@each
def test_barred_ideas_are_left_out_and_nothing_left_is_no_idea(name: str, memory: object) -> None:
    barred = frozenset(fingerprint("a", {"x": x}) for x in (1, 2))
    for seed in range(10):
        for idea in made(name).propose(
            situation(memory, barred=barred),  # type: ignore[arg-type]
            [A],
            2,
            random.Random(seed),
        ):
            assert idea.params == {"x": 3}
    everything = barred | {fingerprint("a", {"x": 3})}
    nothing = situation(memory, barred=everything)  # type: ignore[arg-type]
    assert made(name).propose(nothing, [A], 2, random.Random(0)) == []
    assert made(name).propose(situation(), [], 2, random.Random(0)) == []
    assert made(name).propose(situation(), [A], 0, random.Random(0)) == []


def test_rules_say_why_and_ask_for_nothing_twice() -> None:
    memory = tried("b", {"x": 2}, 9.0, times=6)
    for _ in range(20):
        tried("a", {"x": 1}, -1.0, memory=memory)
    first = made("rules").propose(situation(memory), [A, B], 1, random.Random(0))[0]
    assert (first.operator, first.why) == ("b", "b helped 6 of 6 on syntax")
    here = situation(memory, tried=[first.fingerprint])
    assert made("rules").propose(here, [A, B], 1, random.Random(0))[0].fingerprint != first.fingerprint


def test_without_evidence_the_usual_remedy_comes_first() -> None:
    low = OperatorSpec(name="l", summary="", space={"x": (1, 2)}, usual={"x": 2}, remedy=("low",))
    idea = made("rules").propose(situation(band="low"), [A, low], 1, random.Random(0))[0]
    assert (idea.operator, idea.params) == ("l", {"x": 2})


def test_population_stays_near_an_elite() -> None:
    spec = OperatorSpec(name="a", summary="", space={"x": tuple(range(20)), "y": tuple(range(20))})
    memory = tried("a", {"x": 10, "y": 3}, 9.0)
    ideas = [made("population").propose(situation(memory), [spec], 1, random.Random(s))[0] for s in range(200)]
    near = [i for i in ideas if abs(i.params["x"] - 10) <= 1 and abs(i.params["y"] - 3) <= 1]
    assert len(near) > 100, "each parameter moves by one place in three of four cases"
    assert ideas[0].why == "a variation of 0.0"


def test_crossover_mixes_two_elites() -> None:
    spec = OperatorSpec(name="a", summary="", space={"x": tuple(range(20)), "y": tuple(range(20))})
    memory = tried("a", {"x": 1, "y": 2}, 9.0, memory=tried("a", {"x": 11, "y": 12}, 8.0))
    ideas = [made("crossover").propose(situation(memory), [spec], 1, random.Random(s))[0] for s in range(60)]
    assert {(i.params["x"], i.params["y"]) for i in ideas} == {(1, 2), (1, 12), (11, 2), (11, 12)}


def test_bayes_finds_the_best_value_with_fewer_trials_than_chance() -> None:
    """One parameter, 25 values, a smooth peak: mean gain of the last 10 of 30 trials, over eight seeds."""
    spec = OperatorSpec(name="a", summary="", space={"x": tuple(range(25))})

    def last(name: str, seed: int) -> float:
        memory, gains = tried("a", {"x": 0}, -17.0), []
        for trial in range(30):
            idea = made(name).propose(situation(memory), [spec], 1, random.Random(1000 * seed + trial))[0]
            gains.append(10 - abs(idea.params["x"] - 17) * 1.0)
            tried("a", idea.params, gains[-1], memory=memory)
        return sum(gains[-10:]) / 10

    bayes, chance = (sum(last(name, seed) for seed in range(8)) / 8 for name in ("bayes", "random"))
    assert bayes > chance + 2


def test_prices_are_as_measured_once_they_were() -> None:
    dear = OperatorSpec(name="d", summary="", space={"f": ("1", "2")}, scales={("f",): 0.5})
    assert Prices([dear], situation().memory).of(dear, {"f": "2"}) == 1.5 + 0.4
    memory = tried("a", {"x": 1}, 1.0, mflops=100, memory=tried("d", {"f": "2"}, 1.0, mflops=300))
    prices = Prices([A, dear], memory)
    assert prices.of(dear, {"f": "2"}) == 300 / 200 + 0.4
    assert prices.of(A, {"x": 1}) == 100 / 200 + 0.4


def test_the_class_of_failure_is_the_most_frequent() -> None:
    assert failure_class({"b": 2, "a": 2, "c": 1}) == "a"
    assert failure_class({}) == ""


def test_probes_take_turns() -> None:
    assert [due_probes(turn, 2) and due_probes(turn, 2)[0].operator for turn in range(1, 5)] == [
        [], "null", [], "planted_regression"
    ]  # fmt: skip
    assert due_probes(3, 0) == []


def test_a_name_that_is_none_is_refused_with_the_nearest() -> None:
    for names, said in ((["bandi"], "did you mean 'bandit'"), (["language_model"], "needs endpoint.url")):
        settings = plan.parse(toy_world.settings(Path("seed"), proposers=names), "test")
        with pytest.raises(UsageError, match=said):
            load_proposers(settings)


@pytest.mark.parametrize("name", OFFLINE)
def test_nobody_draws_what_has_to_be_written(name: str) -> None:
    free = replace(A, name="free", space={}, written={"text": Written(form="a text", check=lambda value: None)})
    memory = tried("free", {"text": "abc"}, 9.0, times=4)
    for specs in ([free], [free, A]):
        found = made(name).propose(situation(memory), specs, 3, random.Random(1))
        assert {idea.operator for idea in found} <= {"a"}


def test_a_long_idea_is_named_by_its_hash() -> None:
    long = fingerprint("s", {"scaffold": "x" * 5000})
    assert len(long) < 100
    assert long != fingerprint("s", {"scaffold": "x" * 5001})
    assert fingerprint("s", {"kind": "vote"}) == 's|{"kind":"vote"}'
