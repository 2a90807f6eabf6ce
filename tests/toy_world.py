"""A run small enough for tests: real loop, jobs, judge and sandbox around a model of 21,000 parameters.

``python tests/toy_world.py FOLDER TURNS [KILL_AFTER]`` works on a run's folder as a process of its own and kills itself
with SIGKILL after that many new events.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import evolvent
from evolvent.jobs import JobContext
from evolvent.ledger import Ledger
from evolvent.plan import CONFIG_NAME
from evolvent.run import LEDGER, Run
from evolvent.types import Event

SECRET = "5a" * 32
TURNS = 2
KILLED = -signal.SIGKILL


def make_seed(folder: Path, steps: int = 160) -> Path:
    """A model that reverses some short strings and no long one, and its gold data. Deterministic."""
    import torch

    from evolvent.models.codec import CharCodec
    from evolvent.models.files import to_files
    from evolvent.models.transformer import Decoder, EvolventConfig
    from evolvent.tasks.strings import ALPHABET, MARK, Strings
    from evolvent.train.batches import Example, Source, batches
    from evolvent.train.optimise import Schedule, optimise

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    codec = CharCodec(ALPHABET + MARK)
    config = EvolventConfig(
        vocab_size=codec.size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    model = Decoder(config)
    prompts = [p.prompt for p in Strings().generate("short", random.Random(1), 3000)]
    examples = [Example(prompt, prompt[-2::-1]) for prompt in prompts]
    optimise(
        model,
        batches([Source("gold", examples, 1.0)], codec, steps, 512, 0),
        Schedule(steps=steps, learning_rate=5e-3, final=1.0),
    )
    torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in to_files(model, codec).items():
        (folder / name).write_bytes(data)
    rows = [json.dumps({"prompt": e.prompt, "answer": e.answer}) + "\n" for e in examples]
    (folder / "gold.jsonl").write_text("".join(rows), "utf-8")
    return folder


def settings(seed_folder: Path, **changes: Any) -> dict[str, Any]:
    """Two turns: in the first a null beside a real change, in the second a planted regression."""
    return {
        "task": "strings",
        "model": str(seed_folder),
        "gold": str(seed_folder / "gold.jsonl"),
        "seed": 3,
        "goal": {"turns": TURNS},
        "plan": {
            "operators": ["policy"],
            "max_parameters": 30_000,
            "target": "short",
            "protected": {"short": 10, "long": 10},
            "minimum_gain_points": 10,
            "max_items": 1024,
            "first_epoch_slots": 2,
        },
        "build": {"problems": 40, "samples": 2, "steps": 120, "tokens_per_step": 512, "learning_rate": "0.005",
                  "gold_share": 90},
        "dev": {"problems": 40},
        "probes": {"every_turns": 1},
        **changes,
    }  # fmt: skip


def new_run(folder: Path, seed_folder: Path, **changes: Any) -> Run:
    """A folder with settings, ready to go."""
    folder.mkdir(parents=True)
    (folder / CONFIG_NAME).write_text(json.dumps(settings(seed_folder, **changes)), "utf-8")  # JSON is YAML
    return Run.open(folder)


def events(folder: Path) -> list[Event]:
    """All of a run's events."""
    with Ledger.open(folder / LEDGER) as ledger:
        return list(ledger.events())


def hashes(folder: Path) -> list[str]:
    """What two equal runs have in common: everything but clock and cost."""
    return [event.content_hash for event in events(folder)]


def start(folder: Path, turns: int = TURNS, kill_after: int = 0) -> subprocess.Popen[bytes]:
    """The run as a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(Path(evolvent.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, __file__, str(folder), str(turns), str(kill_after)]
    return subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL)


def bloat(ctx: JobContext) -> dict[str, str]:
    """A job: the same weights, said to be many more."""
    files = ctx.store.read_tree(ctx.inputs["model"])
    return {"model": ctx.store.put_tree(files, "model", {"parameters": 1_000_000})}


def copy(ctx: JobContext) -> dict[str, str]:
    """A job: the same tensors, and another line of metadata."""
    from safetensors import numpy as tensors

    name = "model.safetensors"
    files = dict(ctx.store.read_tree(ctx.inputs["model"]))
    parameters = ctx.store.get_manifest(ctx.inputs["model"])["meta"]["parameters"]
    files[name] = tensors.save(tensors.load(files[name]), metadata={"copy": str(ctx.params["copy"])})
    return {"model": ctx.store.put_tree(files, "model", {"parameters": parameters})}


def poison(ctx: JobContext) -> dict[str, str]:
    """A job: hostile bytes in place of the weights."""
    hostile = {
        "pickle": b"\x80\x04\x95\x11\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93.",
        "header": (1 << 62).to_bytes(8, "little") + b"{}",
    }
    files = {**ctx.store.read_tree(ctx.inputs["model"]), "model.safetensors": hostile[str(ctx.params["way"])]}
    return {"model": ctx.store.put_tree(files, "model", {"parameters": 1})}


def main() -> None:
    """Go on with a run; end suddenly if told so."""
    folder, turns, kill_after = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    seen = 0

    def count(event: Event) -> None:
        nonlocal seen
        seen += 1
        if seen == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    Run.open(folder).go(turns=turns, secret_hex=SECRET, on_event=count)


if __name__ == "__main__":
    main()
