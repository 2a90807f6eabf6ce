"""Training on a reward, against what its formula says."""

from __future__ import annotations

import math

import pytest
import torch

from evolvent.models.codec import CharCodec
from evolvent.models.sampler import sample
from evolvent.models.transformer import EvolventConfig, fresh
from evolvent.train.reward import RewardTrainer, log_likelihoods

CODEC = CharCodec("abc>")


def tiny(seed: int = 0) -> torch.nn.Module:
    config = EvolventConfig(vocab_size=CODEC.size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    return fresh(config, seed).eval()


def test_likelihoods_of_all_short_texts_and_their_rest_sum_to_one() -> None:
    """Chances of all texts of at most one letter, plus those of going on, are everything that can happen."""
    model = tiny()
    with torch.inference_mode():
        one = log_likelihoods(model, CODEC, ">", ["", *"abc>"]).exp()
        ids = torch.tensor([CODEC.encode(">" + letter).ids for letter in "abc>"])
        first = torch.softmax(model(input_ids=ids[:1, :1]).logits[0, -1].float(), -1)
        ends = torch.softmax(model(input_ids=ids).logits[:, -1].float(), -1)[:, CODEC.eos]
    assert math.isclose(float(one[0]), float(first[CODEC.eos]), rel_tol=1e-5)
    expected = first[torch.tensor([CODEC.encode(letter).ids[0] for letter in "abc>"])] * ends
    assert torch.allclose(one[1:], expected, rtol=1e-4)


def test_padding_changes_no_likelihood() -> None:
    model = tiny()
    alone = log_likelihoods(model, CODEC, ">", ["a"])
    beside = log_likelihoods(model, CODEC, ">", ["a", "abcabc"])
    assert torch.allclose(alone[0], beside[0], atol=1e-5)


def test_what_is_rewarded_is_written_more_often() -> None:
    model = tiny()
    trainer = RewardTrainer(model, CODEC, 0.02)

    def drawn(seed: int) -> list[str]:
        return sample(model, CODEC, [">"], num_samples=64, temperature=1.0, max_new_tokens=8, seed=seed).outputs[0]

    before = sum(text.count("a") for text in drawn(1000)) / 64
    for step in range(30):
        samples = drawn(step)
        trainer.step(">", samples, [float("a" in text) for text in samples])
    assert sum("a" in text for text in drawn(1000)) > 50
    assert sum(text.count("a") for text in drawn(1000)) / 64 > before


def test_equal_rewards_move_nothing() -> None:
    model = tiny()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    RewardTrainer(model, CODEC, 0.02).step(">", ["a", "b"], [1.0, 1.0])
    assert all(torch.allclose(before[name], value, atol=1e-6) for name, value in model.state_dict().items())


def test_rewards_must_match() -> None:
    with pytest.raises(ValueError, match="expected one for each of two samples or more, got 1"):
        RewardTrainer(tiny(), CODEC, 0.02).step(">", ["a", "b"], [1.0])
