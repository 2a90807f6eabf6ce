"""Trains a seed model for `python_fix`: fair at one bug, poor at two, a beginner at writing.

Run ``python scripts/train_python_seed.py`` from the repository's root; it writes ``src/evolvent/data/python-seed/``.
One core, about half an hour. The gold set is what the seed ever sees: mostly single bugs, a foothold of double ones and
of whole functions. Every other repair tells a failed assert, as the testing program's later prompts do.
"""

from __future__ import annotations

import argparse
import ast
import json
import lzma
import random
import re
import time
from collections import Counter
from pathlib import Path

import torch

from evolvent.models.codec import PythonCodec
from evolvent.models.files import num_parameters, to_files
from evolvent.models.sampler import sample
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.tasks.python_fix import PythonFix, generate, prompts
from evolvent.tasks.python_fix.reference import reference
from evolvent.train.batches import Example, Source, batches
from evolvent.train.optimise import Schedule, optimise
from evolvent.types import Problem, derive_seed

FOLDER = Path(__file__).resolve().parents[1] / "src" / "evolvent" / "data" / "python-seed"
GOLD = "gold.jsonl.xz"
COUNTS = {"single": 8_000, "double": 1_200, "synthesis": 2_400}
STEPS, TOKENS_PER_STEP, RATE = 8_000, 2_048, 3e-3
SLOTS, COMMON = 48, 0.0005  # a word of the sentences is a token if it stands in more of them than this


def gold(seed: int, share: float = 1.0) -> list[Example]:
    """The seed's own training examples."""
    task, rng = PythonFix(), random.Random(derive_seed(seed, "python gold"))
    examples = []
    for skill, count in COUNTS.items():
        for problem in task.generate(skill, rng, round(count * share)):
            asked = prompts.read(problem.prompt)
            assert asked is not None
            if asked.code is not None and rng.random() < 0.5:
                asked = generate.tell_failure(asked)
            examples.append(Example(asked.text(), reference(problem)))
    return examples


def read_gold(folder: Path) -> list[Example]:
    """The gold set of an earlier run in the folder: making it takes minutes, and gives the same."""
    if not (folder / GOLD).is_file():
        return []
    lines = lzma.decompress((folder / GOLD).read_bytes()).decode().splitlines()
    return [Example(**json.loads(line)) for line in lines]


def known_words(examples: list[Example]) -> list[str]:
    """What the codec knows besides Python: common words of the sentences, and names that no prompt holds."""
    words, own = Counter[str](), set[str]()
    for example in examples:
        asked = prompts.read(example.prompt)
        assert asked is not None
        names = identifiers(example.answer if asked.code is None else "\n".join(asked.code))
        words.update(set(re.findall(r"\w+", asked.sentence[0])) - names)
        if asked.code is None:  # locals are named as the sketch names them
            own |= names - set(re.findall(r"\w+", example.prompt))
    common = [word for word, count in words.items() if count > COMMON * len(examples) and not word.isdigit()]
    return sorted({*common, *own})


def identifiers(source: str) -> set[str]:
    """Names that a function gives or binds itself."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return (
        names
        | {n.arg for n in nodes if isinstance(n, ast.arg)}
        | {n.name for n in nodes if isinstance(n, ast.FunctionDef)}
    )


def evaluate(model: Decoder, codec: PythonCodec, count: int) -> dict[str, float]:
    """Share solved by skill on problems of its own stream; for the log only."""
    task = PythonFix()
    result = {}
    for skill in task.skills:
        problems = task.generate(skill, random.Random(derive_seed("python evaluation", skill)), count)
        out = sample(model, codec, [p.prompt for p in problems], max_new_tokens=task.max_output_tokens)
        result[skill] = sum(_solves(task, p, t[0]) for p, t in zip(problems, out.outputs, strict=True)) / count
    return result


def _solves(task: PythonFix, problem: Problem, output: str) -> bool:
    return output == reference(problem) or task.verify(problem, output, 1).correct


def save(model: Decoder, codec: PythonCodec, folder: Path) -> None:
    """Write the model's files."""
    for name, data in to_files(model, codec).items():
        (folder / name).write_bytes(data)


def main() -> None:
    """Train, report, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--share", type=float, default=1.0, help="of the gold set, for a trial")
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    started = time.time()
    examples = read_gold(arguments.out) or gold(arguments.seed, arguments.share)
    codec = PythonCodec(known_words(examples), SLOTS)
    text = "".join(json.dumps({"prompt": e.prompt, "answer": e.answer}, ensure_ascii=False) + "\n" for e in examples)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / GOLD).write_bytes(lzma.compress(text.encode(), preset=9))
    config = EvolventConfig(
        vocab_size=codec.size, hidden_size=96, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256
    )
    model = Decoder(config)
    made = f"{num_parameters(model)} parameters, {len(examples)} examples, {codec.size} tokens"
    print(f"{made}, {time.time() - started:.0f} s", flush=True)

    def report(step: int, loss: float) -> None:
        if step % 100 == 0:
            print(f"step {step} loss {loss:.4f} {time.time() - started:.0f} s", flush=True)
        if step % 1000 == 0 and step:
            model.eval()
            print(f"step {step} {evaluate(model, codec, 100)}", flush=True)
            save(model, codec, arguments.out)  # an interrupted training leaves its last report's weights
            model.train()

    stream = batches(
        [Source("gold", examples, 1.0)], codec, arguments.steps, TOKENS_PER_STEP, arguments.seed, prompt_loss=True
    )
    optimise(model, stream, Schedule(steps=arguments.steps, learning_rate=RATE, warmup=100), report=report)
    save(model, codec, arguments.out)
    print(f"done {time.time() - started:.0f} s {evaluate(model, codec, 400)}", flush=True)


if __name__ == "__main__":
    main()
