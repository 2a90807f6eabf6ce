"""Schema migrations: the real DDL of A and B in, the SQL that turns A into B and keeps the rows out.

Two pooled skills: ``single`` (one change) and ``multi`` (two to four). The verifier needs no answer: it applies the
output to a database that holds A and hidden rows, and compares schema and rows with B.

Not here: the way from A to B (`reference.py`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from evolvent.tasks.sql_migration import generate, progress, verify
from evolvent.types import Problem, Score

AXES: dict[str, tuple[str, ...]] = {
    "changes": ("1", "2", "3", "4"),
    "tables": ("1", "2", "3"),
    "columns": ("3", "4", "5"),
    "tier": ("alter", "rebuild"),
}


@dataclass(frozen=True, kw_only=True)
class SqlMigration:
    """The task. Frozen; all randomness is an argument."""

    name: str = generate.NAME
    skills: tuple[str, ...] = ("single", "multi")
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(AXES))
    max_output_tokens: int = 96
    filter: str = "verified"

    def generate(self, skill: str, rng: random.Random, count: int) -> list[Problem]:
        """`count` problems of ``single`` (one change) or ``multi`` (2-4 changes)."""
        if skill not in self.skills:
            raise ValueError(f"skill: expected one of {', '.join(self.skills)}, got {skill!r}")
        return [generate.make(rng, self._cell(skill, rng), skill) for _ in range(count)]

    def challenge(self, cell: Mapping[str, str], rng: random.Random, count: int) -> list[Problem]:
        """`count` problems at one cell; unnamed axes are drawn."""
        problems = []
        for _ in range(count):
            full = {axis: cell.get(axis) or rng.choice(values) for axis, values in self.axes.items()}
            skill = "single" if full["changes"] == "1" else "multi"
            problems.append(generate.make(rng, {**cell, **full}, skill))
        return problems

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        """Apply `output` to A with probe rows; compare with B."""
        given = problem.given
        renames = [(old, new) for old, new in given["renames"]]
        return verify.verify(given["before"], given["after"], renames, output, probe_seed)

    def feedback(self, prompt: str, output: str) -> str | None:
        """The engine's error on a scratch database that holds A, without rows; ``None`` if it runs."""
        return verify.scratch_error(prompt, output)

    def advance(self, prompt: str, output: str) -> tuple[str, str | None]:
        """Run what runs of `output` on a scratch copy of A; the rest of the way to B as a new prompt."""
        return progress.advance(prompt, output)

    def revise(self, prompt: str, output: str) -> None:
        """None: a prompt states no tests; `feedback` and `advance` say what runs."""

    def inverse_prompt(self, prompt: str, output: str) -> None:
        """None: a migration is verified by running it, no way back is needed."""

    def well_posed(self, problem: Problem) -> bool:
        """Both schemas are accepted by the engine and differ."""
        return verify.well_posed(problem.given["before"], problem.given["after"])

    @staticmethod
    def _cell(skill: str, rng: random.Random) -> dict[str, str]:
        changes = "1" if skill == "single" else rng.choice(AXES["changes"][1:])
        return {
            "changes": changes,
            "tables": rng.choice(("1", "1", "2") if skill == "single" else ("1", "2", "3")),
            "columns": rng.choice(AXES["columns"]),
            "tier": "rebuild" if rng.random() < 0.15 else "alter",
        }
