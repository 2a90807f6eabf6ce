"""The judge's hands: a process of its own, locked in; answers as a rollout here would, and survives bad requests."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import toy_hub
from evolvent import tasks
from evolvent.errors import SandboxError
from evolvent.jobs import JobContext
from evolvent.judge.bench import Bench, ItemSource
from evolvent.models.codec import PythonCodec
from evolvent.models.files import from_files, to_files
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.observe.jobs import dev_rollout
from evolvent.observe.rollout import rollout
from evolvent.observe.worker import MAX_MODELS
from evolvent.precheck import read_folder
from evolvent.sandbox import IsolatedProcess, running
from evolvent.scaffold import code
from evolvent.store import Store
from evolvent.tasks.python_fix import PythonFix
from evolvent.tasks.python_fix.reference import reference
from evolvent.tasks.strings import Strings
from evolvent.train.batches import Example, Source, batches
from evolvent.train.optimise import Schedule, optimise
from evolvent.types import Problem, Score, canonical_json, derive_seed

TASK = tasks.load("strings")
DIRECT = {"kind": "direct"}


@pytest.fixture(scope="module")
def files(toy_seed: Path) -> dict[str, bytes]:
    return {name: (toy_seed / name).read_bytes() for name in ("model.safetensors", "config.json", "codec.json")}


class Asking:
    """A started worker and the requests that the judge makes."""

    def __init__(self, process: IsolatedProcess, ready: dict[str, Any]) -> None:
        self.process, self.ready = process, ready

    def ask(self, op: str, blobs: list[bytes] | None = None, **fields: Any) -> dict[str, Any]:
        return self.process.call({"op": op, **fields}, blobs or [], timeout_s=120)

    def load(self, handle: str, files: dict[str, bytes]) -> dict[str, Any]:
        sizes = {name: len(data) for name, data in files.items()}
        return self.ask("load", list(files.values()), handle=handle, files=sizes)

    def rollout(self, handle: str, prompts: list[str], **fields: Any) -> dict[str, Any]:
        return self.ask("rollout", **{"handle": handle, "scaffold": DIRECT, "prompts": prompts, "seed": 1, **fields})


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    hidden = tmp_path_factory.mktemp("judge")
    argv = [sys.executable, "-m", "evolvent.observe.worker", "--task", "strings"]
    process = IsolatedProcess(argv, hidden=[hidden])
    try:
        yield Asking(process, process.receive(timeout_s=120))
    finally:
        process.close()


def test_it_says_how_well_it_is_locked_in(worker: Asking) -> None:
    assert worker.ready["ready"] is True
    assert worker.ready["isolation"] == ("kernel" if sys.platform == "linux" else "reduced")


STEPS = {"kind": "steps", "steps": [
    {"do": "sample", "n": 3, "temperature": "0.9"}, {"do": "check", "by": "feedback"}, {"do": "vote", "by": "text"},
]}  # fmt: skip


@pytest.mark.parametrize("scaffold", [DIRECT, {"kind": "vote", "answers": 3}, {"kind": "retry", "answers": 3}, STEPS])
def test_it_answers_as_a_rollout_here_does(worker: Asking, files: dict[str, bytes], scaffold: dict[str, Any]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    prompts = [p.prompt for p in TASK.generate("short", random.Random(1), 30)]
    model, codec = from_files(files)
    here = rollout(model, codec, TASK, scaffold, prompts, 1)
    torch.set_num_threads(threads)
    assert worker.load("m", files) == {"ok": True}
    there = worker.rollout("m", prompts, scaffold=scaffold)
    assert there == {"outputs": here.outputs, "tokens": here.tokens}
    assert worker.ask("drop", handle="m") == {"ok": True}


def test_asked_to_sample_it_does_not_repeat_itself_everywhere(worker: Asking, files: dict[str, bytes]) -> None:
    prompts = [p.prompt for p in TASK.generate("long", random.Random(1), 30)]
    worker.load("m", files)
    greedy = worker.rollout("m", prompts)["outputs"]
    assert worker.rollout("m", prompts, seed=2)["outputs"] == greedy
    sampled = worker.rollout("m", prompts, seed=2, sampled=True)["outputs"]
    assert sampled != greedy
    worker.ask("drop", handle="m")


def test_bad_requests_are_answers_and_not_the_end(worker: Asking, files: dict[str, bytes]) -> None:
    assert "unknown op" in worker.ask("shell")["error"]
    assert "error" in worker.rollout("nobody", ["ab>"])
    assert "ModelRefused" in worker.load("bad", {"model.safetensors": b"\x80\x04", "config.json": b"{}"})["error"]
    assert "error" in worker.load("none", {})
    worker.load("m", files)
    assert "scaffold" in worker.rollout("m", ["ab>"], scaffold={"kind": "shell"})["error"]
    assert worker.rollout("m", ["ä"])["outputs"] == [""]
    assert len(worker.rollout("m", ["ab>"])["outputs"]) == 1
    worker.ask("drop", handle="m")


def test_a_program_in_python_is_run_by_whom_it_asks(worker: Asking, files: dict[str, bytes]) -> None:
    worker.load("m", files)
    prompts = [p.prompt for p in TASK.generate("short", random.Random(1), 4)]
    scaffold = {"kind": "code", **code.WRITTEN["retry"]}
    asked: list[str] = []

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        asked.append(question["function"])
        return running.answer(question)

    request = {"op": "rollout", "handle": "m", "scaffold": scaffold, "prompts": prompts, "seed": 1}
    told = worker.process.call(request, [], timeout_s=120, answer=answer)
    model, codec = from_files(files)
    here = rollout(model, codec, TASK, scaffold, prompts, 1)
    assert (told["outputs"], told["tokens"]) == (here.outputs, here.tokens)
    assert set(asked) == {"act"}
    assert len(asked) >= 2 * len(prompts)
    worker.ask("drop", handle="m")


def test_it_holds_a_bounded_number_of_models(worker: Asking, files: dict[str, bytes]) -> None:
    for number in range(MAX_MODELS):
        assert worker.load(f"m{number}", files) == {"ok": True}
    assert "more than" in worker.load("one more", files)["error"]
    for number in range(MAX_MODELS):
        worker.ask("drop", handle=f"m{number}")


def test_dev_rollouts_are_traces_with_scores(files: dict[str, bytes], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    params = {"task": "strings", "skill": "short", "count": 20, "scaffold": DIRECT}
    context = JobContext(store=store, inputs={"model": store.put_tree(files, "model", {})}, params=params, seed=4)
    made = dev_rollout(context)
    assert dev_rollout(context) == made
    traces, counts = store.get_json(made["traces"]), store.get_json(made["counts"])
    assert len(traces) == counts["n"] == 20
    assert 0 < counts["correct"] == sum(trace["correct"] for trace in traces) < 20
    assert counts["flops"] == 2 * 21252 * counts["tokens"]
    for trace, problem in zip(traces, TASK.generate("short", random.Random(4), 20), strict=True):
        assert trace["problem"] == problem.hash
        assert trace["correct"] == (trace["output"] == problem.prompt[-2::-1])


def test_a_locked_in_worker_has_model_written_code_run_by_asking(tmp_path: Path) -> None:
    problems = PythonFix().generate("single", random.Random(5), 6)
    prompts, codec = [p.prompt for p in problems], PythonCodec([], 64)
    torch.manual_seed(0)
    model = Decoder(EvolventConfig(vocab_size=codec.size, hidden_size=16, num_hidden_layers=1))
    drops = [
        Example(prompt, "2-") for prompt in prompts
    ]  # always drops the second line: an answer that runs, and fails
    optimise(model, batches([Source("drops", drops, 1.0)], codec, 60, 512, 0), Schedule(steps=60, learning_rate=2e-2))
    scaffold = {"kind": "revise", "answers": 3}
    asked: list[dict[str, Any]] = []

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        asked.append(question)
        return running.answer(question)

    argv = [sys.executable, "-m", "evolvent.observe.worker", "--task", "python_fix"]
    with IsolatedProcess(argv, hidden=[tmp_path]) as process:
        assert process.receive(timeout_s=120)["ready"] is True
        files = to_files(model, codec)
        sizes = {name: len(data) for name, data in files.items()}
        process.call({"op": "load", "handle": "m", "files": sizes}, list(files.values()), timeout_s=120)
        request = {"op": "rollout", "handle": "m", "scaffold": scaffold, "prompts": prompts, "seed": 1}
        there = process.call(request, timeout_s=120, answer=answer)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        here = rollout(model, codec, PythonFix(), scaffold, prompts, 1)
        torch.set_num_threads(threads)
        assert there == {"outputs": here.outputs, "tokens": here.tokens}
        assert len(asked) >= len(prompts)
        assert all(set(question) == {"source", "function", "calls"} for question in asked)
        assert not any(
            reference(problem).split("|")[-1] in question["source"]
            for problem, question in zip(problems, asked, strict=False)
        )
        with pytest.raises(SandboxError, match="nobody answers"):
            process.call(request, timeout_s=120)


class Listening(Strings):
    """The task, which keeps what it is asked to verify."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        self.heard.append(output)
        return super().verify(problem, output, probe_seed)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_judges_worker_runs_a_model_of_the_transformers_library(kind: str, tmp_path: Path) -> None:
    """It has to know before it is locked in, so the bench starts it anew; its answers are those of a rollout here."""
    toy_hub.made(kind, tmp_path / "model")
    files, store = read_folder(tmp_path / "model"), Store(tmp_path / "store")
    scaffold = {"kind": "vote", "answers": 3}
    version = {"model": store.put_tree(files, "model", {}), "scaffold": scaffold}
    argv = [sys.executable, "-m", "evolvent.observe.worker", "--task", "strings"]
    block = ItemSource(bytes(32), TASK).draw(
        candidate="c", slot="s", skill="short", split="gate", index=0, count=6)  # fmt: skip
    with Bench(listening := Listening(), store, argv) as bench:
        assert bench.isolation == ("kernel" if sys.platform == "linux" else "reduced")
        bench.score(version, block, TASK.max_output_tokens)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seed = derive_seed(block.rollout_seed, version["model"], canonical_json(scaffold))
    here = rollout(*from_files(files), TASK, scaffold, [p.prompt for p in block.problems], seed)
    torch.set_num_threads(threads)
    assert listening.heard == here.outputs
    assert any(here.outputs)
