"""The power goes at every moment: what was acknowledged is there and whole, and the world goes on to its end."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import crash_world
from crash_world import Say, Watch, World, check
from power_loss import Recorder, State, lay_out


class Killed(BaseException):
    """The process is gone: nothing after this reaches the disk, clean-up neither."""


def work(folder: Path, say: Say, watch: Watch | None = None, turns: int = 2) -> None:
    """The world without its ledger."""
    folder.mkdir(exist_ok=True)
    crash_world.listen(watch)
    try:
        world = World(folder, say)
        for i in range(turns):
            world.make(i)
    finally:
        crash_world.listen(None)


def dying(recorder: Recorder, at: int) -> Watch:
    """Record the steps before that number; from there on none is taken."""
    steps = itertools.count(1)

    def watch(name: str, args: tuple[Any, ...]) -> None:
        if next(steps) >= at:
            raise Killed
        recorder(name, args)

    return watch


@pytest.fixture
def place(memory: Path) -> Iterator[Path]:
    folder = memory / "power"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def lose_power(recorder: Recorder, begin: int, root: Path, place: Path, resume_each: int = 50) -> tuple[int, int]:
    """Try every moment after `begin`; returns how many different states there were, and how many were gone on from."""
    seen: set[tuple[State, int]] = set()
    resumed = 0
    for at in range(begin, len(recorder.taken) + 1):
        said = recorder.said(at)
        if begin and not isinstance(recorder.taken[at - 1], str):
            continue  # nothing new was acknowledged: the states of a single run were tried without a kill
        for state in recorder.states(at):
            if (state, len(said)) in seen:
                continue
            seen.add((state, len(said)))
            found = place / "found"
            lay_out(state, root, found)
            check(found, said)
            if len(seen) % resume_each == 0:
                again = list(said)
                work(found, again.append)
                check(found, again)
                resumed += 1
            shutil.rmtree(found)
    return len(seen), resumed


def test_what_was_acknowledged_survives_a_power_loss_at_any_moment(place: Path) -> None:
    recorder, root = Recorder(), place / "run"
    work(root, recorder.say, recorder)
    states, resumed = lose_power(recorder, 0, root, place)
    assert (states > 500, resumed > 10) == (True, True), (states, resumed)


def test_a_power_loss_after_a_kill_and_a_recovery_loses_nothing_either(place: Path) -> None:
    """What a killed process had named and not synced, the next one builds upon: it has to make it last first."""
    names: list[str] = []
    work(place / "whole", lambda line: None, lambda name, args: names.append(name), turns=1)
    moments = [at for at, name in enumerate(names, 1) if name == "sync folder"]
    assert len(moments) > 15
    for at in moments:
        recorder, root = Recorder(), place / f"run-{at}"
        with pytest.raises(Killed):
            work(root, recorder.say, dying(recorder, at), turns=1)
        begin = len(recorder.taken)
        work(root, recorder.say, recorder, turns=1)
        lose_power(recorder, begin, root, place, resume_each=1000)
