"""Models of the `transformers` library: loading them from bytes, and the built-in transformer as one of them.

Importing that library takes longer than everything else that a process of a run starts with, so this module is imported
where such a model is asked for. Importing it makes the Auto classes know the built-in transformer.

Not here: the built-in transformer itself (`transformer.py`), what makes a file fit to be loaded (`precheck/`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationMixin,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.modeling_outputs import CausalLMOutputWithPast

from evolvent.errors import ModelRefused, UsageError
from evolvent.models.cache import Columns
from evolvent.models.codec import TokenizerCodec
from evolvent.models.transformer import Decoder, EvolventConfig, Layers
from evolvent.precheck import CONFIG, TOKENIZER, WEIGHTS
from evolvent.precheck.texts import BUILT_IN

__all__ = ["EvolventForCausalLM", "HubConfig", "built", "growing_cache", "theirs"]

_ROOM_BYTES = 256 << 20


# -- the built-in transformer as one of theirs -------------------------------------------------------------------------


class HubConfig(PretrainedConfig):
    """`EvolventConfig` as a configuration of the library."""

    model_type = BUILT_IN

    def __init__(
        self,
        vocab_size: int = 256,
        hidden_size: int = 128,
        num_hidden_layers: int = 4,
        num_attention_heads: int = 4,
        intermediate_size: int = 256,
        positions: str = "rope",
        smear: bool = True,
        **kwargs: Any,
    ) -> None:
        own = EvolventConfig(
            vocab_size=vocab_size, hidden_size=hidden_size, num_hidden_layers=num_hidden_layers,
            num_attention_heads=num_attention_heads, intermediate_size=intermediate_size, positions=positions,
            smear=smear,
        )  # fmt: skip
        others = {"tie_word_embeddings": False, **own.others, **kwargs}  # tied by construction: there is one matrix
        for name, value in own.plain().items():
            if name not in ("model_type", *others):
                setattr(self, name, value)
        super().__init__(**others)


def _own(config: Any) -> EvolventConfig:
    return EvolventConfig.from_plain(config.to_dict())


class EvolventForCausalLM(Layers, PreTrainedModel, GenerationMixin):
    """The model as that library's: `save_pretrained`, `generate`, Auto classes."""

    config_class = HubConfig
    base_model_prefix = "model"
    _no_split_modules = ["Block"]  # noqa: RUF012 - the name and form that transformers reads
    _supports_sdpa = True

    def __init__(self, config: HubConfig) -> None:
        PreTrainedModel.__init__(self, config)
        self._make(_own(config))
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The token embeddings, which are the output matrix too."""
        return self.embed

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embeddings."""
        assert isinstance(value, nn.Embedding)
        self.embed = value

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """As `Layers.decode`, in the library's form."""
        cache: Any = DynamicCache() if use_cache and past_key_values is None else past_key_values
        out = self.decode(input_ids, attention_mask, position_ids, cache, labels, logits_to_keep=logits_to_keep)
        return CausalLMOutputWithPast(loss=out.loss, logits=out.logits, past_key_values=cache)  # type: ignore[arg-type]


def theirs(model: Decoder) -> EvolventForCausalLM:
    """A copy of the built-in transformer as a model of the library."""
    made = EvolventForCausalLM(HubConfig(**model.config.plain()))
    made.load_state_dict(model.state_dict())
    return made.eval()


AutoConfig.register(BUILT_IN, HubConfig, exist_ok=True)
AutoModelForCausalLM.register(HubConfig, EvolventForCausalLM, exist_ok=True)


# -- theirs ------------------------------------------------------------------------------------------------------------


class _GrowingLayer(DynamicLayer):
    """A layer with spare columns; `keys` and `values` are views of the filled part, as the base class promises."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._columns = Columns()
        elif self._columns.keys is not self.keys:  # the library has cut it, or chosen rows
            self._columns = Columns(self.keys, self.values)
        self.keys, self.values = self._columns.append(key_states, value_states)
        return self.keys, self.values


def growing_cache() -> DynamicCache:
    """A cache for a model of the library."""
    cache = DynamicCache()
    cache.layer_class_to_replicate = _GrowingLayer
    return cache


def built(files: Mapping[str, bytes], tensors: Mapping[str, Tensor]) -> tuple[Any, TokenizerCodec]:
    """A model of the `transformers` library and its fast tokenizer, from bytes: the judge's worker writes no file."""
    if TOKENIZER not in files:
        raise UsageError(f"model: expected {TOKENIZER} beside the weights (save the fast tokenizer)")
    try:
        config = AutoConfig.for_model(**json.loads(files[CONFIG]))
        with torch.device("meta"):
            _explained(AutoModelForCausalLM.from_config(config), tensors)
        model = AutoModelForCausalLM.from_config(config)
        backend = Tokenizer.from_str(files[TOKENIZER].decode())
    except UsageError:
        raise
    except Exception as exc:  # the libraries' own words for what they cannot build
        raise UsageError(f"model: {CONFIG} or {TOKENIZER} cannot be built: {str(exc)[:200]}") from None
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
