"""The list that binds a child: every entry counts, and a child that does not stand where it should says so."""

from __future__ import annotations

import sys

import pytest

from evolvent.errors import SandboxError
from evolvent.sandbox import spawn
from evolvent.sandbox.outcome import Limits
from evolvent.sandbox.spawn import Nursery

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a lock is made of Linux's calls")
BOUNDS = Limits().bounds()
SPOILED = """
from evolvent.sandbox import lock
honest = lock.Lock.steps
def spoiled(self, bounds):
    steps = list(honest(self, bounds))
    {change}
    return tuple(steps)
lock.Lock.steps = spoiled
"""
KERNEL = {"namespaces": False, "seccomp": True, "opens": True}
OWN_WORLD = {**KERNEL, "namespaces": True}


def first_words(settings: dict[str, bool], change: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a child says when its list is changed."""
    before = "from evolvent.sandbox.z"
    monkeypatch.setattr(spawn, "_BOOT", spawn._BOOT.replace(before, SPOILED.format(change=change) + before))
    try:
        nursery = Nursery(settings)
    except SandboxError as exc:
        pytest.skip(str(exc))
    with nursery:
        child = nursery.order(BOUNDS)
        try:
            return child.wait_locked()
        finally:
            nursery.end(child)


@pytest.mark.parametrize("settings", [KERNEL, OWN_WORLD], ids=["kernel", "namespaces"])
def test_an_unchanged_list_holds(settings: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    held = first_words(settings, "pass", monkeypatch)
    assert held[0] == "limits"
    assert {"seccomp", "namespaces"} & set(held)


@pytest.mark.parametrize("place", range(0, 36, 7))
def test_every_entry_must_give_what_the_list_says(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    change = f"n = min({place}, len(steps) - 1); steps[n] = steps[n]._replace(gives='else')"
    with pytest.raises(SandboxError, match=r"could not lock itself in: OSError: [a-z ]+: expected else, got"):
        first_words(OWN_WORLD, change, monkeypatch)


@pytest.mark.parametrize("what", ["user map", "way to the user map"])
def test_a_descriptor_too_many_or_too_few_is_found_by_the_next_entry(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = f"names = [step.what for step in steps]; steps.pop(names.index({what!r}))"
    with pytest.raises(SandboxError, match="could not lock itself in: "):
        first_words(OWN_WORLD, change, monkeypatch)
