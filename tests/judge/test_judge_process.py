"""The judge end to end: its process, a sandboxed worker, a toy task. Only the kernel level can accept."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_judges import HERE, PROTECTED, World, import_path

from evolvent.errors import GateRefused, SandboxError, StoreError, UsageError
from evolvent.judge import JudgeClient, SealedQuestion, StandingQuestion
from evolvent.judge.bench import Bench, ItemSource, TwinBench
from evolvent.judge.folder import JudgeFolder
from evolvent.judge.server import JudgeServer
from evolvent.sandbox import IsolatedProcess
from evolvent.types import Decision, Problem, Score

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the judge can only abstain")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("PYTHONPATH", import_path())
    return World(tmp_path)


@pytest.fixture
def client(world: World) -> Iterator[JudgeClient]:
    with world.client() as judge:
        yield judge


@pytest.mark.parametrize(
    ("levels", "decision", "reason"),
    [
        ((75, 70), Decision.ACCEPT, "superior"),
        ((75, 55), Decision.REJECT, "inferior:chain"),
        ((60, 70), Decision.REJECT, "futile"),
        ((-1, 70), Decision.ABSTAIN, "sandbox_failed"),
        ((75, -2), Decision.ABSTAIN, "sandbox_failed"),
    ],
)
def test_verdicts(world: World, client: JudgeClient, levels: tuple[int, int], decision: Decision, reason: str) -> None:
    asked = world.question(world.version(*levels))
    verdict = client.decide(asked)
    assert (verdict.decision, verdict.reason, verdict.isolation) == (decision, reason, "kernel")
    evidence = client.evidence(verdict.evidence)
    assert evidence["question"] == json.loads(json.dumps(asked.plain()))
    assert (evidence["decision"], evidence["reason"]) == (decision, reason)
    assert all(len(stage["path"]) <= 60 for stage in evidence["stages"])
    said = evidence["consistency"]
    if decision == Decision.ABSTAIN:
        assert said == {}
    else:
        assert said["repeated"] == said["n"] == asked.block_items, "a worker without chance repeats itself"
        assert (said["right_if_not"], said["right_if_repeated"] <= said["n"]) == (0, True)


def test_a_model_that_breaks_the_pre_check_reaches_no_worker(world: World, client: JudgeClient) -> None:
    honest = world.store.read_tree(world.version(75, 70)["model"])
    for slot, change in enumerate(
        (
            {"model.safetensors": honest["model.safetensors"] + b"0"},
            {"config.json": b'{"model_type": "toy", "auto_map": {"AutoConfig": "evil.Config"}}'},
            {"evil.py": b"raise SystemExit"},
        ),
        1,
    ):
        model = world.store.put_tree({**honest, **change}, kind="model", meta={})
        asked = world.question({**world.version(75, 70), "model": model}, slot=slot)
        verdict = client.decide(asked)
        assert (verdict.decision, verdict.reason) == (Decision.ABSTAIN, "model_refused")
        assert client.evidence(verdict.evidence)["error"] in ("size", "code", "name")
        assert client.decide(asked) == verdict, "a slot that is taken is finished by this"


def test_the_same_question_gets_the_same_answer_also_anew(world: World) -> None:
    asked = world.question(world.version(75, 70))
    with world.client() as first:
        verdict = first.decide(asked)
        assert first.decide(asked) == verdict
    with world.client() as restarted:
        assert restarted.decide(asked) == verdict
    with world.client(folder="elsewhere") as recomputed:
        assert recomputed.decide(asked) == verdict
    with world.client(folder="other", secret_hex="cd" * 32) as other:
        assert other.decide(asked).evidence != verdict.evidence


def test_a_killed_judge_answers_the_repeated_question_alike(world: World) -> None:
    asked = world.question(world.version(75, 70))
    with world.client() as plain:
        verdict = plain.decide(asked)
    killed: list[dict[str, Any]] = []

    def kill(fields: dict[str, Any]) -> None:
        if not killed:
            killed.append(fields)
            process = judge._process
            assert process is not None
            os.kill(process.pid, signal.SIGKILL)

    with world.client(folder="killed", on_progress=kill) as judge:
        # Its pipe may still hold an answer that it gave before it died; otherwise asking fails once.
        try:
            first = judge.decide(asked)
        except SandboxError:
            first = judge.decide(asked)
        assert first == verdict
        assert killed


def test_progress_tells_problems_drawn_and_the_test_in_doubt(world: World) -> None:
    told: list[dict[str, Any]] = []
    with world.client(on_progress=told.append) as judge:
        judge.decide(world.question(world.version(75, 70)))
    assert told[0]["items"] == {"single": 64}
    assert told[0].keys() == {"items", "test"}
    test = told[0]["test"]
    assert test.keys() == {"name", "skill", "against", "threshold_log_e", "path"}, "no counts of outcomes"
    assert (test["name"], test["path"][0][0]) == ("superiority", 64)
    assert float(test["path"][0][1]) < float(test["threshold_log_e"])


def test_standing_and_sealed(world: World, client: JudgeClient) -> None:
    def standing(number: int, chain: int) -> dict[str, Any]:
        return client.standing(
            StandingQuestion(
                number=number,
                reference=world.version(60, 70),
                champion=world.version(75, chain),
                protected=PROTECTED,
                alpha="0.01",
                max_items=2000,
            )
        )

    assert standing(1, 50)["alarm"] is True
    assert standing(2, 70)["alarm"] is False
    sealed = SealedQuestion(
        seed_candidate=world.version(60, 70), champion=world.version(75, 60), counts={"single": 100, "chain": 70}
    )
    report = client.sealed(sealed)
    assert report == client.sealed(sealed)
    assert client.evidence(report["evidence"])["skills"] == report["skills"]
    for skill, row in report["skills"].items():
        assert row["n"] == sealed.counts[skill]
        assert row["champion_correct"] - row["seed_correct"] == row["wins"] - row["losses"]
        assert row["seed_tokens"] > 0
        assert row["champion_tokens"] > 0
    same = {**world.version(60, 70), "genome": "ab" * 32}  # another name for the seed
    again = client.sealed(SealedQuestion(seed_candidate=world.version(60, 70), champion=same, counts={"single": 100}))
    row = again["skills"]["single"]
    assert (row["wins"], row["losses"], row["champion_tokens"]) == (0, 0, row["seed_tokens"])


def test_a_place_takes_one_question_ever(world: World) -> None:
    first, second = world.question(world.version(60, 70)), world.question(world.version(75, 70))
    with world.client() as judge:
        verdict = judge.decide(first)
        with pytest.raises(GateRefused, match="slot-1 was opened for another question"):
            judge.decide(second)
    with world.client() as restarted:  # nor does a restart, or a harsher level, buy another look
        for again in (second, replace(first, alpha_sup="0.04")):
            with pytest.raises(GateRefused, match="slot-1"):
                restarted.decide(again)
        assert restarted.decide(first) == verdict


def test_errors_come_back_as_themselves(world: World, client: JudgeClient) -> None:
    absent = {**world.version(75, 70), "model": "ef" * 32}
    with pytest.raises(StoreError, match="not in the store"):
        client.decide(world.question(absent))
    with pytest.raises(UsageError, match="SHA-256"):
        client.evidence("../secret")
    with pytest.raises(StoreError, match="missing or was altered"):
        client.evidence("0" * 64)
    assert client.decide(world.question(world.version(75, 70), slot=2)).decision is Decision.ACCEPT


def test_altered_evidence_is_found(world: World, client: JudgeClient) -> None:
    asked = world.question(world.version(75, 70))
    path = world.root / "judge" / "evidence" / f"{client.decide(asked).evidence}.json"
    path.chmod(0o600)
    path.write_text(path.read_text().replace("accept", "reject"))
    with pytest.raises(StoreError, match="altered"):
        client.decide(asked)


def test_the_secret_is_drawn_once_and_kept_from_others(tmp_path: Path) -> None:
    folder = JudgeFolder(tmp_path / "judge")
    assert (tmp_path / "judge").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "judge" / "secret").stat().st_mode & 0o777 == 0o600
    assert JudgeFolder(tmp_path / "judge").commitment == folder.commitment
    assert JudgeFolder(tmp_path / "else").commitment != folder.commitment
    (tmp_path / "judge" / "secret").chmod(0o644)
    with pytest.raises(SandboxError, match="read by others"):
        JudgeFolder(tmp_path / "judge")


def test_the_judge_holds_no_tensor_library(world: World) -> None:
    code = (
        "import sys, evolvent.judge.server; print(sorted({'torch', 'transformers', 'scipy.stats'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Numbers:
    """A task in this process, for the bench alone."""

    skills = ("single", "chain")

    def generate(self, skill: str, rng: random.Random, count: int) -> list[Problem]:
        return [Problem(task="toy", skill=skill, prompt=f"{skill}:{rng.getrandbits(60)}") for _ in range(count)]

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        raise RuntimeError("a hostile output felled the verifier")


def bench(world: World) -> Bench:
    return Bench(Numbers(), world.store, [sys.executable, str(HERE / "toy_worker.py")])


def test_without_kernel_isolation_the_answer_is_never_accept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    receive = IsolatedProcess.receive
    monkeypatch.setattr(
        IsolatedProcess,
        "receive",
        lambda self, *, timeout_s: {**receive(self, timeout_s=timeout_s), "isolation": "reduced"},
    )
    folder, task = JudgeFolder(world.root / "judge", bytes(32)), Numbers()
    with bench(world) as runner:
        server = JudgeServer(folder, "toy", ItemSource(bytes(32), task), TwinBench(runner, runner))
        answer = server.decide(world.question(world.version(100, 100)))
    assert (answer["decision"], answer["reason"]) == ("abstain", "isolation:reduced")
    assert folder.evidence(answer["evidence"])["items"] == {}


def test_one_worker_and_two_find_the_same_outcomes(world: World) -> None:
    version = world.version(60, 60)
    block = ItemSource(bytes(32), Numbers()).draw(
        candidate="c", slot="1", skill="single", split="gate", index=0, count=21
    )
    found = []
    for pair in (lambda one: (one, one), lambda one: (one, bench(world))):
        with bench(world) as one, TwinBench(*pair(one)) as twin:
            found.append((twin.isolation, list(twin.score(version, block, 8)), twin.tokens))
    assert found[0] == found[1]
    assert len(found[0][1]) == 21


class Alone(Numbers):
    """Notes whether two are at work in it at once."""

    def __init__(self) -> None:
        self.asked, self.inside, self.company = 0, 0, 0

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        self.inside += 1
        time.sleep(0.002)
        self.company += self.inside > 1
        self.inside -= 1
        self.asked += 1
        return Score(correct=True)


def test_two_workers_halves_never_meet_in_the_task(world: World) -> None:
    task, version = Alone(), world.version(60, 60)
    block = ItemSource(bytes(32), task).draw(candidate="c", slot="1", skill="single", split="gate", index=0, count=120)
    benches = [Bench(task, world.store, [sys.executable, str(HERE / "toy_worker.py")]) for _ in range(2)]
    with benches[0], TwinBench(*benches) as twin:
        assert len(twin.score(version, block, 8)) == 120
    assert (task.asked, task.company) == (120, 0)


def test_items_follow_from_secret_and_key_alone() -> None:
    def draw(secret: bytes, **changes: Any) -> tuple[Problem, ...]:
        fields: dict[str, Any] = {
            "candidate": "c", "slot": "1", "skill": "single", "split": "gate", "index": 0, "count": 4,
        }  # fmt: skip
        return ItemSource(secret, Numbers()).draw(**{**fields, **changes}).problems

    base = draw(b"s")
    assert draw(b"s") == base
    others = [
        draw(b"t"),
        draw(b"s", candidate="d"),
        draw(b"s", slot="2"),
        draw(b"s", split="sealed"),
        draw(b"s", index=1),
    ]
    assert all(set(p.prompt for p in other).isdisjoint(p.prompt for p in base) for other in others)


def test_a_verifier_that_fails_counts_as_wrong_and_a_version_runs_once(world: World) -> None:
    block = ItemSource(b"s", Numbers()).draw(candidate="c", slot="1", skill="single", split="gate", index=0, count=5)
    with bench(world) as runner:
        assert not runner.score(world.version(100, 100), block, 8).any()
        twin = {**world.version(100, 100), "genome": "1" * 64}
        runner.score(twin, block, 8)
        assert runner.tokens == 5
