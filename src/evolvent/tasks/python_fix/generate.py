"""Makes problems: draws a function, plants bugs that show, picks the visible examples.

A bug counts if the function still ends on every input tried, differs from the truth on the problem's own inputs, and
fails at least one visible example. The problem holds the seed from which its function is drawn again (`reference.py`),
never its code.

Not here: the verifier; the functions (`families.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evolvent.tasks.python_fix import families, inputs, mutate, restyle
from evolvent.tasks.python_fix.families import Function
from evolvent.tasks.python_fix.prompts import Asked, Example
from evolvent.tasks.python_fix.trusted import Ran, Trusted, same
from evolvent.types import Problem, derive_seed

NAME = "python_fix"
SKILLS = ("single", "double", "synthesis")
AXES: dict[str, tuple[str, ...]] = {
    "work": SKILLS,
    "theme": ("numbers", "lists", "texts", "tables"),
    "length": ("short", "long"),
    "form": ("plain", "restyled"),
}
LONG_LINES = 6  # a function of more lines, head included, is long
OWN_CALLS, EXAMPLES = 16, 3
_POOL, _MUTATIONS, _DRAWS = 24, 12, 200
_LONGEST_EXAMPLE = 64  # characters of an assert


@dataclass(frozen=True)
class Known:
    """A function and what it gives on the calls of a problem: its own, then those from which examples are picked."""

    function: Function
    calls: list[list[Any]]
    runs: list[Ran]


def truth(given: Mapping[str, Any]) -> Function:
    """The function of a problem, drawn again from what the problem holds."""
    rng = random.Random(derive_seed("function", given["seed"]))
    function = families.draw(families.library()[given["family"]], rng, plain=given["form"] == "sketch")
    if given["form"] == "restyled":
        return replace(function, source=restyle.restyle(function.source, rng))
    return function


def own_calls(kinds: Sequence[str], seed: int, count: int = OWN_CALLS) -> list[list[Any]]:
    """Calls that belong to a seed: half of them boundary cases, half drawn."""
    rng = random.Random(derive_seed("calls", seed))
    return inputs.boundary(kinds, rng, count // 2) + inputs.draw(kinds, rng, count - count // 2)


def make(rng: random.Random, cell: Mapping[str, str]) -> Problem:
    """One problem at a full cell of the axes.

    Raises:
        ValueError: a value that is not on its axis.
    """
    for axis, values in AXES.items():
        if cell[axis] not in values:
            raise ValueError(f"{axis}: expected one of {', '.join(values)}, got {cell[axis]!r}")
    themed = [family for family in families.library().values() if family.theme == cell["theme"]]
    for _ in range(_DRAWS):
        seed = rng.getrandbits(62)
        form = "sketch" if cell["work"] == "synthesis" else cell["form"]
        given: dict[str, Any] = {"seed": seed, "family": rng.choice(themed).name, "form": form}
        function = truth(given)
        known = _known(function, seed) if _length(function.source) == cell["length"] else None
        problem = None if known is None else _problem(known, given, cell, rng)
        if problem is not None:
            return problem
    raise AssertionError(f"no problem at {dict(cell)} in {_DRAWS} draws")


def _length(source: str) -> str:
    return "long" if source.count("\n") >= LONG_LINES else "short"


def _known(function: Function, seed: int) -> Known | None:
    """What a function gives; ``None`` if it tells too little, by giving the same nearly always."""
    calls = own_calls(function.kinds, seed) + own_calls(function.kinds, derive_seed("pool", seed), _POOL)
    call = Trusted(function.source, function.name).call
    runs = [call(arguments) for arguments in calls]
    assert not any(run.error for run in runs), f"{function.family} fails on inputs of its kinds"
    return Known(function, calls, runs) if len({run.told for run in runs}) > 1 else None


def _problem(known: Known, given: dict[str, Any], cell: Mapping[str, str], rng: random.Random) -> Problem | None:
    work, function = cell["work"], known.function
    code, kinds, fails = None, [], [False] * len(known.calls)
    if work != "synthesis":
        buggy = _plant(known, 1 if work == "single" else 2, rng)
        if buggy is None:
            return None
        code, kinds, fails = buggy
    examples = _examples(known, fails, rng)
    if examples is None:
        return None
    lines = None if code is None else tuple(code.split("\n"))
    bug = {"bug": "+".join(sorted(kinds))} if kinds else {}
    return Problem(
        task=NAME,
        skill=work,
        prompt=Asked((function.sentence,), examples, None, lines).text(),
        difficulty=function.source.count("\n") + 1 + 4 * SKILLS.index(work),
        tags={"theme": function.theme, "family": function.family, "length": cell["length"], **bug},
        given=given,
    )


def _plant(known: Known, count: int, rng: random.Random) -> tuple[str, list[str], list[bool]] | None:
    """A source with `count` bugs, their kinds, and on which of the known calls it is wrong."""
    source, kinds, wrong = known.function.source, list[str](), list[bool]()
    before = known.runs
    for _ in range(count):
        found = _bug(known, source, before, rng)
        if found is None:
            return None
        source, kind, before = found
        kinds.append(kind)
        wrong = [_unlike(a, b) for a, b in zip(known.runs, before, strict=True)]
        if not any(wrong[:OWN_CALLS]) or not any(wrong[OWN_CALLS:]):
            return None
    return source, kinds, wrong


def _bug(known: Known, source: str, before: list[Ran], rng: random.Random) -> tuple[str, str, list[Ran]] | None:
    """One more bug, on lines that are still right, that changes what the function gives."""
    found: dict[str, list[mutate.Mutation]] = {}
    for mutation in mutate.mutations(source):
        found.setdefault(mutation.kind, []).append(mutation)
    touched = _lines_changed(known.function.source, source)
    for _ in range(_MUTATIONS if found else 0):
        kind = rng.choice(sorted(found))  # kinds evenly: most places allow a wrong variable, and few a missing else
        changed = rng.choice(found[kind]).apply()
        if changed is None or (touched and _lines_changed(source, changed) & touched):
            continue
        function = Trusted(changed, known.function.name)
        after = _run_all(function.call, known.calls)
        if after is not None and any(_unlike(a, b) for a, b in zip(before, after, strict=True)):
            return changed, kind, after
    return None


def _run_all(call: Callable[[Sequence[Any]], Ran], calls: Sequence[Sequence[Any]]) -> list[Ran] | None:
    runs = []
    for arguments in calls:
        runs.append(call(arguments))
        if runs[-1].error == "budget":
            return None
    return runs


def _unlike(a: Ran, b: Ran) -> bool:
    return (a.error, a.told) != (b.error, b.told)


def _lines_changed(before: str, after: str) -> set[str]:
    """Texts of lines that only one of two sources has: a second bug keeps off the lines of the first."""
    return set(before.split("\n")) ^ set(after.split("\n"))


def _examples(known: Known, fails: Sequence[bool], rng: random.Random) -> tuple[Example, ...] | None:
    """Short examples: of a repair one or two that fail; those that pass as different as can be."""
    short = []
    for call, run, wrong in list(zip(known.calls, known.runs, fails, strict=True))[OWN_CALLS:]:
        example = Example(known.function.name, tuple(call), run.value)
        if len(example.text()) <= _LONGEST_EXAMPLE:
            short.append((example, wrong))
    rng.shuffle(short)
    failing = [example for example, wrong in short if wrong]
    if any(fails) and not failing:
        return None
    chosen: dict[str, Example] = {example.text(): example for example in failing[: rng.randint(1, 2)]}
    seen = {same(example.expected) for example in chosen.values()}
    for example, _ in sorted((s for s in short if not s[1]), key=lambda s: same(s[0].expected) in seen):
        if len(chosen) < EXAMPLES:
            chosen.setdefault(example.text(), example)
            seen.add(same(example.expected))
    if len(chosen) < EXAMPLES:
        chosen |= {example.text(): example for example in failing[: EXAMPLES + 1]}
    made = list(chosen.values())[:EXAMPLES]
    rng.shuffle(made)
    return tuple(made) if len(made) == EXAMPLES else None


def tell_failure(asked: Asked) -> Asked:
    """A prompt with code of ours, with the line that an attempt of that code would have left."""
    assert asked.code is not None
    call = Trusted("\n".join(asked.code), asked.function).call
    for example in asked.examples:
        ran = call(example.arguments)
        if ran.error:
            return replace(asked, failed=f"{example.called()} raised {ran.error}")
        if ran.told != same(example.expected):
            return replace(asked, failed=f"{example.called()} gave {ran.value!r}, expected {example.expected!r}")
    return asked
