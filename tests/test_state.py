"""The fold, event by event. That it equals the live state of a real run: `test_invariants.py`."""

from __future__ import annotations

import json
from typing import Any

from evolvent.champions import certified_after, in_order
from evolvent.memory.episodes import EPISODE_LIMIT
from evolvent.state import BARRED_LIMIT, POOL_LIMIT, State
from evolvent.types import Event, Proposal

NOTHING = {"n": 0, "correct": 0}


def event(kind: str, **payload: Any) -> Event:
    return Event(run="r", seq=1, time_ns=0, actor="controller", kind=kind, key="k", schema=1, payload=payload, cost={},
                 content_hash="", chain_hash="")  # fmt: skip


def version(name: str) -> dict[str, Any]:
    return {"version": name, "candidate": {"model": name}, "policy": {}}


def begun() -> State:
    state = State()
    state.apply(event("seed.imported", **version("seed"), parameters=1))
    state.apply(event("turn.started", turn=1, champion="seed"))
    return state


def proposed(state: State, id_: str, **fields: Any) -> None:
    plain = Proposal(turn=1, index=0, operator="gold", params={"n": id_}, parent="seed", **fields).plain()
    answers = {"skill": "a", "slice": {}, "errors": {"syntax": 3, "empty": 1}}
    state.apply(event("proposed", id=id_, proposal=plain, answers=answers))


def built(state: State, id_: str, name: str, flops: int = 10, data: str = "") -> None:
    proposed(state, id_, proposer="bandit", predicted_gain="6", predicted_deviation="4")
    funnel = {"drawn": 10, "kept": 4} if data else {}
    state.apply(event("built", id=id_, **version(name), flops=flops, tokens=7, data=data, funnel=funnel))


def screened(state: State, id_: str, **more: Any) -> None:
    target = {"wins": 1, "losses": 2, "n": 9}
    skills = {"t": target, "other": {"wins": 4, "losses": 0, "n": 9}}
    state.apply(event("screened", id=id_, target=target, skills=skills, flops=0, **more))


def promoted(state: State, name: str, forced: bool) -> None:
    state.apply(event("promoted", id="1.0", forced=forced, **version(name)))


def test_the_seed_is_champion_and_certified() -> None:
    state = begun()
    assert (state.seed, state.champion, state.certified) == ("seed", "seed", "seed")


def test_a_promotion_certifies_unless_forced() -> None:
    state = begun()
    promoted(state, "a", forced=False)
    assert (state.champion, state.certified, state.promotions) == ("a", "a", 1)
    promoted(state, "b", forced=True)
    assert (state.champion, state.certified, state.promotions) == ("b", "a", 1)


def test_a_version_forced_in_again_is_looked_at_again() -> None:
    state = begun()
    promoted(state, "a", forced=True)
    state.apply(event("standing.checked", number=1, turn=1, champion="a", problems=64))
    assert state.standing_of == "a"
    state.apply(event("rolled_back", **{"from": "a"}, to="seed", certified="seed", candidate={"model": "s"}, policy={}))
    promoted(state, "a", forced=True)
    assert state.standing_of == ""


def test_a_rollback_gives_the_place_back() -> None:
    state = begun()
    promoted(state, "a", forced=False)
    promoted(state, "b", forced=True)
    state.apply(event("rolled_back", **{"from": "b"}, to="a", certified="a", candidate={"model": "a"}, policy={}))
    assert (state.champion, state.certified) == ("a", "a")


def test_a_failed_build_is_paid_for_and_may_be_tried_again() -> None:
    state = begun()
    for id_, flops, error in (("1.0", 10, "diverged"), ("1.1", 0, "diverged"), ("1.2", 0, "over_budget")):
        proposed(state, id_)
        state.apply(event("build.failed", id=id_, error=error, message="", flops=flops, tokens=3))
        state.apply(event("rejected", id=id_, version="", reason=f"build failed: {error}"))
    assert state.spent["flops"] == 10
    assert state.spent["tokens"] == 9
    assert state.barred == ['gold|{"n":"1.1"}'], "what failed before it cost anything would fail again"


def test_costs_add_up_by_unit() -> None:
    state = begun()
    built(state, "1.0", "a")
    state.apply(event("diagnosed", turn=1, champion="seed", skills={}, subgoals={}, goal=NOTHING, flops=100, tokens=5))
    state.apply(event("standing.checked", number=1, turn=1, champion="a", problems=64))
    assert state.spent == {"flops": 110, "tokens": 12, "problems": 64}
    assert state.spent_before == {"flops": 0, "tokens": 0, "problems": 64}, "a standing check is no candidate's"
    state.apply(event("turn.started", turn=2, champion="seed"))
    assert state.spent_before == state.spent


