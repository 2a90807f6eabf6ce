"""Model artifacts: safetensors, ``config.json`` and ``codec.json`` (or a tokenizer's own files), to and from bytes.

Nothing here unpickles, and no code of a model folder runs (``trust_remote_code`` is never set).

Not here: where artifacts are kept (`store.py`), what makes a file fit to be loaded at all (`precheck/`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from evolvent import precheck
from evolvent.errors import UsageError
from evolvent.models import codec as codecs
from evolvent.models.codec import Codec
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.precheck import CODEC, CONFIG, WEIGHTS

_TOKENIZER_FILES = precheck.FILES.keys() - {WEIGHTS, CONFIG, CODEC}


def to_files(model: Any, codec: Codec, extra: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """A model as named bytes; `extra` carries a tokenizer's files over unchanged."""
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in model.state_dict().items()}
    files = dict(extra or {})
    files[WEIGHTS] = save_tensors(tensors, metadata={"format": "pt"})
    files[CONFIG] = _config(model.config).encode()
    files[CODEC] = json.dumps(codec.plain(), sort_keys=True).encode()
    return files


def _config(config: Any) -> str:
    if isinstance(config, EvolventConfig):
        return json.dumps(config.plain(), indent=2, sort_keys=True) + "\n"
    return config.to_json_string(use_diff=False)


def from_files(files: Mapping[str, bytes]) -> tuple[Any, Codec]:
    """A model and its codec from named bytes.

    Raises:
        UsageError: a file is missing, breaks a rule of the pre-check, or does not fit its configuration.
    """
    precheck.check_files(files)  # before a loader sees a byte, whoever handed them over
    tensors = load_tensors(bytes(files[WEIGHTS]))
    if precheck.built_in(files):
        model: Any = Decoder(EvolventConfig.from_plain(json.loads(files[CONFIG])))
        codec = codecs.from_plain(json.loads(files.get(CODEC, b"{}")))
    else:
        from evolvent.models.hub import built  # noqa: PLC0415 - slow

        model, codec = built(files, tensors)
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


def tokenizer_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of an artifact that a change of weights leaves alone."""
    return {name: data for name, data in files.items() if name in _TOKENIZER_FILES}


def num_parameters(model: Any) -> int:
    """Parameters, tied ones once."""
    return sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())


def longest(model: Any) -> int | None:
    """Tokens of the longest text that a model says it is made for."""
    name, config = "max_position_embeddings", model.config
    found = config.others.get(name) if isinstance(config, EvolventConfig) else getattr(config, name, None)
    return found if type(found) is int and found > 0 else None
