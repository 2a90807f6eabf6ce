"""Model artifacts: out and in without loss, also for models of Hugging Face; broken ones are explained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from evolvent.errors import UsageError
from evolvent.models.codec import CharCodec, SqlCodec, TokenizerCodec
from evolvent.models.files import from_files, num_parameters, to_files, tokenizer_files
from evolvent.models.sampler import sample
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.precheck import read_folder

TOKENS = torch.tensor([[4, 5, 6, 7]])


def built_in() -> dict[str, bytes]:
    torch.manual_seed(0)
    codec = CharCodec("abcdefgh>")
    config = EvolventConfig(
        vocab_size=codec.size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    return to_files(Decoder(config), codec)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of the ecosystem and a tokenizer, both made here, in `save_pretrained` layout."""
    path = tmp_path_factory.mktemp(request.param)
    words = ["<pad>", "</s>", "<unk>", "CREATE", "TABLE", "a", "b", "c", "DROP", ";"]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(path)
    torch.manual_seed(0)
    model: Any
    if request.param == "gpt2":
        config = GPT2Config(vocab_size=10, n_positions=64, n_embd=16, n_layer=2, n_head=2, eos_token_id=1)
        model = GPT2LMHeadModel(config)  # output and input embeddings are tied: one tensor in the file
    else:
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=10, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=64, eos_token_id=1, pad_token_id=0,
            )
        )  # fmt: skip
    model.save_pretrained(path)
    return path


def test_a_built_in_model_comes_back() -> None:
    files = built_in()
    model, codec = from_files(files)
    assert to_files(model, codec) == files
    assert not model.training


def test_a_hugging_face_model_comes_back(folder: Path) -> None:
    files = read_folder(folder)
    model, codec = from_files(files)
    assert isinstance(codec, TokenizerCodec)
    again, _ = from_files(to_files(model, codec, tokenizer_files(files)))
    with torch.inference_mode():
        expected = model(input_ids=TOKENS).logits
        assert torch.equal(again(input_ids=TOKENS).logits, expected)
        original = type(model).from_pretrained(folder).eval()
        torch.testing.assert_close(original(input_ids=TOKENS).logits, expected)


def test_a_hugging_face_model_is_sampled_as_generate_does(folder: Path) -> None:
    model, codec = from_files(read_folder(folder))
    prompts = ["CREATE TABLE a", "DROP TABLE b ;", "c", "a b c a b c a b"]
    expected = []
    for prompt in prompts:
        tokens = torch.tensor([codec.encode(prompt).ids])
        with torch.inference_mode():
            out = model.generate(
                tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=9, pad_token_id=0
            )
        expected.append(codec.decode(out[0, tokens.shape[1] :].tolist(), codec.encode(prompt)))
    assert [texts[0] for texts in sample(model, codec, prompts, max_new_tokens=9).outputs] == expected
    drawn = sample(model, codec, prompts, num_samples=3, temperature=1.0, max_new_tokens=5).outputs
    assert [len(texts) for texts in drawn] == [3] * 4


def test_a_tokenizer_keeps_the_contract(folder: Path) -> None:
    _, codec = from_files(read_folder(folder))
    encoded = codec.encode("CREATE TABLE a")
    ids = codec.encode_answer("DROP TABLE a ;", encoded)
    assert ids[-1] == codec.eos
    assert codec.decode([*ids, 5, 5], encoded).replace(" ", "") == "DROPTABLEa;"


def test_parameters_are_counted_once(folder: Path) -> None:
    model, _ = from_files(read_folder(folder))
    assert num_parameters(model) == sum(p.numel() for p in model.parameters())


def replaced(**files: bytes | None) -> dict[str, bytes]:
    whole: dict[str, bytes | None] = {**built_in(), **{name.replace("__", "."): data for name, data in files.items()}}
    return {name: data for name, data in whole.items() if data is not None}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model__safetensors": None}, "expected a file model.safetensors, found codec.json, config.json"),
        ({"config__json": None}, "expected a file config.json"),
        ({"model__safetensors": b"\x80\x04pickle"}, "is broken"),
        ({"model__safetensors": b""}, "is broken"),
        ({"config__json": b"{"}, "is broken"),
        ({"config__json": json.dumps({"model_type": "evolvent", "vocab_size": 11, "hidden_size": 32,
          "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}).encode()}, "do not fit"),
        ({"config__json": json.dumps({"model_type": "evolvent", "vocab_size": 11, "hidden_size": 16,
          "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}).encode()}, "missing"),
    ],
)  # fmt: skip
def test_broken_artifacts_are_explained(changes: dict[str, bytes | None], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        from_files(replaced(**changes))


def test_values_that_are_not_finite_are_refused() -> None:
    model, codec = from_files(built_in())
    with torch.no_grad():
        model.embed.weight[0, 0] = float("nan")
    with pytest.raises(UsageError, match="not finite"):
        from_files(to_files(model, codec))


def test_pickled_weights_are_never_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        read_folder(tmp_path / "none")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(UsageError, match="never opened"):
        read_folder(tmp_path)


def test_code_of_a_model_folder_does_not_run(folder: Path, tmp_path: Path) -> None:
    files = read_folder(folder)
    config = json.loads(files["config.json"])
    config.update(model_type="evil", auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"})
    with pytest.raises((ValueError, OSError)):
        from_files({**files, "config.json": json.dumps(config).encode(), "evil.py": b"raise SystemExit"})


def test_the_files_of_a_sql_model_name_its_codec() -> None:
    codec = SqlCodec(8)
    config = EvolventConfig(vocab_size=codec.size, hidden_size=16, num_hidden_layers=1, intermediate_size=16)
    _, again = from_files(to_files(Decoder(config), codec))
    assert again.plain() == {"kind": "sql", "num_slots": 8}
