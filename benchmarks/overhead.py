"""What the loop itself costs: beside the jobs in a demo-sized run, and per turn as history grows.

Arm ``demo``: the demo's own settings; wall time in which neither a job nor the judge was at work, as a share of the
run's. Arm ``toy``: 1,000 turns of the real loop over a real ledger and store, on a toy world whose jobs and judge
answer at once; turns at the end against those at the start of a run beside it, and the growth of ledger and store.

Run ``python benchmarks/overhead.py [--quick]``; arms run one after the other.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from common import Unit, bench_main

from evolvent import plan
from evolvent.demo import DEMO
from evolvent.dev import DevSet
from evolvent.jobs import Job, JobResult
from evolvent.judge.questions import Question, StandingQuestion
from evolvent.ledger import Ledger
from evolvent.loop import Loop
from evolvent.named import load_operators
from evolvent.propose.bandit import BanditProposer
from evolvent.run import Run
from evolvent.state import State
from evolvent.store import Store
from evolvent.types import Candidate, Decision, Trace, Verdict, derive_seed

T = TypeVar("T")


@dataclass
class Busy:
    """Union of the times in which a job or the judge was at work."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def timed(self, call: Callable[..., T]) -> Callable[..., T]:
        def wrapper(*args: Any, **kwargs: Any) -> T:
            started = time.monotonic()
            try:
                return call(*args, **kwargs)
            finally:
                with self.lock:
                    self.spans.append((started, time.monotonic()))

        return wrapper

    def seconds(self) -> float:
        total, end = 0.0, float("-inf")
        for start, stop in sorted(self.spans):
            total += max(0.0, stop - max(start, end))
            end = max(end, stop)
        return total


def demo_arm(unit: Unit) -> dict[str, Any]:
    """A demo-sized run with every job and every question timed."""
    folder = unit.folder / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings = plan.parse({**DEMO, "goal": {**DEMO["goal"], "turns": unit.settings["demo_turns"]}}, "demo")
    (folder / plan.CONFIG_NAME).write_text(json.dumps(settings.model_dump()), encoding="utf-8")
    busy = Busy()
    with Run(folder, settings).working() as loop:
        loop.engine.run = busy.timed(loop.engine.run)  # type: ignore[method-assign]
        loop.engine.map = busy.timed(loop.engine.map)  # type: ignore[method-assign]
        loop.judge.decide = busy.timed(loop.judge.decide)  # type: ignore[method-assign]
        loop.judge.standing = busy.timed(loop.judge.standing)  # type: ignore[method-assign]
        started = time.monotonic()
        for _ in range(settings.goal.turns):
            loop.turn()
        wall = time.monotonic() - started
        events = loop.ledger.head()[0]
    return {
        "wall_s": round(wall, 3),
        "busy_s": round(busy.seconds(), 3),
        "turns": settings.goal.turns,
        "events": events,
    }


class ToyEngine:
    """Answers jobs at once, with artifacts that depend on nothing but the job."""

    def __init__(self, store: Store) -> None:
        self.store, self.model = store, store.put_tree({"w": b"0"}, "model", {"parameters": 1})

    def run(self, job: Job, timeout_s: float | None = None) -> JobResult:
        if job.function.endswith("dev_rollout"):
            rows = [
                Trace(
                    problem=f"{job.seed}-{i}", skill=job.params["skill"], tags={"kind": str(i % 5)}, output="",
                    correct=derive_seed(job.inputs["model"], job.seed, i) % 2 == 0, error="wrong",
                ).plain()
                for i in range(job.params["count"])
            ]  # fmt: skip
            counts = {"n": len(rows), "correct": sum(r["correct"] for r in rows), "tokens": 1, "flops": 1}
            outputs = {"traces": self.store.put_json(rows), "counts": self.store.put_json(counts)}
        elif job.function.endswith("self_labels"):
            stats = {
                **dict.fromkeys(("drawn", "sampled", "executed", "correct", "kept", "tokens", "flops"), 1),
                "cells": {},
            }
            outputs = {"data": self.store.put_bytes(f"data {job.seed}".encode()), "stats": self.store.put_json(stats)}
        elif job.function.endswith("cut_answers"):
            outputs = {"data": self.store.put_bytes(b"cut")}
        else:
            child = self.store.put_tree({"w": str(job.seed).encode()}, "model", {"parameters": 1})
            outputs = {"model": child, "stats": self.store.put_json({"tokens": 1, "flops": 1})}
        return JobResult(outputs=outputs, seconds_ms=0, cpu_ms=0, cached=False)

    def map(self, jobs: Sequence[Job]) -> list[JobResult]:
        return [self.run(job) for job in jobs]


