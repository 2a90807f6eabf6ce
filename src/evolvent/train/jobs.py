"""Training as jobs: fine-tune on a mix of data artifacts; plant a regression.

A data artifact is JSON lines of ``{"prompt": ..., "answer": ...}``. Not here: where data come from (`curate/`).
"""

from __future__ import annotations

import json
import random

import torch

from evolvent.budget import afford
from evolvent.errors import JobFailed
from evolvent.inputs import read_pairs
from evolvent.jobs import JobContext
from evolvent.models.files import from_files, num_parameters, to_files, tokenizer_files
from evolvent.store import Store
from evolvent.train.batches import Example, Source, batches
from evolvent.train.optimise import Schedule, optimise
from evolvent.types import dec

GOLD = "gold"


def read_examples(store: Store, name: str) -> list[Example]:
    """The examples of a data artifact."""
    return [Example(prompt, answer) for prompt, answer in read_pairs(store.get_bytes(name))]


def finetune(ctx: JobContext) -> dict[str, str]:
    """Train a child on gold and on data artifacts.

    Inputs ``model``, optional ``gold``, any number of ``data*``; params ``steps, tokens_per_step, learning_rate,
    gold_share``, and ``max_flops, max_tokens`` where the build has an allowance.

    The newest data artifact gets half of what gold leaves, the older ones share the rest evenly by size; without gold
    or without older data their share goes to the others.

    Returns:
        ``model``: the child; ``stats``: JSON ``{tokens, flops, parameters, first_loss, last_loss, examples}``.

    Raises:
        JobFailed: ``diverged``, ``over_budget``, or ``no_data`` when nothing can be learned from.
    """
    params = ctx.params
    files = ctx.store.read_tree(ctx.inputs["model"])
    torch.manual_seed(ctx.seed)
    model, codec = from_files(files)
    gold = read_examples(ctx.store, ctx.inputs[GOLD]) if GOLD in ctx.inputs else []
    names = sorted(name for name in ctx.inputs if name.startswith("data"))
    data = [read_examples(ctx.store, ctx.inputs[name]) for name in names]
    newest, replay = (data[-1] if data else []), [example for part in data[:-1] for example in part]
    share = int(params["gold_share"]) / 100 if newest or replay else 1.0
    sources = [
        Source(GOLD, gold, share),
        Source("newest", newest, (1 - share) * (0.5 if replay else 1.0)),
        Source("replay", replay, (1 - share) * 0.5),
    ]
    if not any(source.examples and source.share > 0 for source in sources):
        raise JobFailed("no_data", "no example is left to learn from")
    schedule = Schedule(steps=int(params["steps"]), learning_rate=float(params["learning_rate"]))
    stream = batches(sources, codec, schedule.steps, int(params["tokens_per_step"]), ctx.seed)
    trained = optimise(
        model,
        stream,
        schedule,
        report=lambda step, loss: ctx.report({"step": step, "of": schedule.steps, "loss": loss}),
        afford=lambda wanted, spent: afford(params, wanted, spent),
    )
    stats = {
        "tokens": trained.tokens,
        "flops": trained.flops,
        "parameters": num_parameters(model),
        "first_loss": dec(sum(trained.losses[:5]) / len(trained.losses[:5])),
        "last_loss": dec(sum(trained.losses[-5:]) / len(trained.losses[-5:])),
        "examples": {source.name: len(source.examples) for source in sources},
    }
    child = ctx.store.put_tree(
        to_files(model, codec, tokenizer_files(files)), "model", {"parameters": num_parameters(model)}
    )
    return {"model": child, "stats": ctx.store.put_json(stats)}


def cut_answers(ctx: JobContext) -> dict[str, str]:
    """A data artifact whose answers stop half-way: what a planted regression learns from.

    Inputs ``data``; params ``count``. Returns ``data``. Half an answer can be written for any task and codec, and who
    learns it gets worse.
    """
    examples = read_examples(ctx.store, ctx.inputs["data"])
    random.Random(ctx.seed).shuffle(examples)
    rows = []
    for example in examples[: int(ctx.params["count"])]:
        words = example.answer.split(" ") if " " in example.answer else list(example.answer)
        joint = " " if " " in example.answer else ""
        row = {"prompt": example.prompt, "answer": joint.join(words[: len(words) // 2])}
        rows.append(json.dumps(row, ensure_ascii=False))
    return {"data": ctx.store.put_bytes(("\n".join(rows) + "\n").encode())}
