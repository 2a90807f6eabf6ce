"""Checks answers by running them in the sandbox.

Only inputs go in. Expected values stay here; values come back in `sandbox.plain`'s form, which keeps types apart, and
are compared here, so nothing that a function does to its own process or to its result's equality counts.

Two checks: *hidden* calls (the problem's own, and fresh ones drawn from the probe seed) against the true function's
values; and *visible* ones, which need the prompt alone: its asserts, then calls made of them that must neither fail nor
give a value of another type.

Hidden values must be the same with their types; asserts, visible ones and MBPP's, are asked as Python asks them
(``==``), so that no honest answer is turned away. A value of another type than Python's own (a Counter, say) equals
nothing.

Not here: how the truth is known (`generate.truth`); the sandbox.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from evolvent.sandbox import plain
from evolvent.sandbox.code import Outcome
from evolvent.sandbox.running import runner
from evolvent.tasks.python_fix import generate, prompts
from evolvent.tasks.python_fix.prompts import Asked, Example
from evolvent.tasks.python_fix.trusted import Trusted, same
from evolvent.types import Json, Problem, Score, derive_seed

PROBES = 24  # fresh hidden calls, besides the problem's own
OWN_TESTS = 6
ERRORS = (
    "form", "syntax", "wrong_name", "load", "raises", "wrong_type", "wrong_value", "timeout", "memory", "crashed",
    "output",
)  # fmt: skip
_LONGEST_FAILURE = 120  # characters


def verify(problem: Problem, output: str, probe_seed: int) -> Score:
    """Score an answer on hidden calls. Never raises for any output.

    Raises:
        SandboxError: nothing can be said, because the sandbox itself failed.
    """
    asked = prompts.read(problem.prompt)
    assert asked is not None, "not a problem of this task"
    source = prompts.resolve(asked, output)
    if source is None:
        return Score(correct=False, error="form")
    calls, expected = hidden(problem, probe_seed)
    told = _run(source, asked.function, calls)
    error = _fault(told, source, asked.function, expected, _equal if "hidden" in problem.given else _same)
    if error is None and not _steady(calls, told):
        error = "wrong_value"
    executed = told.status == "ok" and not any(result.error for result in told.results)
    return Score(correct=error is None, error=error, executed=executed)


def hidden(problem: Problem, probe_seed: int) -> tuple[list[list[Any]], list[Json]]:
    """Hidden calls and the values expected of them, in `plain`'s form."""
    if "hidden" in problem.given:
        pairs = problem.given["hidden"]
        return [plain.decode(arguments) for arguments, _ in pairs], [plain.canonical(value) for _, value in pairs]
    function = generate.truth(problem.given)
    calls = generate.own_calls(function.kinds, problem.given["seed"])
    calls += generate.own_calls(function.kinds, derive_seed("probe", probe_seed, problem.given["seed"]), PROBES)
    call = Trusted(function.source, function.name).call
    return calls, [json.loads(call(arguments).told) for arguments in calls]


def _run(source: str, function: str, calls: Sequence[Sequence[Any]]) -> Outcome:
    return runner().call(source, function, [[plain.encode(argument) for argument in call] for call in calls])


def _same(value: Json, expected: Json) -> bool:
    try:
        return plain.canonical(value) == expected
    except plain.NotPlain:
        return False


def _equal(value: Json, expected: Json) -> bool:
    try:
        return bool(plain.decode(value) == plain.decode(expected))
    except (plain.NotPlain, RecursionError):
        return False


def _steady(calls: Sequence[Sequence[Any]], told: Outcome) -> bool:
    """Equal arguments had equal values; else tests that contradict each other could be met by counting calls."""
    seen: dict[str, Json] = {}
    values = [plain.canonical(result.value) for result in told.results]
    return all(seen.setdefault(same(list(call)), value) == value for call, value in zip(calls, values, strict=True))