class ToyJudge:
    """Accepts one candidate in sixteen."""

    def decide(self, question: Question) -> Verdict:
        name = Candidate(**question.candidate).hash
        decision = Decision.ACCEPT if int(name[:4], 16) % 16 == 0 else Decision.REJECT
        return Verdict(
            slot=question.slot, candidate=name, decision=decision, reason="toy", evidence=name, isolation="kernel"
        )

    def standing(self, question: StandingQuestion) -> dict[str, Any]:
        return {"alarm": False, "evidence": question.hash, "isolation": "kernel"}

    def evidence(self, name: str) -> dict[str, Any]:
        return {"items": {"multi": 1}, "tokens": 1}


@contextmanager
def _toy_loop(folder: Path, turns: int) -> Iterator[Loop]:
    """The real loop over a real ledger and store, in a world that answers at once."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings = plan.parse({**DEMO, "dev": {"problems": 20}, "goal": {"gain_points": 20, "turns": turns}}, "toy")
    store = Store(folder / "store")
    engine = ToyEngine(store)
    with Ledger.open(folder / "ledger.sqlite", settings.run_id, create=True) as ledger:
        ledger.acquire()
        candidate = Candidate(model=engine.model, scaffold={"kind": "direct"}, genome="toy")
        dev = DevSet(engine=engine, store=store, settings=settings, skills=("single", "multi"))  # type: ignore[arg-type]
        loop = Loop(
            ledger=ledger, store=store, engine=engine, judge=ToyJudge(), settings=settings,  # type: ignore[arg-type]
            operators=load_operators(settings.plan.operators), proposer=BanditProposer(), state=State(),
            gold=store.put_bytes(b"gold"), dev=dev, max_new_tokens=8,
        )  # fmt: skip
        seed = {"version": candidate.hash, "candidate": candidate.plain(), "policy": {}, "parameters": 1, "gold": ""}
        loop.once("seed.imported", "seed", lambda: seed)
        yield loop


def toy_arm(unit: Unit) -> dict[str, Any]:
    """Sizes over a long history, and its last turns turn about with the first ones of a fresh run."""
    folder, turns = unit.folder / "run", unit.settings["toy_turns"]
    sizes: list[dict[str, int]] = []
    young_s, old_s = [], []

    def turn(loop: Loop) -> float:
        started = time.perf_counter()
        loop.turn()
        return time.perf_counter() - started

    with _toy_loop(folder, turns) as old, _toy_loop(unit.folder / "young", turns) as young:
        for number in range(1, turns + 1):
            taken = turn(old)
            if number > turns - turns // 10:
                # Beside each other: the clock of a busy machine drifts by more than the bar.
                old_s.append(taken)
                young_s.append(turn(young))
            if number % (turns // 4) == 0:
                size = {"ledger": _size(folder, "ledger*"), "store": _size(folder, "store/**/*")}
                sizes.append({"turn": number, "events": old.ledger.head()[0], **size})
    first_ms, last_ms = (round(1000 * statistics.median(times), 2) for times in (young_s, old_s))
    return {"first_ms": first_ms, "last_ms": last_ms, "sizes": sizes}


def _size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


def run_unit(unit: Unit) -> dict[str, Any]:
    """One arm."""
    return demo_arm(unit) if unit.arm == "demo" else toy_arm(unit)


def summarise(results: dict[str, dict[int, dict[str, Any]]], settings: dict[str, Any]) -> dict[str, Any]:
    """Shares and ratios."""
    demo, toy = results["demo"][0], results["toy"][0]
    beyond = 100 * (demo["wall_s"] - demo["busy_s"]) / demo["wall_s"]
    ratio = toy["last_ms"] / toy["first_ms"]
    # Increments, not sizes: a write-ahead log of a fixed size lies beside the ledger from the start.
    growth = [
        (toy["sizes"][3][kind] - toy["sizes"][2][kind]) / max(1, toy["sizes"][1][kind] - toy["sizes"][0][kind])
        for kind in ("ledger", "store")
    ]
    return {
        "figures": {"demo": demo, "toy": toy, "growth_last_quarter_over_second": [round(g, 3) for g in growth]},
        "bars": {
            "wall time beyond jobs, % of a demo-sized run": {
                "figure": round(beyond, 2),
                "bar": 5,
                "holds": beyond <= 5,
            },
            "last turns over first turns": {"figure": round(ratio, 3), "bar": 1.2, "holds": ratio <= 1.2},
            "ledger and store grow linearly (last quarter's growth over the second's)": {
                "figure": [round(g, 3) for g in growth],
                "bar": "0.8 to 1.25",
                "holds": all(0.8 <= g <= 1.25 for g in growth),
            },
        },
    }


FULL = {"seeds": [0], "demo_turns": 4, "toy_turns": 1000}
QUICK = {"seeds": [0], "demo_turns": 1, "toy_turns": 40}

if __name__ == "__main__":
    sys.exit(bench_main("overhead", ("toy", "demo"), run_unit, summarise, full=FULL, quick=QUICK, workers=1))
