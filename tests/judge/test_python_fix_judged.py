"""The judge on a task whose programs run code: a locked-in worker asks, and the judge's sandbox runs it."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
import torch

from evolvent.judge import JudgeClient, Protected, Question
from evolvent.models.codec import PythonCodec
from evolvent.models.files import to_files
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.sandbox import PROMOTING
from evolvent.store import Store
from evolvent.tasks.python_fix import PythonFix
from evolvent.train.batches import Example, Source, batches
from evolvent.train.optimise import Schedule, optimise
from evolvent.types import Candidate, Decision


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the judge can only abstain")
def test_a_question_about_a_testing_program_is_answered(tmp_path: Path) -> None:
    task, store, codec = PythonFix(), Store(tmp_path / "store"), PythonCodec([], 64)
    torch.manual_seed(0)
    model = Decoder(EvolventConfig(vocab_size=codec.size, hidden_size=16, num_hidden_layers=1))
    drops = [Example(p.prompt, "2-") for p in task.generate("single", random.Random(1), 6)]
    optimise(model, batches([Source("drops", drops, 1.0)], codec, 60, 512, 0), Schedule(steps=60, learning_rate=2e-2))
    weights = store.put_tree(to_files(model, codec), "model", {})
    versions = [
        Candidate(model=weights, scaffold=scaffold, genome="0" * 64).plain()
        for scaffold in ({"kind": "revise", "answers": 3}, {"kind": "direct"})
    ]
    question = Question(
        slot=1,
        candidate=versions[0],
        incumbent=versions[1],
        anchor=versions[1],
        target="single",
        protected=(Protected(skill="single", margin_points=5),),
        alpha_sup="0.005",
        alpha_ni="0.005",
        max_items=64,
        max_new_tokens=8,
    )
    with JudgeClient(tmp_path / "judge", tmp_path / "store", "python_fix") as judge:
        verdict = judge.decide(question)
    assert verdict.decision is not Decision.ACCEPT
    assert "error" not in verdict.reason
    assert verdict.isolation in {f"kernel+{tier}" for tier in PROMOTING}, "where models ran, and where their code did"
