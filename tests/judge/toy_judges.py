"""A store with toy versions and a judge of them: what the judge's tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from evolvent.judge import JudgeClient, Protected, Question
from evolvent.store import Store
from evolvent.types import Candidate

HERE = Path(__file__).parent
TASK, WORKER = "toy_task:ToyTask", str(HERE / "toy_worker.py")
SECRET = "ab" * 32
PROTECTED = (Protected(skill="single", margin_points=5), Protected(skill="chain", margin_points=5))


class World:
    """A store with toy versions, named by their skill levels."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(root / "store")

    def version(self, single: int, chain: int) -> dict[str, Any]:
        weights = save({"levels": np.array([single, chain], np.int32)})
        files = {"model.safetensors": weights, "config.json": b'{"model_type": "toy"}'}
        model = self.store.put_tree(files, kind="model", meta={})
        return Candidate(model=model, scaffold={"kind": "direct"}, genome="0" * 64).plain()

    def question(self, candidate: dict[str, Any], **changes: Any) -> Question:
        fields: dict[str, Any] = {
            "slot": 1,
            "candidate": candidate,
            "incumbent": self.version(60, 70),
            "anchor": self.version(50, 69),
            "target": "single",
            "protected": PROTECTED,
            "alpha_sup": "0.005",
            "alpha_ni": "0.005",
            "max_items": 4000,
        }
        return Question(**{**fields, **changes})

    def client(self, folder: str = "judge", **options: Any) -> JudgeClient:
        fields: dict[str, Any] = {"worker": WORKER, "secret_hex": SECRET, **options}
        return JudgeClient(self.root / folder, self.root / "store", TASK, **fields)


def import_path() -> str:
    """Where a process finds the toy task."""
    return os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
