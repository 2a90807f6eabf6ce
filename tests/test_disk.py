"""Faults at every numbered step of the disk: what was acknowledged is there, and a run ends as if undisturbed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import crash_world
from crash_world import KILLED, check, rubbish
from evolvent.ledger import Ledger

Order = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one: what a kill leaves is the same there, and a sync costs nothing."""
    memory = Path("/dev/shm")
    folder = (memory / f"evolvent-{os.getpid()}") if os.access(memory, os.W_OK) else tmp_path_factory.mktemp("crash")
    folder.mkdir(exist_ok=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def order() -> Iterator[Order]:
    with crash_world.driver() as forked:
        yield forked


@pytest.fixture(scope="module")
def whole(place: Path, order: Order) -> tuple[int, list[str]]:
    """An undisturbed run: how many steps it takes, and its content hashes."""
    folder = place / "whole"
    done = order(folder)
    assert (done["code"], rubbish(folder)) == (0, [])
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        return done["steps"], [event.content_hash for event in ledger.events()]


def test_killed_at_every_step_it_ends_with_the_same_events(
    place: Path, order: Order, whole: tuple[int, list[str]]
) -> None:
    steps, expected = whole
    assert steps > 80, "the world has become too small to prove anything"
    for at in range(1, steps + 1):
        folder = place / f"kill-{at}"
        first = order(folder, at=at)
        assert first["code"] == KILLED
        check(folder, first["said"])
        second = order(folder, at=1 + at * 7 % 40)  # a second kill, while it recovers
        check(folder, first["said"] + second["said"])
        last = order(folder)
        assert last["code"] == 0, last["error"]
        check(folder, first["said"] + second["said"] + last["said"], expected)
        shutil.rmtree(folder)
    assert order(place / "beyond", at=steps + 1)["code"] == 0, "there are no more steps"


@pytest.mark.parametrize(
    "fault", ["ENOSPC", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("EIO", "short"))]
)
def test_a_disk_that_refuses_is_one_clear_error_and_the_run_goes_on_later(
    fault: str, place: Path, order: Order, whole: tuple[int, list[str]]
) -> None:
    steps, expected = whole
    struck: set[str] = set()
    for at in range(1, steps + 1):
        folder = place / f"{fault}-{at}"
        first = order(folder, fault=fault, at=at)
        struck |= {first["struck"]} - {""}
        check(folder, first["said"])
        if first["error"]:
            kind, _, text = first["error"].partition(": ")
            assert kind == "StoreError", first["error"]
            assert "free space and run again" in text or "check that" in text
            assert rubbish(folder) == []
        last = order(folder)
        assert last["code"] == 0, last["error"]
        check(folder, first["said"] + last["said"], expected)
        shutil.rmtree(folder)
    assert struck >= {"make", "create", "write", "sync", "rename", "link", "sync folder", "commit"}
