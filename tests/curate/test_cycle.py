"""The cycle check keeps what maps back, asks greedily, and reads no label."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evolvent.curate.cycle import answers_of, cycle_check
from evolvent.models.codec import CharCodec
from evolvent.models.sampler import Sampled
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.scaffold.tools import Generate
from evolvent.tasks.strings import ALPHABET, MARK, Strings, reference

TASK = Strings()
texts = st.text(ALPHABET, min_size=1, max_size=15)


def model_of(function: Callable[[str], str], calls: list[tuple[list[str], int, float]] | None = None) -> Generate:
    def generate(prompts: Sequence[str], num_samples: int, temperature: float, seed: int) -> Sampled:
        if calls is not None:
            calls.append((list(prompts), num_samples, temperature))
        return Sampled([[function(p.removesuffix(MARK))] * num_samples for p in prompts], 3, 4)

    return generate


def backwards(text: str) -> str:
    return text[::-1]


@given(st.lists(texts, min_size=1, max_size=8))
def test_right_answers_of_a_right_model_are_kept(some: list[str]) -> None:
    checked = cycle_check(TASK, model_of(backwards), [t + MARK for t in some], [backwards(t) for t in some])
    assert checked.kept == (True,) * len(some)
    assert (checked.asked, checked.tokens) == (len(some), 7)


@given(texts, texts)
def test_a_right_model_keeps_right_answers_only(text: str, output: str) -> None:
    checked = cycle_check(TASK, model_of(backwards), [text + MARK], [output])
    assert checked.kept == (output == backwards(text),)


def test_order_holds_when_some_pairs_have_no_way_back() -> None:
    prompts = ["abc>", "abc>", "abd>", "aab>"]
    checked = cycle_check(TASK, model_of(backwards), prompts, ["cba", "too long", "dab", "baa"])
    assert checked.kept == (True, False, False, True)
    assert checked.asked == 3


def test_the_model_is_asked_once_and_greedily() -> None:
    calls: list[tuple[list[str], int, float]] = []
    cycle_check(TASK, model_of(backwards, calls), ["abc>", "bcd>"], ["cba", "dcb"])
    assert calls == [(["cba>", "dcb>"], 1, 0.0)]


def test_nothing_to_ask_costs_nothing() -> None:
    calls: list[tuple[list[str], int, float]] = []
    checked = cycle_check(TASK, model_of(backwards, calls), ["abc>"], [""])
    assert (checked.kept, checked.tokens, calls) == ((False,), 0, [])
    assert cycle_check(TASK, model_of(backwards, calls), [], []).kept == ()


def test_a_function_that_does_not_undo_itself_has_no_check() -> None:
    sort = Strings(function="sort")
    assert cycle_check(sort, model_of(lambda t: "".join(sorted(t))), ["cba>"], ["abc"]).kept == (False,)


def test_uneven_lists_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        cycle_check(TASK, model_of(backwards), ["abc>"], [])


def test_no_label_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "FUNCTIONS", {})
    monkeypatch.setattr(Strings, "verify", None)
    assert cycle_check(TASK, model_of(backwards), ["abc>"], ["cba"]).kept == (True,)


def test_known_limit_a_consistently_wrong_model_passes() -> None:
    # Plain copying undoes itself too: the reason for gold in each batch, and for a judge.
    assert cycle_check(TASK, model_of(lambda t: t), ["abc>"], ["abc"]).kept == (True,)


def test_a_real_model_can_be_asked() -> None:
    torch.manual_seed(0)
    codec = CharCodec(ALPHABET + MARK)
    config = EvolventConfig(
        vocab_size=codec.size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    generate = answers_of(Decoder(config).eval(), codec, 6)
    checked = cycle_check(TASK, generate, ["abc>", "p>"], ["cba", "p"])
    assert len(checked.kept) == 2
    assert checked.tokens > 6
