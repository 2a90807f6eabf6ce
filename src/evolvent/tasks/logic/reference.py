"""A shortest right answer, for seed training and tests; nothing that makes or filters data imports it."""

from __future__ import annotations

from evolvent.tasks.logic.prompts import Asked
from evolvent.types import Problem


def reference(problem: Problem) -> str:
    """The answer.

    Raises:
        ValueError: the prompt is none of the task's, or no candidate holds.
    """
    asked = Asked.read(problem.prompt)
    if asked is None:
        raise ValueError(f"prompt: expected one of the task's, got {problem.prompt[:60]!r}")
    for candidate in asked.candidates:
        found = _proof(asked, candidate) if asked.deduction else _path(asked, candidate)
        if found is not None:
            return found
    raise ValueError(f"prompt: neither candidate holds: {problem.prompt!r}")


def _path(asked: Asked, target: str) -> str | None:
    """A shortest path, breadth first."""
    paths, seen = [asked.given], {asked.given}
    for path in paths:
        if path[-1] == target:
            return path
        for before, after in asked.statements:
            if before == path[-1] and after not in seen:
                seen.add(after)
                paths.append(path + after)
    return None


def _proof(asked: Asked, target: str) -> str | None:
    """Forward until nothing new follows, then back from the target: what it needs, in the order in which it came."""
    reasons: dict[str, str] = dict.fromkeys(asked.given, "")
    while new := {c: p for p, c in asked.statements if c not in reasons and all(x in reasons for x in p)}:
        reasons |= new
    if target not in reasons:
        return None
    needed = [target]
    for letter in needed:
        needed += [premise for premise in reasons[letter] if premise not in needed]
    return "".join(letter for letter in reasons if letter in needed and letter not in asked.given)
