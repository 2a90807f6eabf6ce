"""Programs as Python: a function that is shown a problem's attempts and says what to do next, run where we say.

A program of steps (`grammar.py`) can only say what its verbs can. This kind says anything that Python can::

    {"kind": "code", "answers": 6, "tools": ["feedback"], "source": "def act(prompt, attempts): ..."}

``act`` gets the prompt and the attempts so far, oldest first, each ``{"prompt": what was asked, "output": what was
said}`` and the word of each tool that the program names: ``feedback`` a complaint or ``None``, ``advance`` what ran and
the prompt of what is left (or ``None``), ``revise`` ``None`` or ``{"whole", "brief", "faults", "prompt"}`` as in
`programs.Revised`. It returns ``{"answer": text}``, or ``{"ask": prompt, "n": 2, "temperature": "0.6"}`` for so many
more attempts. It is called again after each asking, anew: nothing that it leaves in a variable is there the next time,
and no problem knows of another. A tool is handed the prompt that was asked if a tool has stated it, and the problem's
own if the program made it up.

We never load the source here: it is parsed, and handed to `Execute`, which is a sandbox. What it does there may fail,
lie, or never end; then the first attempt is the answer, or silence. The bound of answers is ours to keep.

Not here: the sandbox (`sandbox/`, handed in by `observe/rollout.py`), changing a program (`code_edits.py`).
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evolvent import syntax
from evolvent.types import derive_seed

__all__ = [
    "FUNCTION", "MODULES", "MOST_SAID", "MOST_SECONDS", "MOST_SOURCE", "TEMPERATURES", "WRITTEN", "Course", "Execute",
    "Wish", "courses", "is_text", "parsed", "read",
]  # fmt: skip

FUNCTION = "act"
MOST_SOURCE = 4000  # characters: it travels in the genome, in the ledger and in memory
MOST_ASKED = 4  # a prompt of its own may be so many times as long as the first one, and a thousand characters more
MOST_SAID = 32_000  # characters of an answer
# Of a problem, on the wall, over all calls. Waiting for the sandbox is not in it: halves of a block share one, and one
# problem that sleeps in there would make those of the other half late.
MOST_SECONDS = 3.0
TEMPERATURES = ("0", "0.3", "0.6", "0.9")
# What a program may import: nothing whose answer depends on when or where it is asked, so that rollouts repeat.
MODULES = frozenset(
    ["bisect", "collections", "difflib", "fractions", "functools", "heapq", "itertools", "json", "math", "operator",
     "re", "statistics", "string", "textwrap", "typing"]
)  # fmt: skip

Execute = Callable[[str, str, Sequence[Any]], tuple[Any, float]]
"""Source, function and arguments to what it returned, and the seconds that it took once it ran.

Raises `ValueError` for whatever else became of it, and what the sandbox raises where nothing can be said.
"""

_RETRY = """\
def act(prompt, attempts):
    for attempt in attempts:
        if attempt["feedback"] is None:
            return {"answer": attempt["output"]}
    if len(attempts) >= 8:
        return {"answer": attempts[0]["output"]}
    return {"ask": prompt, "n": 1, "temperature": "0.6" if attempts else "0"}
"""
_CONSISTENT = """\
def act(prompt, attempts):
    if len(attempts) < 12:
        return {"ask": prompt, "n": 12, "temperature": "0.6"}
    runs = [attempt["output"] for attempt in attempts if attempt["feedback"] is None]
    texts = runs or [attempt["output"] for attempt in attempts]
    return {"answer": max(texts, key=texts.count)}
"""
_STEPWISE = """\
def act(prompt, attempts):
    kept, now, stuck = [], prompt, 0
    for attempt in attempts:
        ran, left = attempt["advance"]
        stuck = 0 if ran else stuck + 1
        if ran:
            kept.append(ran)
            now = left
        if ran and left is None:
            return {"answer": "\\n".join(kept)}
    if len(attempts) >= 4:
        return {"answer": "\\n".join(kept) or attempts[0]["output"]}
    return {"ask": now, "n": 1, "temperature": "0.6" if stuck else "0"}
