"""Tasks make problems and verify outputs. Not here: anything that trains, samples or decides."""

from __future__ import annotations

from typing import cast

from evolvent import registry
from evolvent.errors import UsageError
from evolvent.tasks.base import Task

__all__ = ["Task", "load"]

CONTRACT = (
    "skills", "axes", "max_output_tokens", "filter", "generate", "challenge", "verify", "feedback", "advance", "revise",
    "inverse_prompt", "well_posed",
)  # fmt: skip


def load(name: str) -> Task:
    """A task by registered name or ``module:attribute``; classes and functions are called without arguments.

    Raises:
        UsageError: unknown name, or the object is no task.
    """
    target = registry.resolve(name) if ":" in name else registry.load("evolvent.tasks", name)
    try:
        task = target() if callable(target) else target
    except Exception as exc:
        raise UsageError(f"task {name!r}: calling it raised {type(exc).__name__}: {exc}") from exc
    missing = [part for part in CONTRACT if not hasattr(task, part)]
    if missing:
        raise UsageError(f"task {name!r}: expected a Task (see evolvent.tasks.base), it lacks {', '.join(missing)}")
    return cast(Task, task)
