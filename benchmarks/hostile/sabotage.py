"""Judges spoiled on purpose, one fault each: the checks that anyone can make afterwards must notice every one.

A spoiled judge answers questions about toy versions in a child process, and its record is then looked at as a run's would be: by
the audit (which computes every verdict again), by asking twice, by drawing the items again from the opened secret, and by canary
answers. The same checks must be silent about the honest judge.

Not here: small faults in the arithmetic (`mutants.py`).
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evolvent.audit import audit
from evolvent.errors import EvolventError
from evolvent.judge import bench as judge_bench
from evolvent.judge import gate, server, stats
from evolvent.judge.folder import JudgeFolder
from evolvent.ledger import Ledger
from evolvent.run import JUDGE, LEDGER
from evolvent.store import Store
from evolvent.tasks.sql_migration import SqlMigration, verify
from evolvent.types import Candidate, Decision, Problem, Score

__all__ = ["FAULTS", "caught_by", "spoiled"]

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
run_on_disk = importlib.import_module("run_on_disk")
Spoil = Callable[[], None]


# -- the faults: each changes the judge in this process, which is a child of its own -----------------------------------


def _half_the_evidence() -> None:
    """A test counts as proven at half of the log e-value that its level asks for."""
    honest = gate._crossing
    gate._crossing = lambda path, threshold: honest(path, threshold / 2)


def _one_skill_forgotten() -> None:
    """Non-inferiority of one protected skill is never tested."""
    honest = gate._stages
    gate._stages = lambda question, outcomes: tuple(
        stage
        for stage in honest(question, outcomes)
        if not stage.name.startswith("ni:") or stage.pair.skill != question.protected[0].skill
    )


def _items_from_a_fixed_seed() -> None:
    """Items follow from skill and block alone: they are the same for every candidate, and known in advance."""
    judge_bench.ItemSource._seed = lambda self, key, purpose: int.from_bytes(
        f"{key.split('|', 2)[2]}{purpose}".encode()[-8:], "big"
    )


def _an_empty_answer_is_right() -> None:
    """The verifier calls an empty migration right."""
    honest = verify.verify
    verify.verify = lambda before, after, renames, output, seed: (
        honest(before, after, renames, output, seed) if output.strip() else Score(correct=True, executed=True)
    )


def _expected_values_for_the_worker() -> None:
    """The worker is told what must come out."""
    honest = judge_bench.Bench._ask

    def ask(self: Any, request: dict[str, Any], *rest: Any, **more: Any) -> dict[str, Any]:
        expected = ["right"] * len(request.get("prompts", ()))
        return honest(
            self, {**request, "expected": expected, "secret": "5a" * 32} if expected else request, *rest, **more
        )

    judge_bench.Bench._ask = ask


def _a_second_look() -> None:
    """A repeated question draws again and may be answered otherwise."""
    folder_class, count = JudgeFolder, [0]
    folder_class.answer = lambda self, question_key: None
    honest = run_on_disk.Items.draw

    def draw(self: Any, *, slot: str, **rest: Any) -> Any:
        return honest(self, slot=f"{slot}/{count[0]}", **rest)

    decide = server.JudgeServer.decide

    def again(self: Any, question: Any) -> Any:
        count[0] += 1
        return decide(self, question)

    run_on_disk.Items.draw, server.JudgeServer.decide = draw, again


def _reduced_called_kernel() -> None:
    """Whatever the worker says of its isolation, the verdict says ``kernel``."""
    said = property(lambda self: (self._started(), "kernel")[1])
    type.__setattr__(judge_bench.Bench, "isolation", said)


def _always_accept() -> None:
    """Nobody is turned away."""
    honest = gate.PairedGate.rule

    def rule(self: Any, question: Any, outcomes: Any) -> Any:
        ruling = honest(self, question, outcomes)
        return (
            ruling
            if ruling.decision is None
            else replace(ruling, decision=Decision.ACCEPT, reason="superior", draw=None)
        )

    gate.PairedGate.rule = rule


def _losses_left_out() -> None:
    """Items that only the other version solved are not counted against the candidate."""
    for name in ("superiority_path", "non_inferiority_path", "inferiority_path", "futility_path"):
        honest = getattr(stats, name)
        setattr(stats, name, lambda differences, *rest, honest=honest: honest(np.maximum(differences, 0), *rest))


FAULTS: dict[str, Spoil] = {
    "proven at half of the evidence": _half_the_evidence,
    "one skill is not tested": _one_skill_forgotten,
    "items known in advance": _items_from_a_fixed_seed,
    "an empty answer is right": _an_empty_answer_is_right,
    "the worker is told what must come out": _expected_values_for_the_worker,
    "a second look": _a_second_look,
    "reduced isolation called kernel": _reduced_called_kernel,
    "accepts everything": _always_accept,
    "losses left out": _losses_left_out,
}


# -- the checks: what anyone can do with the record and the opened secret ----------------------------------------------


def _audited() -> str:
    """The audit computes each verdict of a small run again from its outcomes."""
    with tempfile.TemporaryDirectory() as root:
        made = run_on_disk.RunOnDisk(Path(root) / "run")
        with suppress(
            EvolventError
        ):  # a judge that promotes what it should not leaves nothing to force; what is there counts
            made.force_check_and_seal()
        with Ledger.open(Path(root) / "run" / LEDGER) as ledger:
            wrong = audit(ledger, made.store, Path(root) / "run" / JUDGE).wrong
    return wrong[0] if wrong else ""


def _asked_twice() -> str:
    """The same question, again and after a restart, has the same answer."""
    with tempfile.TemporaryDirectory() as root:
        made = run_on_disk.RunOnDisk(Path(root) / "run")
        with Ledger.open(Path(root) / "run" / LEDGER) as ledger:
            opened = next(event for event in ledger.events() if event.kind == "slot.opened")
            said = next(event for event in ledger.events() if event.kind == "verdict")
        questions = importlib.import_module("evolvent.judge.questions")
        question = questions.Question.from_plain(opened.payload["question"])
        again = made.judge.decide(question)
    return "" if again["evidence"] == said.payload["verdict"]["evidence"] else "the same question has another answer"


def _drawn_again() -> str:
    """Items of two candidates, slots or secrets have nothing in common; with the opened secret they can be drawn again."""

    def prompts(secret: bytes, **changes: Any) -> set[str]:
        fields: dict[str, Any] = {
            "candidate": "c",
            "slot": "1",
            "skill": "multi",
            "split": "gate",
            "index": 0,
            "count": 20,
        }
        return {p.prompt for p in judge_bench.ItemSource(secret, SqlMigration()).draw(**{**fields, **changes}).problems}

    one = prompts(b"s")
    for other in (prompts(b"t"), prompts(b"s", candidate="d"), prompts(b"s", slot="2")):
        if len(one & other) > 2:  # two made-up problems may happen to be alike
            return f"{len(one & other)} of 20 items are known from elsewhere"
    return "" if one == prompts(b"s") else "the opened secret gives other items"


def _canaries() -> str:
    """Answers that are wrong by construction."""
    task = SqlMigration()
    for problem in task.generate("single", random.Random(3), 6):
        for text in ("", " ", "SELECT 1;", "-- correct", "DROP TABLE IF EXISTS none;"):
            if task.verify(problem, text, 1).correct:
                return f"it calls {text!r} right"
    return ""


class _Overheard:
    """A worker that keeps what it is told; it says that its isolation is reduced."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.alive, self.told = True, _HEARD

    def receive(self, *, timeout_s: float) -> dict[str, Any]:
        return {"ready": True, "isolation": "reduced"}

    def call(self, request: dict[str, Any], blobs: Any = (), **_: Any) -> dict[str, Any]:
        self.told.append(json.dumps(request))
        return {"outputs": ["x"] * len(request.get("prompts", ())), "tokens": 1, "ok": True}

    def close(self) -> None:
        self.alive = False


