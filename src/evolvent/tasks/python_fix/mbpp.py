"""Problems in the form of MBPP (Austin et al., arXiv:2108.07732) from a local folder: a sentence and three asserts.

The first asserts are shown, all of them are hidden tests: an answer that knows only what was shown may fail the others.
Only asserts that call the function with literals and compare with a literal can be read; a problem with any other is
left out, and so is one whose expected values cannot travel.

Not here: the data (bring your own copy), and problems for a judge that wants fresh ones each time (`generate.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evolvent.errors import UsageError
from evolvent.sandbox import plain
from evolvent.tasks.python_fix import generate, prompts
from evolvent.tasks.python_fix.prompts import Asked, Example
from evolvent.types import Problem

FILE = "mbpp.jsonl"


def read(folder: Path, shown: int = 1) -> list[Problem]:
    """The problems of a folder, in its order.

    Args:
        folder: holds ``mbpp.jsonl``, a JSON object a line with ``text``, ``test_list`` and ``task_id``.
        shown: how many of a problem's asserts stand in its prompt.

    Raises:
        UsageError: no such file, or a line of another form.
    """
    path = folder / FILE
    if not path.is_file():
        raise UsageError(f"mbpp: expected {FILE} in {folder}, found none; put the data set there")
    problems = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            problem = _problem(str(row["text"]), list(row["test_list"]), str(row["task_id"]), shown)
        except (ValueError, KeyError, TypeError) as exc:
            raise UsageError(f"{path}, line {number}: expected an MBPP problem: {type(exc).__name__}: {exc}") from None
        if problem is not None:
            problems.append(problem)
    return problems


def _problem(text: str, asserts: list[str], task_id: str, shown: int) -> Problem | None:
    examples = [prompts.read_assert(line) for line in asserts]
    found: list[Example] = [example for example in examples if example is not None]
    sentence = tuple(" ".join(line.split()) for line in text.splitlines() if line.strip())
    if len(found) < len(asserts) or not found or len({example.function for example in found}) > 1:
        return None
    prompt = Asked(sentence, tuple(found[:shown])).text()
    if prompts.read(prompt) is None:
        return None
    hidden: list[Any] = [[plain.encode(list(e.arguments)), plain.encode(e.expected)] for e in found]
    return Problem(
        task=generate.NAME,
        skill="synthesis",
        prompt=prompt,
        tags={"theme": "mbpp", "family": task_id},
        given={"hidden": hidden},
    )
