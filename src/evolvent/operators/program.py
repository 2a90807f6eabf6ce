"""Operators that change the reasoning program around the weights: to one by hand, to an edit, to one that was written.

An edit is named by its kind and a number, so that what may be proposed is a finite list while the programs that come of
it, edit upon edit, are not. What a language model writes is on no list: it is checked, and then judged as any other.

Not here: the languages and their edits (`scaffold/`); Python is parsed here and run in the sandbox only.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from evolvent.errors import JobFailed
from evolvent.operators.base import Bench, Built
from evolvent.propose.base import OperatorSpec, Written
from evolvent.scaffold import code, code_edits, edits, grammar
from evolvent.types import derive_seed

SCAFFOLD = OperatorSpec(
    name="scaffold",
    summary="answer by vote, by retrying on the engine's error, or step by step on a scratch copy",
    space={"kind": tuple(grammar.EQUAL_ANSWERS)},  # back to direct is a rollback
    prior_points=10.0,
    relative_cost=0.1,
    remedy=("middle", "high"),
)


@dataclass(frozen=True, kw_only=True)
class Scaffold:
    """Swap the scaffold; the weights stay. The programs may spend about the same number of tokens."""

    spec: OperatorSpec = SCAFFOLD

    def build(self, bench: Bench) -> Built:
        """No job: the version is the parent's weights under another program."""
        kind = bench.proposal.params["kind"]
        scaffold = {"kind": kind, "answers": grammar.EQUAL_ANSWERS[kind]}
        grammar.check(scaffold)
        return Built(model=bench.model, scaffold=scaffold, policy=bench.policy)


TESTING = OperatorSpec(
    name="testing",
    summary="answer, run the prompt's own tests, read the failure, fix",
    prior_points=10.0,
    relative_cost=0.1,
)


@dataclass(frozen=True, kw_only=True)
class Testing:
    """Swap the scaffold for the testing program; for tasks whose prompts state tests (`Task.revise`)."""

    spec: OperatorSpec = TESTING

    def build(self, bench: Bench) -> Built:
        """No job: the version is the parent's weights under another program."""
        scaffold = {"kind": "revise", "answers": grammar.REVISE_ANSWERS}
        grammar.check(scaffold)
        return Built(model=bench.model, scaffold=scaffold, policy=bench.policy)


SCAFFOLD_EDIT = OperatorSpec(
    name="scaffold_edit",
    summary="change a step or a number of the champion's program, or give it the end of one written by hand",
    space={"edit": ("mutate", "cross"), "number": tuple(range(16))},
    prior_points=1.0,
    relative_cost=0.1,
)


@dataclass(frozen=True, kw_only=True)
class ScaffoldEdit:
    """One edit of the champion's program; the weights stay. New tools come in by crossing only, from its partner.

    Equal answers are a bound here, not equal tokens: what a child costs is measured where it is judged.
    """

    spec: OperatorSpec = SCAFFOLD_EDIT

    def build(self, bench: Bench) -> Built:
        """No job: the version is the parent's weights under the edited program.

        Raises:
            JobFailed: ``no_edit``: nothing else fits into the program's bounds, or it has no steps.
        """
        params = bench.proposal.params
        rng = random.Random(derive_seed("scaffold_edit", params["edit"], params["number"]))
        parent = grammar.steps_of(bench.scaffold)
        if not parent:
            raise JobFailed("no_edit", f"a program of kind {bench.scaffold['kind']} has no steps")
        allowed = grammar.tools(parent) | {"feedback"}
        most = max(grammar.answers(parent), *grammar.EQUAL_ANSWERS.values())
        if params["edit"] == "mutate":
            child = edits.mutate(parent, rng, allowed, most)
        else:
            kind, answers = rng.choice(sorted(grammar.EQUAL_ANSWERS.items()))
            partner = grammar.steps_of({"kind": kind, "answers": answers})
            child = edits.cross(parent, partner, rng, allowed | grammar.tools(partner), most)
        if child == parent:
            raise JobFailed("no_edit", f"no {params['edit']} number {params['number']} of this program fits its bounds")
        return Built(model=bench.model, scaffold=grammar.of_steps(child, bench.scaffold), policy=bench.policy)


CODE_EDIT = OperatorSpec(
    name="code_edit",
    summary="change a statement, condition or number of the champion's program in Python, or begin with one",
    space={"partner": ("itself", *code.WRITTEN), "number": tuple(range(16))},
    prior_points=1.0,
    relative_cost=0.1,
)