def _fault(
    told: Outcome, source: str, function: str, expected: Sequence[Json], agree: Callable[[Json, Json], bool]
) -> str | None:
    if told.status == "error":
        if told.detail.startswith(("SyntaxError", "IndentationError", "TabError")):
            return "syntax"
        return "load" if re.search(rf"\bdef {re.escape(function)}\(", source) else "wrong_name"
    if told.status != "ok":
        return told.status
    if any(result.error for result in told.results):
        return "raises"
    pairs = [(result.value, value) for result, value in zip(told.results, expected, strict=True)]
    wrong = [pair for pair in pairs if not agree(*pair)]
    if not wrong:
        return None
    return "wrong_type" if any(_type(got) != _type(value) for got, value in wrong) else "wrong_value"


def _type(value: Json) -> str:
    return str(value[0]) if isinstance(value, list) else type(value).__name__


@dataclass(frozen=True)
class Trial:
    """What the visible tests said.

    Attributes:
        source: the module that the answer stands for; ``None`` if it has no accepted form.
        failed: asserts that failed; all, if it did not load.
        doubts: own tests that failed.
        complaint: the first failure in words; ``None`` if there was none.
    """

    source: str | None
    failed: int
    doubts: int
    complaint: str | None


def try_out(asked: Asked, output: str) -> Trial:
    """Run an answer on the prompt's asserts and on calls made of them."""
    source = prompts.resolve(asked, output)
    everything = len(asked.examples)
    if source is None:
        return Trial(None, everything, OWN_TESTS, "the answer has none of the accepted forms")
    own = own_tests(asked.examples)
    told = _run(source, asked.function, [*(example.arguments for example in asked.examples), *own])
    if told.status != "ok":
        return Trial(source, everything, OWN_TESTS, _line(told.detail if told.status == "error" else told.status))
    complaints: list[str | None] = []
    for example, result in zip(asked.examples, told.results, strict=False):
        right = not result.error and _equal(result.value, plain.encode(example.expected))
        gave = _gave(example, result.value, result.error)
        complaints.append(None if right else f"{gave}, expected {example.expected!r}")
    types = {_type(plain.encode(example.expected)) for example in asked.examples}
    for arguments, result in zip(own, told.results[everything:], strict=True):
        fine = not result.error and (len(types) > 1 or _type(result.value) in types)
        complaints.append(None if fine else _gave(Example(asked.function, arguments, None), result.value, result.error))
    first = next((complaint for complaint in complaints if complaint is not None), None)
    failed, doubts = (sum(c is not None for c in part) for part in (complaints[:everything], complaints[everything:]))
    return Trial(source, failed, doubts, None if first is None else _line(first))


def _gave(example: Example, value: Json, error: str) -> str:
    if error:
        return f"{example.called()} raised {error.partition(':')[0]}"
    return f"{example.called()} gave {plain.decode(value)!r}"


def _line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_FAILURE]


def own_tests(examples: Sequence[Example]) -> list[tuple[Any, ...]]:
    """Calls near the examples that a right function should stand, without expected values.

    Arguments of different examples together, and shorter ones no shorter than the shortest seen: what lies within the
    examples is most likely allowed, and what lies outside (an empty list, a negative number) may rightly fail.
    """
    columns = list(zip(*(example.arguments for example in examples), strict=False))
    shortest = [min((len(v) for v in column if isinstance(v, str | list)), default=0) for column in columns]
    known = {repr(example.arguments) for example in examples}
    made: dict[str, tuple[Any, ...]] = {}
    for example in examples:
        cut = tuple(_half(v, low) for v, low in zip(example.arguments, shortest, strict=False))
        made.setdefault(repr(cut), cut)
    for one, other in itertools.permutations(examples, 2):
        mixed = (*one.arguments[:1], *other.arguments[1:])
        made.setdefault(repr(mixed), mixed)
    return [arguments for text, arguments in made.items() if text not in known][:OWN_TESTS]


def _half(value: Any, shortest: int) -> Any:
    return value[: max(shortest, len(value) // 2)] if isinstance(value, str | list) else value
