"""The layers together: episodes are bounded, all survives export, forgetting forgets, strange files are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import episode, remembered

from evolvent.errors import UsageError
from evolvent.memory.episodes import EPISODE_LIMIT, band, elites, search
from evolvent.memory.memory import FORMAT, Memory
from evolvent.memory.rules import KEPT, KEPT_KINDS

seen = st.builds(
    episode,
    operator=st.sampled_from(["gold", "policy"]),
    error=st.sampled_from(["", "a"]),
    band=st.sampled_from(["low", "high"]),
    gain=st.none() | st.integers(-40, 40).map(lambda points: 1000 * points),
    outcome=st.sampled_from(["accepted", "accepted", "rejected"]),
    params=st.sampled_from([{}, {"x": 1}]),
    signals=st.sampled_from([{}, {"dev": 2000}, {"dev": -1000, "kept": 500}]),
)


def lived() -> Memory:
    return remembered(
        episode(id="1.0", outcome="accepted", gain=9000, signals={"dev": 3000}),
        episode(id="1.1", operator="scaffold", params={"kind": "vote"}, signals={"dev": -100}, proposer="rules"),
        episode(id="2.0", outcome="screened out", gain=-2000),
        episode(id="2.1", outcome="failed", gain=None),
    )


def test_it_survives_export() -> None:
    memory = lived()
    again = Memory.from_plain(json.loads(json.dumps(memory.plain())))
    assert again.plain() == memory.plain()
    again.learn(episode())
    memory.learn(episode())
    assert again.plain() == memory.plain()


def test_a_loop_that_goes_on_forever_does_not_grow() -> None:
    memory, sizes = Memory(), []
    for number in range(3 * EPISODE_LIMIT):
        memory.learn(episode(id=f"{number:06}.0", gain=number % 7, params={"x": number % 5}))
        if number % EPISODE_LIMIT == EPISODE_LIMIT - 1:
            sizes.append(len(json.dumps(memory.plain())))
    assert len(memory.episodes) == EPISODE_LIMIT
    assert max(sizes) < 1.02 * min(sizes)
    assert memory.effects.groups["gold|middle|wrong_letters"].n == 3 * EPISODE_LIMIT, "the sums hold all"


def test_nor_does_it_grow_where_every_failure_has_a_name_of_its_own() -> None:
    memory, sizes = Memory(), []
    for number in range(3 * EPISODE_LIMIT):
        often = {"error": "often", "outcome": "accepted"} if number % 10 == 0 else {"error": f"KeyError: {number:05}"}
        memory.learn(episode(id=f"{number:06}.0", errors={f"KeyError: {number:05}": 1, "often": 1}, **often))
        if number % EPISODE_LIMIT == EPISODE_LIMIT - 1:
            sizes.append(len(json.dumps(memory.plain())))
    assert sizes[-1] < 1.05 * sizes[-2]
    assert len(memory.rules.edges) == KEPT
    assert len(memory.rules.profiles) <= KEPT
    assert len(memory.rules.profiles["often"]) == KEPT_KINDS
    assert memory.rules.profiles["often"]["often"] == 3 * EPISODE_LIMIT // 10, "what comes often stays"
    assert memory.rules.edges["often||gold"].support == 3 * EPISODE_LIMIT // 10
    again = Memory.from_plain(json.loads(json.dumps(memory.plain())))
    for one in (memory, again):
        one.learn(episode(id="999999.0", error="new"))
    assert again.plain() == memory.plain(), "what goes hangs on what there is, not on its order"


def test_what_a_budget_dropped_teaches_nothing() -> None:
    memory = remembered(episode(outcome="dropped", gain=None))
    assert len(memory.episodes) == 1
    assert memory.effects.plain() == Memory().effects.plain()
    assert memory.rules.plain() == Memory().rules.plain()


def test_forgetting() -> None:
    memory = lived()
    assert memory.forget(arm="gold") == {"episodes": 3, "effects": 1, "rules": 2}
    assert [e.operator for e in memory.episodes] == ["scaffold"]
    assert not any(key.startswith("gold") for key in memory.effects.groups)
    assert memory.forget(task="elsewhere") == {"episodes": 0, "effects": 0, "rules": 0}
    assert memory.forget(task="strings")["episodes"] == 1
    memory = lived()
    memory.forget(everything=True)
    assert memory.plain() == Memory().plain()


def test_elites_are_what_helped_each_once() -> None:
    best = elites([*lived().episodes, episode(id="9.9", gain=8000)], 5)
    assert [e.id for e in best] == ["1.0"], "the same operator and parameters; what did not help is none"


def test_search_finds_by_words_newest_first_among_equals() -> None:
    hits = search(lived().episodes, "scaffold vote", 5)
    assert [e.id for _, e in hits] == ["1.1"]
    assert [e.id for _, e in search(lived().episodes, "gold", 2)] == ["2.1", "2.0"]
    assert search(lived().episodes, "nothing-like-it", 5) == []


@pytest.mark.parametrize(("correct", "n", "said"), [(0, 0, "middle"), (0, 9, "low"), (3, 9, "middle"), (9, 9, "high")])
def test_regimes(correct: int, n: int, said: str) -> None:
    assert band(correct, n) == said


def spoiled(**changes: Any) -> dict[str, Any]:
    return {**lived().plain(), **changes}


@pytest.mark.parametrize("data", [
    {}, [], 3, {"format": "evolvent-memory-1", "effects": {}}, {"format": FORMAT}, spoiled(episodes=[{"surprise": 1}]),
    spoiled(episodes=[{**episode().plain(), "outcome": "won"}]), spoiled(episodes=[{**episode().plain(), "band": ""}]),
    spoiled(effects={"groups": {"a": {}}, "values": {}}), spoiled(effects=3), spoiled(signals={"dev": {}}),
    spoiled(effects={"groups": {"a|b|c": {"n": "x"}}, "values": {}}), spoiled(rules={"edges": [{}]}),
    spoiled(rules={"edges": [], "profiles": [], "arms": {}}), spoiled(proposers={"a": {"n": None}}),
    spoiled(episodes=[{**episode().plain(), "overtaken": "no"}]),
    spoiled(effects={"groups": {"a|b|c": {"n": -1}}, "values": {}, "pairs": {}}),
    spoiled(effects={"groups": {}, "values": {"a|x=1": {"builds": -1}}, "pairs": {}}),
    spoiled(effects={"groups": {}, "values": {}, "pairs": {"a|x=1 & a|y=1": -1}}),
    spoiled(effects={"groups": {"a|b|c": {"total": 10**400}}, "values": {}, "pairs": {}}),
    spoiled(effects={"groups": {"a|b|c": {"n": 1, "squares": -5}}, "values": {}, "pairs": {}}),
    *(spoiled(episodes=[{**episode().plain(), **wrong}]) for wrong in (
        {"gain": "lots"}, {"gain": 1.5}, {"params": 3}, {"predicted": True}, {"errors": {"a": "b"}}, {"reason": 3},
    )),
    spoiled(rules={"edges": [{"error": "e", "band": "", "arm": "a", "support": -3}], "profiles": {}, "arms": {}}),
])  # fmt: skip
def test_what_is_no_memory_is_refused(data: Any) -> None:
    with pytest.raises(UsageError, match="expected a memory as `evolvent memory export` writes it"):
        Memory.from_plain(data, "there")


@given(st.lists(seen, max_size=12), st.integers(0, 11))
def test_what_was_withdrawn_counts_as_if_it_had_been_refused_without_a_gain(episodes: list, place: int) -> None:
    episodes = [replace(e, id=str(number)) for number, e in enumerate(episodes)]
    memory = remembered(*episodes)
    memory.withdraw("r", str(place))
    assert Memory.from_plain(memory.plain()).plain() == memory.plain()
    found = [e for e in episodes if e.id == str(place) and e.outcome == "accepted"]
    refused = [
        replace(e, outcome="rejected", gain=None if e.gain is None else 0) if e in found else e for e in episodes
    ]
    other = remembered(*refused)
    assert memory.effects.plain() == other.effects.plain()
    assert memory.signals.plain() == other.signals.plain()
    assert memory.rules.arms == other.rules.arms
    for key, rule in memory.rules.edges.items():
        assert (rule.support, rule.against) == (other.rules.edges[key].support, other.rules.edges[key].against)
    assert [e.outcome for e in memory.episodes].count("withdrawn") == len(found)
    memory.withdraw("r", str(place))
    assert memory.effects.plain() == other.effects.plain(), "once"


def test_a_rule_whose_support_was_withdrawn_is_retired() -> None:
    helped = [episode(id=str(n), outcome="accepted", gain=9000) for n in range(12)]
    memory = remembered(*(episode(id=f"o{n}", operator="policy") for n in range(9)), *helped)
    assert {rule.status for rule in memory.rules.edges.values() if rule.arm == "gold"} == {"held"}
    for n in range(12):
        memory.withdraw("r", str(n))
    assert {rule.status for rule in memory.rules.edges.values() if rule.arm == "gold"} == {"retired"}
    assert not elites(memory.episodes[:20], 5), "what was withdrawn is no elite"
