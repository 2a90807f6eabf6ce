"""The judge's hands: a process that holds weights and answers prompts, and nothing else.

It loads its libraries, locks itself in (`sandbox.isolate`), and only then reads the first byte from the judge. Weights
and prompts come over a pipe, texts go back. Answers, probes and the secret never enter it. It has no network and no
file, and starts no process: where a scratch run needs model-written code run, it asks over the same pipe, and whoever
started it runs the code in a sandbox.

Not here: verification and statistics (`judge/`), which this process could not influence if it tried.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

import torch

from evolvent import tasks
from evolvent.errors import EvolventError
from evolvent.models.codec import Codec, SqlCodec
from evolvent.models.files import from_files, to_files
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.observe.rollout import rollout
from evolvent.sandbox import frames, running
from evolvent.sandbox.code import Outcome
from evolvent.sandbox.isolate import isolate
from evolvent.scaffold import grammar
from evolvent.tasks.base import Task
from evolvent.types import Json

MAX_MODELS = 8


def _rehearse(task: Task, library: bool) -> None:
    """Run everything once: some libraries import late, and after isolation it would be too late."""
    codec = SqlCodec(8)
    made = Decoder(EvolventConfig(vocab_size=codec.size, hidden_size=16, num_hidden_layers=1))
    model, loaded = from_files(to_files(made, codec))
    if library:
        model = importlib.import_module("evolvent.models.hub").theirs(made)
    prompt = "-- from\nCREATE TABLE a (b INTEGER);\n-- to\n-- migration\n"
    for kind in grammar.KINDS:
        scaffold = {"kind": kind} if kind == "direct" else {"kind": kind, "answers": 2}
        rollout(model, loaded, task, scaffold, [prompt], 0)


class _Asking:
    """A runner that asks the process at the other end of the pipe."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source, self._sink = source, sink

    def call(self, source: str, function: str, calls: Sequence[Sequence[Json]]) -> Outcome:
        question = {"source": source, "function": function, "calls": [list(call) for call in calls]}
        frames.write_json(self._sink, {"question": question})
        told = frames.read_json(self._source)
        if told is None:
            raise SystemExit(0)  # nobody is there any more
        return running.outcome_of(told)


class _Worker:
    """Models by handle, and the three requests."""

    def __init__(self, task: Task, stream: BinaryIO) -> None:
        self.task, self.stream = task, stream
        self.models: dict[str, tuple[Any, Codec]] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        operation = request.get("op")
        if operation == "load":
            files = {name: frames.read_frame(self.stream, int(size)) for name, size in request["files"].items()}
            if len(self.models) >= MAX_MODELS:
                return {"error": f"more than {MAX_MODELS} models"}
            self.models[request["handle"]] = from_files({n: d for n, d in files.items() if isinstance(d, bytes)})
            return {"ok": True}
        if operation == "drop":
            self.models.pop(request["handle"], None)
            return {"ok": True}
        if operation == "rollout":
            model, codec = self.models[request["handle"]]
            out = rollout(
                model,
                codec,
                self.task,
                request["scaffold"],
                request["prompts"],
                int(request["seed"]),
                explore=grammar.TEMPERATURE if request.get("sampled") else 0.0,
            )
            return {"outputs": out.outputs, "tokens": out.tokens}
        return {"error": f"unknown op {operation!r}"}


def main() -> None:
    """Serve frames on standard input until it ends."""
    parser = argparse.ArgumentParser(prog="evolvent.observe.worker")
    parser.add_argument("--task", required=True)
    parser.add_argument("--hidden", action="append", default=[])
    parser.add_argument("--library", action="store_true", help="models of the transformers library will come")
    arguments = parser.parse_args()
    torch.set_num_threads(max(1, torch.get_num_threads()))
    task = tasks.load(arguments.task)
    _rehearse(task, arguments.library)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    tier = isolate(hidden=arguments.hidden)
    running.use(_Asking(source, sink))
    frames.write_json(sink, {"ready": True, "isolation": tier})
    worker = _Worker(task, source)
    while (request := frames.read_json(source)) is not None:
        try:
            answer = worker.answer(request)
        except (EvolventError, ValueError, KeyError, TypeError, RuntimeError, IndexError) as exc:
            answer = {"error": f"{type(exc).__name__}: {exc}"[:500]}
        frames.write_json(sink, answer)


if __name__ == "__main__":
    main()
