"""Batches: a step costs what was allowed, sources get their share, labels teach what can be known."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolvent.models.codec import EOS, CharCodec
from evolvent.train.batches import Example, Source, batches

CODEC = CharCodec("abcdefgh>")
texts = st.text("abcdefgh", min_size=1, max_size=12)
examples = st.lists(st.builds(lambda t: Example(t + ">", t[::-1]), texts), min_size=1, max_size=30)


@settings(deadline=None, max_examples=60)
@given(examples, st.integers(32, 400), st.integers(1, 12), st.integers(0, 5))
def test_no_step_costs_more_than_its_tokens(some: list[Example], tokens: int, steps: int, seed: int) -> None:
    made = list(batches([Source("a", some, 1.0)], CODEC, steps, tokens, seed))
    assert len(made) == steps
    for input_ids, labels in made:
        assert input_ids.shape == labels.shape
        assert input_ids.numel() <= tokens
        assert (labels != -100).any()


def test_padding_is_small() -> None:
    rng = random.Random(0)
    some = [Example("".join(rng.choices("abcdefgh", k=rng.randint(3, 40))) + ">", "a") for _ in range(400)]
    made = list(batches([Source("a", some, 1.0)], CODEC, 40, 512, 0))
    used = sum(int((ids != CODEC.pad).sum()) for ids, _ in made)
    assert used / sum(ids.numel() for ids, _ in made) > 0.9
    assert sum(ids.numel() for ids, _ in made) > 0.8 * 40 * 512


@pytest.mark.parametrize("prompt_loss", [False, True])
def test_labels_are_answers_and_if_asked_repeated_prompt_tokens(prompt_loss: bool) -> None:
    source = Source("a", [Example("aab>", "ba")], 1.0)
    ((ids, labels),) = batches([source], CODEC, 1, 16, 0, prompt_loss=prompt_loss)
    a, b, mark = CODEC.encode("ab>").ids
    row, taught = ids[0].tolist(), labels[0].tolist()
    assert row[:7] == [a, a, b, mark, b, a, EOS]
    assert taught[:7] == [-100, a if prompt_loss else -100, -100, -100, b, a, EOS]


def test_padding_is_not_taught() -> None:
    some = [Example("a>", "a"), Example("abcdefgh>", "h")]
    for ids, labels in batches([Source("a", some, 1.0)], CODEC, 6, 64, 0):
        assert (labels[ids == CODEC.pad] == -100).all()


def test_sources_get_their_share_of_tokens() -> None:
    rng = random.Random(0)
    short = [Example("a" * rng.randint(1, 3) + ">", "a") for _ in range(50)]
    long = [Example("b" * rng.randint(20, 30) + ">", "b") for _ in range(7)]
    a = CODEC.encode("a").ids[0]
    mine = total = 0
    for ids, _ in batches([Source("s", short, 0.25), Source("l", long, 0.75)], CODEC, 30, 512, 0):
        for row in ids.tolist():
            used = sum(token != CODEC.pad for token in row)
            mine += used * (row[0] == a)
            total += used
    assert 0.2 < mine / total < 0.3


def test_each_example_once_before_any_twice() -> None:
    some = [Example(f"{x}{y}>", x) for x, y in itertools.product("abcdefgh", repeat=2)]
    seen = [tuple(row[:2]) for ids, _ in batches([Source("a", some, 1.0)], CODEC, 60, 40, 3) for row in ids.tolist()]
    assert len(set(seen)) == 64


def test_the_same_seed_gives_the_same_batches() -> None:
    some = [Example("".join(random.Random(i).choices("abcdefgh", k=5)) + ">", "a") for i in range(50)]

    def draw(seed: int) -> list[list[list[int]]]:
        return [ids.tolist() for ids, _ in batches([Source("a", some, 1.0)], CODEC, 5, 64, seed)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected at least one with examples"):
        next(batches([Source("a", [], 1.0), Source("b", [Example("a>", "a")], 0.0)], CODEC, 1, 64, 0))