@dataclass(frozen=True, kw_only=True)
class CodeEdit:
    """One edit of the champion's Python, to which a partner may lend a statement; the weights stay.

    Under a champion that is no Python the partner itself is edited: the way in.
    """

    spec: OperatorSpec = CODE_EDIT

    def build(self, bench: Bench) -> Built:
        """No job, and nothing is run: the version is the parent's weights under the edited program.

        Raises:
            JobFailed: ``no_edit``: no edit of it is a program.
        """
        name, number = bench.proposal.params["partner"], bench.proposal.params["number"]
        rng = random.Random(derive_seed("code_edit", name, number))
        own = bench.scaffold if bench.scaffold["kind"] == grammar.CODE else None
        nearest = bench.scaffold["kind"] if bench.scaffold["kind"] in code.WRITTEN else "retry"
        partner = {"kind": grammar.CODE, **code.WRITTEN[nearest if name == "itself" else name]}
        parent = own or partner
        try:
            child = code_edits.mutated(parent, rng, None if name == "itself" else partner)
        except RecursionError:  # the champion's own text is too deep even to be looked at
            child = parent
        if child == parent:
            raise JobFailed("no_edit", f"no edit number {number} of this program, with {name}, is a program")
        return Built(model=bench.model, scaffold=child, policy=bench.policy)


def _program(value: object) -> None:
    """Raise `ValueError` for anything but a program of steps or in Python."""
    if not isinstance(value, dict) or value.get("kind") not in ("steps", grammar.CODE):
        raise ValueError("scaffold: expected an object of kind steps or code")
    if grammar.EXAMPLES in value:
        raise ValueError("scaffold.examples: are the champion's; leave them out")
    if value["kind"] == "steps" and value.keys() == {"kind", "steps"}:
        grammar.check_steps(value["steps"])  # whether there are examples for them is known where it is built
    else:
        grammar.check(value)


def _field(name: str, values: tuple[Any, ...]) -> str:
    """A field of a step with its values: a range of whole numbers, or the texts that it may be."""
    whole = type(values[0]) is int
    return f"{name} {values[0]}..{values[-1]}" if whole else f"{name} {'|'.join(map(_quoted, values))}"


def _quoted(text: str) -> str:
    return f'"{text}"'


_FORM = (
    f'a JSON object, {{"kind": "steps", "steps": [...]}} with at most {grammar.MOST_STEPS} of: '
    + "; ".join(
        f"{name}({', '.join(_field(field, values) for field, values in verb.fields.items())})"
        for name, verb in grammar.VERBS.items()
    )
    + ' (each {"do": name, and all its fields}; recall and show only under a champion that has examples); or '
    f'{{"kind": "code", "answers": 1..{grammar.MOST_ANSWERS}, "tools": some of '
    f"{', '.join(map(_quoted, sorted(grammar.TOOLS)))} in that order, "
    f'"source": Python of at most {code.MOST_SOURCE} characters}} with {code.FUNCTION}(prompt, attempts), called again '
    'after each asking. Each attempt is {"prompt": what was asked, "output": what was said} and of each tool named '
    '"feedback": complaint or None, "advance": [what ran, prompt of what is left or None], '
    '"revise": {"whole", "brief", "faults", "prompt"} or None. It returns {"answer": text} or {"ask": prompt, "n": '
    f'count, "temperature": {"|".join(map(_quoted, code.TEMPERATURES))}}}, n 1 if greedy, at most answers of all n'
)

SCAFFOLD_PATCH = OperatorSpec(
    name="scaffold_patch",
    summary="answer under a program that the proposer writes, such as the champion's with a line changed",
    prior_points=1.0,
    relative_cost=0.1,
    written={"scaffold": Written(form=_FORM, check=_program)},
)


@dataclass(frozen=True, kw_only=True)
class ScaffoldPatch:
    """Swap the program for one that was written for this proposal; the weights stay."""

    spec: OperatorSpec = SCAFFOLD_PATCH

    def build(self, bench: Bench) -> Built:
        """No job, and nothing is run: the version is the parent's weights under the program.

        Raises:
            JobFailed: ``no_edit``: it is the champion's own, or it uses examples and the champion has none.
        """
        written = bench.proposal.params["scaffold"]
        if written["kind"] == "steps":
            if grammar.EXAMPLES in grammar.tools(written["steps"]) and grammar.EXAMPLES not in bench.scaffold:
                raise JobFailed("no_edit", "it recalls or shows examples, and the champion has none")
            written = grammar.of_steps(written["steps"], bench.scaffold)
        if written == bench.scaffold:
            raise JobFailed("no_edit", "the champion has this program already")
        return Built(model=bench.model, scaffold=dict(written), policy=bench.policy)
