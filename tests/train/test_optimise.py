"""The optimisation loop: repeats exactly, follows one golden curve, counts what it spends, notices divergence."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from evolvent.errors import JobFailed
from evolvent.models.codec import CharCodec
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.train.batches import Example, Source, batches
from evolvent.train.optimise import Schedule, Trained, optimise

CODEC = CharCodec("abcdefgh>")
# Of 60 steps of `train()` on a CPU with one thread, every tenth. Raise JOB_VERSION in jobs.py when it has to change.
GOLDEN = (2.4046, 2.3119, 2.1052, 2.1198, 1.7775, 1.6628)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny() -> Decoder:
    torch.manual_seed(0)
    return Decoder(
        EvolventConfig(
            vocab_size=CODEC.size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24
        )
    )


def stream(steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    rng = random.Random(0)
    texts = ["".join(rng.choices("abcdefgh", k=rng.randint(1, 5))) for _ in range(200)]
    return batches([Source("a", [Example(t + ">", t[::-1]) for t in texts], 1.0)], CODEC, steps, 256, 0)


def train(steps: int = 60, rate: float = 5e-3) -> tuple[Decoder, Trained]:
    model = tiny()
    return model, optimise(model, stream(steps), Schedule(steps=steps, learning_rate=rate))


def test_it_repeats_exactly() -> None:
    (first, one), (second, two) = train(), train()
    assert one == two
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_the_golden_curve() -> None:
    _, trained = train()
    assert trained.losses[::10] == pytest.approx(GOLDEN, abs=0.02)


def test_tokens_and_operations_are_counted() -> None:
    model, trained = train(12)
    assert trained.tokens == sum(ids.numel() for ids, _ in stream(12))
    assert trained.flops == 6 * sum(p.numel() for p in model.parameters()) * trained.tokens
    assert len(trained.losses) == 12
    assert not model.training


def test_reports_every_ten_steps() -> None:
    told: list[tuple[int, float]] = []
    trained = optimise(tiny(), stream(25), Schedule(steps=25), report=lambda *at: told.append(at))
    assert told == [(step, trained.losses[step]) for step in (0, 10, 20)]


def test_divergence_is_a_failed_job() -> None:
    model = tiny()
    with torch.no_grad():
        model.embed.weight.fill_(float("inf"))
    with pytest.raises(JobFailed, match="loss is nan at step 0; lower the learning rate") as failed:
        optimise(model, stream(3), Schedule(steps=3))
    assert failed.value.kind == "diverged"
    tokens = next(stream(1))[0].numel()
    assert (failed.value.tokens, failed.value.flops) == (
        tokens,
        6 * sum(p.numel() for p in model.parameters()) * tokens,
    )


def test_the_schedule_warms_up_and_decays() -> None:
    schedule = Schedule(steps=100, learning_rate=1.0, warmup=10, final=0.1)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == rates[9] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.11)


def test_frozen_parameters_stay() -> None:
    model = tiny()
    model.embed.weight.requires_grad_(False)
    before = model.embed.weight.clone()
    optimise(model, stream(3), Schedule(steps=3))
    assert torch.equal(model.embed.weight, before)