_HEARD: list[str] = []


class _Secretive:
    """A task whose problems carry marks that no worker may see."""

    skills = ("a",)

    def generate(self, skill: str, rng: random.Random, count: int) -> list[Problem]:
        return [
            Problem(task="t", skill=skill, prompt=f"p{rng.random()}", given={"answer": "right"}) for _ in range(count)
        ]

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        return Score(correct=output == "right")


def _listened() -> str:
    """A worker of ours in the candidate's place: all it is told is handle, scaffold, prompts, a seed, a limit, how."""
    judge_bench.IsolatedProcess = _Overheard
    judge_bench.read_artifact = lambda store, name: {
        "model.safetensors": b"x",
        "config.json": b'{"model_type": "evolvent"}',
    }
    task = _Secretive()
    secret = bytes(range(32))
    with tempfile.TemporaryDirectory() as root:
        bench = judge_bench.Bench(task, Store(Path(root)), ["worker"])
        block = judge_bench.ItemSource(secret, task).draw(
            candidate="c", slot="1", skill="a", split="gate", index=0, count=4
        )
        bench.score(Candidate(model="0" * 64, scaffold={"kind": "direct"}, genome="1" * 64).plain(), block, 8)
    told = [json.loads(line) for line in _HEARD]
    known = {"op", "handle", "files", "scaffold", "prompts", "seed", "sampled", "max_new_tokens"}
    extra = sorted({key for request in told for key in request} - known)
    if extra or any("right" in line or secret.hex() in line for line in _HEARD):
        return f"the worker is told {', '.join(extra) or 'an answer'}"
    return "" if told else "the worker was not asked"


