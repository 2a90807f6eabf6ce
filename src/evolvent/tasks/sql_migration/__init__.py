"""Schema migrations: the real DDL of A and B in, the SQL that turns A into B and keeps the rows out.

Pooled skills: ``single`` (one change), ``multi`` (two to four), and ``robust``: either of them under one or two attacks
(`variants.py`). The verifier needs no answer: it applies the output to a database that holds A and hidden rows, and
compares schema and rows with B.

Rules of a team's own hold besides (`own`), over facts that sqlglot reads off the prompt and the answer (`facts.py`):
a migration that breaks one is wrong, also where it leads to B. They are what `feedback` complains of, and where
`advance` cuts.

Not here: the way from A to B (`reference.py`).
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from evolvent.errors import UsageError
from evolvent.tasks.sql_migration import dialect as dialects
from evolvent.tasks.sql_migration import generate, progress, variants, verify, words
from evolvent.types import Problem, Score

AXES: dict[str, tuple[str, ...]] = {
    "changes": ("1", "2", "3", "4"),
    "tables": ("1", "2", "3"),
    "columns": ("3", "4", "5"),
    "tier": ("alter", "rebuild"),
}


@dataclass(frozen=True, kw_only=True)
class SqlMigration:
    """The task. Frozen; all randomness is an argument.

    Attributes:
        own: rules that hold besides the verifier's, such as ``violation(drops) :- drop_table(_, T), new_table(T).``;
            needs the extra ``rules``. A problem that nothing can solve under them is made all the same.

    Raises:
        UsageError: `own` is no program that `tasks.rules` takes.
    """

    own: str = ""
    name: str = dialects.NAME
    dialect: dialects.Dialect = dialects.SQLITE
    skills: tuple[str, ...] = ("single", "multi", "robust")
    attacks: tuple[str, ...] = variants.ATTACKS
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(AXES))
    max_output_tokens: int = 96
    filter: str = "verified"
    _held: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        """Read one's own rules, before a sandbox closes; without any, their two engines are never loaded."""
        if not isinstance(self.own, str):
            raise UsageError(f"SqlMigration: own: expected a text of rules, got {type(self.own).__name__}")
        if self.own:
            object.__setattr__(self, "_held", _facts().rules(self.own, self.dialect.reads))

    def generate(self, skill: str, rng: random.Random, count: int) -> list[Problem]:
        """`count` problems of ``single`` (one change), ``multi`` (2-4 changes) or ``robust`` (either, attacked)."""
        if skill not in self.skills:
            raise ValueError(f"skill: expected one of {', '.join(self.skills)}, got {skill!r}")
        if skill == "robust":
            return [self._attacked(rng) for _ in range(count)]
        return [generate.make(rng, self._cell(skill, rng), skill, self.dialect) for _ in range(count)]

    def challenge(self, cell: Mapping[str, str], rng: random.Random, count: int) -> list[Problem]:
        """`count` problems at one cell; unnamed axes are drawn."""
        problems = []
        for _ in range(count):
            full = {axis: cell.get(axis) or rng.choice(values) for axis, values in self.axes.items()}
            skill = "single" if full["changes"] == "1" else "multi"
            problems.append(generate.make(rng, {**cell, **full}, skill, self.dialect))
        return problems

    def attack(self, problem: Problem, kind: str, rng: random.Random) -> Problem | None:
        """The same migration put differently."""
        return variants.attack(problem, kind, rng)

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        """Apply `output` to A with probe rows; compare with B; then hold it against one's own rules."""
        score = self.migrated(problem, output, probe_seed)
        error = self._broken(problem.prompt, output) if score.correct else None
        return replace(score, correct=False, error=error) if error else score

    def migrated(self, problem: Problem, output: str, probe_seed: int) -> Score:
        """Whether `output` makes B of A and keeps the rows."""
        given = problem.given
        renames = [(old, new) for old, new in given["renames"]]
        return verify.verify(given["before"], given["after"], renames, output, probe_seed)

    def feedback(self, prompt: str, output: str) -> str | None:
        """The engine's error on a scratch database that holds A, without rows, or the first rule that is broken."""
        return verify.scratch_error(prompt, output) or self._broken(prompt, output)

    def advance(self, prompt: str, output: str) -> tuple[str, str | None]:
        """Run what runs of `output` on a scratch copy of A and breaks no rule; the rest of the way as a new prompt."""
        kept, left = progress.advance(prompt, output)
        while kept and self._broken(prompt, kept):
            shorter = ";\n".join(words.split_statements(kept)[:-1])
            kept, left = progress.advance(prompt, shorter) if shorter else ("", None)
        return kept, left

    def revise(self, prompt: str, output: str) -> None:
        """None: a prompt states no tests; `feedback` and `advance` say what runs."""

    def inverse_prompt(self, prompt: str, output: str) -> None:
        """None: a migration is verified by running it, no way back is needed."""

    def well_posed(self, problem: Problem) -> bool:
        """Both schemas are accepted by the engine and differ."""
        return verify.well_posed(problem.given["before"], problem.given["after"])

    def _broken(self, prompt: str, output: str) -> str | None:
        """The first of one's own rules that an answer breaks."""
        if self._held is None:
            return None
        return next(iter(_facts().broken(self._held, prompt, output, self.dialect.reads)), None)

    def _attacked(self, rng: random.Random) -> Problem:
        problem = self.generate(rng.choice(("single", "multi")), rng, 1)[0]
        kinds = rng.sample(self.attacks, rng.choice((1, 1, 2)))
        for kind in kinds:
            problem = variants.attack(problem, kind, rng) or problem
        # An attack may have nothing to change; a table more always can be.
        return problem if "attack" in problem.tags else variants.attack(problem, "distractor", rng) or problem

    @staticmethod
    def _cell(skill: str, rng: random.Random) -> dict[str, str]:
        changes = "1" if skill == "single" else rng.choice(AXES["changes"][1:])
        return {
            "changes": changes,
            "tables": rng.choice(("1", "1", "2") if skill == "single" else ("1", "2", "3")),
            "columns": rng.choice(AXES["columns"]),
            "tier": "rebuild" if rng.random() < 0.15 else "alter",
        }


def _facts() -> ModuleType:
    return importlib.import_module("evolvent.tasks.sql_migration.facts")
