"""A trial is a whole run in this process: it learns, repeats exactly, keeps to its budget and leaves nothing behind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from evolvent import policy, trial
from evolvent.memory.memory import Memory
from evolvent.trial import Budgets, Outcome

QUICK = {**policy.BY_HAND, "problems": 30, "steps": 30, "samples": 1, "learning_rate": "0.01"}
# The seed of these tests reaches the target with its third build: 2.7 billion operations.
BUDGETS = Budgets(flops=3 * 10**9, truth=100, seed_share=0.25, target=0.6)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return trial.trial("copy", 0, QUICK, BUDGETS)


def test_it_learns_by_promotions_of_the_gate(outcome: Outcome) -> None:
    assert outcome.start < BUDGETS.target
    assert outcome.reached
    assert outcome.path
    assert outcome.path[-1][1] >= BUDGETS.target > outcome.start
    assert 0 < outcome.flops == outcome.path[-1][0] <= BUDGETS.flops
    episodes = Memory.from_plain(outcome.memory, "trial").episodes
    assert [e.outcome for e in episodes].count("accepted") == len(outcome.path)
    assert {e.task for e in episodes} == {"copy"}


def test_the_same_again_is_the_same(outcome: Outcome) -> None:
    assert trial.trial("copy", 0, QUICK, BUDGETS) == outcome


@pytest.mark.slow  # a run more
def test_another_seed_is_another_run_from_the_same_start(outcome: Outcome) -> None:
    other = trial.trial("copy", 4, QUICK, BUDGETS, start=0)
    assert other.start == outcome.start
    assert other != outcome


def test_what_is_not_reached_costs_all_and_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trial, "_quick_folder", lambda: str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    few = Budgets(flops=5 * 10**7, truth=50, seed_share=0.0, target=1.0)
    outcome = trial.trial("shift", 0, QUICK, few)
    assert (outcome.reached, outcome.flops) == (False, few.flops)
    assert list(tmp_path.iterdir()) == []


def test_memory_is_handed_over(outcome: Outcome) -> None:
    few = Budgets(flops=5 * 10**7, truth=50, seed_share=0.0, target=1.0)
    after = trial.trial(
        "shift", 0, QUICK, few, memory=outcome.memory, operators=("gold", "directive"), proposers=("random",)
    )
    known, before = Memory.from_plain(after.memory, "after"), Memory.from_plain(outcome.memory, "before")
    assert len(known.episodes) > len(before.episodes)
    assert {e.operator for e in known.episodes if e.task == "shift"} <= {"gold", "directive"}


def test_what_is_no_policy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"policy\.steps"):
        trial.trial("copy", 0, {**QUICK, "steps": 31}, BUDGETS)
