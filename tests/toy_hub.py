"""Tiny models of the transformers library, as a user may bring one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


def made(kind: str, folder: Path, positions: int = 64) -> None:
    """A model of fresh weights; a token is a byte, so that most of its answers are no whole text.

    Args:
        kind: ``gpt2`` or ``llama``.
        folder: where `save_pretrained` writes it.
        positions: tokens of the longest text.
    """
    marks = ["</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    inner = Tokenizer(models.BPE(vocab={mark: i for i, mark in enumerate(marks)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    inner.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(0)
    ends: dict[str, Any] = {"vocab_size": len(marks), "bos_token_id": 0, "eos_token_id": 0}
    if kind == "gpt2":
        small = GPT2Config(n_positions=positions, n_embd=16, n_layer=1, n_head=2, **ends)
        GPT2LMHeadModel(small).save_pretrained(folder)
        return
    config = LlamaConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=positions, **ends,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
