"""What a model reads and writes.

A prompt to repair, and one to write::

    # Count the values of xs that are greater than 3.        # Count the values of xs that are greater than 3.
    assert tally([1, 5, 7]) == 2                              assert tally([1, 5, 7]) == 2
    # failed: tally([1, 5, 7]) gave 3, expected 2             # write
    # code
    1|def tally(xs):
    2|    return len([x for x in xs if x >= 3])
    # fix

The line ``# failed`` is there only after an attempt. An answer takes one of two forms, nothing before or after it:

- *edits*, to a prompt with code: lines that begin with a number of the prompt's code, ascending. ``2|text`` puts `text`
  in the place of line 2, ``2-`` drops line 2, ``2+text`` puts `text` below line 2 (``0+text`` above line 1; may be
  repeated). A line is replaced or dropped once;
- *a whole module*, in the place of all code: its first line is no edit, and some line of it begins with ``def``.

Not here: running any of it.
"""

from __future__ import annotations

import ast
import difflib
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evolvent import syntax
from evolvent.sandbox import plain

CODE, FIX, WRITE, FAILED = "# code", "# fix", "# write", "# failed: "
MAX_OUTPUT_CHARS = 20_000
_EDIT = re.compile(r"(0|[1-9][0-9]{0,3})([|+-])(.*)")
_WHOLE = re.compile(r"^def ", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """A visible assert: ``assert function(*arguments) == expected``."""

    function: str
    arguments: tuple[Any, ...]
    expected: Any

    def text(self) -> str:
        """As Python."""
        return f"assert {self.called()} == {self.expected!r}"

    def called(self) -> str:
        """The call as Python."""
        return f"{self.function}({', '.join(map(repr, self.arguments))})"


@dataclass(frozen=True)
class Asked:
    """A prompt, read.

    Attributes:
        sentence: lines that say what the function gives.
        examples: the visible asserts, one at least.
        failed: what an earlier attempt did wrong.
        code: lines of the code to repair; ``None`` if a function is to be written.
    """

    sentence: tuple[str, ...]
    examples: tuple[Example, ...]
    failed: str | None = None
    code: tuple[str, ...] | None = None

    @property
    def function(self) -> str:
        """Name of the function."""
        return self.examples[0].function

    def text(self) -> str:
        """The prompt."""
        lines = [f"# {line}" for line in self.sentence] + [example.text() for example in self.examples]
        if self.failed is not None:
            lines.append(FAILED + self.failed)
        if self.code is None:
            lines.append(WRITE)
        else:
            lines += [CODE, *(f"{i}|{line}" for i, line in enumerate(self.code, 1)), FIX]
        return "\n".join(lines) + "\n"


@functools.lru_cache(maxsize=512)
def read(prompt: str) -> Asked | None:
    """A prompt, read; ``None`` if it is none of ours. Never raises."""
    lines = prompt.removesuffix("\n").split("\n")
    head = [line for line in lines[: _start(lines)] if line not in (WRITE,)]
    sentence = tuple(line[2:] for line in head if line.startswith("# ") and not line.startswith(FAILED))
    failed = [line.removeprefix(FAILED) for line in head if line.startswith(FAILED)]
    found = [read_assert(line) for line in head if not line.startswith("# ")]
    examples = tuple(example for example in found if example is not None)
    if not examples or len(examples) < len(found) or len({example.function for example in examples}) > 1:
        return None
    code = None
    if CODE in lines:
        body = lines[_start(lines) + 1 :]
        if body[-1:] != [FIX]:
            return None
        numbered = [line.partition("|") for line in body[:-1]]
        if [number for number, _, _ in numbered] != [str(i) for i in range(1, len(numbered) + 1)]:
            return None
        code = tuple(text for _, _, text in numbered)
    elif lines[-1] != WRITE:
        return None
    return Asked(sentence, examples, failed[0] if failed else None, code)


def _start(lines: Sequence[str]) -> int:
    return lines.index(CODE) if CODE in lines else len(lines)


def read_assert(line: str) -> Example | None:
    """An assert of the form ``assert f(literals) == literal``; ``None`` for any other text."""
    try:
        (statement,) = syntax.parse(line.strip()).body
        if not isinstance(statement, ast.Assert) or statement.msg or not isinstance(statement.test, ast.Compare):
            return None
        call, operators, values = statement.test.left, statement.test.ops, statement.test.comparators
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.keywords):
            return None
        if len(operators) != 1 or not isinstance(operators[0], ast.Eq):
            return None
        *arguments, expected = (ast.literal_eval(node) for node in (*call.args, values[0]))
        example = Example(call.func.id, tuple(arguments), expected)
        return example if _travels(arguments) and _travels(expected) else None
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None


def _travels(value: object) -> bool:
    """A value that comes out of the sandbox as it went in; a complex number, say, would not."""
    return bool(plain.decode(plain.encode(value)) == value)


def resolve(asked: Asked, output: str) -> str | None:
    """The module that an answer stands for; ``None`` if it has neither of the two forms. Never raises."""
    text = output.rstrip("\n")
    if len(text) > MAX_OUTPUT_CHARS:
        return None
    edits = [_EDIT.fullmatch(line) for line in text.split("\n")]
    if edits[0] is None and _WHOLE.search(text):
        return text
    if asked.code is None or None in edits:
        return None
    inserted: dict[int, list[str]] = {}
    changed: dict[int, str | None] = {}
    last = -1
    for edit in edits:
        assert edit is not None
        number, mark, line = int(edit[1]), edit[2], edit[3]
        if not (number >= last and number <= len(asked.code)) or (mark == "-" and line):
            return None
        last = number
        if mark == "+":
            inserted.setdefault(number, []).append(line)
        elif number == 0 or number in changed or number in inserted:
            return None
        else:
            changed[number] = line if mark == "|" else None
    lines = list(inserted.get(0, []))
    for number, old in enumerate(asked.code, 1):
        line = changed.get(number, old)
        lines += ([] if line is None else [line]) + inserted.get(number, [])
    return "\n".join(lines)


def edits_between(before: Sequence[str], after: Sequence[str]) -> str:
    """The edits that make `after` of `before`, lines each."""
    made = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        shared = min(j - i, m - k)
        made += [f"{i + place + 1}|{after[k + place]}" for place in range(shared)]
        made += [f"{number}-" for number in range(i + shared + 1, j + 1)]
        made += [f"{j}+{line}" for line in after[k + shared : m]]
    return "\n".join(made)


def shortest(asked: Asked, source: str) -> str:
    """A module as an answer to a prompt: edits of its code, or the whole where there is no code or nothing to edit."""
    if asked.code is None:
        return source
    return edits_between(asked.code, source.split("\n")) or source
