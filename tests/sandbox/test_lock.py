"""The list that binds a child: every entry counts, and a child that does not stand where it should says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from evolvent.errors import SandboxError
from evolvent.sandbox import spawn, zygote
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
BOTH = pytest.mark.parametrize("settings", [KERNEL, OWN_WORLD], ids=["kernel", "namespaces"])
# Each purpose that a list has, besides closing what was open for the others.
SHARED = ["session", "error output", "descriptors", "death with its parent", "dumpable", "limits", "no new privileges",
          "capabilities", "files", "root folder", "system calls"]  # fmt: skip
OWN = [*SHARED, "namespaces", "user map", "scratch folder", "way to the user map"]


def nursery(settings: dict[str, bool]) -> Nursery:
    """A zygote; only a kernel that gives no namespaces excuses that there is none."""
    try:
        return Nursery(settings)
    except SandboxError as exc:
        if not settings["namespaces"] or "namespace" not in str(exc):
            raise
        pytest.skip(str(exc))


def first_words(settings: dict[str, bool], change: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a child says when its list is changed."""
    before = "from evolvent.sandbox.z"
    monkeypatch.setattr(spawn, "_BOOT", spawn._BOOT.replace(before, SPOILED.format(change=change) + before))
    with nursery(settings) as made:
        child = made.order(BOUNDS)
        try:
            return child.wait_locked()
        finally:
            made.end(child)


def youngest(pid: int) -> psutil.Process:
    """The last in the line of children of a process: the child that waits for its task."""
    process = psutil.Process(pid)
    while below := process.children():
        process = below[-1]
    return process


@BOTH
def test_a_child_that_waits_is_bound_as_seen_from_outside(settings: dict[str, bool]) -> None:
    limits = Limits(cpu_s=2, memory_bytes=300 << 20, scratch_bytes=1 << 20, num_tasks=3)
    with nursery(settings) as made:
        child = made.order(limits.bounds())
        held = child.wait_locked()
        seen = youngest(made.pid)
        place = Path(f"/proc/{seen.pid}")
        told = dict(line.split(":\t", 1) for line in (place / "status").read_text().splitlines())
        granted = {line[:26].strip(): line[26:].split()[:2] for line in (place / "limits").read_text().splitlines()}
        session = os.getsid(seen.pid)
        if os.geteuid() == 0:  # the rest of it is shown to root alone, since the child may not be looked into
            check_surroundings(place, own_world=settings["namespaces"])
        made.end(child)
    assert set(held) == {"limits", "landlock", "seccomp", *(["namespaces"] if settings["namespaces"] else [])}
    assert {told[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert (told["NoNewPrivs"], told["Seccomp"].strip()) == ("1", "2")
    assert os.getuid() or not settings["namespaces"] or set(told["Uid"].split()) == {"65534"}, "root's are nobody"
    assert session == seen.pid
    wanted = {"Max cpu time": 2, "Max address space": 300 << 20, "Max core file size": 0, "Max locked memory": 0,
              "Max open files": 64, "Max file size": 1 << 20 if settings["namespaces"] else 0}  # fmt: skip
    wanted |= {"Max processes": 3} if settings["namespaces"] else {}
    assert {name: granted[name] for name in wanted} == {name: [str(n), str(n)] for name, n in wanted.items()}


def check_surroundings(place: Path, *, own_world: bool) -> None:
    """Descriptors, folder and namespaces of a child."""
    assert sorted(int(path.name) for path in (place / "fd").iterdir()) == [0, 1, 2, 3, 4]
    assert (place / "cwd").readlink() == Path("/tmp" if own_world else "/")
    names = ("mnt", "user", "net", "ipc", "uts", "pid")
    ours = {name for name in names if (place / "ns" / name).readlink() == Path("/proc/self/ns", name).readlink()}
    assert ours == (set() if own_world else set(names))


@BOTH
def test_an_unchanged_list_holds(settings: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    held = first_words(settings, "pass", monkeypatch)
    assert held[0] == "limits"
    assert "seccomp" in held


@pytest.mark.parametrize("what", OWN)
def test_every_entry_must_give_what_the_list_says(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change = f"i = [s.what for s in steps].index({what!r}); steps[i] = steps[i]._replace(gives='else')"
    with pytest.raises(SandboxError, match=f"could not lock itself in: OSError: {what}: expected else, got"):
        first_words(OWN_WORLD, change, monkeypatch)


@BOTH
def test_what_is_missing_from_the_list_is_not_said_to_hold(
    settings: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    change = "steps = [s for s in steps if s.what != 'system calls']"
    assert "seccomp" not in first_words(settings, change, monkeypatch)


@BOTH
def test_a_list_has_every_purpose(settings: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    lacks = set(OWN if settings["namespaces"] else [*SHARED, "folder", "parent"])
    change = f"lacks = {sorted(lacks)} ; assert {{s.what for s in steps}} == set(lacks), {{s.what for s in steps}}"
    assert first_words(settings, change, monkeypatch)


@pytest.mark.parametrize("what", ["user map", "way to the user map"])
def test_a_descriptor_too_many_or_too_few_is_found_by_the_next_entry(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = f"names = [step.what for step in steps]; steps.pop(names.index({what!r}))"
    with pytest.raises(SandboxError, match="could not lock itself in: "):
        first_words(OWN_WORLD, change, monkeypatch)


@pytest.mark.parametrize("known", [True, False], ids=["pidfd", "without"])
@pytest.mark.parametrize("ends", [True, False], ids=["ends", "goes on"])
def test_a_child_gets_a_moment_to_end_by_itself(known: bool, ends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not known:
        monkeypatch.delattr(os, "pidfd_open")
    seconds = 0.02 if ends else 60
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", f"import time; time.sleep({seconds})"])
    if ends:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert zygote._ends_by_itself(child.pid) is ends
    finally:
        child.kill()
        child.wait()
