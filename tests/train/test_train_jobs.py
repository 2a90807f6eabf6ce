"""The training jobs: fine-tune on a mix, and plant a regression."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from evolvent.errors import JobFailed
from evolvent.jobs import JobContext
from evolvent.models.files import from_files
from evolvent.store import Store
from evolvent.train.jobs import cut_answers, finetune, read_examples

PARAMS = {"steps": 4, "tokens_per_step": 128, "learning_rate": "0.001", "gold_share": 50}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def model(store: Store, toy_seed: Path) -> str:
    files = {name: (toy_seed / name).read_bytes() for name in ("model.safetensors", "config.json", "codec.json")}
    return store.put_tree(files, "model", {})


def context(store: Store, inputs: dict[str, str], params: dict[str, Any], seed: int = 1) -> JobContext:
    return JobContext(store=store, inputs=inputs, params=params, seed=seed, report=lambda fields: None)


def data(store: Store, *pairs: tuple[str, str], packed: bool = False) -> str:
    text = "".join(json.dumps({"prompt": p, "answer": a}) + "\n" for p, a in pairs).encode()
    return store.put_bytes(lzma.compress(text) if packed else text)


def test_the_same_job_makes_the_same_child(store: Store, model: str) -> None:
    inputs = {"model": model, "gold": data(store, ("abc>", "cba")), "data000": data(store, ("ab>", "ba"))}
    first, again = (finetune(context(store, inputs, PARAMS)) for _ in range(2))
    assert first == again
    assert first["model"] not in (model, finetune(context(store, inputs, PARAMS, seed=2))["model"])
    stats = store.get_json(first["stats"])
    assert stats["examples"] == {"gold": 1, "newest": 1, "replay": 0}
    assert stats["flops"] == 6 * stats["parameters"] * stats["tokens"]
    assert store.get_manifest(first["model"])["meta"]["parameters"] == stats["parameters"] == 21252
    from_files(store.read_tree(first["model"]))


def test_older_data_are_replayed(store: Store, model: str) -> None:
    inputs = {"model": model, **{f"data{i:03d}": data(store, ("ab>", "ba"), ("b>", "b")) for i in range(3)}}
    stats = store.get_json(finetune(context(store, inputs, PARAMS))["stats"])
    assert stats["examples"] == {"gold": 0, "newest": 2, "replay": 4}


def test_what_the_codec_cannot_write_is_left_out(store: Store, model: str) -> None:
    mixed = {"model": model, "data000": data(store, ("ab>", "BA"), ("ab>", "ba"), ("Z>", "a"))}
    alone = {"model": model, "data000": data(store, ("ab>", "ba"))}
    assert (finetune(context(store, mixed, PARAMS))["model"]) == finetune(context(store, alone, PARAMS))["model"]


@pytest.mark.parametrize("params", [PARAMS, {**PARAMS, "gold_share": 0}])
def test_nothing_to_learn_from_is_a_failed_job(store: Store, model: str, params: dict[str, Any]) -> None:
    with pytest.raises(JobFailed, match="no example is left") as failed:
        finetune(context(store, {"model": model, "data000": store.put_bytes(b"\n")}, params))
    assert failed.value.kind == "no_data"
    with pytest.raises((JobFailed, ValueError), match="'Z' is not in the alphabet"):
        finetune(context(store, {"model": model, "data000": data(store, ("Z>", "a"))}, params))


def test_packed_examples_are_read(store: Store) -> None:
    pairs = [("ab>", "ba"), ("ü>", "ü")]
    assert read_examples(store, data(store, *pairs, packed=True)) == read_examples(store, data(store, *pairs))


def test_cut_answers_stop_half_way(store: Store) -> None:
    source = data(store, ("abcd>", "dcba"), ("x", "DROP TABLE a ; DROP TABLE b ;"), ("y", ""))
    made = cut_answers(context(store, {"data": source}, {"count": 10}))["data"]
    answers = {example.prompt: example.answer for example in read_examples(store, made)}
    assert answers == {"abcd>": "dc", "x": "DROP TABLE a ;", "y": ""}
    assert cut_answers(context(store, {"data": source}, {"count": 10}))["data"] == made
    assert len(read_examples(store, cut_answers(context(store, {"data": source}, {"count": 2}))["data"])) == 2
