"""What must hold of every run, numbered, on a run that is real but small (`toy_world`)."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import toy_world
from evolvent import people, plan, standing
from evolvent.audit import audit
from evolvent.budget import Budget
from evolvent.errors import BudgetSpent, EvolventError, JobFailed, UsageError
from evolvent.jobs import Job
from evolvent.judge import process
from evolvent.judge.bench import ItemSource
from evolvent.ledger import Ledger
from evolvent.loop import Loop
from evolvent.memory.effects import Foreseen
from evolvent.operators.base import Bench, Built
from evolvent.operators.probes import NULL
from evolvent.plan import Settings
from evolvent.propose.base import Idea, OperatorSpec, Situation
from evolvent.propose.language_model import Heard
from evolvent.run import JUDGE, LEDGER, SIGNING, STORE, Run
from evolvent.state import UNITS, State
from evolvent.tasks.strings import Strings
from evolvent.types import Event, Proposal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the judge can only abstain")


@pytest.fixture(scope="session")
def story(toy_run: Path) -> list[Event]:
    return toy_world.events(toy_run)


@pytest.fixture
def copy(toy_run: Path, tmp_path: Path) -> Run:
    folder = tmp_path / "run"
    shutil.copytree(toy_run, folder)
    return Run.open(folder)


@pytest.fixture
def loop(copy: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    monkeypatch.setattr(process, "_END_AFTER_S", 0.1)  # the judge is still warming up when the test ends
    with copy.working(secret_hex=toy_world.SECRET) as working:
        yield working


def with_budget(loop: Loop, **parts: dict[str, int]) -> Settings:
    """The loop's settings with limits of turns and builds; the run's own is an object of its own."""
    return plan.parse({**loop.settings.model_dump(), "budget": parts}, "test")


def of_kind(story: Sequence[Event], *kinds: str) -> list[Event]:
    return [event for event in story if event.kind in kinds]


def fold(story: Sequence[Event], state: State | None = None) -> State:
    state = state or State()
    for event in story:
        state.apply(event)
    return state


def test_the_toy_run_shows_what_the_invariants_speak_of(story: list[Event]) -> None:
    kinds = {event.kind for event in story}
    assert kinds >= {"diagnosed", "built", "screened", "verdict", "promoted", "rejected", "standing.checked"}
    assert {e.payload["verdict"]["isolation"] for e in of_kind(story, "verdict")} == {"kernel"}
    assert [event.seq for event in story] == list(range(1, len(story) + 1))


# -- I1: what the budget counts is what was spent ----------------------------------------------------------------------


def test_i1_the_budget_counts_what_was_spent(toy_run: Path, story: list[Event]) -> None:
    run = Run.open(toy_run)
    spent = dict.fromkeys(UNITS, 0)
    for event in of_kind(story, "diagnosed", "goal.measured", "built", "screened", "verdict", "standing.checked"):
        for unit in UNITS:
            spent[unit] += event.payload.get(unit, 0)
    assert fold(story).spent == spent
    for event in of_kind(story, "turn.ended"):
        assert fold(story[: event.seq]).spent == event.payload["spent"]
    for event in of_kind(story, "verdict", "standing.checked"):
        name = event.payload["verdict"]["evidence"] if event.kind == "verdict" else event.payload["evidence"]
        assert event.payload["problems"] == sum(run.evidence(name)["items"].values())
    for event in of_kind(story, "diagnosed"):
        traces = [row for name in event.payload["traces"].values() for row in run.store.get_json(name)]
        assert event.payload["tokens"] >= sum(row["tokens"] for row in traces) > 0
        size = of_kind(story, "seed.imported")[0].payload["parameters"]
        assert event.payload["flops"] == 2 * size * event.payload["tokens"]


def test_i1_a_spent_budget_stops_the_turn_before_it_begins(loop: Loop) -> None:
    before = loop.ledger.head()
    budget = Budget("run", {"problems": loop.state.spent["problems"]})
    budget.charge(**loop.state.spent)
    object.__setattr__(loop, "budget", budget)
    with pytest.raises(BudgetSpent, match="problems"):
        loop.turn()
    assert loop.ledger.head() == before


def test_i1_nothing_is_built_once_the_budget_is_crossed(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    monkeypatch.setattr(Loop, "_carry_out", lambda self, proposal, _plan: built.append(proposal.operator))
    budget = Budget("run", {"flops": loop.state.spent["flops"] + 1})
    budget.charge(**loop.state.spent)
    object.__setattr__(loop, "budget", budget)
    with pytest.raises(BudgetSpent, match="flops"):
        loop.turn()
    kinds = [e.kind for e in loop.ledger.events()]
    assert (kinds[-1], built) == ("proposed", []), "the diagnosis crossed it, and was counted"


@pytest.mark.slow  # a whole run; tests/test_people.py and tests/test_budget.py hold the same in parts
def test_i1_a_build_has_its_share_of_what_turn_and_run_have_left(loop: Loop) -> None:
    object.__setattr__(loop, "settings", with_budget(loop, turn={"tokens": 10**9}, build={"tokens": 6_000}))
    spent = loop.state.spent
    object.__setattr__(loop, "budget", Budget("run", {"flops": spent["flops"] + 10**12}, spent=spent))
    before = loop.ledger.head()[0]
    loop.turn()
    events = list(loop.ledger.events(before))
    share = of_kind(events, "planned")[0].payload["allowance"]
    assert share["tokens"] == 6_000
    assert 0 < share["flops"] <= 10**12 // 2
    made = of_kind(events, "built", "build.failed")
    assert {e.payload.get("error", "") for e in made} == {"", "over_budget"}, "the null spends nothing"
    assert "build failed: over_budget" in {e.payload["reason"] for e in of_kind(events, "rejected")}


@pytest.mark.slow  # a whole run of its own
def test_i1_a_turn_that_has_spent_its_budget_drops_what_has_not_begun(loop: Loop) -> None:
    object.__setattr__(loop, "settings", with_budget(loop, turn={"problems": 1}))
    before = loop.ledger.head()[0]
    loop.turn()
    events = list(loop.ledger.events(before))
    assert len(of_kind(events, "verdict")) == 1, "the probe had begun"
    assert "the turn's budget of problems is spent" in {e.payload["reason"] for e in of_kind(events, "rejected")}
    assert events[-1].kind == "turn.ended", "the run goes on"
    problems = loop.state.spent["problems"]
    loop.turn()
    assert loop.state.spent["problems"] > problems, "the next turn has a budget of its own"


@pytest.mark.slow  # a whole run of its own
def test_a_candidate_that_fells_its_rollout_is_turned_away(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    def fell(self: Loop, proposal: Proposal, version: str) -> None:
        raise JobFailed("timeout", "dev_rollout: ran longer than its time limit")

    monkeypatch.setattr(Loop, "_screen", fell)
    loop.turn()
    turn = loop.state.turn
    decided = [loop.ledger.get(f"{turn}.{i}/decided") for i in range(2)]
    assert "screen failed: timeout" in [e.payload["reason"] for e in decided if e is not None]


def test_i1_what_follows_from_an_alarm_is_done_also_when_it_took_the_last_of_the_budget(loop: Loop) -> None:
    turn, champion = loop.state.turn + 1, loop.state.champion
    alarm = {"turn": turn, "number": 9, "champion": champion, "reference": loop.state.seed, "alpha": "0.01",
             "alarm": True, "evidence": "", "isolation": "kernel", "problems": 96, "tokens": 5}  # fmt: skip
    limits = {"problems": loop.state.spent["problems"] + 95}
    budget = Budget("run", limits)
    budget.charge(**loop.state.spent)
    object.__setattr__(loop, "budget", budget)
    loop.once("standing.checked", f"{turn}/standing/after/{champion[:16]}", lambda: alarm, actor="standing")
    with pytest.raises(BudgetSpent, match="problems"):
        loop.turn()
    assert loop.state.champion == loop.state.seed != champion
    assert "withdrawn" in {episode.outcome for episode in loop.state.memory.episodes}, "memory has learned from it"


def test_i1_what_a_language_model_took_is_counted_also_when_it_was_too_much(loop: Loop) -> None:
    spent = loop.state.spent["tokens"]
    budget = Budget("run", {"tokens": spent + 50})
    budget.charge(**loop.state.spent)
    object.__setattr__(loop, "budget", budget)
    for answer in ("one", "one", "another"):  # the same answer to the same question is the same event
        loop.heard(Heard(seed=1, answer=answer, tokens=40))
    assert loop.state.spent["tokens"] == spent + 80
    with pytest.raises(BudgetSpent, match="tokens"):
        loop.turn()


# -- I2: state is a fold of the ledger ---------------------------------------------------------------------------------


def test_i2_the_fold_is_the_state_from_any_snapshot_on(copy: Run, story: list[Event]) -> None:
    whole = fold(story).plain()
    for cut in range(len(story) + 1):
        snapshot = json.loads(json.dumps(fold(story[:cut]).plain()))
        assert fold(story[cut:], State.from_plain(snapshot)).plain() == whole, f"snapshot after event {cut}"
    with copy.ledger() as ledger:
        assert copy.state(ledger).plain() == whole
        ledger.acquire()
        ledger.save_snapshot("state", 20, fold(story[:20]).plain())
        assert copy.state(ledger).plain() == whole


# -- I3: only what the gate accepted, or a person forced, serves -------------------------------------------------------


def test_i3_a_rejected_child_never_serves(story: list[Event]) -> None:
    state, rejected = State(), set[str]()
    accepted = {e.payload["id"] for e in of_kind(story, "verdict") if e.payload["verdict"]["decision"] == "accept"}
    for event in story:
        state.apply(event)
        if event.kind == "rejected":
            rejected.add(event.payload["version"])
        if event.kind == "promoted":
            assert event.payload["id"] in accepted
        assert state.champion not in rejected
    assert rejected, "nothing was rejected: the test shows nothing"


# -- I4: no gate or sealed label reaches the generating side -----------------------------------------------------------


def everything_but_the_judge(folder: Path) -> bytes:
    files = [p for p in folder.rglob("*") if p.is_file() and JUDGE not in p.relative_to(folder).parts]
    assert len(files) > 10
    return b"\0".join(p.read_bytes() for p in files)


def test_i4_items_outcomes_and_secret_stay_with_the_judge(toy_run: Path, story: list[Event]) -> None:
    outside = everything_but_the_judge(toy_run)
    secret = bytes.fromhex(toy_world.SECRET)
    assert secret not in outside
    assert toy_world.SECRET.encode() not in outside
    source, drawn = ItemSource(secret, Strings()), 0
    for event in of_kind(story, "verdict"):
        verdict = event.payload["verdict"]
        block = source.draw(
            candidate=verdict["candidate"], slot=str(verdict["slot"]), skill="long", split="gate", index=0, count=64
        )
        for problem in block.problems:
            drawn += 1
            assert len(problem.prompt) < 9 or problem.prompt.encode() not in outside
        evidence = Run.open(toy_run).evidence(verdict["evidence"])
        for outcomes in evidence["differences"].values():
            assert outcomes.encode() not in outside
    assert drawn == 64 * len(of_kind(story, "verdict"))


def test_i4_the_search_would_find_a_leak(toy_run: Path, story: list[Event]) -> None:
    dev = of_kind(story, "diagnosed")[0].payload["traces"]["long"]
    output = max((row["output"] for row in Run.open(toy_run).store.get_json(dev)), key=len)
    assert output.encode() in everything_but_the_judge(toy_run)


def test_i4_the_judges_folder_is_closed(toy_run: Path) -> None:
    assert stat.S_IMODE((toy_run / JUDGE).stat().st_mode) == 0o700
    assert not (toy_run / JUDGE / "secret").exists(), "an injected secret is not written down"


# -- I5, I6: repeatable, also when killed ------------------------------------------------------------------------------


def resumed_until_done(folder: Path, kills: Sequence[int]) -> int:
    """Start the run, kill it after so many new events, again and again, then let it end. Returns the kills that hit."""
    hit = 0
    for kill_after in kills:
        code = toy_world.start(folder, kill_after=kill_after).wait(timeout=300)
        hit += code == toy_world.KILLED
        assert code in (0, toy_world.KILLED)
    assert toy_world.start(folder).wait(timeout=300) == 0
    return hit


def test_i5_i6_a_run_that_is_killed_ends_with_the_same_events(toy_run: Path, toy_seed: Path, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "killed", tmp_path / "another_name"
    shutil.copytree(toy_seed, elsewhere)
    toy_world.new_run(folder, elsewhere)
    # After a slot was opened and not answered; `test_i6` kills after each event.
    assert resumed_until_done(folder, [15]) == 1
    # The first event holds the settings, and with them where the seed lay; nothing else depends on that but the chain.
    mine, theirs = ([(e.key, e.kind, e.payload) for e in toy_world.events(f)[1:]] for f in (folder, toy_run))
    assert mine == theirs


def test_i5_another_secret_is_another_run(copy: Run) -> None:
    with pytest.raises(EvolventError), copy.working(secret_hex="00" * 32):
        pass


@pytest.mark.slow
def test_i6_killed_after_each_event(toy_run: Path, toy_seed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    toy_world.new_run(folder, toy_seed)
    expected = toy_world.hashes(toy_run)
    assert resumed_until_done(folder, [1] * (len(expected) - 1)) == len(expected) - 1
    assert toy_world.hashes(folder) == expected


@pytest.mark.slow
def test_i6_killed_at_random_instants(toy_run: Path, toy_seed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    toy_world.new_run(folder, toy_seed)
    rng, expected, kills = random.Random(0), toy_world.hashes(toy_run), 0
    while kills < 60:
        process = toy_world.start(folder)
        time.sleep(rng.uniform(0.5, 15.0))
        kills += process.poll() is None
        process.kill()
        if process.wait(timeout=300) == 0:
            break
    assert toy_world.start(folder).wait(timeout=300) == 0
    assert kills >= 3
    assert toy_world.hashes(folder) == expected


# -- I7: the loop's tests of its own honesty ---------------------------------------------------------------------------


def test_i7_null_and_planted_regression_are_refused(story: list[Event]) -> None:
    names = {e.payload["id"]: e.payload["proposal"]["operator"] for e in of_kind(story, "proposed")}
    probes = {id_: name for id_, name in names.items() if name in ("null", "planted_regression")}
    assert sorted(probes.values()) == ["null", "planted_regression"]
    asked = {e.payload["id"] for e in of_kind(story, "verdict")}
    assert probes.keys() <= asked, "a probe must get as far as the judge"
    assert probes.keys() <= {e.payload["id"] for e in of_kind(story, "rejected")}


# -- I8: a person may force, and is corrected --------------------------------------------------------------------------


def test_i8_a_forced_regression_is_recorded_and_rolled_back(copy: Run, story: list[Event]) -> None:
    champion = fold(story).champion
    names = {e.payload["id"]: e.payload["proposal"]["operator"] for e in of_kind(story, "proposed")}
    planted = next(e.payload for e in of_kind(story, "built") if names[e.payload["id"]] == "planted_regression")
    copy.promote(planted["version"], by="ada", reason="a test")
    forced = of_kind(toy_world.events(copy.folder), "promoted")[-1]
    assert (forced.actor, forced.payload["forced"], forced.payload["by"]) == ("human", True, "ada")
    assert forced.payload["objection"] == "futile"
    with copy.ledger() as ledger:
        state = copy.state(ledger)
    assert (state.champion, state.certified) == (planted["version"], champion)
    with copy.working(secret_hex=toy_world.SECRET) as loop:
        assert standing.check(loop, toy_world.TURNS, "by hand")
        assert standing.check(loop, toy_world.TURNS, "by hand"), "asked again, the answer stands"
        assert loop.state.champion == champion
    ended = toy_world.events(copy.folder)
    assert [e.kind for e in ended[-2:]] == ["standing.checked", "rolled_back"]
    assert ended[-1].actor == "standing"
    assert fold(ended).champion == champion


def test_i8_a_forced_champion_is_checked_before_anything_is_built_upon_it(copy: Run, story: list[Event]) -> None:
    champion = fold(story).champion
    names = {e.payload["id"]: e.payload["proposal"]["operator"] for e in of_kind(story, "proposed")}
    planted = next(e.payload for e in of_kind(story, "built") if names[e.payload["id"]] == "planted_regression")
    copy.promote(planted["version"], by="ada", reason="a test")
    with copy.working(secret_hex=toy_world.SECRET) as loop:
        loop.turn()
    last = toy_world.events(copy.folder)[len(story) + 1 :]
    assert [e.kind for e in last[:4]] == ["turn.started", "standing.opened", "standing.checked", "rolled_back"]
    assert last[4].kind == "diagnosed"
    assert last[4].payload["champion"] == champion


def cut_before(copy: Run, key: str) -> None:
    """The run as it was right before the event `key`, as if it had been killed there."""
    events = toy_world.events(copy.folder)
    for file in copy.folder.glob(f"{LEDGER}*"):
        file.unlink()
    shutil.rmtree(
        copy.folder / SIGNING
    )  # its heads are of what is cut off now, and a run does not go on from such a cut
    with Ledger.open(copy.folder / LEDGER, events[0].run, create=True) as ledger:
        ledger.acquire()
        for event in itertools.takewhile(lambda e: e.key != key, events):
            ledger.append(event.kind, event.payload, actor=event.actor, key=event.key, cost=event.cost)


def test_i8_a_verdict_against_a_champion_of_the_past_promotes_nothing(copy: Run, story: list[Event]) -> None:
    first, second = (e for e in of_kind(story, "promoted") if not e.payload["forced"])
    cut_before(copy, second.key)
    copy.rollback(by="ada", reason="a test")
    with copy.working(secret_hex=toy_world.SECRET) as loop:
        loop.turn()
    decided = next(e for e in toy_world.events(copy.folder) if e.key == second.key)
    assert (decided.kind, first.kind) == ("rejected", "promoted")
    assert decided.payload["reason"] == "judged against a version that is champion no more"


# -- I9: nothing outside the change plan -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inflate:
    """Says that it made a larger model."""

    spec: OperatorSpec = NULL

    def build(self, bench: Bench) -> Built:
        job = Job(function="toy_world:bloat", inputs={"model": bench.model})
        model = bench.run(job).outputs["model"]
        return Built(model=model, scaffold=bench.scaffold, policy=bench.policy)


@dataclass(frozen=True)
class Rogue:
    """Proposes what the plan does not name."""

    operator: str

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        return [Idea(operator=self.operator, params={}, diagnosis=None, foreseen=Foreseen(points=50.0, deviation=5.0))]


def changed(loop: Loop, **fields: Any) -> Loop:
    for name, value in fields.items():
        object.__setattr__(loop, name, value)
    return loop


@pytest.mark.slow  # a whole run of its own
def test_i9_a_model_over_the_cap_is_refused_unasked(loop: Loop) -> None:
    operators: Mapping[str, Any] = {**loop.operators, "policy": Inflate(), "null": Inflate()}
    changed(loop, operators=operators, proposer=Rogue("policy")).turn()
    new = [e for e in toy_world.events(loop.ledger.path.parent) if e.key.startswith(f"{toy_world.TURNS + 1}.")]
    assert {e.payload["reason"] for e in of_kind(new, "rejected")} == {"out of plan: too many parameters"}
    assert not of_kind(new, "slot.opened", "promoted")


def test_i9_an_operator_outside_the_plan_is_not_carried_out(loop: Loop) -> None:
    champion = loop.state.champion
    changed(loop, proposer=Rogue("gold")).turn()
    rejected = loop.ledger.get(f"{toy_world.TURNS + 1}.0/decided")
    assert rejected is not None
    assert rejected.payload["reason"] == "build failed: out_of_plan"
    assert loop.state.champion == champion


def test_i9_a_seed_over_the_cap_is_refused(toy_seed: Path, tmp_path: Path) -> None:
    plan = {**toy_world.settings(toy_seed)["plan"], "max_parameters": 20_000}
    run = toy_world.new_run(tmp_path / "run", toy_seed, plan=plan)
    with pytest.raises(UsageError, match="21252 parameters"):
        run.go(secret_hex=toy_world.SECRET)


def test_i9_a_plan_cannot_be_widened_in_a_run(copy: Run, toy_seed: Path) -> None:
    wider = toy_world.settings(toy_seed)
    wider["plan"]["max_parameters"] = 10**9
    (copy.folder / "evolvent.yaml").write_text(json.dumps(wider), "utf-8")
    with pytest.raises(UsageError, match="was changed after the run began"), Run.open(copy.folder).ledger():
        pass


# -- I10: beyond a declared limit nothing is promoted without a person -------------------------------------------------


@pytest.mark.slow  # a whole run; tests/test_people.py and tests/test_budget.py hold the same in parts
def test_i10_a_jump_waits_for_a_person_whatever_the_gate_says(toy_seed: Path, tmp_path: Path) -> None:
    limits = {**toy_world.settings(toy_seed)["plan"], "jump_points": 1, "drift_percent": 100}
    run = toy_world.new_run(tmp_path / "run", toy_seed, plan=limits)
    state = run.go(secret_hex=toy_world.SECRET, turns=2)
    events = toy_world.events(run.folder)
    (held,) = of_kind(events, "held")
    assert of_kind(events, "verdict")[-1].payload["verdict"]["decision"] == "accept"
    assert (state.champion, state.promotions, of_kind(events, "promoted")) == (state.seed, 0, [])
    assert held.payload["id"] in state.stopped
    assert held.payload["drift"] == {"n": held.payload["drift"]["n"], "differ": 0}, "one right answer to each problem"
    assert held.payload["drift"]["n"] > 0
    with run.ledger() as ledger:
        people.answer(ledger, state, held.payload["id"], approve=True, by="ada", note="a test")
    state = run.go(secret_hex=toy_world.SECRET, turns=1)
    assert (state.champion, state.certified, state.promotions) == (held.payload["version"],) * 2 + (1,)
    with run.ledger() as ledger:
        findings = audit(ledger, run.store, run.folder / JUDGE, run.folder / SIGNING)
    assert findings.wrong == []
    assert (findings.counts["approvals"], findings.counts["statements"]) == (1, 1)
    assert findings.notes == [], "an approval is not a force"


def test_a_run_is_its_four_places(toy_run: Path) -> None:
    assert {p.name for p in toy_run.iterdir()} >= {"evolvent.yaml", LEDGER, STORE, JUDGE}
    assert os.access(toy_run / LEDGER, os.R_OK)
