"""Commands about recipes: list, show, run.

Runs are kept in a folder, so a stopped one goes on, and `list` says what was observed there last.

Not here: what a recipe does (`recipes/`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolvent.cli.base import AsJson, emit, show
from evolvent.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from evolvent.recipes.base import Recipe

_OUT = Path("evolvent-recipes")
Out = Annotated[Path, typer.Option("--out", "-o", file_okay=False, help="Folder of artifacts and records.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `evolvent recipes list` says it.")]


def recipes_list(out: Out = _OUT, as_json: AsJson = False) -> None:
    """Every recipe: where it comes from, its control, what is expected, and what was observed last in the folder."""
    from evolvent.recipes.observed import brief, records

    found = []
    for recipe in map(_load, _names()):
        last = "; ".join(brief(recipe, record) for record in records(out, recipe))
        found.append((recipe, last or "not run in this folder"))
    if as_json:
        return emit([{**_plain(recipe), "observed": last} for recipe, last in found])
    cells = [(r.name, r.paper, f"{r.mechanism} against {r.control}", r.expected, last) for r, last in found]
    return show(_table(("name", "paper", "compared", "expected", "observed"), cells))


def recipes_show(name: Name, out: Out = _OUT, as_json: AsJson = False) -> None:
    """What a recipe does: its arms, its traps, its source file, and what was observed in the folder."""
    import inspect

    from evolvent.recipes.observed import records, sentence

    recipe = _load(name)
    source = str(inspect.getsourcefile(recipe.run))
    observed = [sentence(recipe, record) for record in records(out, recipe)]
    if as_json:
        return emit({**_plain(recipe), "source": source, "observed": observed})
    does = (inspect.getdoc(inspect.getmodule(recipe.run)) or "").strip()
    marks = {recipe.mechanism: "mechanism", recipe.control: "control", **dict.fromkeys(recipe.oracles, "oracle")}
    lines = [f"{recipe.title} ({recipe.paper})", "", does, "", f"claimed: {recipe.claim}"]
    lines += [f"expected: {recipe.expected}", f"compared on: {recipe.metric}", ""]
    lines += [f"  {arm:16} {marks.get(arm, ''):10} {text}" for arm, text in recipe.arms.items()]
    lines += ["", *(f"trap: {trap}" for trap in recipe.traps), f"source: {source}", *observed]
    return show("\n".join(lines))


def recipes_run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A recipe; leave it out with --all.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Small settings: minutes instead of hours.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Every recipe.")] = False,
    seed: Annotated[list[int] | None, typer.Option("--seed", min=0, help="In place of its own seeds.")] = None,
    out: Out = _OUT,
    as_json: AsJson = False,
) -> None:
    """Run a recipe with its control arm, or go on with it, and say whether the effect was seen."""
    import sys

    from evolvent.recipes import running
    from evolvent.recipes.observed import others, rows, sentence

    if bool(name) == every:
        raise UsageError("recipes run: expected a NAME or --all; `evolvent recipes list` says which there are")
    size = "quick" if quick else "full"
    recipes = [_load(one) for one in (_names() if every else [name])]
    for recipe, record in running.run(
        recipes, out, size, seeds=seed or (), say=lambda line: print(line, file=sys.stderr)
    ):
        if as_json:
            emit({"record": record, "sentence": sentence(recipe, record)})
            continue
        cells = []
        for figure in (recipe.metric, *others(recipe, record)):
            cells += [
                (figure, row.arm, f"{row.mean:.3f}", "" if row.low is None else _difference(row))
                for row in rows(recipe, record, figure)
            ]
        heads = ("figure", "arm", f"mean of {len(record['seeds'])} seeds", f"minus {recipe.control}, 95 % interval")
        spent = f"{record['cpu_s']} s of processor time, and {record['start_cpu_s']} s for what the arms start from"
        show(_table(heads, cells), f"expected: {recipe.expected}", sentence(recipe, record), spent)


def _difference(row: Any) -> str:
    interval = f" ({row.low:.3f} to {row.high:.3f})" if len(row.values) > 1 else ""
    return f"{row.difference:+.3f}{interval}"


def _names() -> list[str]:
    from evolvent import registry

    return registry.names(registry.RECIPES)


def _load(name: str) -> Recipe:
    from evolvent.recipes import running

    return running.load(name)


def _plain(recipe: Recipe) -> dict[str, Any]:
    fields = ("name", "title", "paper", "claim", "expected", "mechanism", "control", "metric", "oracles")
    return {name: getattr(recipe, name) for name in fields} | {"arms": dict(recipe.arms), "traps": recipe.traps}


def _table(heads: tuple[str, ...], cells: list[tuple[str, ...]]) -> Table:
    from rich.table import Table

    table = Table(*heads)
    for row in cells:
        table.add_row(*row)
    return table