def test_a_free_idea_that_was_rejected_is_barred_until_the_champion_changes() -> None:
    state = begun()
    built(state, "1.0", "a", flops=0)
    built(state, "1.1", "b", flops=5)
    built(state, "1.2", "c", flops=0)
    for id_ in ("1.0", "1.1"):
        screened(state, id_)
        state.apply(event("rejected", id=id_, version="x", reason="futile"))
    state.apply(event("rejected", id="1.2", version="c", reason="the turn's budget of tokens is spent"))
    assert state.barred == ['gold|{"n":"1.0"}']
    promoted(state, "c", forced=False)
    assert state.barred == []


def test_it_stays_the_same_size_however_long_the_run() -> None:
    state, sizes = begun(), []
    for turn in range(1, EPISODE_LIMIT):
        state.apply(event("turn.started", turn=turn, champion=state.champion))
        for i in range(2):
            built(state, f"{turn}.{i}", f"v{turn}.{i}", flops=0, data=f"d{turn}.{i}")
            screened(state, f"{turn}.{i}")
            state.apply(event("rejected", id=f"{turn}.{i}", version="x", reason="futile"))
        state.apply(event("turn.ended", turn=turn, champion=state.champion, spent={}))
        if turn % 20 == 0:
            sizes.append(len(json.dumps(state.plain())))
    assert len(state.memory.episodes) == EPISODE_LIMIT
    assert len(state.pool) == POOL_LIMIT
    assert len(state.barred) == BARRED_LIMIT
    assert state.versions.keys() == {"seed"}
    assert max(sizes[-5:]) < 1.02 * min(sizes[-5:])


def test_unknown_kinds_change_nothing() -> None:
    state = begun()
    before = json.dumps(state.plain())
    state.apply(event("request.stop", flops=10**9))
    assert json.dumps(state.plain()) == before


def test_a_resumed_run_is_not_stopped() -> None:
    state = begun()
    state.apply(event("run.stopped", reason="2 turns done"))
    assert state.stopped == "2 turns done"
    state.apply(event("run.resumed"))
    assert state.stopped == ""


def test_what_beats_a_forced_version_is_not_thereby_certified() -> None:
    state = begun()
    promoted(state, "a", forced=False)
    promoted(state, "worse", forced=True)
    promoted(state, "better than worse", forced=False)
    assert (state.champion, state.certified) == ("better than worse", "a")


def test_a_person_who_rolls_back_is_not_undone_by_the_check() -> None:
    changes = [
        event("seed.imported", **version("seed"), parameters=1),
        event("promoted", id="1.0", forced=False, **version("a")),
        event("promoted", id="2.0", forced=False, **version("b")),
    ]
    assert certified_after(changes, leaving="b", to="a") == "a"
    assert certified_after(changes, leaving="b", to="seed") == "seed"
    assert certified_after(changes, leaving="b", to="never accepted") == "seed"
    forced = event("promoted", id="3.0", forced=True, **version("c"))
    assert certified_after([*changes, forced], leaving="c", to="never accepted") == "b"


def test_a_version_that_the_check_took_down_is_not_where_a_rollback_leads() -> None:
    gone = dict(event("rolled_back").__dict__, actor="standing", payload={"from": "bad", "to": "a"})
    changes = [
        event("seed.imported", **version("seed"), parameters=1),
        event("promoted", id="1.0", forced=False, **version("a")),
        event("promoted", id="2.0", forced=True, **version("bad")),
        Event(**gone),
    ]
    assert in_order(changes) == (["seed", "a", "bad", "a"], {"bad"})


def started() -> State:
    state = begun()
    state.apply(event("run.started", task="strings", config={"plan": {"target": "t"}}))
    skills = {"t": {"n": 10, "correct": 8}, "other": {"n": 10, "correct": 1}}
    state.apply(
        event("diagnosed", turn=1, champion="seed", skills=skills, subgoals={}, goal=NOTHING, flops=0, tokens=0)
    )
    return state


def test_an_episode_is_remembered_once_its_proposal_is_decided() -> None:
    state = started()
    built(state, "1.0", "a", flops=5 * 10**6, data="d")
    screened(state, "1.0")
    assert state.memory.episodes == []
    verdict = {"decision": "reject", "reason": "futile"}
    state.apply(event("verdict", id="1.0", verdict=verdict, problems=0, tokens=0))
    state.apply(event("rejected", id="1.0", version="a", reason="futile"))
    (episode,) = state.memory.episodes
    assert episode.plain() == {
        "task": "strings", "run": "r", "id": "1.0", "operator": "gold", "params": {"n": "1.0"}, "proposer": "bandit",
        "skill": "a", "error": "syntax", "errors": {"syntax": 3, "empty": 1}, "band": "high", "outcome": "rejected",
        "reason": "futile", "gain": -11111, "overtaken": False, "predicted": 6000, "mflops": 5,
        "signals": {"foreseen": 1500, "kept": 400, "dev": -577, "others": 2000},
    }  # fmt: skip


