"""The built-in transformer: a cache, padding and batching change nothing; the ecosystem can load it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.cache_utils import DynamicCache

from evolvent.models import hub
from evolvent.models.cache import Cache
from evolvent.models.codec import CharCodec
from evolvent.models.files import from_files, to_files
from evolvent.models.transformer import Decoder, EvolventConfig, fresh


def tiny(kind: type[Decoder] | type[hub.EvolventForCausalLM] = Decoder, **changes: Any) -> Any:
    torch.manual_seed(1)
    config = (EvolventConfig if kind is Decoder else hub.HubConfig)(
        vocab_size=23, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        **changes,
    )  # fmt: skip
    return kind(config).eval()  # type: ignore[arg-type]


def ids(rows: int, width: int) -> torch.Tensor:
    return torch.randint(2, 23, (rows, width), generator=torch.Generator().manual_seed(5))


# The model with its own cache, the model under the library's cache, and the library's model.
made = pytest.mark.parametrize(
    ("of", "cached"), [(Decoder, Cache), (Decoder, DynamicCache), (hub.EvolventForCausalLM, DynamicCache)]
)
kinds = pytest.mark.parametrize("kind", [{}, {"positions": "none"}, {"positions": "none", "smear": False}])


@made
@kinds
@pytest.mark.parametrize("cut", [1, 4, 8])
@torch.inference_mode()
def test_a_cache_changes_nothing(of: Any, cached: Any, kind: dict[str, Any], cut: int) -> None:
    model, tokens = tiny(of, **kind), ids(3, 9)
    whole = model(input_ids=tokens).logits
    cache = cached()
    parts = [model(input_ids=tokens[:, :cut], past_key_values=cache, use_cache=True).logits]
    for t in range(cut, 9):
        mask = torch.ones(3, t + 1, dtype=torch.long)
        parts.append(model(input_ids=tokens[:, t : t + 1], attention_mask=mask, past_key_values=cache).logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-4)


@made
@kinds
@torch.inference_mode()
def test_several_tokens_on_top_of_a_cache(of: Any, cached: Any, kind: dict[str, Any]) -> None:
    model, tokens = tiny(of, **kind), ids(2, 9)
    cache = cached()
    model(input_ids=tokens[:, :4], past_key_values=cache, use_cache=True)
    rest = model(input_ids=tokens[:, 4:], past_key_values=cache).logits
    torch.testing.assert_close(rest, model(input_ids=tokens).logits[:, 4:], atol=1e-5, rtol=1e-4)


@kinds
@pytest.mark.parametrize("pad", [1, 6])
@torch.inference_mode()
def test_padding_on_the_left_changes_nothing(kind: dict[str, Any], pad: int) -> None:
    model, tokens = tiny(**kind), ids(2, 7)
    padded = torch.cat((torch.zeros(2, pad, dtype=torch.long), tokens), 1)
    mask = torch.cat((torch.zeros(2, pad, dtype=torch.long), torch.ones(2, 7, dtype=torch.long)), 1)
    out = model(input_ids=padded, attention_mask=mask).logits[:, pad:]
    torch.testing.assert_close(out, model(input_ids=tokens).logits, atol=1e-5, rtol=1e-4)


@made
@kinds
@torch.inference_mode()
def test_padding_with_a_cache_changes_nothing(of: Any, cached: Any, kind: dict[str, Any]) -> None:
    model, tokens = tiny(of, **kind), ids(1, 8)
    cache, pad = cached(), 3
    padded = torch.cat((torch.zeros(1, pad, dtype=torch.long), tokens[:, :5]), 1)
    mask = torch.tensor([[0] * pad + [1] * 5])
    last = model(input_ids=padded, attention_mask=mask, past_key_values=cache, use_cache=True).logits[:, -1]
    for t in range(5, 8):
        mask = torch.cat((mask, torch.ones(1, 1, dtype=torch.long)), 1)
        last = model(input_ids=tokens[:, t : t + 1], attention_mask=mask, past_key_values=cache).logits[:, -1]
    torch.testing.assert_close(last, model(input_ids=tokens).logits[:, -1], atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_the_future_is_not_seen() -> None:
    model, tokens = tiny(), ids(1, 8)
    changed = tokens.clone()
    changed[:, 5:] = 2
    torch.testing.assert_close(model(input_ids=tokens).logits[:, :5], model(input_ids=changed).logits[:, :5])


@torch.inference_mode()
def test_logits_to_keep_are_the_last() -> None:
    model, tokens = tiny(), ids(2, 6)
    whole = model(input_ids=tokens).logits
    torch.testing.assert_close(model(input_ids=tokens, logits_to_keep=2).logits, whole[:, -2:])


def test_the_loss_is_shifted_and_masked() -> None:
    model, tokens = tiny(), ids(2, 6)
    labels = tokens.clone()
    labels[:, :4] = -100
    out = model(input_ids=tokens, labels=labels)
    expected = torch.nn.functional.cross_entropy(out.logits[:, 3:5].flatten(0, 1), tokens[:, 4:].flatten())
    torch.testing.assert_close(out.loss, expected)


@kinds
def test_save_pretrained_and_auto_model(kind: dict[str, Any], tmp_path: Path) -> None:
    model, tokens = tiny(hub.EvolventForCausalLM, **kind), ids(2, 6)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert isinstance(again, hub.EvolventForCausalLM)
    assert (again.config.positions, again.config.smear) == (model.config.positions, model.config.smear)
    with torch.inference_mode():
        assert torch.equal(again(input_ids=tokens).logits, model(input_ids=tokens).logits)


def test_generate_of_the_ecosystem_works() -> None:
    tokens = ids(2, 5)
    model = tiny(hub.EvolventForCausalLM)
    with torch.inference_mode():
        out = model.generate(
            tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=6, min_new_tokens=6
        )
    assert out.shape == (2, 11)


@kinds
def test_what_we_write_the_library_loads_and_the_other_way_round(kind: dict[str, Any], tmp_path: Path) -> None:
    model, codec, tokens = tiny(**kind), CharCodec("abcdefghijklmnopqrstu"), ids(2, 6)
    for name, data in to_files(model, codec).items():
        (tmp_path / name).write_bytes(data)
    theirs: Any = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert (theirs.config.eos_token_id, theirs.config.pad_token_id) == (1, 0)
    theirs.save_pretrained(tmp_path / "again")
    files = {name: (tmp_path / "again" / name).read_bytes() for name in ("model.safetensors", "config.json")}
    ours, _ = from_files({**files, "codec.json": (tmp_path / "codec.json").read_bytes()})
    with torch.inference_mode():
        logits = model(input_ids=tokens).logits
        assert torch.equal(theirs(input_ids=tokens).logits, logits)
        assert torch.equal(ours(input_ids=tokens).logits, logits)
    assert to_files(ours, codec)["config.json"] == to_files(from_files(to_files(ours, codec))[0], codec)["config.json"]


def test_both_begin_with_the_same_weights() -> None:
    ours, theirs = tiny().state_dict(), tiny(hub.EvolventForCausalLM).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_starts_without_the_library() -> None:
    """It takes longer to import than everything else that a job or a judge's worker starts with."""
    parts = "evolvent.observe.worker, evolvent.observe.jobs, evolvent.train.jobs, evolvent.serve.model"
    code = f"import sys, {parts}; print(*sorted({{'torch', 'transformers'}} & sys.modules.keys()))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["torch"]


@pytest.mark.parametrize(("field", "value"), [("positions", "alibi"), ("num_attention_heads", 3)])
def test_wrong_configurations_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{'positions' if field == 'positions' else 'hidden_size'}: expected"):
        EvolventConfig(**{"hidden_size": 16, field: value})


def test_fresh_weights_are_the_seeds_and_leave_the_global_generator_alone() -> None:
    config = EvolventConfig(vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    state = torch.get_rng_state()
    one, same, other = (fresh(config, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
