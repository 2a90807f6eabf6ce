"""A run takes one memory, at its start, and reads it before it writes anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import toy_world
from evolvent.errors import UsageError
from evolvent.memory.memory import Memory
from evolvent.memory.sums import Effect
from evolvent.run import LEDGER


def written(path: Path, memory: Memory) -> Path:
    path.write_text(json.dumps(memory.plain()))
    return path


def test_a_broken_memory_leaves_the_folder_as_it_was(toy_seed: Path, tmp_path: Path) -> None:
    run, memory = toy_world.new_run(tmp_path / "run", toy_seed), tmp_path / "memory.json"
    memory.write_text("hello")
    with (
        pytest.raises(UsageError, match="cannot be read as a memory"),
        run.working(secret_hex=toy_world.SECRET, memory=memory),
    ):
        pass
    assert not (tmp_path / "run" / LEDGER).exists(), "its settings may still be changed"


def test_another_memory_than_it_began_with_is_refused(toy_seed: Path, tmp_path: Path) -> None:
    run = toy_world.new_run(tmp_path / "run", toy_seed)
    first = written(tmp_path / "first.json", Memory())
    other = written(tmp_path / "other.json", Memory(proposers={"bandit": Effect(n=1, total=5)}))
    for _ in range(2):  # who types the same command goes on
        with run.working(secret_hex=toy_world.SECRET, memory=first) as loop:
            assert loop.ledger.get("memory") is not None
    with (
        pytest.raises(UsageError, match="began with another one"),
        run.working(secret_hex=toy_world.SECRET, memory=other),
    ):
        pass
