"""Small whole runs on known string functions: the toy that benchmarks about the loop itself measure it on.

A run starts from a small model that was stopped when it solved a fixed share of the short strings (declared: these
seeds learn from reference answers), and ends at the first champion that solves the target's share of fresh strings,
or when a fixed number of FLOPs is spent.
"""

from __future__ import annotations

import importlib
import json
import random
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from common import ROOT  # the frame shared by all benchmarks

from evolvent.models.codec import CharCodec
from evolvent.models.files import from_files, to_files
from evolvent.models.transformer import EvolventConfig, EvolventForCausalLM
from evolvent.observe.rollout import rollout
from evolvent.run import Run
from evolvent.tasks.strings import ALPHABET, MARK, Strings
from evolvent.tasks.strings.reference import reference  # seed training, nowhere else
from evolvent.train.batches import Example, Source, batches
from evolvent.train.optimise import Schedule, optimise
from evolvent.types import derive_seed

sys.path.insert(0, str(ROOT / "tests"))
toy_world = importlib.import_module("toy_world")

OPERATORS = ["self_labels", "gold", "policy", "scaffold"]
TASK_FILE = '''"""A function of the strings task, beside the run."""

from evolvent.tasks.strings import Strings


def task() -> Strings:
    """The task."""
    return Strings(function="{function}")
'''


def _solved(files: dict[str, bytes], scaffold: dict[str, Any], function: str, stream: str, count: int) -> float:
    """Share of fresh short strings solved. For stopping the seed's training and for the report."""
    task = Strings(function=function)
    problems = task.generate("short", random.Random(derive_seed("recursion", stream, function)), count)
    model, codec = from_files(files)
    answered = rollout(model, codec, task, scaffold, [p.prompt for p in problems], 0)
    return sum(task.verify(p, t, 0).correct for p, t in zip(problems, answered.outputs, strict=True)) / count


def make_seed(folder: Path, function: str, seed: int, settings: Mapping[str, Any]) -> None:
    """A model of the toy world's size, trained until it solves `seed_share` of the short strings."""
    torch.set_num_threads(1)
    torch.manual_seed(derive_seed("init", seed, function) % 2**31)
    codec = CharCodec(ALPHABET + MARK)
    config = EvolventConfig(
        vocab_size=codec.size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    model = EvolventForCausalLM(config)
    problems = Strings(function=function).generate("short", random.Random(derive_seed("gold", seed, function)), 3000)
    examples = [Example(p.prompt, reference(p)) for p in problems]
    for part in range(settings["seed_parts"]):
        schedule = Schedule(steps=10, learning_rate=2.5e-3, final=1.0, warmup=1)  # short: some functions come at once
        optimise(model, batches([Source("gold", examples, 1.0)], codec, 10, 512, part), schedule)
        if _solved(to_files(model, codec), {"kind": "direct"}, function, "stop", 200) >= settings["seed_share"]:
            break
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in to_files(model, codec).items():
        (folder / name).write_bytes(data)
    rows = [json.dumps({"prompt": e.prompt, "answer": e.answer}) + "\n" for e in examples]
    (folder / "gold.jsonl").write_text("".join(rows), "utf-8")


def one_run(folder: Path, function: str, seed: int, settings: dict[str, Any], memory: Path | None) -> dict[str, Any]:
    """A run on one function; what it spent until the target, and what it learned."""
    shutil.rmtree(folder, ignore_errors=True)
    make_seed(folder / "seed", function, seed, settings)
    (folder / "run" / "tasks").mkdir(parents=True)
    module = f"strings_{function}"
    (folder / "run" / "tasks" / f"{module}.py").write_text(TASK_FILE.format(function=function), "utf-8")
    changes = {
        "task": f"{module}:task",
        "seed": seed,
        "goal": {"turns": settings["turns"]},
        "plan": {
            "operators": settings["operators"], "max_parameters": 30_000, "target": "short",
            "protected": {"short": 5, "long": 10}, "minimum_gain_points": 5, "max_items": 2000,
        },
        "build": settings["build"],
        "dev": {"problems": 150},
        "probes": {"every_turns": 0},
        "proposals_per_turn": 1,
        "proposers": settings["proposers"],
        "workers": 1,
    }  # fmt: skip
    plain = toy_world.settings(folder / "seed", **changes)
    (folder / "run" / "evolvent.yaml").write_text(json.dumps(plain), "utf-8")
    run = Run.open(folder / "run")
    spent, path = 0, []
    at_start = _solved(_files(folder / "seed"), {"kind": "direct"}, function, "truth", settings["truth"])
    reached = at_start >= settings["target"]

    def watch(event: Any) -> None:
        nonlocal spent
        if event.kind in ("diagnosed", "built", "screened"):
            spent += int(event.payload.get("flops", 0))
        if event.kind == "promoted":
            candidate = event.payload["candidate"]
            files = run.store.read_tree(candidate["model"])
            share = _solved(files, candidate["scaffold"], function, "truth", settings["truth"])
            path.append([spent, share])

    with run.working(on_event=watch, memory=memory) as loop:
        while loop.state.turn < settings["turns"] and spent < settings["flops"] and not reached:
            loop.turn()
            reached = bool(path) and path[-1][1] >= settings["target"] and path[-1][0] <= settings["flops"]
        learned = loop.state.memory.plain()
        turns = loop.state.turn
    return {
        "start": at_start, "cost": path[-1][0] if path and reached else 0 if reached else settings["flops"],
        "reached": reached, "spent": spent, "path": path, "turns": turns, "memory": learned,
    }  # fmt: skip


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "gold.jsonl"}