"""
WRITTEN: Mapping[str, Mapping[str, Any]] = {
    "retry": {"answers": 8, "tools": ["feedback"], "source": _RETRY},
    "consistent": {"answers": 12, "tools": ["feedback"], "source": _CONSISTENT},
    "stepwise": {"answers": 4, "tools": ["advance"], "source": _STEPWISE},
}


def is_text(source: object, most: int = MOST_SOURCE) -> bool:
    """Whether a program may hold that text: not too long, of printable characters, lines and tabs, and in normal form.

    Else it would be another one after it was written down: the ledger keeps texts in Unicode's form NFC.
    """
    if not isinstance(source, str) or len(source) > most:
        return False
    return re.sub("[\n\t]", "", source).isprintable() and unicodedata.is_normalized("NFC", source)


def _can_be_sent(text: object, most: int) -> bool:
    """A text of at most so many characters that can be written as UTF-8, and that C code does not end early."""
    return isinstance(text, str) and len(text) <= most and not re.search("[\ud800-\udfff\0]", text)


def parsed(source: str) -> ast.Module:
    """The syntax tree of a program.

    Raises:
        ValueError: too long, no Python, no ``act(prompt, attempts)``, or an import that is not one of `MODULES`.
    """
    if not is_text(source):
        what = f"at most {MOST_SOURCE} printable characters and lines in Unicode's form NFC"
        raise ValueError(f"scaffold.source: expected {what}, got {len(source)} characters, first {source[:40]!a}")
    try:
        tree = syntax.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError) as exc:
        raise ValueError(f"scaffold.source: no Python: {exc}") from None
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == FUNCTION]
    if len(found) != 1 or len(found[0].args.args) != 2:
        raise ValueError(f"scaffold.source: expected one function {FUNCTION}(prompt, attempts)")
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
        if strange := sorted({name.split(".")[0] or "." for name in names} - MODULES):
            raise ValueError(f"scaffold.source: imports {', '.join(strange)}; it may {', '.join(sorted(MODULES))}")
    return tree


@dataclass(frozen=True)
class Wish:
    """What a program says: an answer, or a question of ours to the model.

    Attributes:
        answer: in the end; ``None`` to go on.
        ask: the next prompt.
        n: attempts.
        temperature: one of `TEMPERATURES`.
    """

    answer: str | None = None
    ask: str = ""
    n: int = 1
    temperature: str = "0"


def read(said: Any, first: str, left: int) -> Wish:
    """What a program returned, believed in nothing.

    Args:
        said: as it came out of the sandbox.
        first: the problem's prompt.
        left: answers that may still be asked for.

    Raises:
        ValueError: it is no wish, or one that is not granted.
    """
    if type(said) is dict and said.keys() == {"answer"} and _can_be_sent(said["answer"], MOST_SAID):
        return Wish(answer=said["answer"])
    if type(said) is not dict or said.keys() != {"ask", "n", "temperature"}:
        raise ValueError("expected {'answer'}, a text, or {'ask', 'n', 'temperature'}")
    ask, n, temperature = said["ask"], said["n"], said["temperature"]
    if not _can_be_sent(ask, MOST_ASKED * len(first) + 1000) or not ask.strip():
        raise ValueError("ask: expected a text, not empty, and not much longer than the prompt")
    if type(n) is not int or not 1 <= n <= left:
        raise ValueError(f"n: expected 1 to {left} answers")
    if type(temperature) is not str or temperature not in TEMPERATURES or (temperature == "0" and n > 1):
        raise ValueError(f"temperature: expected one of {', '.join(TEMPERATURES)}, and one greedy answer")
    return Wish(ask=ask, n=n, temperature=temperature)


@dataclass
class Course:
    """One problem's way through a program.

    Attributes:
        prompt: of the problem.
        left: answers that may still be asked for.
        attempts: as the program is shown them.
        answer: in the end.
        stated: prompts that tools have stated.
        seconds: that the program ran.
        fault: why it did not end by itself, for whoever wrote it.
    """

    prompt: str
    left: int
    attempts: list[dict[str, Any]] = field(default_factory=list)
    answer: str | None = None
    stated: set[str] = field(default_factory=set)
    seconds: float = 0.0
    fault: str = ""

    def next(self, source: str, execute: Execute) -> Wish | None:
        """What to ask, or ``None`` once there is an answer."""
        try:
            said, seconds = execute(source, FUNCTION, [self.prompt, self.attempts])
            self.seconds += seconds
            if self.seconds > MOST_SECONDS:
                raise ValueError(f"took more than {MOST_SECONDS:g} s")
            wish = read(said, self.prompt, self.left)
        except ValueError as exc:  # the program has failed here: what the model said first stands
            self.fault, self.answer = str(exc), self.attempts[0]["output"] if self.attempts else ""
            return None
        self.answer = wish.answer
        return wish if wish.answer is None else None

    def take(self, wish: Wish, outputs: Sequence[str], words: Callable[[str, str], dict[str, Any]]) -> None:
        """What the model said to a wish, and what tools say of that."""
        self.left -= wish.n
        asked = wish.ask if wish.ask in self.stated else self.prompt
        for text in outputs:
            said = words(asked, text)
            self.stated.update(_stated(said))
            self.attempts.append({"prompt": wish.ask, "output": text, **said})

    @property
    def made(self) -> list[tuple[str, str]]:
        """The model's own pairs that the answer is: none where the program wrote it."""
        same = [a for a in self.attempts if (a["prompt"], a["output"]) == (self.prompt, self.answer)]
        return [(self.prompt, a["output"]) for a in same[:1]]


def _stated(said: Mapping[str, Any]) -> list[str]:
    found = [said.get("advance", [None, None])[1], (said.get("revise") or {}).get("prompt")]
    return [prompt for prompt in found if prompt]


def courses(
    scaffold: Mapping[str, Any],
    prompts: Sequence[str],
    execute: Execute,
    ask: Callable[[Sequence[str], int, float, int], list[list[str]]],
    words: Callable[[Collection[str], str, str], dict[str, Any]],
    seed: int,
    explore: float,
) -> list[Course]:
    """Every prompt's way to its answer.

    Args:
        scaffold: of kind ``code``, checked.
        prompts: of the problems.
        execute: the sandbox.
        ask: prompts, samples each, temperature and seed to outputs ``[prompt][sample]``.
        words: tools' names, a prompt and an output to what they say of it.
        seed: of all sampling.
        explore: temperature of what is otherwise greedy.
    """
    ways = [Course(prompt, scaffold["answers"]) for prompt in prompts]
    for number in range(scaffold["answers"] + 1):
        wishes = [(way, wish) for way in ways if way.answer is None and (wish := way.next(scaffold["source"], execute))]
        for n, temperature in sorted({(wish.n, wish.temperature) for _, wish in wishes}):
            alike = [(way, wish) for way, wish in wishes if (wish.n, wish.temperature) == (n, temperature)]
            heat = float(temperature) or explore
            found = ask([wish.ask for _, wish in alike], n, heat, derive_seed(seed, "code", number, n, temperature))
            for (way, wish), outputs in zip(alike, found, strict=True):
                way.take(wish, outputs, lambda asked, text: words(scaffold["tools"], asked, text))
    return ways
