"""The sampler: the same tokens as `transformers` greedy generation, whatever the batch; k samples cost one prefill."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evolvent.models import hub
from evolvent.models.codec import CharCodec, Codec
from evolvent.models.files import from_files
from evolvent.models.sampler import sample, stream
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.precheck import read_folder
from evolvent.tasks.strings import Strings

CODEC = CharCodec("abcdefgh>")


def tiny(positions: str = "rope") -> Decoder:
    torch.manual_seed(3)
    config = EvolventConfig(
        vocab_size=CODEC.size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        positions=positions,
    )  # fmt: skip
    model = Decoder(config).eval()
    with torch.no_grad():  # wide logits, so that ties by rounding are rare
        torch.nn.init.normal_(model.embed.weight, std=0.6)
    return model


MODEL = tiny()
PROMPTS = ["".join(random.Random(i).choices("abcdefgh", k=1 + i % 9)) + ">" for i in range(24)]
prompts = st.lists(st.text("abcdefgh", min_size=1, max_size=12), min_size=1, max_size=12)


def generated(model: Any, prompt: str, limit: int, codec: Codec = CODEC) -> str:
    """What `generate` says to this prompt alone."""
    encoded = codec.encode(prompt)
    tokens = torch.tensor([encoded.ids])
    with torch.inference_mode():
        out = model.generate(
            tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=limit, pad_token_id=0
        )
    return codec.decode(out[0, len(encoded.ids) :].tolist(), encoded)


@pytest.mark.parametrize("positions", ["rope", "none"])
def test_greedy_is_generates_greedy(positions: str) -> None:
    model = tiny(positions)
    out = sample(model, CODEC, PROMPTS, max_new_tokens=30)
    assert [texts[0] for texts in out.outputs] == [generated(hub.theirs(model), prompt, 30) for prompt in PROMPTS]


def test_answers_of_many_lengths_are_generates_too(toy_seed: Path) -> None:
    model, codec = from_files(read_folder(toy_seed))
    prompts = [p.prompt for skill in ("short", "long") for p in Strings().generate(skill, random.Random(2), 30)]
    out = sample(model, codec, prompts, max_new_tokens=20, rows=16)
    library = hub.theirs(model)
    assert [texts[0] for texts in out.outputs] == [generated(library, prompt, 20, codec) for prompt in prompts]
    assert len({len(texts[0]) for texts in out.outputs}) > 3, "answers of one length would show little"
    assert out.tokens_written == sum(min(20, len(texts[0]) + 1) for texts in out.outputs)


@settings(deadline=None, max_examples=10)
@given(prompts, st.integers(1, 8))
def test_the_batch_does_not_matter(some: list[str], rows: int) -> None:
    together = sample(MODEL, CODEC, some, max_new_tokens=20)
    assert sample(MODEL, CODEC, some, max_new_tokens=20, rows=rows).outputs == together.outputs
    assert [sample(MODEL, CODEC, [p], max_new_tokens=20).outputs[0] for p in some] == together.outputs


def test_a_model_of_the_library_is_sampled_alike() -> None:
    draws: dict[str, Any] = {"num_samples": 3, "temperature": 1.0, "max_new_tokens": 40, "seed": 4}
    assert sample(hub.theirs(MODEL), CODEC, PROMPTS, **draws) == sample(MODEL, CODEC, PROMPTS, **draws)


def test_an_empty_prompt_gets_an_empty_answer_beside_others_and_alone() -> None:
    alone = sample(MODEL, CODEC, PROMPTS[:2], max_new_tokens=20)
    beside = sample(MODEL, CODEC, [PROMPTS[0], "", PROMPTS[1]], max_new_tokens=20)
    assert beside.outputs == [alone.outputs[0], [""], alone.outputs[1]]
    assert (beside.tokens_read, beside.tokens_written) == (alone.tokens_read, alone.tokens_written)
    assert sample(MODEL, CODEC, [""], num_samples=2).outputs == [["", ""]]


def test_the_same_seed_gives_the_same_samples() -> None:
    def draw(seed: int) -> list[list[str]]:
        return sample(MODEL, CODEC, PROMPTS, num_samples=3, temperature=1.0, max_new_tokens=12, seed=seed).outputs

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


class Counting:
    """Counts the tokens that the model is given."""

    def __init__(self) -> None:
        self.read: list[tuple[int, ...]] = []

    def __call__(self, **arguments: Any) -> Any:
        self.read.append(tuple(arguments["input_ids"].shape))
        return MODEL(**arguments)


def test_k_samples_share_their_prefill() -> None:
    counting = Counting()
    out = sample(counting, CODEC, PROMPTS[:4], num_samples=5, temperature=1.0, max_new_tokens=6)
    assert counting.read[0] == (4, max(len(p) for p in PROMPTS[:4]))
    assert all(width == 1 for _, width in counting.read[1:])
    assert counting.read[1][0] <= 20
    assert out.tokens_read == sum(len(p) for p in PROMPTS[:4])
    assert [len(texts) for texts in out.outputs] == [5] * 4


def test_samples_at_a_low_temperature_are_the_greedy_answer() -> None:
    greedy = sample(MODEL, CODEC, PROMPTS, max_new_tokens=20).outputs
    cold = sample(MODEL, CODEC, PROMPTS, num_samples=3, temperature=1e-4, max_new_tokens=20).outputs
    assert cold == [texts * 3 for texts in greedy]


def test_sampling_follows_the_distribution() -> None:
    encoded = CODEC.encode("abc>")
    with torch.inference_mode():
        chances = torch.softmax(MODEL(input_ids=torch.tensor([encoded.ids])).logits[0, -1] / 4.0, -1)
    out = sample(MODEL, CODEC, ["abc>"] * 20, num_samples=200, temperature=4.0, max_new_tokens=1, rows=4000)
    texts = [text for some in out.outputs for text in some]
    for token in range(2, CODEC.size):
        share = sum(text == CODEC.alphabet[token - 2] for text in texts) / len(texts)
        assert abs(share - float(chances[token])) < 5 * (0.25 / len(texts)) ** 0.5


def test_a_prompt_that_cannot_be_encoded_gets_nothing() -> None:
    out = sample(MODEL, CODEC, ["ab>", "Z", "ba>"], num_samples=2, temperature=1.0, max_new_tokens=4)
    assert out.outputs[1] == ["", ""]
    assert sample(MODEL, CODEC, []).outputs == []


@settings(max_examples=10, deadline=None)
@given(st.text("abcdefgh", min_size=1, max_size=12), st.integers(1, 4), st.sampled_from([0.0, 1.3]), st.integers(0, 99))
def test_a_stream_writes_what_sampling_gives(prompt: str, count: int, temperature: float, seed: int) -> None:
    encoded, ids = CODEC.encode(prompt), [[] for _ in range(count)]
    how = {"num_samples": count, "temperature": temperature, "max_new_tokens": 20, "seed": seed}
    for step in stream(MODEL, CODEC, encoded, **how):
        for row, token in step:
            ids[row].append(token)
    whole = sample(MODEL, CODEC, [prompt], **how)
    assert [CODEC.decode(row, encoded) for row in ids] == whole.outputs[0]
    assert sum(map(len, ids)) == whole.tokens_written
