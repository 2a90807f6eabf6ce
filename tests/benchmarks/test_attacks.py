"""A slice of the attack suite, through the real parts; the table in the documentation is the suite's own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the sandboxes under attack are Linux's")


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    yield
    if probes := sys.modules.get("hostile.probes"):
        while probes._box:
            probes._box.pop().close()


def module(name: str) -> Any:
    return importlib.import_module(f"hostile.{name}")


def of(name: str, *words: str) -> list[Any]:
    found = [attack for attack in module(name).ATTACKS if attack.name.startswith(words)]
    assert len(found) == len(words)
    return found


def clean(record: dict[str, Any]) -> None:
    for name, one in record.items():
        assert one["counts"], name
        assert not set(one["counts"]) & {"ESCAPED", "probe did not run"}, f"{name}: {one}"
        assert one.get("control", True), f"{name}: its control did not work in the box"


@LINUX
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("reach", ("the judge's folder", "TCP", "writing outside")),
        ("harm", ("another process", "memory bombs", "bytes that are no answer", "what one task leaves")),
        ("doors", ("mounts", "limits raised")),
        ("cheats", ("a forged answer", "an end before", "visible answers by heart, none")),
        ("disguises", ("lazy objects", "values that only")),
        ("sql", ("other databases", "pragmas")),
        ("forged", ("a shadow in place", "a schema behind")),
        ("worker", ("items guessed", "frames that lie", "tracing and reading the judge; rollout worker")),
        ("ledger", ("an event edited", "every hash rewritten, contents", "the same JSON")),
        ("files", ("pickles", "manifests", "weights swapped")),
    ],
)
def test_nothing_gets_through(name: str, words: tuple[str, ...]) -> None:
    clean(module("base").tried(of(name, *words), 3, 1))


def test_the_suite_is_large_and_its_names_are_unique() -> None:
    found = [row for rows in module("catalogue").classes().values() for row in rows]
    assert len(found) >= 100
    assert len({name for _, name, _, _ in found}) == len(found)
    assert len({trust for trust, _, _, _ in found}) >= 40
    assert all(stops for _, _, stops, _ in found)


def test_the_table_in_the_documentation_is_the_suites() -> None:
    catalogue = module("catalogue")
    page = catalogue.PAGE.read_text(encoding="utf-8")
    assert catalogue.written(page) == page, "run python benchmarks/hostile/catalogue.py"


@LINUX
@pytest.mark.slow
def test_a_spoiled_judge_is_caught_and_the_honest_one_is_not() -> None:
    sabotage = module("sabotage")
    assert sabotage.caught_by(None) == {}
    assert "audit" in sabotage.caught_by("proven at half of the evidence")


@LINUX
def test_mutants_of_the_bench_are_caught() -> None:
    mutants = module("mutants")
    found = mutants.run_mutants(mutants.TARGETS["bench"], 3, 2)
    assert found["possible"] > 60
    assert found["caught"] >= 1


def test_a_mutant_differs_in_one_place() -> None:
    made = [mutant.label for mutant in module("mutants").mutants("def f(a):\n    return a < 1 and not a\n")]
    assert sorted(label.split(": ")[1] for label in made) == [
        "Lt to LtE",
        "one more",
        "returns nothing",
        "sign or not left out",
        "to Or",
    ]


@LINUX
def test_honest_answers_pass_and_impossible_items_do_not() -> None:
    honest = module("honest")
    assert honest.turned_away(16, 3)["turned_away"] == 0
    assert honest.impossible(16, 3)["passed"] == 0
