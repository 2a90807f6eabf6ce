"""Batched sampling with a key-value cache, for the built-in transformer and any Hugging Face causal model.

The k samples of a prompt share its prefill; finished rows leave the batch; prompts of like length go together. Outputs
depend on prompts, order, seed and thread count only.

Not here: prompts' meaning, verification, scaffolds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from evolvent.models.cache import Cache
from evolvent.models.codec import Codec, Encoded
from evolvent.models.transformer import Decoder

COMPACT = 0.8  # finished rows leave when so few are left: leaving copies the cache, so not at each one


def _cache(model: Any) -> Any:
    if isinstance(model, Decoder):
        return Cache()
    from evolvent.models.hub import growing_cache  # noqa: PLC0415 - slow

    return growing_cache()


@dataclass(frozen=True)
class Sampled:
    """Outputs, ``[prompt][sample]``, and the tokens read and written, padding left out."""

    outputs: list[list[str]]
    tokens_read: int
    tokens_written: int


@torch.inference_mode()
def sample(
    model: Any,
    codec: Codec,
    prompts: Sequence[str],
    *,
    num_samples: int = 1,
    temperature: float = 0.0,
    max_new_tokens: int = 96,
    seed: int = 0,
    rows: int = 64,
) -> Sampled:
    """Sample answers.

    Args:
        model: a causal model with ``past_key_values`` support.
        codec: its codec.
        prompts: any number; a prompt that cannot be encoded, or in which nothing is, gets empty outputs.
        num_samples: k samples a prompt.
        temperature: 0 is greedy.
        max_new_tokens: hard limit of each answer.
        seed: of the sampling; unused when greedy.
        rows: batch rows, samples included; more pad more and are slower on a CPU (measured: 64 beats 32 and 128).

    Returns:
        Outputs in the order of `prompts`.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    encoded: dict[int, Encoded] = {}
    for i, prompt in enumerate(prompts):
        try:
            found = codec.encode(prompt)
        except ValueError:
            continue
        if found.ids:
            encoded[i] = found
    outputs = [[""] * num_samples for _ in prompts]
    order = sorted(encoded, key=lambda i: len(encoded[i].ids))
    read = written = 0
    each = max(1, rows // num_samples)
    for start in range(0, len(order), each):
        chosen = order[start : start + each]
        ids, written_here = _decode(
            model, codec, [encoded[i].ids for i in chosen], num_samples, temperature, max_new_tokens, generator
        )
        written += written_here
        for place, i in enumerate(chosen):
            read += len(encoded[i].ids)
            for k in range(num_samples):
                outputs[i][k] = codec.decode(ids[place * num_samples + k], encoded[i])
    return Sampled(outputs, read, written)


@torch.inference_mode()
def stream(
    model: Any,
    codec: Codec,
    encoded: Encoded,
    *,
    num_samples: int = 1,
    temperature: float = 0.0,
    max_new_tokens: int = 96,
    seed: int = 0,
) -> Iterator[list[tuple[int, int]]]:
    """One prompt's answers while they are written; close the iterator to end the work.

    Yields:
        After each step, sample and token of each answer that was still being written, end marks included. They are the
        tokens of `sample` for this prompt alone.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    yield from _steps(model, codec, [encoded.ids], num_samples, temperature, max_new_tokens, generator)


def _decode(
    model: Any,
    codec: Codec,
    prompts: list[list[int]],
    num_samples: int,
    temperature: float,
    limit: int,
    generator: torch.Generator,
) -> tuple[list[list[int]], int]:
    results: list[list[int]] = [[] for _ in range(len(prompts) * num_samples)]
    for step in _steps(model, codec, prompts, num_samples, temperature, limit, generator):
        for row, token in step:
            results[row].append(token)
    return results, sum(map(len, results))


def _steps(
    model: Any,
    codec: Codec,
    prompts: list[list[int]],
    num_samples: int,
    temperature: float,
    limit: int,
    generator: torch.Generator,
) -> Iterator[list[tuple[int, int]]]:
    """After each step, result row and token of each answer that had not ended."""
    width = max(len(ids) for ids in prompts)
    tokens = torch.tensor([[codec.pad] * (width - len(ids)) + ids for ids in prompts])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
    cache = _cache(model)
    out = model(
        input_ids=tokens,
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp_min(0),  # some models would count the padding (GPT-2)
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits = out.logits[:, -1].repeat_interleave(num_samples, 0)
    mask = mask.repeat_interleave(num_samples, 0)
    if num_samples > 1:
        cache.batch_repeat_interleave(num_samples)
    position = mask.sum(-1)
    alive = torch.arange(len(logits))  # result row of each batch row
    done = torch.zeros(len(logits), dtype=torch.bool)
    for step in range(limit):
        if temperature > 0:
            chances = torch.softmax(logits.float() / temperature, -1)
            chosen = torch.multinomial(chances, 1, generator=generator)[:, 0]
        else:
            chosen = logits.argmax(-1)
        rows = zip(alive.tolist(), chosen.tolist(), done.tolist(), strict=True)
        yield [(row, token) for row, token, ended in rows if not ended]
        done |= chosen == codec.eos
        if bool(done.all()) or step == limit - 1:
            break
        going = (~done).nonzero()[:, 0]
        if len(going) <= COMPACT * len(done):
            alive, chosen, mask, position, done = alive[going], chosen[going], mask[going], position[going], done[going]
            cache.batch_select_indices(going)
        mask = torch.cat((mask, mask.new_ones(len(mask), 1)), 1)
        out = model(
            input_ids=chosen[:, None],
            attention_mask=mask,
            position_ids=position[:, None],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        position = position + 1
        logits = out.logits[:, -1]
