"""Rules: held when surely better than the rest, retired when contradicted, found by similarity and then exactly."""

from __future__ import annotations

import random

from worlds import episode, remembered

from evolvent.memory.rules import HELD, LEAST_SUPPORT, OPEN, RETIRED, Rules, cosine, lower

SYNTAX = {"error": "syntax", "errors": {"syntax": 8, "lost_rows": 2}}


def test_a_rule_is_held_once_it_is_surely_better_than_the_rest() -> None:
    memory = remembered(*[episode() for _ in range(10)])
    helped = episode(operator="scaffold", params={"kind": "retry"}, outcome="accepted", **SYNTAX)
    status = []
    for _ in range(4):
        memory.learn(helped)
        status.append(memory.rules.edges["syntax||scaffold:retry"].status)
    assert status[0] == OPEN, f"{LEAST_SUPPORT} are needed"
    assert status[-1] == HELD
    assert memory.rules.edges["wrong_letters||gold"].status == OPEN


def test_a_held_rule_is_retired_when_contradicted_and_needs_new_evidence_to_be_held_again() -> None:
    memory = remembered(*[episode(outcome="rejected" if n % 5 else "accepted") for n in range(20)])
    rule = lambda: memory.rules.edges["syntax||policy"]  # noqa: E731
    for _ in range(4):
        memory.learn(episode(operator="policy", outcome="accepted", **SYNTAX))
    assert rule().status == HELD
    against = 0
    while rule().status == HELD:
        memory.learn(episode(operator="policy", **SYNTAX))
        against += 1
    assert 5 < against < 30
    assert rule().status == RETIRED
    assert memory.rules.query({"syntax": 1}, "middle") == []
    memory.learn(episode(operator="policy", outcome="accepted", **SYNTAX))
    assert rule().status == RETIRED, "what spoke for it before was spent"
    for _ in range(6):
        memory.learn(episode(operator="policy", outcome="accepted", **SYNTAX))
    assert rule().status == HELD


def test_a_query_widens_by_similarity_and_then_is_exact() -> None:
    memory = remembered(*[episode() for _ in range(20)])
    for _ in range(5):
        memory.learn(episode(operator="policy", outcome="accepted", band="low", **SYNTAX))
    rules = memory.rules
    assert [m.rule.arm for m in rules.query({"syntax": 5, "exists": 4}, "low")] == ["policy"], "similar, not the same"
    assert rules.query({"exists": 5}, "low") == [], "not similar"
    assert {m.rule.band for m in rules.query({"syntax": 5}, "high")} == {""}, "the rule of another regime is not asked"


def test_answers_are_ordered_by_similarity_and_certainty() -> None:
    memory = remembered(*[episode() for _ in range(30)])
    for operator, count in (("sure", 9), ("less", 4)):
        for _ in range(count):
            memory.learn(episode(operator=operator, outcome="accepted", **SYNTAX))
    assert [m.rule.arm for m in memory.rules.query({"syntax": 5}, "middle")] == ["sure", "less"]


def test_nothing_is_held_of_changes_that_are_all_the_same() -> None:
    """Ten arms accepted with one chance: of 200 worlds of 60 episodes, how many rules are held wrongly at the end."""
    wrong = 0
    for world in range(200):
        rng, rules = random.Random(world), Rules()
        for _ in range(60):
            outcome = "accepted" if rng.random() < 0.2 else "rejected"
            rules.learn(episode(operator=f"o{rng.randrange(10)}", outcome=outcome))
        wrong += sum(rule.status == HELD for rule in rules.edges.values() if not rule.band)
    assert wrong / 2000 < 0.06, wrong


def test_formulas() -> None:
    assert round(lower(5, 5), 4) == 0.4802
    assert lower(0, 0) == 0.0
    assert cosine({"a": 3, "b": 4}, {"a": 3, "b": 4}) == 1.0
    assert cosine({"a": 1}, {"b": 1}) == cosine({}, {"a": 1}) == 0.0
