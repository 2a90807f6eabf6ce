"""The language of programs: what a scaffold may say, and what can be read off its text before it runs.

A scaffold is plain JSON in the genome. A program is a short list of steps, each of which turns a problem's pool of
attempts into another; the first attempt of the last pool is the answer::

    {"kind": "steps", "steps": [{"do": "sample", "n": 4, "temperature": "0.6"}, {"do": "check", "by": "feedback"},
                                {"do": "vote", "by": "text"}]}

A program may carry solved problems, ``"examples": [[prompt, answer], ...]``, for its steps `recall` and `show`
(`examples.py`). Programs written by hand have names, ``{"kind": "vote", "answers": 12}``; `steps_of` writes them out,
and nothing else runs them. Every field has finitely many values, each step names the tool that it uses, and no step
asks the model an unknown number of times: `answers` reads the bound off the text, and `check` holds it under
`MOST_ANSWERS`. Two kinds have no steps: ``{"kind": "policy", ...}`` answers every prompt with the policy that it
states, and asks no model; ``{"kind": "code", ...}`` is a Python function that only a sandbox runs (`code.py`), and
states its bound.

Not here: running (`programs.py`), changing (`edits.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evolvent import policy
from evolvent.scaffold import code, examples

TEMPERATURE = 0.6
TOOLS = ("feedback", "advance", "revise")  # methods of a task that run an answer; all see a prompt and an output only
EXAMPLES = "examples"  # what `recall` and `show` use: solved problems that stand in the scaffold
MOST_ANSWERS, MOST_STEPS = 16, 6

# Bounds under which the three cost about the same tokens, 2.8 to 3.0 times a direct answer, where they have work to do
# (`multi` of sql_migration under the shipped seed; benchmarks/programs.py).
EQUAL_ANSWERS = {"vote": 12, "retry": 8, "stepwise": 4}
REVISE_ANSWERS = 6  # where a task has tests; what that costs beside the others: benchmarks/python_fix.py

Scaffold = dict[str, Any]
Step = dict[str, Any]

_WARM = ("0.3", "0.6", "0.9")
_COUNTS = tuple(range(1, MOST_ANSWERS + 1))


@dataclass(frozen=True)
class Verb:
    """What a step can be.

    Attributes:
        fields: its fields, each with all values that it may have.
        makes: it makes attempts, so it can begin a program; most others need an attempt to work on.
        tool: the tool that it always uses, ``""`` for none or for what its field ``by`` names.
        alone: it needs no attempt either.
    """

    fields: Mapping[str, tuple[Any, ...]]
    makes: bool = False
    tool: str = ""
    alone: bool = False


VERBS: Mapping[str, Verb] = {
    # Ask the first prompt n times; all answers join the pool. Greedy ("0") asks once.
    "sample": Verb({"n": _COUNTS, "temperature": ("0", *_WARM)}, makes=True),
    # Attempts that pass, if any do; otherwise all.
    "check": Verb({"by": TOOLS}),
    # Attempts that come to what most come to: the same text, or the same result of a tool.
    "vote": Verb({"by": ("text", "advance", "revise")}),
    # Ask the first prompt again, one at a time, until an attempt passes; that one comes first.
    "retry": Verb({"by": TOOLS, "times": _COUNTS, "temperature": _WARM}),
    # Run what runs of the first attempt on a scratch copy and ask for what is left; of n answers, one that leaves
    # nothing or else the most frequent result. Begins with the first prompt where there is no attempt.
    "advance": Verb({"times": _COUNTS, "n": _COUNTS, "temperature": _WARM}, makes=True, tool="advance"),
    # Test the best attempt, tell its failure, ask for a fix; keep what fails less.
    "repair": Verb({"times": _COUNTS, "temperature": _WARM}, tool="revise"),
    # Where at least this share of the attempts come to the same and pass, that is the answer, and the steps that follow
    # are for the other problems; by text nothing is tried, so two at least must agree (adaptive-consistency with a
    # fixed look, arXiv:2305.11860).
    "settle": Verb({"by": ("text", *TOOLS), "share": ("0.2", "0.4", "0.6", "0.8", "1")}),
    # Say nothing where less than this share of the attempts is the same text: nobody counts that as right.
    "abstain": Verb({"below": ("0.2", "0.4", "0.6", "0.8")}),
    # The answers of the n examples most like the problem join the pool, the most alike first; nothing is asked.
    "recall": Verb({"n": _COUNTS[:8]}, makes=True, tool=EXAMPLES),
    # From here on the problem's own prompt is asked with the n most alike examples in front, the most alike last.
    "show": Verb({"n": _COUNTS[:8]}, tool=EXAMPLES, alone=True),
}

WRITTEN: Mapping[str, Callable[[int], list[Step]]] = {
    "direct": lambda answers: [_sample(1, "0")],
    "vote": lambda answers: [_sample(answers), {"do": "vote", "by": "text"}],
    "retry": lambda answers: [_sample(1, "0"), _retry("feedback", answers - 1)],
    "stepwise": lambda answers: [{"do": "advance", "times": answers, "n": 1, "temperature": "0.6"}],
    "revise": lambda answers: [_sample(1, "0"), {"do": "repair", "times": answers - 1, "temperature": "0.6"}],
    "consistent": lambda answers: [_sample(answers), {"do": "check", "by": "feedback"}, {"do": "vote", "by": "text"}],
}
KINDS = tuple(WRITTEN)
POLICY = "policy"
CODE = "code"


def _sample(n: int, temperature: str = "0.6") -> Step:
    return {"do": "sample", "n": n, "temperature": temperature}


def _retry(by: str, times: int) -> Step:
    return {"do": "retry", "by": by, "times": times, "temperature": "0.6"}


def steps_of(scaffold: Scaffold) -> list[Step]:
    """The steps of a scaffold that `check` accepts; a policy has none, nor has Python."""
    if scaffold["kind"] in (POLICY, CODE):
        return []
    if scaffold["kind"] == "steps":
        return scaffold["steps"]
    return WRITTEN[scaffold["kind"]](scaffold.get("answers", 1))


def stated(scaffold: Scaffold) -> dict[str, Any]:
    """The policy that a scaffold of that kind states."""
    return {name: value for name, value in scaffold.items() if name != "kind"}


def asks(step: Step) -> int:
    """Answers that a step asks for at most, of one problem; what is recalled or shown is not asked."""
    if VERBS[step["do"]].tool == EXAMPLES:
        return 0
    return int(step.get("times", 1)) * int(step.get("n", 1)) if {"times", "n"} & step.keys() else 0


def answers(steps: Sequence[Step]) -> int:
    """Answers that a program asks for at most, of one problem."""
    return sum(map(asks, steps))


def tools(steps: Sequence[Step]) -> set[str]:
    """Tools that a program uses, and `EXAMPLES` if it uses those."""
    return {VERBS[step["do"]].tool or step.get("by", "text") for step in steps} & {*TOOLS, EXAMPLES}


def of_steps(steps: Sequence[Step], scaffold: Scaffold) -> Scaffold:
    """A program of these steps, with the examples of another if they use any."""
    made = {"kind": "steps", "steps": list(steps)}
    return {**made, EXAMPLES: scaffold[EXAMPLES]} if EXAMPLES in tools(steps) else made


def check(scaffold: Scaffold) -> None:
    """Raise on a scaffold that is not one of ours.

    Raises:
        ValueError: unknown kind, key or step; no policy where one is stated; a value that its field does not have;
            `answers` of a written program outside 2..16; a program without an attempt to work on, with too many steps,
            or that may ask too often; steps that use examples without any, or examples that no step uses; Python that
            `code.parsed` refuses.
    """
    kind = scaffold.get("kind")
    if kind == "steps":
        _only(scaffold, {"kind", "steps", *scaffold.keys() & {EXAMPLES}}, "scaffold")
        check_steps(scaffold["steps"])
        _check_examples(scaffold)
    elif kind == POLICY:
        policy.check(stated(scaffold))
    elif kind == CODE:
        _only(scaffold, {"kind", "answers", "tools", "source"}, "scaffold")
        _check_code(scaffold)
    elif kind not in KINDS:
        raise ValueError(f"scaffold.kind: expected one of {', '.join((*KINDS, 'steps', CODE, POLICY))}, got {kind!r}")
    else:
        _only(scaffold, {"kind"} if kind == "direct" else {"kind", "answers"}, "scaffold")
        if kind != "direct" and (type(scaffold["answers"]) is not int or scaffold["answers"] not in _COUNTS[1:]):
            raise ValueError(f"scaffold.answers: expected 2 to {MOST_ANSWERS}, got {scaffold['answers']!r}")


def check_steps(steps: Any) -> None:
    """Raise on a list that is no program.

    Raises:
        ValueError: see `check`.
    """
    if not isinstance(steps, list) or not 1 <= len(steps) <= MOST_STEPS:
        got = f"{len(steps)} steps" if isinstance(steps, list) else type(steps).__name__
        raise ValueError(f"scaffold.steps: expected a list of 1 to {MOST_STEPS} steps, got {got}")
    made = False
    for place, step in enumerate(steps):
        where = f"scaffold.steps[{place}]"
        name: Any = step.get("do") if isinstance(step, dict) else None
        if not isinstance(name, str) or name not in VERBS:
            raise ValueError(f"{where}: expected do to be one of {', '.join(VERBS)}, got {name!r}")
        verb = VERBS[name]
        _only(step, {"do", *verb.fields}, where)
        for field, values in verb.fields.items():
            if type(step[field]) is not type(values[0]) or step[field] not in values:
                told = ", ".join(map(json.dumps, values))  # texts in quotes: 0.6 is no "0.6"
                hint = f'; write it in quotes: "{step[field]}"' if str(step[field]) in values else ""
                raise ValueError(f"{where}.{field}: expected one of {told}, got {step[field]!r}{hint}")
        made = made or verb.makes
        if not made and not verb.alone:
            raise ValueError(
                f"{where}: there is no attempt yet that {name} could work on; begin with sample or advance"
            )
        if name == "sample" and step["temperature"] == "0" and step["n"] != 1:
            raise ValueError(f"{where}.n: greedy answers are all the same, expected 1, got {step['n']}")
    if not made:
        raise ValueError("scaffold.steps: no step makes an attempt; add sample or advance")
    if answers(steps) > MOST_ANSWERS:
        raise ValueError(f"scaffold.steps: expected at most {MOST_ANSWERS} answers, got {answers(steps)}")


def _check_examples(scaffold: Scaffold) -> None:
    used = EXAMPLES in tools(scaffold["steps"])
    if used != (EXAMPLES in scaffold):
        raise ValueError(
            "scaffold.examples: recall and show need them; expected a list of [prompt, answer]"
            if used
            else "scaffold.examples: no step uses them; add recall or show, or leave them out"
        )
    if used:
        examples.check(scaffold[EXAMPLES])


def _check_code(scaffold: Scaffold) -> None:
    bound, named, source = scaffold["answers"], scaffold["tools"], scaffold["source"]
    if type(bound) is not int or bound not in _COUNTS:
        raise ValueError(f"scaffold.answers: expected 1 to {MOST_ANSWERS}, got {bound!r}")
    if not isinstance(named, list) or named != [tool for tool in sorted(TOOLS) if tool in named]:
        raise ValueError(f"scaffold.tools: expected some of {', '.join(sorted(TOOLS))}, in that order, got {named!r}")
    if not isinstance(source, str):
        raise ValueError(f"scaffold.source: expected a text, got {type(source).__name__}")
    code.parsed(source)


def _only(found: Mapping[str, Any], keys: set[str], where: str) -> None:
    if found.keys() != keys:
        raise ValueError(f"{where}: expected {', '.join(sorted(keys))}; got {', '.join(sorted(found))}")
