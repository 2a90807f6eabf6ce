"""Bring your own task: normalise CSV headers, verified without knowing the answer.

Run it: ``python examples/01_quickstart.py``. A task makes problems and verifies outputs; that is all Evolvent asks. In
`evolvent.yaml` this one would be ``task: my_module:Headers``.

Not here: a model. Any text stands in for one, so that you see what a verifier must bear.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from evolvent import tasks
from evolvent.types import Problem, Score

WORDS = ("order", "customer", "total", "net", "city", "zip", "paid", "due", "line", "tax")
UNITS = ("", "", " (EUR)", " [kg]", " %", " #2")
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Headers:
    """``Net Total (EUR),ZIP`` becomes ``net_total_eur,zip``.

    The verifier is intrinsic: it checks what any right answer has (as many names, each in snake case, no name twice,
    every letter and digit kept in order), so it may also filter training data that a model makes for itself.
    """

    name: str = "headers"
    skills: tuple[str, ...] = ("narrow", "wide")
    max_output_tokens: int = 96
    filter: str = "verified"
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"columns": ("1", "2", "4", "6")})

    def generate(self, skill: str, rng: random.Random, count: int) -> list[Problem]:
        """`count` problems: one or two columns (``narrow``), or four to six (``wide``)."""
        low, high = (1, 2) if skill == "narrow" else (4, 6)
        return [self._make(rng, rng.randint(low, high)) for _ in range(count)]

    def challenge(self, cell: Mapping[str, str], rng: random.Random, count: int) -> list[Problem]:
        """`count` problems of one difficulty."""
        return [self._make(rng, int(cell.get("columns") or rng.choice(self.axes["columns"]))) for _ in range(count)]

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        """Properties only; never raises, whatever the text."""
        wanted, got = problem.prompt.removesuffix("\n").split(","), output.split(",")
        if len(got) != len(wanted):
            return Score(correct=False, error="wrong_count")
        if not all(NAME.fullmatch(name) for name in got):
            return Score(correct=False, error="not_snake_case", executed=True)
        if max(Counter(got).values()) > 1:
            return Score(correct=False, error="twice", executed=True)
        if [_kept(name) for name in got] != [_kept(name) for name in wanted]:
            return Score(correct=False, error="changed", executed=True)
        return Score(correct=True, executed=True)

    def feedback(self, prompt: str, output: str) -> str | None:
        """What shows without the problem's hidden part; here there is none."""
        return self.verify(Problem(task=self.name, skill="narrow", prompt=prompt), output, 0).error

    def advance(self, prompt: str, output: str) -> tuple[str, str | None]:
        """No steps: a header line is answered at once."""
        return "", None

    def revise(self, prompt: str, output: str) -> None:
        """No tests in the prompt."""

    def inverse_prompt(self, prompt: str, output: str) -> tuple[str, str] | None:
        """None: properties are checked, no way back is needed."""

    def well_posed(self, problem: Problem) -> bool:
        """Every column has a letter to keep, and no two keep the same."""
        kept = [_kept(name) for name in problem.prompt.split(",")]
        return all(name and name[0].isalpha() for name in kept) and len(set(kept)) == len(kept)

    def _make(self, rng: random.Random, columns: int) -> Problem:
        first = rng.sample(WORDS, columns)
        names = [f"{a.title()} {rng.choice(WORDS).upper()}{rng.choice(UNITS)}" for a in first]
        tags = {"columns": str(columns), "units": str(any("(" in n or "[" in n for n in names)).lower()}
        skill = "narrow" if columns <= 2 else "wide"
        return Problem(task=self.name, skill=skill, prompt=",".join(names) + "\n", difficulty=columns, tags=tags)


def _kept(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def main() -> None:
    """Load the task as a run would, make problems, verify a good and three bad answers."""
    task = tasks.load(f"{__name__}:Headers")
    for problem in task.generate("wide", random.Random(1), 2):
        good = ",".join(re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in problem.prompt.split(","))
        print(f"prompt: {problem.prompt.strip()}")
        for answer in (good, good.replace("_", " "), good.rpartition(",")[0], "'; DROP TABLE users; --"):
            score = task.verify(problem, answer, probe_seed=0)
            print(f"  {'right' if score.correct else score.error or 'wrong':<15} {answer}")


if __name__ == "__main__":
    main()
