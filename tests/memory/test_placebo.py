"""A placebo holds what the true memory holds, but for which change it belongs to."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from worlds import episode, remembered

from evolvent.memory.effects import Case, Prior
from evolvent.memory.memory import Memory
from evolvent.memory.placebo import dealt_anew

tried = st.builds(
    episode,
    operator=st.sampled_from(["gold", "policy", "vote"]),
    outcome=st.sampled_from(["accepted", "rejected", "screened out", "dropped", "failed"]),
    gain=st.integers(-20_000, 20_000),
    mflops=st.integers(0, 9),
)


@given(st.lists(tried, max_size=30), st.integers(0, 99))
def test_changes_and_costs_stay_and_outcomes_are_the_same_ones(episodes: list, seed: int) -> None:
    memory = remembered(*episodes)
    placebo = dealt_anew(memory, seed)
    assert [(e.arm, e.mflops) for e in placebo.episodes] == [(e.arm, e.mflops) for e in memory.episodes]
    ends = [Counter((e.outcome, e.gain) for e in one.episodes) for one in (memory, placebo)]
    assert ends[0] == ends[1]
    untried = [("dropped", "failed")] * len(episodes)
    for before, after, ends_there in zip(memory.episodes, placebo.episodes, untried, strict=True):
        assert before.outcome not in ends_there or after == before
    assert Memory.from_plain(placebo.plain()).plain() == placebo.plain()
    assert dealt_anew(memory, seed).plain() == placebo.plain()


def test_it_knows_nothing_of_which_change_helps() -> None:
    memory = remembered(*(episode(operator=name, gain=gain) for name, gain in [("gold", 20_000), ("policy", 0)] * 100))
    case = Case(band="middle", error="wrong_letters")

    def apart(one: Memory) -> float:
        gold, other = (one.effects.estimate(name, {}, case, Prior(points=5.0)).mean for name in ("gold", "policy"))
        return gold - other

    assert apart(memory) > 15
    assert all(abs(apart(dealt_anew(memory, seed))) < 6 for seed in range(5))
