"""Malicious model folders, made on demand. Each is an honest tiny model with one thing wrong.

`hostile(canary)` gives name -> (files, kinds): the files as they would lie in a folder, and the rules that may refuse
them. What could execute would create the file `canary`; `live_pickle` proves that the charge is live.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from evolvent.precheck.texts import built_in_shapes

CONFIG: dict[str, Any] = {
    "model_type": "evolvent", "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 8,
}  # fmt: skip
CODEC = {"kind": "char", "alphabet": "abcdefgh>"}
TOKENIZER: dict[str, Any] = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
    "pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"\s+(?!\S)|[^\s\p{L}]+|\p{L}+"}, "behavior": "Isolated",
                      "invert": False},
    "post_processor": None, "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"<unk>": 0, "</s>": 1, "a": 2}, "unk_token": "<unk>"},
}  # fmt: skip
Files = dict[str, bytes]


class Charge:
    """Creates a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.canary,)


def weights() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in built_in_shapes(CONFIG).items()}


def dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def honest() -> Files:
    return {"model.safetensors": save(weights()), "config.json": dump(CONFIG), "codec.json": dump(CODEC)}


def raw(header: bytes | dict[str, Any], body: bytes, claimed: int | None = None) -> bytes:
    data = header if isinstance(header, bytes) else dump(header)
    return struct.pack("<Q", len(data) if claimed is None else claimed) + data + body


