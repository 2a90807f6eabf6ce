"""Does memory of what helped make the next run cheaper? First form, an honest figure and no bar to win.

Two runs on known string functions (`SOURCE`) learn which kinds of change help; the second is given the memory of the
first, and its own is exported. Then each unseen function (`UNSEEN`) is learned by a run of its own, from a small model
that was stopped when it solved a fixed share of the short strings (declared: these seeds learn from reference answers).
Arms: ``cold``: no memory; ``warm``: that memory; ``shuffled``: the same memory with the operators' names exchanged, so
that it holds as much and means nothing.

Cost to target: FLOPs that the run had spent (dev rollouts, builds, screens; not the judge's) when the first champion
was promoted that solves the target's share of fresh strings. A run ends there or when a fixed number of FLOPs is spent,
and then counts with that number, whatever its arm, so a difference is understated, never invented. Costs are compared
as logarithms, paired by function and seed.

Run ``python benchmarks/recursion.py [--quick]``; resumes run by run.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import math
import random
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from common import ROOT, Results, Unit, bench_main, paired_interval  # the frame shared by all benchmarks

from evolvent.memory.effects import FORMAT
from evolvent.models.codec import CharCodec
from evolvent.models.files import from_files, to_files
from evolvent.models.transformer import EvolventConfig, EvolventForCausalLM
from evolvent.observe.rollout import rollout
from evolvent.run import Run
from evolvent.tasks.strings import ALPHABET, MARK, Strings
from evolvent.tasks.strings.reference import reference  # seed training, nowhere else
from evolvent.train.batches import Example, Source, batches
from evolvent.train.optimise import Schedule, optimise
from evolvent.types import content_hash, derive_seed

sys.path.insert(0, str(ROOT / "tests"))
toy_world = importlib.import_module("toy_world")

ARMS = ("cold", "warm", "shuffled")
SOURCE = ("reverse", "swap_pairs_mirror")
UNSEEN = ("mirror", "swap_pairs", "swap_ends", "mirror_reverse")
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
            "operators": OPERATORS, "max_parameters": 30_000, "target": "short", "protected": {"short": 5, "long": 10},
            "minimum_gain_points": 5, "max_items": 2000,
        },
        "build": settings["build"],
        "dev": {"problems": 150},
        "probes": {"every_turns": 0},
        "proposals_per_turn": 1,
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
        effects = loop.state.effects.plain()
        turns = loop.state.turn
    return {
        "start": at_start, "cost": path[-1][0] if path and reached else 0 if reached else settings["flops"],
        "reached": reached, "spent": spent, "path": path, "turns": turns, "effects": effects,
    }  # fmt: skip


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "gold.jsonl"}


def source_memory(unit: Unit) -> Path:
    """The memory of the source runs of this seed, each over all its FLOPs; made once, by whoever needs it first."""
    own = {key: value for key, value in unit.settings.items() if key != "seeds"}
    base = unit.folder.parent / f"source-{unit.seed}-{content_hash(json.dumps(own, sort_keys=True))[:12]}"
    base.mkdir(parents=True, exist_ok=True)
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        memory: Path | None = None
        for function in SOURCE:
            out = base / f"{function}.json"
            if not out.is_file():
                result = one_run(base / function, function, unit.seed, {**unit.settings, "target": 2.0}, memory)
                out.write_text(json.dumps(result["effects"]), "utf-8")
            memory = out
    assert memory is not None
    return memory


def shuffled(memory: Path, out: Path, seed: int) -> Path:
    """The memory with its arms' names moved one place round in a random order: none keeps its own."""
    plain = json.loads(memory.read_text("utf-8"))
    arms = sorted({key.split("|")[0] for key in plain["effects"]})
    random.Random(seed).shuffle(arms)
    other = dict(zip(arms, arms[1:] + arms[:1], strict=True))
    effects = {f"{other[key.split('|')[0]]}|{key.split('|', 1)[1]}": e for key, e in plain["effects"].items()}
    out.write_text(json.dumps({"format": FORMAT, "effects": effects}), "utf-8")
    return out


def run_unit(unit: Unit) -> dict[str, Any]:
    """All unseen functions of one arm and seed."""
    memory = None if unit.arm == "cold" else source_memory(unit)
    if unit.arm == "shuffled" and memory is not None:
        memory = shuffled(memory, unit.folder / "shuffled.json", unit.seed)
    result: dict[str, Any] = {}
    for function in UNSEEN:
        kept = unit.folder / f"{function}.json"
        if not kept.is_file():
            made = one_run(unit.folder / function, function, unit.seed, dict(unit.settings), memory)
            kept.write_text(json.dumps(made), "utf-8")
        result[function] = json.loads(kept.read_text("utf-8"))
    return result


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Ratios of costs with intervals over functions and seeds."""
    seeds = sorted(results["cold"])
    # A seed that is there already at the start, which all arms share, has no cost to compare.
    pairs = [(s, f) for s in seeds for f in UNSEEN if results["cold"][s][f]["cost"]]

    def costs(arm: str) -> list[float]:
        return [math.log(results[arm][s][f]["cost"]) for s, f in pairs]

    bars: dict[str, Any] = {}
    for one, other in (("warm", "cold"), ("warm", "shuffled"), ("shuffled", "cold")):
        gaps = [a - b for a, b in zip(costs(one), costs(other), strict=True)]
        low, mean, high = (round(math.exp(x), 3) if math.isfinite(x) else x for x in paired_interval(gaps))
        bars[f"cost to target, {one} over {other}, 95 % interval"] = {
            "figure": [low, mean, high],
            "bar": "an honest figure",
            "holds": True,
        }
    figures = {
        arm: {
            s: {
                f: {k: results[arm][s][f][k] for k in ("start", "cost", "reached", "spent", "turns", "path")}
                for f in UNSEEN
            }
            for s in seeds
        }
        for arm in ARMS
    }
    reached = {arm: sum(results[arm][s][f]["reached"] for s, f in pairs) for arm in ARMS}
    return {"figures": {"reached": reached, "of": len(pairs), **figures}, "bars": bars}


FULL: dict[str, Any] = {
    "seeds": [0, 1, 2], "turns": 60, "flops": 8 * 10**10, "target": 0.6, "truth": 1000,
    "seed_parts": 200, "seed_share": 0.38, "version": 1,
    "build": {"problems": 120, "samples": 2, "steps": 120, "tokens_per_step": 512, "learning_rate": "0.005",
              "gold_share": 60},
}  # fmt: skip
QUICK: dict[str, Any] = {**FULL, "seeds": [0], "turns": 2, "truth": 100}

if __name__ == "__main__":
    sys.exit(bench_main("recursion", ARMS, run_unit, summarise, full=FULL, quick=QUICK))
