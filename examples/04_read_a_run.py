"""A whole run in miniature, made and read from Python.

Run it: ``python examples/04_read_a_run.py [FOLDER]``. Makes a tiny seed model that has barely learned to reverse short
strings, lets the loop turn twice, then reads ledger, state, evidence and lineage. A folder that holds the run already
is only read.

Not here: a good model. The point is what a run leaves behind.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path

import torch

from evolvent.models.codec import CharCodec
from evolvent.models.files import to_files
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.run import Run
from evolvent.tasks.strings import ALPHABET, MARK, Strings
from evolvent.train.batches import Example, Source, batches
from evolvent.train.optimise import Schedule, optimise

STEPS, TOKENS_PER_STEP = 150, 1024
SETTINGS = {
    "task": "strings",
    "model": "",  # the folder of the seed, made below
    "gold": "gold.jsonl",
    "goal": {"gain_points": 20, "turns": 2},
    "plan": {"target": "short", "protected": {"short": 8}, "operators": ["gold"], "max_items": 600},
    "build": {"steps": 150, "tokens_per_step": TOKENS_PER_STEP},
    "dev": {"problems": 60},
    "probes": {"every_turns": 2},  # the second turn brings a change that is none, and must be refused
    "proposals_per_turn": 1,
    "workers": 1,
}


def make(folder: Path) -> None:
    """A seed model, its own training data, and `evolvent.yaml`."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    codec = CharCodec(ALPHABET + MARK)
    config = EvolventConfig(
        vocab_size=codec.size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    model = Decoder(config)
    prompts = [problem.prompt for problem in Strings().generate("short", random.Random(0), 2000)]
    gold = [Example(prompt, prompt.removesuffix(MARK)[::-1]) for prompt in prompts]
    stream = batches([Source("gold", gold, 1.0)], codec, STEPS, TOKENS_PER_STEP, seed=0)
    optimise(model, stream, Schedule(steps=STEPS, learning_rate=3e-3))
    seed = folder / "seed"
    seed.mkdir(parents=True)
    for name, data in to_files(model, codec).items():
        (seed / name).write_bytes(data)
    rows = (json.dumps({"prompt": e.prompt, "answer": e.answer}) + "\n" for e in gold)
    (folder / "gold.jsonl").write_text("".join(rows), encoding="utf-8")
    (folder / "evolvent.yaml").write_text(json.dumps({**SETTINGS, "model": str(seed)}), encoding="utf-8")


def tell(run: Run) -> None:
    """State, verdicts with their evidence, lineage."""
    with run.ledger() as ledger:
        print(f"{ledger.verify()} events verified; kinds: {', '.join(sorted({e.kind for e in ledger.events()}))}")
        state = run.state(ledger)
        print(f"turn {state.turn}, {state.slots} slots used, {state.promotions} promoted by the gate")
        operators: dict[str, str] = {}
        for event in ledger.events(kinds={"proposed", "verdict", "promoted", "rejected"}):
            fields = event.payload
            if event.kind == "proposed":
                operators[fields["id"]] = fields["proposal"]["operator"]
                continue
            said = f"{event.kind}: {fields.get('reason', 'superior')}"
            if event.kind == "verdict":
                stage = run.evidence(fields["verdict"]["evidence"])["stages"][0]  # opened after the verdict
                needed = f"log e {stage['path'][-1][1]}, needed {stage['threshold_log_e']}"
                said = f"judged on {fields['problems']} problems: {needed}"
            print(f"  {fields['id']} {operators[fields['id']]:<5} {said}")
        print("lineage:")
        for event in ledger.events(kinds={"seed.imported", "built"}):
            version, parent = event.payload["version"], event.payload.get("parent", "")
            mark = " <- champion" if version == state.champion else ""
            print(f"  {version[:12]} from {parent[:12] or 'nothing (the seed, and the frozen anchor)'}{mark}")


def main(arguments: list[str]) -> None:
    """Make the run where it is not there yet, and read it."""
    if arguments:
        folder = Path(arguments[0]).resolve()
        if not (folder / "evolvent.yaml").is_file():
            make(folder)
        run = Run.open(folder)
        run.go(turns=run.settings.goal.turns)  # resumes; without a number it ends where the goal is reached
        return tell(run)
    with tempfile.TemporaryDirectory() as temporary:
        return main([temporary])


if __name__ == "__main__":
    main(sys.argv[1:])