def tensor(shape: list[Any], start: int, stop: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def live_pickle(canary: Path) -> bytes:
    return pickle.dumps(Charge(canary))


def torch_zip(canary: Path) -> bytes:
    """As `torch.save` lays it out: a zip with a pickle in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("archive/data.pkl", live_pickle(canary))
        file.writestr("archive/version", "3\n")
    return out.getvalue()


def tar(canary: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        entry = tarfile.TarInfo("pickle")
        entry.size = len(live_pickle(canary))
        file.addfile(entry, io.BytesIO(live_pickle(canary)))
    return out.getvalue()


def headers() -> dict[str, tuple[bytes, str]]:
    """Broken safetensors: bytes and the rule that they break."""
    one, eight = tensor([2], 0, 8), bytes(8)
    good, huge = raw({"a": one}, eight), 1 << 62
    nan, inf = struct.pack("<f", float("nan")), struct.pack("<f", float("-inf"))
    return {
        "empty": (b"", "not_safetensors"),
        "header_longer_than_file": (raw({"a": one}, eight, claimed=10_000), "header_size"),
        "header_of_2_to_64": (raw({"a": one}, eight, claimed=2**64 - 1), "header_size"),
        "header_over_100_MB": (raw(b"{}" + b" " * 100_000_000, b""), "header_size"),
        "header_cut": (good[:20], "header_size"),
        "header_not_json": (raw(b"{'a': 1}", eight), "json"),
        "header_a_list": (raw(b"[]", eight), "header"),
        "header_not_utf8": (raw(b'{"\xff\xfe": 1}', eight), "json"),
        "header_key_twice": (raw(b'{"a":%b,"a":%b}' % (dump(one), dump(one)), eight), "json"),
        "header_nested_key_twice": (
            raw(b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', eight), "json"),
        "header_nan": (raw(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', eight), "json"),
        "header_deep": (raw(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", eight), "json"),
        "header_deep_but_parsed": (raw(b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", eight), "json"),
        "no_tensors": (raw({}, b""), "num_tensors"),
        "metadata_not_text": (raw({"__metadata__": {"a": 1}, "a": one}, eight), "header"),
        "overlap": (raw({"a": one, "b": tensor([2], 4, 12)}, bytes(12)), "overlap"),
        "same_bytes_twice": (raw({"a": one, "b": one}, eight), "overlap"),
        "hole": (raw({"a": one, "b": tensor([1], 12, 16)}, bytes(16)), "hole"),
        "hole_at_start": (raw({"a": tensor([1], 4, 8)}, eight), "hole"),
        "bytes_after_the_end": (good + b"more", "size"),
        "body_cut": (good[:-1], "size"),
        "offsets_backwards": (raw({"a": tensor([2], 8, 0)}, eight), "extent"),
        "offsets_negative": (raw({"a": tensor([2], -8, 0)}, eight), "offsets"),
        "offsets_past_the_end": (raw({"a": tensor([2], 800, 808)}, eight), "hole"),
        "shape_lies": (raw({"a": tensor([3], 0, 8)}, eight), "extent"),
        "shape_overflows_to_right": (raw({"a": tensor([huge, 8], 0, 0)}, b""), "shape"),
        "shape_huge_times_zero": (raw({"a": tensor([huge, huge, 0], 0, 0)}, b""), "shape"),
        "shape_negative": (raw({"a": tensor([-1, -2], 0, 8)}, eight), "shape"),
        "shape_bool": (raw({"a": tensor([True, 2], 0, 8)}, eight), "shape"),
        "shape_real": (raw({"a": tensor([2.0], 0, 8)}, eight), "shape"),
        "shape_of_many_sides": (raw({"a": tensor([1] * 60 + [2], 0, 8)}, eight), "shape"),
        "dtype_unknown": (raw({"a": tensor([1], 0, 8, "C64")}, eight), "dtype"),
        "dtype_object": (raw({"a": tensor([1], 0, 8, "O")}, eight), "dtype"),
        "name_walks_up": (raw({"../../etc/passwd": one}, eight), "name"),
        "name_with_zero": (raw({"a\0b": one}, eight), "name"),
        "name_endless": (raw({"a" * 100_000: one}, eight), "name"),
        "extra_field": (raw({"a": {**one, "code": "import os"}}, eight), "header"),
        "too_many_parameters": (raw({"a": tensor([1 << 37], 0, 1 << 39)}, eight), "shape"),
        "nan": (raw({"a": one}, bytes(4) + nan), "not_finite"),
        "infinity": (raw({"a": one}, inf + bytes(4)), "not_finite"),
        "nan_half": (raw({"a": tensor([4], 0, 8, "F16")}, b"\x00\x7e" + bytes(6)), "not_finite"),
        "nan_bfloat16": (raw({"a": tensor([4], 0, 8, "BF16")}, bytes(6) + b"\xc0\xff"), "not_finite"),
        "nan_double": (raw({"a": tensor([1], 0, 8, "F64")}, struct.pack("<d", float("nan"))), "not_finite"),
        "truth_of_two": (raw({"a": tensor([8], 0, 8, "BOOL")}, b"\x02" + bytes(7)), "bool"),
    }  # fmt: skip


def configs() -> dict[str, tuple[bytes, str]]:
    """Configurations that ask for code, or for more than the file explains."""
    code = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    changes: dict[str, tuple[dict[str, Any], str]] = {
        "config_auto_map": ({"auto_map": code}, "code"),
        "config_nested_auto_map": ({"text_config": {"auto_map": code}}, "code"),
        "config_trusts_remote_code": ({"trust_remote_code": True}, "code"),
        "config_kernel_from_afar": ({"_attn_implementation": "somebody/kernel"}, "code"),
        "config_backbone_from_afar": ({"backbone": "resnet", "use_pretrained_backbone": True}, "code"),
        "config_type_is_a_path": ({"model_type": "../evil"}, "config"),
        "config_without_type": ({"model_type": None}, "config"),
        "bomb_vocabulary": ({"vocab_size": 1 << 40}, "bomb"),
        "bomb_width": ({"hidden_size": 1 << 30}, "bomb"),
        "bomb_moderate_width": ({"hidden_size": 16_384, "intermediate_size": 16_384}, "bomb"),
        "bomb_layers": ({"num_hidden_layers": 1_000_000}, "bomb"),
        "bomb_layers_within_tensors": ({"num_hidden_layers": 9}, "config"),
        "bomb_labels": ({"num_labels": 1 << 30}, "bomb"),
        "bomb_positions": ({"max_position_embeddings": 1 << 60}, "bomb"),
        "bomb_in_a_list": ({"layer_sizes": [8, 1 << 40]}, "bomb"),
        "bomb_text": ({"_name_or_path": "a" * 100_000}, "config"),
        "config_width_of_minus_one": ({"hidden_size": -1}, "config"),
        "config_width_is_true": ({"hidden_size": True}, "config"),
        "config_positions_are_a_list": ({"positions": ["rope"]}, "config"),
        "config_smear_is_a_text": ({"smear": "no"}, "config"),
    }
    made = {name: (dump({**CONFIG, **change}), kind) for name, (change, kind) in changes.items()}
    made["config_infinite"] = (dump(CONFIG)[:-1] + b', "initializer_range": 1e999}', "json")
    made["config_key_twice"] = (b'{"model_type": "evil", ' + dump(CONFIG)[1:], "json")
    made["config_half_a_character"] = (dump({**CONFIG, "a": "\ud800"}), "json")
    return made


def texts(canary: Path) -> dict[str, tuple[str, bytes, str]]:
    """Other files: name in the folder, contents, rule."""
    evil = f"from pathlib import Path\nPath({str(canary)!r}).touch()\n".encode()
    repeated = {**TOKENIZER, "pre_tokenizer": {**TOKENIZER["pre_tokenizer"], "pattern": {"Regex": "(a+)+$"}}}
    long = {**TOKENIZER, "normalizer": {"type": "Replace", "pattern": {"Regex": "a" * 9000}, "content": ""}}
    back = {**TOKENIZER, "normalizer": {"type": "Replace", "pattern": {"Regex": r"(a*)\1b"}, "content": ""}}
    return {
        "module_beside_the_model": ("modeling_evil.py", evil, "name"),
        "pickle_beside_the_model": ("pytorch_model.bin", live_pickle(canary), "name"),
        "name_that_walks_up": ("../evil.json", b"{}", "name"),
        "codec_bomb": ("codec.json", dump({"kind": "sql", "num_slots": 1 << 40}), "codec"),
        "codec_unknown": ("codec.json", dump({"kind": "module:function"}), "codec"),
        "codec_words": ("codec.json", dump({"kind": "python", "words": [["eval"]], "num_slots": 1}), "codec"),
        "codec_words_bomb": ("codec.json", dump({"kind": "python", "words": ["a"] * 5000, "num_slots": 1}), "codec"),
        "codec_alphabet_bomb": ("codec.json", dump({"kind": "char", "alphabet": "ab" * 100_000}), "codec"),
        "tokenizer_pickle": ("tokenizer.json", live_pickle(canary), "json"),
        "tokenizer_unknown_model": ("tokenizer.json", dump({"model": {"type": "Python"}}), "tokenizer"),
        "tokenizer_regex_explodes": ("tokenizer.json", dump(repeated), "regex"),
        "tokenizer_regex_long": ("tokenizer.json", dump(long), "regex"),
        "tokenizer_regex_refers_back": ("tokenizer.json", dump(back), "regex"),
        "tokenizer_too_large": ("tokenizer.json", b"{" + b" " * (64 << 20), "too_large"),
        "tokenizer_custom_class": (
            "tokenizer_config.json", dump({"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}), "code"),
        "tokenizer_mark_is_an_object": ("tokenizer_config.json", dump({"eos_token": {"content": [1]}}), "tokenizer"),
        "generation_custom": ("generation_config.json", dump({"custom_generate": "somebody/evil"}), "code"),
        "merges_not_text": ("merges.txt", b"\xff\xfe\x00", "tokenizer"),
    }  # fmt: skip


def hostile(canary: Path) -> dict[str, tuple[Files, str]]:
    """Every malicious model: its files, and the rule that refuses it."""
    base = honest()
    other = {**base, "config.json": b'{"model_type": "gpt2"}'}  # says nothing of the tensors
    corpus = {name: ({**other, "model.safetensors": data}, kind) for name, (data, kind) in headers().items()}
    corpus |= {name: ({**base, "config.json": data}, kind) for name, (data, kind) in configs().items()}
    corpus |= {name: ({**base, file: data}, kind) for name, (file, data, kind) in texts(canary).items()}
    for name, data, kind in (
        ("pickle_as_safetensors", live_pickle(canary), "pickle"),
        ("old_pickle_as_safetensors", pickle.dumps(Charge(canary), protocol=0), "header_size"),
        ("torch_zip_as_safetensors", torch_zip(canary), "pickle"),
        ("tar_as_safetensors", tar(canary), "header_size"),
        ("safetensors_with_a_pickle_behind", base["model.safetensors"] + live_pickle(canary), "size"),
        ("safetensors_with_a_zip_behind", base["model.safetensors"] + torch_zip(canary), "size"),
    ):
        corpus[name] = ({**base, "model.safetensors": data}, kind)
    return corpus
