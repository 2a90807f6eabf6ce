"""Runs recipes: a job for each start, then a job for each arm and seed, two at a time, a thread each.

Units are jobs, so a stopped run goes on where it stopped: what was finished is cached in the folder's store under the
hash of its settings. Changed code does not change that hash; raise ``version`` in the recipe's settings.

Not here: what is concluded (`observed.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, field
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


def run(
    recipes: Sequence[Recipe], folder: Path, size: str, *, seeds: Sequence[int] = (), say: Say = lambda line: None
) -> Iterator[tuple[Recipe, Json]]:
    """Run every unit of these recipes that is not finished yet, and record the figures of all.

    The units of all recipes wait in one queue, starts first, so that no worker idles before the last ones.

    Args:
        recipes: what to run.
        folder: where artifacts and records lie; a second run in it goes on.
        size: ``quick`` or ``full``.
        seeds: in place of each recipe's own.
        say: told a line whenever a unit is done.

    Yields:
        A recipe whose units are all done, and its record, as written to ``folder/<name>.<size>.json``: ``{recipe, size,
        seeds, settings, figures[arm][seed], cpu_s, start_cpu_s, environment}``. Seconds are processor time, of all
        units and of all starts, cached ones counted as they were: on two cores that nobody else uses, a run takes
        about half of their sum.

    Raises:
        JobFailed: a unit failed; finished ones are kept.
    """
    with JobEngine(Store(folder / "store"), workers=WORKERS) as engine:
        shared: dict[str, Future[JobResult]] = {}  # a start that two recipes have is made once
        begun = [_Begun(recipe, size, seeds) for recipe in recipes]
        for one in begun:
            one.submit_starts(engine, shared)
        asked = {future: unit for one in begun for future, unit in one.submit_units(engine).items()}
        for future in as_completed(asked):
            one, arm, seed = asked[future]
            one.done[arm, seed] = result = future.result()
            took = "done before" if result.cached else f"{result.seconds_ms / 1000:.0f} s"
            say(f"{one.recipe.name}: {arm}, seed {seed}: {took} ({len(one.done)} of {one.units})")
            if len(one.done) == one.units:
                yield one.recipe, one.record(engine.store, folder)


@dataclass
class _Begun:
    """A recipe under way."""

    recipe: Recipe
    size: str
    own_seeds: Sequence[int]
    starts: dict[int, Future[JobResult]] = field(default_factory=dict)
    done: dict[tuple[str, int], JobResult] = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        return list(dict.fromkeys(self.own_seeds or self._all["seeds"]))  # twice would look surer than it is

    @property
    def settings(self) -> Settings:
        return {name: value for name, value in self._all.items() if name != "seeds"}

    @property
    def units(self) -> int:
        return len(self.seeds) * len(self.recipe.arms)

    @property
    def _all(self) -> Settings:
        return self.recipe.full if self.size == "full" else self.recipe.quick

    def submit_starts(self, engine: JobEngine, shared: dict[str, Future[JobResult]]) -> None:
        for seed in self.seeds if self.recipe.start else ():
            job = Job(function=self.recipe.start, params=self.settings["start"], seed=seed)
            if job.key not in shared:
                shared[job.key] = engine.submit(job)
            self.starts[seed] = shared[job.key]

    def submit_units(self, engine: JobEngine) -> dict[Future[JobResult], tuple[_Begun, str, int]]:
        """Waits for its starts."""
        asked = {}
        for seed in self.seeds:
            inputs = dict(self.starts[seed].result().outputs) if self.starts else {}
            for arm in self.recipe.arms:
                params = {"recipe": self.recipe.name, "arm": arm, "settings": self.settings}
                job = Job(function=_UNIT, inputs=inputs, params=params, seed=seed)
                asked[engine.submit(job)] = (self, arm, seed)
        return asked

    def record(self, store: Store, folder: Path) -> Json:
        figures = {
            arm: {
                str(seed): json.loads(store.get_bytes(self.done[arm, seed].outputs["figures"])) for seed in self.seeds
            }
            for arm in self.recipe.arms
        }
        record: Json = {
            "recipe": self.recipe.name,
            "size": self.size,
            "seeds": self.seeds,
            "settings": self.settings,
            "figures": figures,
            "cpu_s": _cpu_s(self.done.values()),
            "start_cpu_s": _cpu_s(start.result() for start in self.starts.values()),
            "environment": {name: environment(1)[name] for name in ("code", "machine", "python", "torch", "vectors")},
        }
        text = json.dumps(record, indent=1, sort_keys=True) + "\n"
        own_seeds = self.seeds if self.own_seeds else ()
        write_atomic(record_path(folder, self.recipe.name, self.size, own_seeds), text.encode())
        return record


def record_path(folder: Path, name: str, size: str, own_seeds: Sequence[int] = ()) -> Path:
    """Where the record of a recipe lies; one of other seeds than its own lies beside it."""
    seeds = "".join(f".{seed}" for seed in own_seeds)
    return folder / f"{name}.{size}{seeds}.json"


def _cpu_s(results: Iterable[JobResult]) -> int:
    return round(sum(result.cpu_ms for result in results) / 1000)
