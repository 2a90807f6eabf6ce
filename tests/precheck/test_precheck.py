"""Hostile model files are refused before a loader sees them, wherever they come in; honest ones always pass."""

from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import hostile_models as corpus
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from evolvent import precheck
from evolvent.errors import JobFailed, ModelRefused, StoreError, UsageError
from evolvent.inputs import seed_files
from evolvent.jobs import Job, JobContext, JobEngine
from evolvent.models import files as loader
from evolvent.models import hub
from evolvent.models.codec import CharCodec
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.precheck import texts, weights
from evolvent.store import Store

# Known to the workers too, which import this module.
CANARY = Path(os.environ.setdefault("EVOLVENT_TEST_CANARY", f"{gettempdir()}/evolvent-canary-{os.getpid()}"))
HOSTILE = corpus.hostile(CANARY)


@pytest.fixture(autouse=True)
def canary() -> Any:
    """Nothing that a test hands over may run: that would create the file."""
    CANARY.unlink(missing_ok=True)
    yield CANARY
    ran = CANARY.exists()
    CANARY.unlink(missing_ok=True)
    assert not ran, "a hostile file was executed"


def test_the_corpus_is_large_and_its_charge_live(canary: Path) -> None:
    assert len(HOSTILE) >= 80
    pickle.loads(corpus.live_pickle(canary))
    assert canary.exists()
    canary.unlink()


def test_the_honest_model_passes_and_loads() -> None:
    assert precheck.check_files(corpus.honest()) == sum(map(math.prod, texts.built_in_shapes(corpus.CONFIG).values()))
    loader.from_files(corpus.honest())


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_model_is_refused_by_its_rule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files, kind = HOSTILE[name]
    with pytest.raises(ModelRefused) as refused:
        precheck.check_files(files)
    assert refused.value.kind == kind, refused.value
    assert str(refused.value).startswith("model: ")
    assert len(str(refused.value)) < 500

    def reached(*_: Any, **__: Any) -> None:
        raise AssertionError("a loader was reached")

    for place, loads in ((loader, "load_tensors"), (loader, "Decoder"), (hub, "AutoConfig"), (hub, "Tokenizer")):
        monkeypatch.setattr(place, loads, reached)
    with pytest.raises(ModelRefused):
        loader.from_files(files)


@pytest.mark.parametrize("name", [n for n, (files, _) in HOSTILE.items() if files.keys() <= precheck.FILES.keys()])
def test_a_hostile_folder_is_refused_at_import(name: str, tmp_path: Path) -> None:
    for file, data in HOSTILE[name][0].items():
        (tmp_path / file).write_bytes(data)
    with pytest.raises(ModelRefused):
        seed_files(str(tmp_path))


def test_files_of_other_names_are_never_opened(tmp_path: Path) -> None:
    for file, data in corpus.honest().items():
        (tmp_path / file).write_bytes(data)
    (tmp_path / "pytorch_model.bin").write_bytes(corpus.live_pickle(CANARY))
    os.mkfifo(tmp_path / "chat_template.jinja")  # to open it would wait for ever
    assert precheck.read_folder(tmp_path) == corpus.honest()
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelRefused, match="never opened") as refused:
        precheck.read_folder(tmp_path)
    assert refused.value.kind == "pickle"


