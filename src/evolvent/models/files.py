"""Model artifacts: safetensors, ``config.json`` and ``codec.json`` (or a tokenizer's own files), to and from bytes.

Nothing here unpickles, and no code of a model folder runs (``trust_remote_code`` is never set).

Not here: where artifacts are kept (`store.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from evolvent.errors import UsageError
from evolvent.models import codec as codecs
from evolvent.models.codec import Codec, TokenizerCodec
from evolvent.models.transformer import EvolventConfig, EvolventForCausalLM

TOKENIZER = "tokenizer.json"
WEIGHTS, CONFIG, CODEC = "model.safetensors", "config.json", "codec.json"
_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt",
    "added_tokens.json", "generation_config.json", "tokenizer.model",
)  # fmt: skip


def to_files(model: Any, codec: Codec, extra: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """A model as named bytes; `extra` carries a tokenizer's files over unchanged."""
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in model.state_dict().items()}
    files = dict(extra or {})
    files[WEIGHTS] = save_tensors(tensors, metadata={"format": "pt"})
    files[CONFIG] = model.config.to_json_string(use_diff=False).encode()
    files[CODEC] = json.dumps(codec.plain(), sort_keys=True).encode()
    return files


def from_files(files: Mapping[str, bytes]) -> tuple[Any, Codec]:
    """A model and its codec from named bytes.

    Raises:
        UsageError: a file is missing, is not safetensors, or does not fit its configuration.
    """
    for name in (WEIGHTS, CONFIG):
        if name not in files:
            raise UsageError(f"model: expected a file {name}, found {', '.join(sorted(files)) or 'nothing'}")
    try:
        config = json.loads(files[CONFIG])
        tensors = load_tensors(bytes(files[WEIGHTS]))
    except (SafetensorError, ValueError) as exc:
        raise UsageError(f"model: {WEIGHTS} or {CONFIG} is broken: {exc}; export it again") from None
    if config.get("model_type") == "evolvent":
        model: Any = EvolventForCausalLM(EvolventConfig.from_dict(config))
        codec = codecs.from_plain(json.loads(files.get(CODEC, b"{}")))
    else:
        model, codec = _hugging_face(files)
    try:
        missing, unexpected = model.load_state_dict(tensors, strict=False)
    except RuntimeError as exc:
        raise UsageError(f"model: weights do not fit {CONFIG}: {str(exc).splitlines()[-1].strip()}") from None
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    if set(missing) - tied or unexpected:
        raise UsageError(
            f"model: weights do not fit {CONFIG}: missing {sorted(missing)[:3]}, unexpected {unexpected[:3]}"
        )
    if not all(bool(torch.isfinite(t).all()) for t in tensors.values()):
        raise UsageError(f"model: {WEIGHTS} holds values that are not finite")
    model.eval()
    return model, codec


def _hugging_face(files: Mapping[str, bytes]) -> tuple[Any, Codec]:
    """A model of the `transformers` library and its fast tokenizer, from bytes: the judge's worker writes no file."""
    config = json.loads(files[CONFIG])
    if "model_type" not in config or "auto_map" in config:
        raise UsageError(f"model: {CONFIG} names no model_type of the transformers library; custom code is never run")
    if TOKENIZER not in files:
        raise UsageError(f"model: expected {TOKENIZER} beside the weights (save the fast tokenizer)")
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    special = json.loads(files.get("tokenizer_config.json", b"{}"))
    names = ("bos_token", "eos_token", "unk_token", "pad_token")
    tokens = {name: _token(special[name]) for name in names if special.get(name)}
    backend = Tokenizer.from_str(files[TOKENIZER].decode())
    return model.float(), TokenizerCodec(PreTrainedTokenizerFast(tokenizer_object=backend, **tokens))


def _token(entry: Any) -> str:
    return str(entry["content"] if isinstance(entry, dict) else entry)


def tokenizer_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of an artifact that a change of weights leaves alone."""
    return {name: data for name, data in files.items() if name in _TOKENIZER_FILES}


def read_folder(folder: Path) -> dict[str, bytes]:
    """The model files of a local folder in `save_pretrained` layout.

    Raises:
        UsageError: no such folder, no safetensors, or pickled weights only.
    """
    if not folder.is_dir():
        raise UsageError(f"model: no folder {folder}; expected a local folder in save_pretrained layout")
    if not (folder / WEIGHTS).is_file():
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        hint = (
            "pickled weights are never opened: save with safe_serialization=True" if pickled else f"expected {WEIGHTS}"
        )
        raise UsageError(f"model: {folder} holds no {WEIGHTS}; {hint}")
    names = (WEIGHTS, CONFIG, CODEC, *_TOKENIZER_FILES)
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def num_parameters(model: Any) -> int:
    """Parameters, tied ones once."""
    return sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())
