"""Runs recipes: a job for each start, then a job for each arm and seed, two at a time, a thread each.

Units are jobs, so a stopped run goes on where it stopped: what was finished is cached in the folder's store under the
hash of its settings. Changed code does not change that hash; raise ``version`` in the recipe's settings.

Not here: what is concluded (`observed.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from evolvent import registry
from evolvent.disk import write_atomic
from evolvent.environment import environment
from evolvent.errors import UsageError
from evolvent.jobs import Job, JobContext, JobEngine, JobResult
from evolvent.recipes.base import Recipe, Settings, Unit
from evolvent.store import Store

__all__ = ["SIZES", "Json", "Say", "load", "record_path", "run", "unit"]

SIZES = ("quick", "full")
WORKERS = 2
_UNIT = "evolvent.recipes.running:unit"
Json = dict[str, Any]
Say = Callable[[str], None]


def load(name: str) -> Recipe:
    """The recipe registered under that name.

    Raises:
        UsageError: there is none, or it does not load.
    """
    found = registry.load(registry.RECIPES, name)
    if not isinstance(found, Recipe):
        raise UsageError(f"{registry.RECIPES}: '{name}' is no Recipe but {type(found).__name__}")
    return found


def unit(ctx: JobContext) -> dict[str, str]:
    """The job of one unit. Params ``recipe, arm, settings``, inputs what its start gave; returns ``figures``."""
    recipe = load(ctx.params["recipe"])
    made = Unit(
        arm=ctx.params["arm"], seed=ctx.seed, settings=ctx.params["settings"], store=ctx.store, start=ctx.inputs
    )
    figures = {name: float(value) for name, value in recipe.run(made).items()}
    return {"figures": ctx.store.put_bytes(json.dumps(figures, sort_keys=True, allow_nan=False).encode())}


def run(recipe: Recipe, folder: Path, size: str, *, seeds: Sequence[int] = (), say: Say = lambda line: None) -> Json:
    """Run every unit of a recipe that is not finished yet, and record the figures of all.

    Args:
        recipe: what to run.
        folder: where artifacts and records lie; a second run in it goes on.
        size: ``quick`` or ``full``.
        seeds: in place of the recipe's own.
        say: told a line whenever a unit is done.

    Returns:
        The record, as written to ``folder/<name>.<size>.json``: ``{recipe, size, seeds, settings, figures[arm][seed],
        cpu_s, start_cpu_s, environment}``. Seconds are processor time, of all units and of all starts, cached ones
        counted as they were: on two cores that nobody else uses, a run takes about half of their sum.

    Raises:
        JobFailed: a unit failed; finished ones are kept.
    """
    settings = recipe.full if size == "full" else recipe.quick
    chosen = list(dict.fromkeys(seeds)) or list(settings["seeds"])  # one counted twice would look surer than it is
    own = {name: value for name, value in settings.items() if name != "seeds"}
    done: dict[tuple[str, int], JobResult] = {}
    with JobEngine(Store(folder / "store"), workers=WORKERS) as engine:
        starts = _starts(recipe, own, chosen, engine)
        asked = {
            engine.submit(_job(recipe, arm, seed, own, starts[seed].outputs if starts else {})): (arm, seed)
            for seed in chosen
            for arm in recipe.arms
        }
        for future in as_completed(asked):
            arm, seed = asked[future]
            done[arm, seed] = result = future.result()
            took = "done before" if result.cached else f"{result.seconds_ms / 1000:.0f} s"
            say(f"{recipe.name}: {arm}, seed {seed}: {took} ({len(done)} of {len(asked)})")
        figures = {
            arm: {str(seed): json.loads(engine.store.get_bytes(done[arm, seed].outputs["figures"])) for seed in chosen}
            for arm in recipe.arms
        }
    record: Json = {
        "recipe": recipe.name,
        "size": size,
        "seeds": chosen,
        "settings": own,
        "figures": figures,
        "cpu_s": _cpu_s(done.values()),
        "start_cpu_s": _cpu_s(starts.values()),
        "environment": {name: environment(1)[name] for name in ("code", "machine", "python", "torch")},
    }
    write_atomic(record_path(folder, recipe.name, size), (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())
    return record


def record_path(folder: Path, name: str, size: str) -> Path:
    """Where the record of a recipe lies."""
    return folder / f"{name}.{size}.json"


def _cpu_s(results: Iterable[JobResult]) -> int:
    return round(sum(result.cpu_ms for result in results) / 1000)


def _starts(recipe: Recipe, settings: Settings, seeds: Sequence[int], engine: JobEngine) -> dict[int, JobResult]:
    if not recipe.start:
        return {}
    jobs = {seed: engine.submit(Job(function=recipe.start, params=settings["start"], seed=seed)) for seed in seeds}
    return {seed: future.result() for seed, future in jobs.items()}


def _job(recipe: Recipe, arm: str, seed: int, settings: Settings, inputs: dict[str, str]) -> Job:
    params = {"recipe": recipe.name, "arm": arm, "settings": dict(settings)}
    return Job(function=_UNIT, inputs=dict(inputs), params=params, seed=seed)