def _isolation_told() -> str:
    """A worker that says ``reduced`` must make the verdict say so, and never accept."""
    judge_bench.IsolatedProcess = _Overheard
    with tempfile.TemporaryDirectory() as root:
        bench = judge_bench.Bench(_Secretive(), Store(Path(root)), ["worker"])
        said = judge_bench.TwinBench(bench, bench).isolation
    return "" if said == "reduced" else f"the worker said reduced, the bench says {said}"


def _nulls() -> str:
    """Candidates that are no better, and ones that lose a skill, against the gate alone: how many are accepted?"""
    batteries = importlib.import_module("hostile.battery_judge")
    for i in range(40):
        question = batteries._question(3 * (i % 4))
        gains, rng, outcomes = (
            {"a": 0.0 if i % 2 else 0.25, "b": 0.0 if i % 2 else -0.25},
            np.random.default_rng(900 + i),
            {},
        )
        while (ruling := gate.PairedGate().rule(question, outcomes)).decision is None:
            batteries._draw(question, ruling.draw, outcomes, gains, rng, gate.items_used(outcomes))
        if ruling.decision is Decision.ACCEPT:
            return "a candidate without gain, or with a loss, is accepted"
    return ""


CHECKS: dict[str, Callable[[], str]] = {
    "audit": _audited,
    "asked twice": _asked_twice,
    "items drawn again": _drawn_again,
    "canary answers": _canaries,
    "nulls and losses": _nulls,
    "a worker of ours": _listened,
    "a worker that is not isolated": _isolation_told,
}


def caught_by(fault: str | None) -> dict[str, str]:
    """What each check says of a judge with this fault (None: of the honest one), in a child process."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        found: dict[str, str] = {}
        try:
            os.close(told)
            if fault is not None:
                FAULTS[fault]()
            for name, check in CHECKS.items():
                try:
                    found[name] = check()
                except Exception as exc:
                    found[name] = f"{type(exc).__name__}: {exc}"[:200]
        finally:
            with os.fdopen(tell, "w") as stream:
                json.dump(found, stream)
            os._exit(0)
    os.close(tell)
    with os.fdopen(told) as stream:
        said = stream.read()
    os.waitpid(pid, 0)
    return {name: what for name, what in json.loads(said).items() if what}


def spoiled(most: int) -> dict[str, Any]:
    """So many faults, and by which checks each was caught; and what the checks say of the honest judge."""
    return {"honest": caught_by(None), "faults": {fault: caught_by(fault) for fault in list(FAULTS)[:most]}}
