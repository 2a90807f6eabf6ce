"""What was seen: figures of the arms over seeds, each against the control, and whether the mechanism's effect shows.

Arms are paired by seed: they share the start and the fresh problems. The interval is Student's over the seeds' own
differences; an effect is seen where it excludes 0. With three seeds a half-width is 2.5 standard deviations of a
difference, so what is not seen may still be there.

Not here: running (`running.py`); colours and pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolvent.errors import UsageError
from evolvent.judge.stats import paired_interval
from evolvent.recipes.base import Recipe
from evolvent.recipes.running import SIZES, record_path

__all__ = ["Row", "brief", "others", "records", "rows", "sentence"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One arm on one figure.

    Attributes:
        arm: its name.
        values: a value a seed, in the order of the seeds.
        low: lower end of the 95 % interval of the mean difference to the control; ``None`` for the control itself.
        difference: the mean difference to the control.
        high: upper end.
    """

    arm: str
    values: tuple[float, ...]
    low: float | None
    difference: float | None
    high: float | None

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return sum(self.values) / len(self.values)


def records(folder: Path, recipe: Recipe) -> list[dict[str, Any]]:
    """What `running.run` recorded of a recipe in a folder, by size.

    Raises:
        UsageError: a file cannot be read as that.
    """
    paths = [record_path(folder, recipe.name, size) for size in SIZES]
    return [_read(path, recipe) for path in paths if path.is_file()]


def _read(path: Path, recipe: Recipe) -> dict[str, Any]:
    try:
        record: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise UsageError(f"{path}: cannot be read as the record of a recipe: {exc}") from None
    if not isinstance(record, dict):
        raise UsageError(f"{path}: is no record of a recipe, but a {type(record).__name__}")
    if missing := {"recipe", "size", "seeds", "settings", "figures", "cpu_s", "start_cpu_s"} - record.keys():
        raise UsageError(f"{path}: is no record of a recipe: it lacks {', '.join(sorted(missing))}")
    if record["figures"].keys() != recipe.arms.keys():
        raise UsageError(f"{path}: is of other arms than {recipe.name} has now; delete it, or run the recipe again")
    return record


def rows(recipe: Recipe, record: Mapping[str, Any], figure: str) -> list[Row]:
    """The arms that have a figure, in the recipe's order; differences where the control has it too."""
    seeds = [str(seed) for seed in record["seeds"]]
    found = {arm: [record["figures"][arm][seed].get(figure) for seed in seeds] for arm in recipe.arms}
    base = found[recipe.control]
    made = []
    for arm, values in found.items():
        if None in values:
            continue
        low = difference = high = None
        if arm != recipe.control and None not in base:
            low, difference, high = paired_interval([a - b for a, b in zip(values, base, strict=True)])
        made.append(Row(arm=arm, values=tuple(values), low=low, difference=difference, high=high))
    return made


def others(recipe: Recipe, record: Mapping[str, Any]) -> list[str]:
    """Names of the figures beside the metric, in the order of their first appearance by arm."""
    seed = str(record["seeds"][0])
    names = dict.fromkeys(name for arm in recipe.arms for name in record["figures"][arm][seed])
    return sorted(name for name in names if name != recipe.metric)


def sentence(recipe: Recipe, record: Mapping[str, Any]) -> str:
    """Whether the mechanism's effect was seen."""
    row = next(row for row in rows(recipe, record, recipe.metric) if row.arm == recipe.mechanism)
    assert row.low is not None, "the mechanism is not the control"
    assert row.difference is not None
    assert row.high is not None
    said = (
        f"{recipe.mechanism} minus {recipe.control}, {recipe.metric}: "
        f"{row.difference:+.3f} ({row.low:.3f} to {row.high:.3f})"
    )
    if len(row.values) == 1:
        by = f"{recipe.mechanism} minus {recipe.control}, {recipe.metric}: {row.difference:+.3f}"
        return f"Not judged: {by}; one seed has no interval, {record['size']}."
    seeds = f"{len(row.values)} seeds, {record['size']}"
    if row.low <= 0 <= row.high:
        return f"Not seen: {said}; {seeds}. The interval holds 0."
    return f"Seen: {said}; {seeds}." if row.low > 0 else f"The opposite was seen: {said}; {seeds}."


def brief(recipe: Recipe, record: Mapping[str, Any]) -> str:
    """The comparison in a table's cell."""
    by_arm = {row.arm: row for row in rows(recipe, record, recipe.metric)}
    one, other = by_arm[recipe.mechanism], by_arm[recipe.control]
    return (
        f"{one.mean:.3f}, control {other.mean:.3f}: {one.difference:+.3f} ({one.low:.3f} to {one.high:.3f}), "
        f"{record['size']}"
    )
