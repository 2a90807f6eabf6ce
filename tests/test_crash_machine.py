"""Hypothesis plays with ledger and store as a run does; now and then the process is gone in the middle of a step."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import crash_world
from evolvent.disk import write_atomic
from evolvent.errors import LedgerCorrupt
from evolvent.ledger import Ledger
from evolvent.store import Store
from evolvent.types import SCHEMA_VERSION, content_hash, sha256_hex

MEMORY = Path("/dev/shm")
keys = st.sampled_from(["a", "b", "c", "é"])
payloads = st.dictionaries(keys, st.integers(0, 3) | st.text(max_size=3), max_size=2)


class Killed(BaseException):
    """The process is gone: nothing after this reaches the disk, clean-up neither."""


class CrashMachine(RuleBasedStateMachine):
    """A model of what was acknowledged, beside the real thing."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.generation = itertools.count()
        self.events: dict[str, str] = {}  # content hash by key, in order
        self.artifacts: dict[str, bytes] = {}
        self.note: bytes | None = None
        self.kill_in = 0
        self.folder = self.base / "0"

    # -- the process ---------------------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self._open()

    def _open(self) -> None:
        self.ledger = Ledger.open(self.folder / "ledger.sqlite", "run", create=True)
        self.ledger.acquire()
        self.store = Store(self.folder / "store")
        self.store.sweep()

    @precondition(lambda self: not self.kill_in)
    @rule(steps=st.integers(1, 12))
    def crash(self, steps: int) -> None:
        """The process will be gone at its so-maniest step from now on."""
        self.kill_in = steps

    def _act(self, act: Callable[[], Any], keep: Callable[[], None]) -> None:
        """Do something that is acknowledged when it returns; or be killed in it, and come back."""
        crash_world.listen(self._watch)
        try:
            act()
        except Killed:
            crash_world.listen(None)
            self._come_back(keep)
        else:
            keep()
        finally:
            crash_world.listen(None)

    def _watch(self, _name: str, _args: tuple[Any, ...]) -> None:
        if self.kill_in:
            self.kill_in -= 1
            if self.kill_in == 0:
                self.kill_in = -1  # from here on everything fails: the process is no more
                self.left = self.base / str(next(self.generation) + 1)
                shutil.copytree(self.folder, self.left)  # what a SIGKILL leaves at this very moment
        if self.kill_in < 0:
            raise Killed

    def _come_back(self, keep: Callable[[], None]) -> None:
        self.ledger._db.close()
        self.kill_in = 0
        self.folder = self.left
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "evolvent.ledger.ledger._alive", lambda *_: False
            )  # the holder was killed; its number lives on in us
            self._open()
        self._settle(keep)

    def _settle(self, keep: Callable[[], None]) -> None:
        """What was under way may be there or not, never half: take the model to what is there."""
        before = (dict(self.events), dict(self.artifacts), self.note)
        if self._as_found() == before:
            return
        keep()
        assert self._as_found() == (self.events, self.artifacts, self.note), "something else than what was under way"

    def _as_found(self) -> tuple[dict[str, str], dict[str, bytes], bytes | None]:
        note = self.folder / "note"
        names = [path.parent.name + path.name for path in (self.folder / "store").glob("??/*")]
        return (
            {event.key: event.content_hash for event in self.ledger.events()},
            {name: self.store.get_bytes(name) for name in names},
            note.read_bytes() if note.exists() else None,
        )

    # -- what it does --------------------------------------------------------------------------------------------------

    @rule(key=keys, payload=payloads)
    def append(self, key: str, payload: dict[str, Any]) -> None:
        said = {
            "run": "run",
            "actor": "controller",
            "kind": "k",
            "key": key,
            "schema": SCHEMA_VERSION,
            "payload": payload,
        }
        if self.events.get(key, content_hash(said)) != content_hash(said):
            try:
                self.ledger.append("k", payload, key=key)
            except LedgerCorrupt:
                return
            raise AssertionError("a key took other content")
        self._act(lambda: self.ledger.append("k", payload, key=key), lambda: self._event(key, content_hash(said)))

    @rule(key=keys)
    def request(self, key: str) -> None:
        name = f"request/{key}"
        said = {
            "run": "run",
            "actor": "human",
            "kind": "request.x",
            "key": name,
            "schema": SCHEMA_VERSION,
            "payload": {},
        }
        self._act(lambda: self.ledger.request("request.x", {}, key=key), lambda: self._event(name, content_hash(said)))

    @rule(size=st.sampled_from([0, 1, 2, 9000]))
    def put(self, size: int) -> None:
        data = b"x" * size
        self._act(lambda: self.store.put_bytes(data), lambda: self.artifacts.update({sha256_hex(data): data}))

    @rule(data=st.binary(max_size=3))
    def write(self, data: bytes) -> None:
        self._act(lambda: write_atomic(self.folder / "note", data), lambda: setattr(self, "note", data))

    @rule()
    def snapshot(self) -> None:
        self._act(lambda: self.ledger.save_snapshot("s", self.ledger.head()[0], {"n": 1}), lambda: None)

    @precondition(lambda self: not self.kill_in)
    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self._open()

    def _event(self, key: str, content: str) -> None:
        self.events.setdefault(key, content)

    # -- what holds always ---------------------------------------------------------------------------------------------

    @invariant()
    def what_was_acknowledged_is_there(self) -> None:
        if hasattr(self, "ledger"):
            assert self.ledger.verify() == len(self.events)
            assert [event.key for event in self.ledger.events()] == list(self.events)
            assert self._as_found() == (self.events, self.artifacts, self.note)

    def teardown(self) -> None:
        crash_world.listen(None)
        if hasattr(self, "ledger"):
            self.ledger.close()
        shutil.rmtree(self.base)


TestCrashMachine = CrashMachine.TestCase
TestCrashMachine.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)


@pytest.mark.slow
def test_the_machine_for_longer() -> None:
    run_state_machine_as_test(CrashMachine, settings=settings(max_examples=150, stateful_step_count=30, deadline=None))
