"""Model artifacts: safetensors, ``config.json`` and ``codec.json`` (or a tokenizer's own files), to and from bytes.

Nothing here unpickles, and no code of a model folder runs (``trust_remote_code`` is never set).

Not here: where artifacts are kept (`store.py`), what makes a file fit to be loaded at all (`precheck/`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from evolvent import precheck
from evolvent.errors import ModelRefused, UsageError
from evolvent.models import codec as codecs
from evolvent.models.codec import Codec, TokenizerCodec
from evolvent.models.transformer import EvolventConfig, EvolventForCausalLM
from evolvent.precheck import CODEC, CONFIG, WEIGHTS

_ROOM_BYTES = 256 << 20
_TOKENIZER_FILES = precheck.FILES.keys() - {WEIGHTS, CONFIG, CODEC}


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
        UsageError: a file is missing, breaks a rule of the pre-check, or does not fit its configuration.
    """
    precheck.check_files(files)  # before a loader sees a byte, whoever handed them over
    config = json.loads(files[CONFIG])
    tensors = load_tensors(bytes(files[WEIGHTS]))
    if config["model_type"] == EvolventConfig.model_type:
        model: Any = EvolventForCausalLM(EvolventConfig.from_dict(config))
        codec = codecs.from_plain(json.loads(files.get(CODEC, b"{}")))
    else:
        model, codec = _hugging_face(files, tensors)
    try:
        missing, unexpected = model.load_state_dict(tensors, strict=False)
    except RuntimeError as exc:
        raise UsageError(f"model: weights do not fit {CONFIG}: {str(exc).splitlines()[-1].strip()}") from None
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    if set(missing) - tied or unexpected:
        raise UsageError(
            f"model: weights do not fit {CONFIG}: missing {sorted(missing)[:3]}, unexpected {unexpected[:3]}"
        )
    model.eval()
    return model, codec


def _hugging_face(files: Mapping[str, bytes], tensors: Mapping[str, Tensor]) -> tuple[Any, Codec]:
    """A model of the `transformers` library and its fast tokenizer, from bytes: the judge's worker writes no file."""
    if precheck.TOKENIZER not in files:
        raise UsageError(f"model: expected {precheck.TOKENIZER} beside the weights (save the fast tokenizer)")
    try:
        config = AutoConfig.for_model(**json.loads(files[CONFIG]))
        with torch.device("meta"):
            _explained(AutoModelForCausalLM.from_config(config), tensors)
        model = AutoModelForCausalLM.from_config(config)
        backend = Tokenizer.from_str(files[precheck.TOKENIZER].decode())
    except UsageError:
        raise
    except Exception as exc:  # the libraries' own words for what they cannot build
        raise UsageError(f"model: {CONFIG} or {precheck.TOKENIZER} cannot be built: {str(exc)[:200]}") from None
    special = json.loads(files.get("tokenizer_config.json", b"{}"))
    names = ("bos_token", "eos_token", "unk_token", "pad_token")
    tokens = {name: _token(special[name]) for name in names if special.get(name)}
    return model.float(), TokenizerCodec(PreTrainedTokenizerFast(tokenizer_object=backend, **tokens))


def _explained(empty: Any, tensors: Mapping[str, Tensor]) -> None:
    """Hold a model without memory against the file: what it would allocate must be what the file holds.

    Tied matrices stand in the file once, and tables of positions not at all; hence the room.

    Raises:
        ModelRefused: ``bomb``.
    """
    wanted = sum(t.numel() * t.element_size() for t in {id(t): t for t in _memory(empty)}.values())
    held = sum(t.numel() * max(4, t.element_size()) for t in tensors.values())
    if wanted > 2 * held + _ROOM_BYTES:
        raise ModelRefused(
            "bomb", f"model: {CONFIG} asks for {wanted} bytes, the weights in {WEIGHTS} take {held}; export it again"
        )


def _memory(model: Any) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _token(entry: Any) -> str:
    return str(entry["content"] if isinstance(entry, dict) else entry)


def tokenizer_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of an artifact that a change of weights leaves alone."""
    return {name: data for name, data in files.items() if name in _TOKENIZER_FILES}


def num_parameters(model: Any) -> int:
    """Parameters, tied ones once."""
    return sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())
