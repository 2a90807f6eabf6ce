"""Faults at every numbered step of the disk: what was acknowledged is there, and a run ends as if undisturbed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import crash_world
import traced
from crash_world import KILLED, check, rubbish
from evolvent.ledger import Ledger

Order = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def place(memory: Path) -> Path:
    folder = memory / "disk"
    folder.mkdir()
    return folder


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


def killed_and_gone_on(folder: Path, order: Order, expected: list[str], **where: Any) -> list[str]:
    """Kill at one step, now and then kill again while it recovers, and let it end; look each time.

    Returns:
        The content hashes that it ends with.
    """
    first = order(folder, **where)
    assert first["code"] == KILLED
    check(folder, first["said"])
    second: dict[str, Any] = {"said": []}
    if where["at"] % 3 == 0:  # `benchmarks/crash.py` kills each recovery
        second = order(folder, **{**where, "at": 1 + where["at"] * 7 % 40})
        check(folder, first["said"] + second["said"])
    last = order(folder)
    assert last["code"] == 0, last["error"]
    check(folder, first["said"] + second["said"] + last["said"], expected)
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        ended = [event.content_hash for event in ledger.events()]
    shutil.rmtree(folder)
    return ended


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_a_step_it_ends_with_the_same_events(
    stride: int, place: Path, order: Order, whole: tuple[int, list[str]]
) -> None:
    steps, expected = whole
    assert steps > 80, "the world has become too small to prove anything"
    for at in range(1, steps + 1, stride):
        assert killed_and_gone_on(place / f"step-{at}", order, expected, at=at) == expected
    assert order(place / "beyond", at=steps + 1)["code"] == 0, "there are no more steps"


def test_killed_inside_sqlite_too(place: Path, order: Order, whole: tuple[int, list[str]]) -> None:
    """Every seventh system call; `benchmarks/crash.py` takes each."""
    for at in range(1, calls(order, place), 7):
        assert killed_and_gone_on(place / f"call-{at}", order, whole[1], at=at, by_call=True) == whole[1]


@pytest.mark.slow
@pytest.mark.parametrize("by_call", [False, True], ids=["steps", "calls"])
@pytest.mark.parametrize("fault", ["ENOSPC", "EIO", "short"])
def test_a_disk_that_refuses_anywhere(
    fault: str, by_call: bool, place: Path, order: Order, whole: tuple[int, list[str]]
) -> None:
    last = calls(order, place) if by_call else whole[0]
    struck = {refused_and_gone_on(place, order, whole[1], fault, at, by_call) for at in range(1, last + 1)}
    ours = {"make", "create", "write", "sync", "rename", "link", "sync folder", "commit"}
    kernels = {"mkdir", "create", "write", "pwrite", "fsync", "fdatasync", "rename", "link", "fchmod", "ftruncate"}
    assert struck >= (kernels if by_call else ours), "the world has become too small to prove anything"


def test_a_disk_that_refuses_is_one_clear_error(place: Path, order: Order, whole: tuple[int, list[str]]) -> None:
    found = {
        refused_and_gone_on(place, order, whole[1], "ENOSPC", at, by_call=False) for at in range(1, whole[0] + 1, 3)
    }
    assert found >= {"create", "write", "sync"}, "the refusals met no write"


def calls(order: Order, place: Path) -> int:
    if not traced.permitted():
        pytest.skip("no tracing here")
    done = order(place / "calls", by_call=True)
    shutil.rmtree(place / "calls")
    assert (done["code"], done["error"]) == (0, "")
    assert done["steps"] > 150, "the world has become too small to prove anything"
    return done["steps"]


def refused_and_gone_on(place: Path, order: Order, expected: list[str], fault: str, at: int, by_call: bool) -> str:
    """Fail one step, look, go on, look; returns which kind of step it was."""
    folder = place / f"{fault}-{at}"
    first = order(folder, fault=fault, at=at, by_call=by_call)
    check(folder, first["said"])
    assert first["code"] == int(bool(first["error"])), "neither an end nor a typed error"
    if first["error"]:
        assert first["error"].startswith("StoreError: "), first["error"]
        assert "run again" in first["error"] or "check " in first["error"], "no remedy"
    last = order(folder)
    assert last["code"] == 0, last["error"]
    check(folder, first["said"] + last["said"], expected)
    shutil.rmtree(folder)
    return first["struck"]
