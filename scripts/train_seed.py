"""Trains the seed model that ships with the package: good at single changes, poor at several, honestly.

Run ``python scripts/train_seed.py`` from the repository's root; it writes ``src/evolvent/data/sql-seed/``. One
core, about ten
minutes. The gold set is what the seed ever sees: single changes, and a foothold of double ones, because rejection
sampling finds nothing to keep where success is nil. The rate decays to nearly nothing, so the seed is at its own
plateau;
`benchmarks/selfimprove.py` arm (a) shows what more of the same data is worth.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import time
from pathlib import Path

import torch

from evolvent.models.codec import SqlCodec
from evolvent.models.files import num_parameters, to_files
from evolvent.models.sampler import sample
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.tasks.sql_migration import SqlMigration
from evolvent.tasks.sql_migration.reference import reference
from evolvent.train.batches import Example, Source, batches
from evolvent.train.optimise import Schedule, optimise
from evolvent.types import Problem, derive_seed

FOLDER = Path(__file__).resolve().parents[1] / "src" / "evolvent" / "data" / "sql-seed"
SINGLES, DOUBLES = 12_000, 1_200
STEPS, TOKENS_PER_STEP, RATE = 5_000, 2_048, 3e-3


def gold(seed: int) -> list[Problem]:
    """The seed's own training problems."""
    task, rng = SqlMigration(), random.Random(derive_seed(seed, "gold"))
    doubles: list[Problem] = []
    while len(doubles) < DOUBLES:
        doubles += [p for p in task.generate("multi", rng, 400) if p.tags["changes"] == "2"]
    return task.generate("single", rng, SINGLES) + doubles[:DOUBLES]


def evaluate(model: Decoder, codec: SqlCodec, count: int = 400) -> dict[str, float]:
    """Accuracy by skill on problems of its own stream; for the log only."""
    task = SqlMigration()
    result = {}
    for skill in ("single", "multi"):
        problems = task.generate(skill, random.Random(derive_seed("seed-evaluation", skill)), count)
        out = sample(model, codec, [p.prompt for p in problems], max_new_tokens=task.max_output_tokens)
        solved = [task.verify(p, texts[0], 1).correct for p, texts in zip(problems, out.outputs, strict=True)]
        result[skill] = sum(solved) / count
        for tag in ("tier", "changes"):
            for value in sorted({p.tags[tag] for p in problems}):
                part = [ok for ok, p in zip(solved, problems, strict=True) if p.tags[tag] == value]
                result[f"{skill} {tag}={value}"] = round(sum(part) / len(part), 3)
    return result


def save(model: Decoder, codec: SqlCodec, folder: Path) -> None:
    """Write the model's files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in to_files(model, codec).items():
        (folder / name).write_bytes(data)


def main() -> None:
    """Train, report, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    codec = SqlCodec(48)
    examples = [Example(p.prompt, reference(p)) for p in gold(arguments.seed)]
    text = "".join(json.dumps({"prompt": e.prompt, "answer": e.answer}, ensure_ascii=False) + "\n" for e in examples)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "gold.jsonl.xz").write_bytes(lzma.compress(text.encode(), preset=9))
    config = EvolventConfig(
        vocab_size=codec.size, hidden_size=96, num_hidden_layers=3, num_attention_heads=4, intermediate_size=256
    )
    model = Decoder(config)
    print(f"{num_parameters(model)} parameters, {len(examples)} examples", flush=True)
    started = time.time()

    def report(step: int, loss: float) -> None:
        if step % 500 == 0 and step:
            model.eval()
            print(f"step {step} loss {loss:.4f} {time.time() - started:.0f} s {evaluate(model, codec)}", flush=True)
            save(model, codec, arguments.out)  # an interrupted training leaves its last report's weights
            model.train()

    stream = batches(
        [Source("gold", examples, 1.0)], codec, arguments.steps, TOKENS_PER_STEP, arguments.seed, prompt_loss=True
    )
    optimise(model, stream, Schedule(steps=arguments.steps, learning_rate=RATE, warmup=100), report=report)
    print(f"done {time.time() - started:.0f} s {evaluate(model, codec, 1000)}", flush=True)
    save(model, codec, arguments.out)


if __name__ == "__main__":
    main()
