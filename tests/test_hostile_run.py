"""What is hostile within a real run ends as an event, and the run goes on."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import toy_world
from evolvent.jobs import Job
from evolvent.judge import process
from evolvent.memory.effects import Foreseen
from evolvent.operators.base import Bench, Built
from evolvent.operators.probes import NULL
from evolvent.propose.base import Idea, OperatorSpec, Situation
from evolvent.run import Run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the judge can only abstain")


@dataclass(frozen=True)
class Poisoned:
    """Builds a model whose weights are no weights."""

    way: str
    spec: OperatorSpec = NULL

    def build(self, bench: Bench) -> Built:
        made = bench.run(Job(function="toy_world:poison", inputs={"model": bench.model}, params={"way": self.way}))
        return Built(model=made.outputs["model"], scaffold=bench.scaffold, policy=bench.policy)


class Always:
    """Proposes the hostile operator."""

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        return [Idea(operator="policy", params={}, diagnosis=None, foreseen=Foreseen(points=50.0, deviation=5.0))]


@pytest.mark.parametrize("way", ["pickle", pytest.param("header", marks=pytest.mark.slow)])
def test_hostile_weights_end_as_an_event(
    way: str, toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_END_AFTER_S", 0.1)  # the judge is still warming up when the test ends
    shutil.copytree(toy_run, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    with run.working(secret_hex=toy_world.SECRET) as loop:
        champion = loop.state.champion
        object.__setattr__(loop, "operators", {**loop.operators, "policy": Poisoned(way), "null": Poisoned(way)})
        object.__setattr__(loop, "proposer", Always())
        loop.turn()
        assert loop.state.champion == champion
    new = [e for e in toy_world.events(run.folder) if e.key.startswith(f"{toy_world.TURNS + 1}.")]
    failed = [e for e in new if e.kind == "build.failed"]
    assert failed
    assert {e.payload["error"] for e in failed} == {"model_refused"}
    assert {e.payload["reason"] for e in new if e.kind == "rejected"} == {"build failed: model_refused"}
    assert not [e for e in new if e.kind in ("slot.opened", "promoted")]
