"""Tasks make problems and verify outputs. Not here: anything that trains, samples or decides."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import cast

from evolvent import registry
from evolvent.errors import UsageError
from evolvent.tasks.base import Task
from evolvent.types import content_hash, sha256_hex

__all__ = ["Task", "load", "prepare", "source_hash"]

CONTRACT = (
    "skills", "axes", "attacks", "max_output_tokens", "filter", "generate", "challenge", "attack", "verify", "feedback",
    "advance", "revise", "inverse_prompt", "well_posed",
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


def prepare(name: str) -> None:
    """Let a task start what it needs besides this process, such as a server. Most need nothing, and have no `prepare`.

    Called by a process that will give up its powers before it verifies anything. No name, no task, nothing to do.
    """
    if name:
        getattr(load(name), "prepare", lambda: None)()


def source_hash(name: str) -> str:
    """Hash of the code of a task of one's own: the module or package that ``module:attribute`` begins with.

    Returns:
        SHA-256 in hex; ``""`` for a registered task, whose code is that of an installed version.
    """
    if ":" not in name:
        return ""
    spec = importlib.util.find_spec(name.partition(":")[0].split(".")[0])
    if spec is None or spec.origin is None:
        return ""
    root = Path(spec.origin)
    files = sorted(root.parent.rglob("*.py")) if spec.submodule_search_locations else [root]
    return content_hash({path.relative_to(root.parent).as_posix(): sha256_hex(path.read_bytes()) for path in files})
