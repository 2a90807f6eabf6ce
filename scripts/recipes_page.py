"""Writes `docs/recipes.md` from the recipes and from the records of their runs.

Run ``python scripts/recipes_page.py [FOLDER]``. With the folder of a run (``evolvent recipes run --all --quick --out
FOLDER``) its records are taken over into `benchmarks/records/recipes/` first. `tests/recipes/test_recipes_running.py`
fails when the page says something else than the records.

Not here: running recipes; colours.
"""

from __future__ import annotations

import inspect
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evolvent import registry
from evolvent.recipes.base import Recipe
from evolvent.recipes.observed import Row, others, records, rows, sentence
from evolvent.recipes.running import SIZES, load, record_path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "recipes.md"
RECORDS = ROOT / "benchmarks" / "records" / "recipes"
HEAD = """# Recipes

Published ways of self-improvement, each a file of at most a hundred lines beside its control arm: `evolvent recipes
list`, `show` and `run`. This page is written by `scripts/recipes_page.py` from the records in
`benchmarks/records/recipes/`; every figure is what a run printed, negatives included, and each names its size:
`quick` takes minutes, with few seeds and small models, and shows large effects only. `full` was run where the table
says so, and nowhere else.

Every arm of a seed starts from the same model and has the same steps and tokens; the control lacks the mechanism alone;
an oracle reads truth. Differences are paired by seed, with Student's 95 % interval over the seeds; other figures are
means. What was expected was written down before the runs recorded here, in part after smaller ones. On another
machine the same code gave other figures (`docs/log.md`, 2026-11-23), and an effect that its interval hardly cleared
turned in one recipe at `quick`.
"""


def page() -> str:
    """The page as it should be."""
    recipes = [load(name) for name in registry.names(registry.RECIPES)]
    parts = [HEAD, *_overview(recipes)]
    for recipe in recipes:
        parts += _section(recipe)
    return "\n".join(parts) + "\n"


def records_of(recipe: Recipe) -> list[dict[str, Any]]:
    """What is recorded of a recipe, by size."""
    return records(RECORDS, recipe)


def _overview(recipes: list[Recipe]) -> Iterator[str]:
    yield "| recipe | compared | seen | size | seeds | processor seconds |"
    yield "|---|---|---|---|---|---|"
    units, starts = dict.fromkeys(SIZES, 0), {size: dict[str, int]() for size in SIZES}
    for recipe in recipes:
        for record in records_of(recipe):
            size = record["size"]
            units[size] += record["cpu_s"]
            of_start = starts[size].get(recipe.start, 0)  # recipes with the same start share it
            starts[size][recipe.start] = max(of_start, record["start_cpu_s"])
            said = sentence(recipe, record).partition(":")[0].lower()
            link = f"[{recipe.name}](#{recipe.name})"
            compared = f"{recipe.mechanism} against {recipe.control}"
            yield f"| {link} | {compared} | {said} | {size} | {len(record['seeds'])} | {record['cpu_s']} |"
    yield ""
    for size in SIZES:
        if units[size]:
            before = sum(starts[size].values())
            minutes = (units[size] + before) / 120
            yield (
                f"The `{size}` runs of this table took {units[size]} s of processor time, and {before} s for the "
                f"models that the recipes start from: {minutes:.1f} minutes of two cores; by the clock it is more, "
                "since workers have to start and the last units leave one idle.\n"
            )


def _section(recipe: Recipe) -> Iterator[str]:
    yield f"## {recipe.name}\n"
    does = (inspect.getdoc(inspect.getmodule(recipe.run)) or "").strip().replace("``", "`")
    yield f"{does}\n"
    yield f"Source: {recipe.paper}. Claimed: {recipe.claim}. Expected: {recipe.expected}.\n"
    marks = {recipe.mechanism: " (mechanism)", recipe.control: " (control)"}
    marks |= dict.fromkeys(recipe.oracles, " (oracle)")
    yield from (f"- `{arm}`{marks.get(arm, '')}: {text}" for arm, text in recipe.arms.items())
    yield ""
    for record in records_of(recipe):
        yield f"**{sentence(recipe, record)}**\n"
        seeds = " ".join(map(str, record["seeds"]))
        yield f"| {recipe.metric}, {record['size']} | mean | seeds {seeds} | minus {recipe.control} |"
        yield "|---|---|---|---|"
        for row in rows(recipe, record, recipe.metric):
            by_seed = " ".join(f"{value:.3f}" for value in row.values)
            yield f"| {row.arm} | {row.mean:.3f} | {by_seed} | {_difference(row)} |"
        yield f"\n| mean, {record['size']} | {' | '.join(recipe.arms)} |"
        yield "|---" * (1 + len(recipe.arms)) + "|"
        for figure in others(recipe, record):
            means = {row.arm: f"{row.mean:.3f}" for row in rows(recipe, record, figure)}
            yield f"| {figure} | {' | '.join(means.get(arm, '') for arm in recipe.arms)} |"
        yield ""
    yield "Traps: " + " ".join(recipe.traps) + "\n"


def _difference(row: Row) -> str:
    return "" if row.difference is None else f"{row.difference:+.3f} ({row.low:.3f} to {row.high:.3f})"


def main() -> None:
    """Take over records, if a folder is given, and write the page."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    if len(sys.argv) > 1:
        for name in registry.names(registry.RECIPES):
            for size in SIZES:
                path = record_path(Path(sys.argv[1]), name, size)
                if path.is_file():
                    shutil.copyfile(path, RECORDS / path.name)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
