"""The bank answers as the model did, and a program runs on it as it would on the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from evolvent.jobs import JobContext
from evolvent.recipes.base import Unit
from evolvent.recipes.strings_bank import Bank, bank_of, strings_bank
from evolvent.recipes.strings_seed import TASK
from evolvent.store import Store

PARAMS = {"each": 60, "share": "0", "answers": 3, "strings": 30}
WARM = {"do": "sample", "n": 3, "temperature": "0.9"}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    store = Store(tmp_path_factory.mktemp("bank"))
    start = strings_bank(JobContext(store=store, inputs={}, params=PARAMS, seed=0))
    return bank_of(Unit(arm="", seed=0, settings={}, store=store, start=start))


def test_it_holds_what_was_asked(bank: Bank) -> None:
    assert len(bank.problems) == 30
    assert all(len(prompt) == 4 and TASK.well_posed(problem) for prompt, problem in bank.problems.items())
    assert bank.answers.keys() == {0.0, 0.3, 0.6, 0.9}
    assert {len(some) for some in bank.answers[0.0].values()} == {1}
    assert {len(some) for some in bank.answers[0.9].values()} == {3}


def test_all_answers_are_dealt_once_and_paid_for(bank: Bank) -> None:
    prompts = list(bank.problems)
    out = bank.generate(prompts, 3, 0.9, 5)
    for prompt, some in zip(prompts, out.outputs, strict=True):
        assert sorted(some) == sorted(bank.answers[0.9][prompt])
    assert out.tokens_read == 4 * 30
    assert out.tokens_written == sum(len(text) + 1 for some in out.outputs for text in some)
    firsts = {tuple(some[0] for some in bank.generate(prompts, 1, 0.9, seed).outputs) for seed in range(20)}
    assert len(firsts) > 1, "which answer comes first depends on the seed"
    with pytest.raises(ValueError, match="expected at most 3, got 4"):
        bank.generate(prompts, 4, 0.9, 5)


def test_a_program_runs_on_it(bank: Bank) -> None:
    prompts = list(bank.problems)
    greedy, tokens = bank.solved([{"do": "sample", "n": 1, "temperature": "0"}], prompts, 0)
    assert greedy == [bank.answers[0.0][prompt][0] == prompt[2::-1] for prompt in prompts]
    assert tokens >= 5 * 30
    twice = [WARM, {"do": "vote", "by": "text"}, {"do": "vote", "by": "text"}]
    assert bank.solved(twice, prompts, 7) == bank.solved(twice[:2], prompts, 7)
    assert bank.solved(twice, prompts, 7)[1] > tokens


def test_the_same_seed_makes_the_same_bank(bank: Bank, tmp_path: Path) -> None:
    again = Store(tmp_path)
    start = strings_bank(JobContext(store=again, inputs={}, params=PARAMS, seed=0))
    assert bank_of(Unit(arm="", seed=0, settings={}, store=again, start=start)) == bank
