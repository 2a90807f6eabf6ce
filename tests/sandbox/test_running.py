"""Who runs code in a process: its own sandbox, another runner by name, or an answer to a question."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from evolvent.errors import SandboxError
from evolvent.sandbox import CodeSandbox, plain, running

DOUBLE = "def f(x):\n    return 2 * x"


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A shared sandbox of the test's own, closed after it."""
    shared = running._Shared()
    monkeypatch.setattr(running, "_shared", shared)
    monkeypatch.setattr(running, "_chosen", [shared])
    yield shared
    shared.close()


def _fail() -> None:
    raise SandboxError("broken")


def question(**changes: Any) -> dict[str, Any]:
    return {"source": DOUBLE, "function": "f", "calls": [[plain.encode(21)]], **changes}


def test_a_question_is_answered_as_a_call_would_be(fresh: Any) -> None:
    told = running.outcome_of(running.answer(question()))
    assert told == running.runner().call(DOUBLE, "f", [[plain.encode(21)]])
    assert [plain.decode(result.value) for result in told.results] == [42]
    assert told.seconds > 0, "a program's bound is kept by them"


@pytest.mark.parametrize("changes", [{"source": 1}, {"function": None}, {"calls": "x"}, {"calls": [1]}])
def test_a_question_of_another_form_is_refused(changes: dict[str, Any], fresh: Any) -> None:
    with pytest.raises(SandboxError, match="question"):
        running.answer(question(**changes))


def test_threads_share_one_sandbox_and_a_broken_one_is_replaced_once(
    fresh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(fresh.call(DOUBLE, "f", []).status)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["ok"] * 3
    first = fresh._sandbox
    monkeypatch.setattr(first, "call", lambda *_: _fail())
    assert fresh.call(DOUBLE, "f", []).status == "ok"
    assert fresh._sandbox is not first


def test_a_judge_refuses_a_sandbox_that_may_not_promote(
    fresh: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    running.insist([tmp_path])
    assert fresh.call(DOUBLE, "f", []).status == "ok"
    fresh.close()
    monkeypatch.setattr(CodeSandbox, "tier", "reduced")
    with pytest.raises(SandboxError, match="may promote"):
        fresh.call(DOUBLE, "f", [])


def test_another_runner_can_be_named(fresh: Any) -> None:
    other = running._Shared()
    running.use(other)
    assert running.runner() is other


def test_who_judges_names_the_tiers_that_ran_code(fresh: Any) -> None:
    assert running.tiers(forget=True) == []
    running.answer(question())
    assert running.tiers() == [fresh._sandbox.tier]
    assert running.tiers(forget=True) == []


def test_who_judges_does_not_go_on_in_another_tier(fresh: Any) -> None:
    """A question would be answered in two tiers, of which a verdict names one."""
    running.insist([])
    running.answer(question())
    fresh.close()
    fresh._tier = "bubblewrap of another day"
    with pytest.raises(SandboxError, match="tier changed from bubblewrap of another day to"):
        running.answer(question())


def test_seconds_are_the_tasks_own_and_not_its_waiting(fresh: Any) -> None:
    sleeps = "def f(x):\n    __import__('time').sleep(1)\n    return x\n"
    began = time.monotonic()
    with ThreadPoolExecutor(3) as threads:
        told = list(threads.map(lambda x: running.runner().call(sleeps, "f", [[plain.encode(x)]]), range(3)))
    elapsed = time.monotonic() - began
    assert all(outcome.status == "ok" and outcome.seconds >= 1 for outcome in told)
    assert sum(outcome.seconds for outcome in told) <= elapsed, "one ran at a time, and whoever waited was not charged"
