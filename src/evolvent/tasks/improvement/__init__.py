"""Getting better at getting better, as a task like any other: whose policy lets a small run reach its target for less?

A problem is a small task, one of a few tiny models to begin with, a seed, and how many operations there are; an answer
is a policy (`evolvent.policy`), and is right if a small run under that policy reaches its target within them. So the
loop, judge and gate that improve a model improve the way in which they do it. What a policy cannot say it cannot
change: the small run's judge, its change plan, its protected skill and its budget are fixed here and in
`evolvent.trial`.

Operations are drawn evenly on a logarithmic scale: then the share solved falls by what the mean logarithm of the
target's cost rises, between the least and the most. One length for all would ask who wins the race of that length, and
a policy that wins a short one may lose a longer one.

A small run is real and costs seconds, in a process beside this one (`python -m evolvent.trial`); the same run is not
done twice.

Not here: the small run itself (`evolvent.trial`, handed in as a command because a task may not know the loop).
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from evolvent import policy
from evolvent.errors import SandboxError
from evolvent.tasks.strings import small
from evolvent.types import Problem, Score, canonical_json

COMMAND = (sys.executable, "-m", "evolvent.trial")
SMALL_RUN: Mapping[str, Any] = {"truth": 200}  # of any small run; the rest is `trial.Budgets`
GFLOPS = (4, 6, 9, 13, 20)  # thousand million operations: half again as many from one to the next
_STARTS = 8  # tiny models of a small task: a policy that suits two of them need not suit a third
_SEEDS = 10**6
_REMEMBERED = 4096
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Improvement:
    """The task.

    Attributes:
        functions: the small tasks; `small.SHOWING` is kept for showing what was learned on `small.LEARNING`.
    """

    functions: Sequence[str] = small.LEARNING
    name: str = "improvement"
    skills: tuple[str, ...] = ("small",)
    attacks: tuple[str, ...] = ()
    max_output_tokens: int = 1
    filter: str = "verified"
    axes: Mapping[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        """Derive the axis; no process is started before it is needed."""
        object.__setattr__(self, "axes", {"function": tuple(self.functions)})

    def generate(self, skill: str, rng: random.Random, count: int) -> list[Problem]:
        """Small tasks and seeds, drawn evenly."""
        if skill not in self.skills:
            raise ValueError(f"skill: expected one of {', '.join(self.skills)}, got {skill!r}")
        return self.challenge({}, rng, count)

    def challenge(self, cell: Mapping[str, str], rng: random.Random, count: int) -> list[Problem]:
        """Of one small task where the cell names it."""
        return [self._make(cell.get("function") or rng.choice(list(self.functions)), rng) for _ in range(count)]

    def _make(self, function: str, rng: random.Random) -> Problem:
        start, seed, gflops = rng.randrange(_STARTS), rng.randrange(_SEEDS), rng.choice(GFLOPS)
        return Problem(
            task=self.name,
            skill=self.skills[0],
            prompt=f"{function} {start} {seed} {gflops}>",
            tags={"function": function},
            given={"function": function, "start": start, "seed": seed, "gflops": gflops},
        )

    def attack(self, problem: Problem, kind: str, rng: random.Random) -> Problem | None:
        """There is no other way to put it."""
        raise ValueError(f"attack: this task has none, got {kind!r}")

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        """A small run under the policy: ``not_a_policy``, or ``not_reached``.

        Raises:
            SandboxError: the small run could not be done, which says nothing of the policy.
        """
        try:
            chosen = policy.read(output)
        except ValueError:
            return Score(correct=False, error="not_a_policy")
        given = dict(problem.given)
        budgets = {"flops": given.pop("gflops") * 10**9, **SMALL_RUN}
        outcome = _runs(COMMAND).ask(canonical_json(given), policy.text_of(chosen), json.dumps(budgets))
        reached = outcome["reached"] is True
        return Score(correct=reached, error=None if reached else "not_reached", executed=True)

    def feedback(self, prompt: str, output: str) -> str | None:
        """Whether it is a policy at all."""
        try:
            policy.read(output)
        except ValueError as exc:
            return str(exc)
        return None

    def advance(self, prompt: str, output: str) -> tuple[str, str | None]:
        """There are no steps."""
        return "", None

    def revise(self, prompt: str, output: str) -> None:
        """There are no tests to read."""

    def inverse_prompt(self, prompt: str, output: str) -> tuple[str, str] | None:
        """There is no way back."""
        return None

    def well_posed(self, problem: Problem) -> bool:
        """A small task that exists, a seed, and operations that are drawn here."""
        function, start, seed, gflops = (problem.given.get(name) for name in ("function", "start", "seed", "gflops"))
        numbers = all(type(number) is int for number in (start, seed, gflops))
        return numbers and function in self.functions and start in range(_STARTS) and gflops in GFLOPS


@lru_cache(maxsize=1)
def _runs(command: Sequence[str]) -> _Runs:
    """Of this process, however many tasks are made in it: the process beside it has the tiny models that it taught."""
    return _Runs(command)


class _Runs:
    """One process that does small runs, one at a time; a new one if it died. It ends when its input does."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._one = threading.Lock()
        self._known = lru_cache(maxsize=_REMEMBERED)(self._run)

    def ask(self, given: str, text: str, budgets: str) -> Json:
        with self._one:
            return self._known(given, text, budgets)

    def _run(self, given: str, text: str, budgets: str) -> Json:
        question = {**json.loads(given), "policy": json.loads(text), "budgets": json.loads(budgets)}
        answer = self._asked(question) or self._asked(question)
        try:
            said = json.loads(answer)
        except ValueError:
            said = None
        if not isinstance(said, dict) or not isinstance(said.get("reached"), bool):
            self._end()  # whatever else it would say
            raise SandboxError(f"small run: {given}: expected what was reached, got {answer[:200]!r}")
        return said

    def _asked(self, question: Json) -> str:
        """The answering line, or ``""`` if the process ended before it."""
        if self._process is None:
            try:  # its errors go where ours go; a person's Ctrl-C is ours to answer
                self._process = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
                )
            except OSError as exc:
                raise SandboxError(f"small run: its process does not start: {exc}") from None
            self._finish = weakref.finalize(self, _ended, self._process)
        process, answer = self._process, ""
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        if not answer:
            self._end()
        return answer

    def _end(self) -> None:
        if self._process is not None:
            self._finish()
        self._process = None


def _ended(process: subprocess.Popen[str]) -> None:
    with suppress(OSError):
        process.__exit__(None, None, None)  # closes its pipes, which ends it, and waits
