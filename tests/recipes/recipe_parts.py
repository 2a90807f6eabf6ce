"""Runs a recipe's units at toy size, in this process: every arm of one seed, from one start."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from evolvent import registry
from evolvent.jobs import JobContext
from evolvent.recipes.base import Figures, Recipe, Unit
from evolvent.recipes.running import load
from evolvent.registry import resolve
from evolvent.store import Store

TINY_START = {"each": 20, "steps": 3, "tokens": 128, "rate": "0.003"}


def all_recipes() -> list[Recipe]:
    return [load(name) for name in registry.names(registry.RECIPES)]


def run_arms(recipe: Recipe, folder: Path, settings: dict[str, Any], arms: tuple[str, ...] = ()) -> dict[str, Figures]:
    """Figures by arm, all finite."""
    store = Store(folder / "store")
    start: dict[str, str] = {}
    if recipe.start:
        start = resolve(recipe.start)(JobContext(store=store, inputs={}, params=settings["start"], seed=0))
    found = {}
    for arm in arms or tuple(recipe.arms):
        figures = recipe.run(Unit(arm=arm, seed=0, settings=settings, store=store, start=start))
        assert recipe.metric in figures
        assert all(math.isfinite(value) for value in figures.values()), (arm, figures)
        found[arm] = figures
    return found