def test_what_another_overtook_gained_what_it_gained_over_its_parent() -> None:
    """1.0 became champion; 1.1 is behind it, and seven points ahead of what both were made of."""
    state = started()
    for id_ in ("1.0", "1.1"):
        built(state, id_, id_, flops=0)
    screened(state, "1.0")
    state.apply(event("verdict", id="1.0", verdict={"decision": "accept"}, problems=0, tokens=0))
    state.apply(event("promoted", id="1.0", forced=False, **version("1.0")))
    rules = state.memory.rules.plain()
    screened(state, "1.1", over_parent={"wins": 9, "losses": 2, "n": 100})
    state.apply(event("rejected", id="1.1", version="1.1", reason="no gain on dev"))
    episode = state.memory.episodes[-1]
    assert (episode.id, episode.gain, episode.overtaken, episode.outcome) == ("1.1", 7000, True, "screened out")
    assert episode.signals["dev"] < 0, "what the judge would have been asked"
    assert state.memory.rules.plain() == rules, "a refusal that says nothing of the change"
    assert state.memory.effects.groups[f"gold|{episode.band}|syntax"].n == 2
    assert state.barred == [], "it was not tried on this champion"


def test_how_far_a_proposal_came_is_its_outcome() -> None:
    state = started()
    for id_ in ("1.0", "1.1", "1.2", "1.3", "1.4"):
        proposed(state, id_)
    for id_ in ("1.0", "1.1", "1.2"):
        state.apply(event("built", id=id_, **version(id_), flops=1, tokens=0, data="", funnel={}))
    screened(state, "1.1")
    screened(state, "1.2")
    state.apply(event("verdict", id="1.2", verdict={"decision": "accept"}, problems=0, tokens=0))
    promoted = {"id": "1.2", "forced": False, **version("1.2")}
    state.apply(event("promoted", **promoted))
    for id_, error in (("1.3", "diverged"), ("1.4", "over_budget")):
        state.apply(event("build.failed", id=id_, error=error, message="", flops=0, tokens=0))
    for id_ in ("1.0", "1.1", "1.3", "1.4"):
        state.apply(event("rejected", id=id_, version="", reason="so"))
    outcomes = {e.id: e.outcome for e in state.memory.episodes}
    assert outcomes == {
        "1.2": "accepted", "1.0": "dropped", "1.1": "screened out", "1.3": "failed", "1.4": "dropped"
    }  # fmt: skip


def test_what_a_budget_dropped_counts_as_untried_and_a_new_champion_starts_afresh() -> None:
    state = started()
    proposed(state, "1.0")
    proposed(state, "1.1")
    state.apply(event("build.failed", id="1.0", error="over_budget", message="", flops=0, tokens=0))
    state.apply(event("rejected", id="1.0", version="", reason="build failed: over_budget"))
    assert state.tried == ['gold|{"n":"1.1"}']
    promoted(state, "p", forced=True)
    assert state.tried == []


def test_probes_are_not_remembered_and_a_person_may_let_the_run_forget() -> None:
    state = started()
    plain = Proposal(turn=1, index=0, operator="null", params={}, parent="seed").plain()
    state.apply(event("proposed", id="1.0", proposal=plain, answers=None))
    state.apply(event("rejected", id="1.0", version="", reason="futile"))
    assert state.memory.episodes == []
    built(state, "1.1", "a")
    screened(state, "1.1")
    state.apply(event("rejected", id="1.1", version="a", reason="futile"))
    state.apply(event("memory.forgotten", arm="gold", task="", everything=False, by="me"))
    assert (state.memory.episodes, state.memory.effects.groups, state.memory.rules.edges) == ([], {}, {})


def fallen(state: State, name: str, **more: Any) -> None:
    back = {"from": name, "to": "seed", "certified": "seed", "candidate": {"model": "s"}, "policy": {}}
    state.apply(event("rolled_back", **back, **more))


def test_an_alarm_teaches_that_the_promotion_misled() -> None:
    state = begun()
    built(state, "1.0", "a")
    screened(state, "1.0")
    state.apply(event("verdict", id="1.0", verdict={"decision": "accept"}))
    promoted(state, "a", forced=False)
    assert [e.outcome for e in state.memory.episodes] == ["accepted"]
    by_person, by_check = (State.from_plain(json.loads(json.dumps(state.plain()))) for _ in range(2))
    fallen(by_person, "a")
    assert [e.outcome for e in by_person.memory.episodes] == ["accepted"], "a person's reasons are no evidence"
    fallen(by_check, "another", evidence="e")
    assert [e.outcome for e in by_check.memory.episodes] == ["accepted"], "one that this promotion did not make"
    fallen(by_check, "a", evidence="e")
    assert [(e.outcome, e.gain) for e in by_check.memory.episodes] == [("withdrawn", 0)]
    assert by_check.memory.effects.groups["gold|middle|syntax"].accepted == 0


def test_an_alarm_says_nothing_of_what_beat_a_forced_version() -> None:
    state = begun()
    promoted(state, "forced", forced=True)
    built(state, "1.0", "a")
    screened(state, "1.0")
    state.apply(event("verdict", id="1.0", verdict={"decision": "accept"}))
    promoted(state, "a", forced=False)
    fallen(state, "a", evidence="e")
    assert [e.outcome for e in state.memory.episodes] == ["accepted"]