@pytest.mark.parametrize("way", ["link", "pipe", "folder", "device"])
def test_only_regular_files_are_read(way: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for file, data in corpus.honest().items():
        (model / file).write_bytes(data)
    path = model / "config.json"
    path.rename(tmp_path / "config.json")
    match way:
        case "link":
            path.symlink_to(tmp_path / "config.json")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to("/dev/zero")
    with pytest.raises(ModelRefused, match=r"link|regular") as refused:
        precheck.read_folder(model)
    assert refused.value.kind == "not_a_file"


def test_an_artifact_is_what_its_manifest_says(tmp_path: Path) -> None:
    store = Store(tmp_path)
    files = corpus.honest()
    name = store.put_tree(files, "model", {})
    assert precheck.read_artifact(store, name) == files
    path = store.path(store.get_manifest(name)["files"]["model.safetensors"]["sha256"])
    whole = path.read_bytes()
    path.chmod(0o644)
    for data in (whole[:-1], whole + b"0", whole[:-1] + b"0"):  # by size, and by hash
        path.write_bytes(data)
        with pytest.raises(StoreError, match=r"expected|altered"):
            precheck.read_artifact(store, name)
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(whole)
    path.symlink_to(tmp_path / "elsewhere")  # the right bytes, but they could be others in a moment
    with pytest.raises(StoreError, match="link"):
        precheck.read_artifact(store, name)


def test_a_manifest_that_lies_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    entry = {"sha256": store.put_bytes(b"{}"), "size_bytes": 2}
    lies = {
        "name": {"pytorch_model.bin": entry},
        "too_large": {"config.json": {**entry, "size_bytes": 1 << 40}},
        "manifest": {"config.json": {**entry, "size_bytes": "2"}},
    }
    for kind, files in lies.items():
        name = store.put_json({"kind": "model", "files": files, "meta": {}})
        with pytest.raises(ModelRefused) as refused:
            precheck.read_artifact(store, name)
        assert refused.value.kind == kind
    with pytest.raises(ModelRefused) as refused:
        precheck.read_artifact(store, store.put_json({"kind": "model", "files": {}, "meta": {"a": "a" * (1 << 20)}}))
    assert refused.value.kind == "manifest"


def hostile_job(ctx: JobContext) -> dict[str, str]:
    """A job whose output is one of the hostile models."""
    files = HOSTILE[ctx.params["name"]][0] if ctx.params["name"] else corpus.honest()
    return {"model": ctx.store.put_tree(files, "model", {"parameters": 1})}


# Each of the corpus is refused above; here it takes a process that loads the libraries.
@pytest.mark.parametrize(
    "names",
    [
        ("bomb_width", "pickle_as_safetensors"),
        pytest.param(("overlap", "config_auto_map", "module_beside_the_model"), marks=pytest.mark.slow),
    ],
)
def test_a_jobs_hostile_output_is_its_failure(
    names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    with JobEngine(Store(tmp_path / "store"), workers=1) as engine:
        for name in names:
            with pytest.raises(JobFailed) as failed:
                engine.run(Job(function="test_precheck:hostile_job", params={"name": name}))
            assert failed.value.kind == "model_refused"
            assert HOSTILE[name][1] in str(failed.value)
        assert engine.run(Job(function="test_precheck:hostile_job", params={"name": ""})).outputs


def test_no_tensor_library_is_needed() -> None:
    code = "import sys, evolvent.precheck; print(sorted({'torch', 'transformers', 'safetensors'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- what is honest passes ---------------------------------------------------------------------------------------------

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
          torch.int8, torch.uint8, torch.bool)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    tensors=st.dictionaries(
        st.from_regex(r"[a-z_][a-z0-9_]{0,8}(\.[a-z0-9_]{1,8}){0,4}", fullmatch=True),
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 5), max_size=4)),
        min_size=1,
        max_size=12,
    ),
    metadata=st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=3),
    seed=st.integers(0, 2**32),
)
def test_what_safetensors_saves_passes(
    tensors: dict[str, tuple[torch.dtype, list[int]]], metadata: dict[str, str], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: (100 * torch.randn(shape, generator=generator)).to(dtype) for name, (dtype, shape) in tensors.items()
    }
    metadata.pop("__metadata__", None)
    data = save(state, metadata or None)
    header = weights.read_header(data)
    weights.check_values(data, header)
    assert {name: tensor.shape for name, tensor in header.items()} == {n: tuple(t.shape) for n, t in state.items()}
    assert weights.num_elements(header) == sum(t.numel() for t in state.values())


@settings(max_examples=25, deadline=None)
@given(heads=st.integers(1, 4), each=st.integers(1, 6), layers=st.integers(1, 3), inner=st.integers(1, 9),
       smear=st.booleans())  # fmt: skip
def test_the_built_in_models_shapes_are_known(heads: int, each: int, layers: int, inner: int, smear: bool) -> None:
    codec = CharCodec("abc>")
    config = EvolventConfig(
        vocab_size=codec.size, hidden_size=heads * 2 * each, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=inner, smear=smear,
    )  # fmt: skip
    model = Decoder(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert texts.built_in_shapes(config.plain()) == shapes
    files = loader.to_files(model, codec)
    assert precheck.check_files(files) == loader.num_parameters(model)


def test_one_bit_flipped_in_the_header_is_refused_or_changes_nothing_that_matters() -> None:
    data = bytearray(corpus.honest()["model.safetensors"])
    size = int.from_bytes(data[:8], "little")
    held = weights.read_header(bytes(data))
    refused = 0
    for bit in range(0, 8 * (8 + size), 7):
        data[bit // 8] ^= 1 << bit % 8
        try:
            found = weights.read_header(bytes(data))
        except ModelRefused:
            refused += 1
        else:  # a name or an equal type: every byte is still spoken for
            assert sum(t.stop - t.start for t in found.values()) == sum(t.stop - t.start for t in held.values())
        data[bit // 8] ^= 1 << bit % 8
    assert refused > 0.5 * 8 * size / 7


@pytest.mark.parametrize(
    ("pattern", "explodes"),
    [
        (r"(a+)+", True), (r"(a*)*b", True), (r"(?:x{2,})+", True), (r"((a+)b?)*", True), (r"(a)\1", True),
        (r"(\p{L}+)?", False), (r"\p{N}{1,3}", False), (r"[(+)]+", False), (r"(ab)+", False), (r"\(a+\)+", False),
        (r"(?i:'s|'t|'re)|[^\r\n\p{L}\p{N}]?\p{L}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+", False),
    ],
)  # fmt: skip
def test_patterns_that_take_for_ever_are_told(pattern: str, explodes: bool) -> None:
    assert texts._explodes(pattern) is explodes


def test_a_message_names_file_fault_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no folder .*expected a local folder"):
        precheck.read_folder(tmp_path / "none")
    with pytest.raises(ModelRefused, match=r"expected model\.safetensors"):
        precheck.read_folder(tmp_path)
    files = corpus.honest()
    with pytest.raises(ModelRefused, match="parameters, at most 10 allowed"):
        precheck.check_files(files, max_parameters=10)
    broken = {**files, "config.json": json.dumps({**corpus.CONFIG, "hidden_size": 1 << 30}).encode()}
    with pytest.raises(ModelRefused, match=r"config.json: hidden_size: the file explains at most 16384"):
        precheck.check_files(broken)


def test_large_files_are_checked_in_little_memory() -> None:
    data = corpus.raw({"a": corpus.tensor([3 << 20], 0, 12 << 20)}, bytes((12 << 20) - 4) + np.float32("nan").tobytes())
    with pytest.raises(ModelRefused, match="not finite"):
        weights.check_values(data, weights.read_header(data))
