"""What the settings name, found and checked: a task's folder, operators, programs, skills, a memory.

Not here: the settings' own form (`plan.py`), model and gold (`inputs.py`).
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evolvent import registry
from evolvent.errors import UsageError
from evolvent.memory.memory import Memory
from evolvent.operators.base import Operator
from evolvent.plan import CONFIG_NAME, Settings
from evolvent.scaffold import grammar
from evolvent.tasks.base import Task
from evolvent.types import derive_seed

__all__ = [
    "DRAWING", "check_goal", "check_scaffold", "check_skills", "check_writers", "find_tasks_in", "load_operators",
    "read_memory",
]  # fmt: skip

DRAWING = {"bandit", "bayes", "crossover", "population", "random", "rules"}  # proposers that choose and do not write


def find_tasks_in(folder: Path) -> None:
    """Let a task named ``module:function`` lie in the run's `tasks/`; workers and judge inherit the path.

    A folder of its own, because the sandboxed worker may read it, and must not read what lies beside it.
    """
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(folder) not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (*known, str(folder))))
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def load_operators(names: list[str], priors: Mapping[str, int] | None = None) -> dict[str, Operator]:
    """The operators of a change plan and the probes, by registered name or ``module:function``.

    Args:
        names: of the change plan.
        priors: gain expected before any evidence, points, where it is not the one that the operator declares.

    Raises:
        UsageError: a name is not registered, or its module does not load; a prior is of none of them.
    """
    priors = priors or {}
    if strangers := sorted(priors.keys() - set(names)):
        raise UsageError(f"{CONFIG_NAME}: priors: not in plan.operators: {', '.join(strangers)}")
    wanted = dict.fromkeys([*names, "null", "planted_regression"])
    made = {
        name: (registry.resolve(name) if ":" in name else registry.load(registry.OPERATORS, name))() for name in wanted
    }
    return made | {
        name: replace(made[name], spec=replace(made[name].spec, prior_points=float(points)))
        for name, points in priors.items()
    }


def read_memory(path: Path) -> Memory:
    """What another run left.

    Raises:
        UsageError: the file cannot be read as that.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as exc:
        raise UsageError(f"{path}: cannot be read as a memory: {exc}") from None
    return Memory.from_plain(data, str(path))


def check_writers(operators: Mapping[str, Operator], proposers: Sequence[str]) -> None:
    """Raise `UsageError` for a plan of which nobody who proposes could choose anything: it would wait for ever."""
    open_ = [name for name, operator in operators.items() if not operator.spec.probe]
    to_write = [name for name in open_ if operators[name].spec.written]
    if open_ and to_write == open_ and not set(proposers) - DRAWING:
        raise UsageError(
            f"{CONFIG_NAME}: plan.operators: {', '.join(to_write)} has to be written, and {', '.join(proposers)} only "
            "chooses; add language_model to proposers, or another operator"
        )


def check_scaffold(scaffold: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a program that is none of ours."""
    try:
        grammar.check(dict(scaffold))
    except ValueError as exc:
        raise UsageError(f"{CONFIG_NAME}: {exc}") from None


def check_goal(settings: Settings, task: Task) -> None:
    """Raise `UsageError` for a goal that is narrowed to tags which the target's problems do not have.

    So many problems are drawn as dev has. A slice that is rarer could not be measured either.
    """
    wanted, target = settings.goal.slice, settings.plan.target
    if not wanted:
        return
    rng = random.Random(derive_seed(settings.seed, "goal", target))
    tags = [problem.tags for problem in task.generate(target, rng, settings.dev.problems)]
    if not any(all(have.get(key) == value for key, value in wanted.items()) for have in tags):
        known = sorted({f"{key}={have[key]}" for have in tags for key in wanted if key in have})
        said = ", ".join(known[:12]) or f"tags {', '.join(sorted({key for have in tags for key in have})) or 'none'}"
        asked = ", ".join(f"{key}={value}" for key, value in wanted.items())
        raise UsageError(f"goal.slice: of {len(tags)} problems of {target!r} none has {asked}; there are {said}")


def check_skills(settings: Settings, skills: tuple[str, ...]) -> None:
    """Raise `UsageError` for a protected skill that the task does not have."""
    for skill in settings.plan.protected:
        if skill not in skills:
            raise UsageError(f"plan.protected: the task has skills {', '.join(skills)}, not {skill!r}")
