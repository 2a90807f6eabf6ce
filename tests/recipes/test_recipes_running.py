"""Recipes as jobs: recorded, resumed, compared; and the page that is written of them."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest
from recipe_parts import all_recipes

import loaded
from evolvent import registry
from evolvent.cli import main
from evolvent.errors import UsageError
from evolvent.recipes import running
from evolvent.recipes.base import Figures, Recipe, Unit
from evolvent.recipes.observed import brief, others, records, rows, sentence

ROOT = Path(__file__).resolve().parents[2]


def tossed(unit: Unit) -> Figures:
    """Two arms that differ by 1 on average, and one that is the control."""
    rng = random.Random(unit.seed)
    base = rng.random()
    return {"score": base + (unit.arm == "more") * unit.settings["gain"] + 0.01 * rng.random(), "beside": base}


RECIPE = Recipe(
    name="tossed",
    title="a toss",
    paper="none",
    claim="none",
    expected="more by the gain",
    arms={"more": "with the gain", "less": "without", "same": "without, again"},
    mechanism="more",
    control="less",
    metric="score",
    traps=("none",),
    run=tossed,
    full={"seeds": [0, 1, 2, 3], "version": 1, "gain": 1},
    quick={"seeds": [0, 1, 2], "version": 1, "gain": 1},
)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The toy beside the shipped ones; a worker reads it under its module's name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    found = registry.load
    toy = {"tossed": RECIPE}
    monkeypatch.setattr(registry, "load", lambda group, name: toy.get(name) or found(group, name))
    monkeypatch.setattr(running, "_UNIT", "test_recipes_running:unit")
    return RECIPE


def unit(ctx: Any) -> dict[str, str]:
    """The job of a unit of the toy, in the worker."""
    registry.load = lambda group, name: RECIPE
    return running.unit(ctx)


def record_of(*, gain: float, recipe: Recipe = RECIPE, better: int = 1) -> dict[str, Any]:
    values = {"more": [0.1, 0.2, 0.3], "less": [0.1, 0.2, 0.3], "same": [0.1, 0.2, 0.31]}
    figures = {
        arm: {str(i): {"score": v + (arm == "more") * better * (gain + 0.01 * i)} for i, v in enumerate(some)}
        for arm, some in values.items()
    }
    times = {"cpu_s": 1, "start_cpu_s": 0}
    return {"recipe": recipe.name, "size": "quick", "seeds": [0, 1, 2], "settings": {}, "figures": figures, **times}


def test_a_run_is_recorded_and_goes_on(registered: Recipe, tmp_path: Path) -> None:
    said: list[str] = []
    [(_, record)] = running.run([registered], tmp_path, "quick", seeds=[0, 1], say=said.append)
    assert len(said) == 6
    assert all(line.startswith("tossed: ") for line in said)
    assert records(tmp_path, registered) == [], "other seeds than its own are no record of the recipe"
    assert json.loads(running.record_path(tmp_path, registered.name, "quick", [0, 1]).read_text()) == record
    again: list[str] = []
    [(_, more)] = running.run([registered], tmp_path, "quick", say=again.append)
    assert sum("done before" in line for line in again) == 6
    assert len(again) == 9
    assert more["seeds"] == [0, 1, 2]
    assert records(tmp_path, registered) == [more]
    assert more["figures"]["more"]["0"] == record["figures"]["more"]["0"]
    assert sentence(registered, more).startswith("Seen: more minus less, score: +1.0")
    assert others(registered, more) == ["beside"]


def test_what_holds_0_is_not_seen_and_the_opposite_is_said() -> None:
    said = sentence(RECIPE, record_of(gain=0.0))
    assert said.startswith("Not seen: more minus less, score: +0.010 (-0.015 to 0.035)")
    assert sentence(RECIPE, record_of(gain=0.5)).startswith("Seen: ")
    alone = sentence(RECIPE, {**record_of(gain=0.5), "seeds": [1]})
    assert alone == "Not judged: more minus less, score: +0.510; one seed has no interval, quick."
    assert sentence(RECIPE, record_of(gain=0.5, better=-1)).startswith("The opposite was seen: ")
    by_arm = {row.arm: row for row in rows(RECIPE, record_of(gain=0.5), "score")}
    assert by_arm["less"].low is None
    assert by_arm["same"].difference == pytest.approx(0.01 / 3)
    assert "quick" in brief(RECIPE, record_of(gain=0.5))


def test_a_broken_record_is_refused(tmp_path: Path) -> None:
    other = json.dumps({**record_of(gain=0.5), "figures": {"more": {}}})
    for text, says in (
        ("{", "cannot be read"),
        ("[]", "but a list"),
        ("{}", "lacks cpu_s, figures"),
        (other, "other arms"),
    ):
        running.record_path(tmp_path, RECIPE.name, "quick").write_text(text)
        with pytest.raises(UsageError, match=says):
            records(tmp_path, RECIPE)


def made_once(ctx: Any) -> dict[str, str]:
    """A start that leaves a mark whenever it is made."""
    with (Path(ctx.params["marks"]) / "marks").open("a") as marks:
        marks.write("x")
    return {"model": ctx.store.put_bytes(b"{}")}


def test_recipes_that_share_a_start_make_it_once_and_each_has_its_record(registered: Recipe, tmp_path: Path) -> None:
    start = {"start": "test_recipes_running:made_once"}
    quick = {**RECIPE.quick, "seeds": [0], "start": {"marks": str(tmp_path)}}
    one, two = (dataclasses.replace(RECIPE, name=name, quick=quick, **start) for name in ("one", "two"))
    records_ = {recipe.name: record for recipe, record in running.run([one, two], tmp_path, "quick")}
    assert (tmp_path / "marks").read_text() == "x"
    assert {name: record["figures"].keys() for name, record in records_.items()} == dict.fromkeys(
        ("one", "two"), RECIPE.arms.keys()
    )
    assert [records(tmp_path, recipe) for recipe in (one, two)] == [[records_["one"]], [records_["two"]]]


def test_a_seed_that_is_named_twice_counts_once(registered: Recipe, tmp_path: Path) -> None:
    [(_, record)] = running.run([registered], tmp_path, "quick", seeds=[1, 0, 1])
    assert record["seeds"] == [1, 0]


def test_the_commands_list_and_show(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def said(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["recipes", *words, "--out", str(tmp_path)])
        assert ended.value.code == 0
        return capsys.readouterr().out

    listed = json.loads(said("list", "--json"))
    assert [row["name"] for row in listed] == [recipe.name for recipe in all_recipes()]
    assert {row["observed"] for row in listed} == {"not run in this folder"}
    assert "arXiv:2502.01612" in said("list")
    shown = said("show", "self_improving")
    assert "control" in shown
    assert "self_improving.py" in shown
    assert json.loads(said("show", "dgm", "--json"))["control"] == "hgm, root only"


@pytest.mark.parametrize("words", [[], ["dgm", "--all"]])
def test_run_wants_a_name_or_all(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["recipes", "run", *words])
    assert ended.value.code == UsageError.exit_code
    assert "expected a NAME or --all" in capsys.readouterr().err


def test_run_prints_the_table_and_the_sentence(
    registered: Recipe, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["recipes", "run", registered.name, "--quick", "--seed", "3", "--seed", "4", "--out", str(tmp_path)])
    assert ended.value.code == 0
    out = capsys.readouterr()
    assert "expected: more by the gain" in out.out
    assert "Seen: more minus less, score" in out.out
    assert "(6 of 6)" in out.err


def test_the_page_is_what_its_records_say() -> None:
    script = loaded.script("recipes_page")
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run python scripts/recipes_page.py"
    for recipe in all_recipes():
        assert script.records_of(recipe), f"{recipe.name} was never recorded"


def test_a_record_is_of_todays_settings() -> None:
    for recipe in all_recipes():
        for record in loaded.script("recipes_page").records_of(recipe):
            settings = recipe.full if record["size"] == "full" else recipe.quick
            assert record["settings"] == {k: v for k, v in settings.items() if k != "seeds"}, recipe.name
            assert record["seeds"] == settings["seeds"], recipe.name
            assert record["figures"].keys() == set(recipe.arms), recipe.name
