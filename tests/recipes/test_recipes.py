"""Every recipe: what it declares, and every arm at toy size with finite figures and equal training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from recipe_parts import TINY_START, all_recipes, run_arms

from evolvent import registry
from evolvent.errors import UsageError
from evolvent.recipes import running
from evolvent.recipes.base import Recipe
from evolvent.train import fit as fitting

ROOT = Path(__file__).resolve().parents[2]
RECIPES = all_recipes()
TINY_TRAINING = {"steps": 2, "tokens": 128, "rate": "0.003"}
# What makes a recipe run in a second; everything else is its quick setting.
TINY: dict[str, dict[str, Any]] = {
    "challenger": {"updates": 1, "batch": 6, "problems": 8, "test": 2, "round": TINY_TRAINING},
    "cycles": {
        "start": {"each": 20, "share": "0", "answers": 2, "strings": 40},
        **{"turns": 4, "items": 20, "block": 10, "dev": 5, "large dev": 10, "most": 2},
    },
    "dgm": {"worlds": 2, "tests": [60, 150], "program_tests": 15, "truth": 4},
    "ns_mem": {
        "start": {
            "functions": ["copy"],
            "mflops": 1,
            "share": "0",
            "truth": 10,
            "policy": {"problems": 30, "steps": 30},
        },
        **{"functions": ["shift"], "mflops": 1, "target": "1"},
    },
    "ratchet": {"edits": ["rate", "comment"], "pairs": 2, "truth": 1, "chunks": 2},
    "repair": {"start": {"rounds": 2, "problems": 8, "test": 4}, "training": TINY_TRAINING},
    "scaffold_ab": {"test": 20},
    "seal": {"rounds": 1, "draws": 2, "questions": 6, "dev": 2, "test": 2, "edit": {"steps": 2, "tokens": 128}},
    "seal_forgetting": {"facts": 2, "test": 2, "edit": TINY_TRAINING},
    "self_improving": {"rounds": 2, "keep": 8, "again": 4, "draws": 2, "test": 4, "round": TINY_TRAINING},
    "self_verified": {"questions": 6, "candidates": 2, "test": 4, "training": TINY_TRAINING},
    "star": {"problems": 4, "samples": 2, "test": 2, "training": TINY_TRAINING},
}


def name_of(recipe: Recipe) -> str:
    return recipe.name


def settings_of(recipe: Recipe) -> dict[str, Any]:
    quick = {name: value for name, value in recipe.quick.items() if name != "seeds"}
    start = {"start": TINY_START} if recipe.start else {}
    return {**quick, **start, **TINY[recipe.name]}


def test_all_are_found() -> None:
    assert len(RECIPES) >= 8
    assert {recipe.name for recipe in RECIPES} == TINY.keys() == set(registry.names(registry.RECIPES))


@pytest.mark.parametrize("recipe", RECIPES, ids=name_of)
def test_a_recipe_fits_on_its_page_and_says_what_it_is(recipe: Recipe) -> None:
    source = ROOT / "src" / "evolvent" / "recipes" / f"{recipe.name}.py"
    assert len(source.read_text(encoding="utf-8").splitlines()) <= 100
    assert recipe.traps
    assert len(recipe.arms) >= 3
    assert len(recipe.quick["seeds"]) >= 3
    assert recipe.quick.keys() == recipe.full.keys()
    assert recipe.full["version"] == recipe.quick["version"]


@pytest.mark.parametrize("recipe", RECIPES, ids=name_of)
def test_every_arm_runs_and_learns_from_equal_steps_and_tokens(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arms report the same figures; each calls training for as many steps of as many tokens."""
    asked: list[tuple[int, int]] = []
    whole = fitting.batches

    def counted(sources: Any, codec: Any, steps: int, tokens: int, seed: int) -> Any:
        asked.append((steps, tokens))
        return whole(sources, codec, steps, tokens, seed)

    monkeypatch.setattr(fitting, "batches", counted)
    figures, trained = {}, {}
    for arm in recipe.arms:
        asked.clear()
        figures |= run_arms(recipe, tmp_path, settings_of(recipe), (arm,))
        trained[arm] = sum(steps * tokens for steps, tokens in asked)
    named = {arm: {name for name in found if "entropy" not in name} for arm, found in figures.items()}
    assert named[recipe.mechanism] >= named[recipe.control]
    if recipe.name != "seal":  # what a directive is tried on is training too: `random` tries none
        assert len(set(trained.values())) == 1, trained


DEAR = ("challenger", "ns_mem", "ratchet", "scaffold_ab", "seal", "star")  # ten to forty seconds each, twice


@pytest.mark.parametrize(
    "recipe", [pytest.param(r, marks=[pytest.mark.slow] if r.name in DEAR else []) for r in RECIPES], ids=name_of
)
def test_the_same_seed_gives_the_same_figures(recipe: Recipe, tmp_path: Path) -> None:
    one, other = (run_arms(recipe, tmp_path, settings_of(recipe), (recipe.mechanism,)) for _ in range(2))
    assert one == other


def test_a_recipe_names_arms_that_it_has() -> None:
    recipe = RECIPES[0]
    fields = {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}
    with pytest.raises(ValueError, match=f"{recipe.name}: expected one of .*, got 'nobody'"):
        Recipe(**{**fields, "control": "nobody"})
    with pytest.raises(ValueError, match="expected a control beside"):
        Recipe(**{**fields, "control": recipe.mechanism})


def test_what_is_no_recipe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load", lambda group, name: 3)
    with pytest.raises(UsageError, match="'x' is no Recipe but int"):
        running.load("x")


def test_settings_can_be_a_jobs() -> None:
    from evolvent.types import canonical_json

    for recipe in RECIPES:
        for settings in (recipe.full, recipe.quick):
            assert json.loads(canonical_json(dict(settings)))
