"""What a rollout gives a program besides the model: the bound under which examples are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from evolvent.models.codec import CharCodec
from evolvent.models.sampler import Sampled
from evolvent.models.transformer import EvolventConfig, fresh
from evolvent.observe import rollout as module
from evolvent.observe.rollout import MOST_SHOWN, rollout
from evolvent.tasks.strings import ALPHABET, MARK, Strings

TASK = Strings()
CODEC = CharCodec(ALPHABET + MARK + "\n")
SHOW = {
    "kind": "steps",
    "steps": [{"do": "show", "n": 8}, {"do": "sample", "n": 1, "temperature": "0"}],
    "examples": [[letter * 150 + MARK, letter * 150] for letter in ALPHABET[:8]],
}


@pytest.mark.parametrize(
    ("others", "codec", "shown"),
    [
        ({}, CODEC, MOST_SHOWN // 303),  # two times 150 letters, the mark and an empty line
        ({"max_position_embeddings": 700}, CODEC, 2), ({"max_position_embeddings": 300}, CODEC, 0),
        ({"max_position_embeddings": 10}, CODEC, 0),
        ({}, CharCodec(ALPHABET + MARK), 0),  # it has no empty line
    ],
)  # fmt: skip
def test_as_many_examples_are_shown_as_fit_and_can_be_read(
    others: dict[str, Any], codec: CharCodec, shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def sample(model: object, codec: object, prompts: Sequence[str], **_: Any) -> Sampled:
        asked.extend(prompts)
        return Sampled([["a"] for _ in prompts], 1, 1)

    monkeypatch.setattr(module, "sample", sample)
    config = EvolventConfig(
        vocab_size=codec.size, hidden_size=16, num_hidden_layers=1, intermediate_size=16, others=others
    )
    rollout(fresh(config, 0), codec, TASK, SHOW, ["ab>"], 0)
    assert [prompt.count("\n\n") for prompt in asked] == [shown]
    assert asked[0].endswith("ab>")
