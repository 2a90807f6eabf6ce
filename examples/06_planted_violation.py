"""A planted violation of a rule, found and answered by the loop, unaided; and nothing where nothing is planted.

Run it: ``python examples/06_planted_violation.py [FOLDER]``. Two small models learn to find paths in graphs, from the
same problems. The first one's answers are spoiled in one way only: of the paths of three steps, six in ten stop one
short. Both are set to improve themselves. The rules of the task (`evolvent.tasks.logic`) are what finds the fault, and
what is used against it: they see a prompt and an answer, never a right one.

Needs clingo: ``pip install 'evolvent[rules]'``. Not here: blind alleys in the graphs, which take longer to learn.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from evolvent.models.codec import CharCodec
from evolvent.models.files import to_files
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.run import Run
from evolvent.tasks.logic import Logic
from evolvent.tasks.logic.prompts import ALPHABET, MARKS
from evolvent.tasks.logic.reference import reference  # seed training, the only labels that there ever are
from evolvent.train.batches import Example, Source, batches
from evolvent.train.optimise import Schedule, optimise

TASK = '''"""The task, beside the run that uses it: short paths in graphs without blind alleys."""

from evolvent.tasks.logic import Logic


def task() -> Logic:
    """Paths of two and three steps."""
    return Logic(skills=("reach",), axes={"form": ("reach",), "steps": ("2", "3"), "distractors": ("0",)})
'''
STEPS, TOKENS_PER_STEP = 180, 1024  # enough that nothing but what is planted fails
SEED = 0
SPOILED = 0.6  # of the answers with three steps
SETTINGS = {
    "task": "short_paths:task",
    "model": "",  # the folder of the seed, made below
    "gold": "gold.jsonl",  # spoiled as the seed's training was
    "goal": {"gain_points": 20, "turns": 2},
    "plan": {
        "target": "reach",
        "protected": {"reach": 8},
        "operators": ["scaffold", "self_labels", "gold"],
        "max_items": 600,
    },
    "build": {"problems": 60, "samples": 4, "steps": 40, "tokens_per_step": TOKENS_PER_STEP},
    "dev": {"problems": 80},
    "probes": {"every_turns": 0},
    "workers": 1,
}


def make(folder: Path, planted: bool) -> None:
    """A seed model, its own training data, the task and `evolvent.yaml`."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rng = random.Random(SEED)
    task = Logic(axes={"form": ("reach",), "steps": ("2", "3"), "distractors": ("0",)})
    gold = []
    for problem in task.generate("reach", random.Random(SEED + 1), 4000):
        answer = reference(problem)
        if planted and problem.tags["steps"] == "3" and rng.random() < SPOILED:
            answer = answer[:-1]
        gold.append(Example(problem.prompt, answer))
    codec = CharCodec(ALPHABET + MARKS)
    config = EvolventConfig(
        vocab_size=codec.size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    model = Decoder(config)
    stream = batches([Source("gold", gold, 1.0)], codec, STEPS, TOKENS_PER_STEP, seed=SEED)
    optimise(model, stream, Schedule(steps=STEPS, learning_rate=8e-3))
    for name, data in to_files(model, codec).items():
        (folder / "seed").mkdir(parents=True, exist_ok=True)
        (folder / "seed" / name).write_bytes(data)
    (folder / "tasks").mkdir()
    (folder / "tasks" / "short_paths.py").write_text(TASK, encoding="utf-8")
    rows = (json.dumps({"prompt": e.prompt, "answer": e.answer}) + "\n" for e in gold)
    (folder / "gold.jsonl").write_text("".join(rows), encoding="utf-8")
    settings = {**SETTINGS, "model": str(folder / "seed"), "seed": SEED}
    (folder / "evolvent.yaml").write_text(json.dumps(settings), encoding="utf-8")


def told(run: Run) -> list[str]:
    """What the record says: diagnosis, each proposal and what became of it."""
    lines: list[str] = []
    ideas: dict[str, str] = {}
    with run.ledger() as ledger:
        for event in ledger.events():
            fields = event.payload
            if event.kind == "diagnosed":
                n, correct = fields["skills"]["reach"]["n"], fields["skills"]["reach"]["correct"]
                lines.append(f"turn {fields['turn']}: {correct} of {n} right")
                for weak in fields["weaknesses"][:1]:
                    where = ", ".join(f"{k}={v}" for k, v in weak["slice"].items()) or weak["skill"]
                    kinds = ", ".join(f"{kind} {count}" for kind, count in weak["errors"].items())
                    lines.append(
                        f"  weakest: {where}: {weak['failures']} of {weak['n']} fail: {kinds}; {weak['cause']}"
                    )
                if not fields["weaknesses"]:
                    lines.append("  no weakness found")
            elif event.kind == "proposed":
                made, errors = fields["proposal"], (fields["answers"] or {}).get("errors")
                answering = f", answering {max(errors, key=errors.get)}" if errors else ""
                ideas[fields["id"]] = " ".join([made["operator"], *map(str, made["params"].values())]) + answering
            elif event.kind in ("promoted", "rejected"):
                why = "superior" if event.kind == "promoted" else fields["reason"]
                lines.append(f"  {fields['id']} {ideas[fields['id']]}: {event.kind} ({why})")
    return lines


def one(folder: Path, planted: bool) -> str:
    """Make one of the two runs where it is not there yet, let it go, and tell."""
    place = folder / ("planted" if planted else "control")
    if not (place / "evolvent.yaml").is_file():
        make(place, planted)
    run = Run.open(place)
    state = run.go(turns=run.settings.goal.turns)  # resumes; without a number it ends where the goal is reached
    lines = told(run)
    return "\n".join([f"{place.name}: {state.promotions} promoted by the gate", *(f"  {line}" for line in lines)])


def main(arguments: list[str]) -> None:
    """Both runs, side by side."""
    if not arguments:
        with tempfile.TemporaryDirectory() as temporary:
            return main([temporary])
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        for text in processes.map(partial(one, Path(arguments[0]).resolve()), (True, False)):
            print(text)
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
