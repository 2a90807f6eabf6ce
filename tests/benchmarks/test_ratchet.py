"""The ratchet's edits apply, its outside cannot be talked to, and its rules do on known tables what their names say."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SEEDS = 24


@pytest.fixture(scope="module")
def ratchet() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("ratchet")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def rules(ratchet: Any) -> Any:
    return importlib.import_module("ratchet_rules")


@pytest.fixture(scope="module")
def outside(ratchet: Any) -> Any:
    return importlib.import_module("evolvent.recipes.ratchet_script.outside")


@pytest.fixture(scope="module")
def bench(outside: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return outside.Workbench(folder=tmp_path_factory.mktemp("bench"), source=outside.texts())


@pytest.fixture(scope="module")
def short(ratchet: Any) -> str:
    """The base with few steps."""
    return ratchet.SCRIPT.replace(ratchet.TIME.old, "BUDGET = 2560")


# -- the catalogue -----------------------------------------------------------------------------------------------------


def test_every_edit_is_its_own_and_applies_once(ratchet: Any) -> None:
    names = [edit.name for edit in ratchet.CATALOGUE]
    results = [ratchet.apply(ratchet.SCRIPT, edit) for edit in ratchet.CATALOGUE]
    assert len(set(names)) == len(names) == 26
    assert None not in results
    assert len({ratchet.SCRIPT, *results}) == len(names) + 1
    for name, script in zip(names, results, strict=True):
        compile(script, name, "exec")
    counts = {kind: sum(e.meant == kind for e in ratchet.CATALOGUE) for kind in ("good", "null", "harmful", "cheat")}
    assert counts == {"good": 9, "null": 7, "harmful": 6, "cheat": 4}


def test_edits_compose_in_any_order(ratchet: Any) -> None:
    composed = set()
    for order in (ratchet.CATALOGUE, ratchet.CATALOGUE[::-1]):
        script = ratchet.SCRIPT
        for edit in order:
            script = ratchet.apply(script, edit)
            assert script is not None, edit.name
        compile(script, "all", "exec")
        composed.add(script)
    assert len(composed) == 1


# -- the outside -------------------------------------------------------------------------------------------------------


def test_texts_share_nothing_and_repeat(outside: Any) -> None:
    source, again = outside.texts(), outside.texts()
    assert source.name == again.name
    assert source.train == again.train
    assert len(source.validation) == 8192
    judged, truth = source.judged.tobytes(), source.truth.tobytes()
    for piece in range(0, len(source.validation), 256):
        assert source.validation[piece : piece + 256] not in judged
        assert source.validation[piece : piece + 256] not in truth


def test_another_folder_can_give_the_text(outside: Any, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_bytes(bytes(range(256)) * 400)
    source = outside.texts(tmp_path)
    assert len(source.train) == len(source.judged) == len(source.truth) == 25_600
    with pytest.raises(SystemExit, match="leave --data out"):
        outside.texts(tmp_path / "missing")


def test_a_run_repeats_and_the_outside_measures_what_the_script_printed(outside: Any, bench: Any, short: str) -> None:
    run, again = bench.run(short, 3), bench.run(short, 3)
    assert run.printed == again.printed is not None
    assert run.model == again.model
    assert bench.run(short, 4).model != run.model
    text = np.frombuffer(bench.source.validation, np.uint8)
    starts = np.arange(0, len(text) - outside.LEAD - outside.SCORED, outside.SCORED)
    chunks = text[starts[:, None] + np.arange(outside.LEAD + outside.SCORED)]
    scored = outside.bits(outside.load(run.model), chunks).mean()
    assert scored == pytest.approx(run.printed, abs=0.03), "all but the ends of the text"
    assert scored < 6


def test_what_a_script_says_of_itself_moves_nothing_outside(ratchet: Any, outside: Any, bench: Any, short: str) -> None:
    edits = {edit.name: edit for edit in ratchet.CATALOGUE}
    honest = bench.run(short, 1)
    for name in ("reports less", "easy validation"):
        script = ratchet.apply(short, edits[name])
        cheat = bench.run(script, 1)
        assert cheat.printed < honest.printed
        assert cheat.model == honest.model, name


@pytest.mark.parametrize(
    "line", [f"open({str(BENCHMARKS / 'common.py')!r}).read()", "import fractions", "open('left.txt', 'w').write('x')"]
)
def test_a_script_opens_its_two_texts_only(bench: Any, short: str, line: str) -> None:
    assert bench.walled, "Linux 5.13 or newer"
    run = bench.run(line + "\n" + short, 1)
    assert run.printed is None
    assert run.model == b""


def test_only_a_whole_model_is_one(outside: Any) -> None:
    shapes = [(256, 3), (6, 4), (4, 256), (4,), (256,)]

    def written(shapes: list[tuple[int, ...]], context: int = 2, value: float = 0.0, less: int = 0) -> bytes:
        values = np.full(sum(int(np.prod(shape)) for shape in shapes) - less, value, np.float32)
        return json.dumps({"context": context, "shapes": shapes}).encode() + b"\n" + values.tobytes()

    chunks = np.zeros((5, outside.LEAD + outside.SCORED), np.uint8)
    model = outside.load(written(shapes))
    assert model is not None
    np.testing.assert_allclose(outside.bits(model, chunks), 8, rtol=1e-6)
    assert (outside.bits(None, chunks) == outside.FAILED).all()
    wrong = {
        "nothing": b"", "no header": b"\x00" * 100, "no object": b"3\n", "short": written(shapes, less=1),
        "context": written(shapes, context=3), "too far back": written([(256, 3), (51, 256), (256,)], context=17),
        "no number": written(shapes, value=float("nan")), "too large": written([(256, 1000), (2000, 256), (256,)]),
        "no layers": written([(256, 3)]), "other bytes": written([(255, 3), *shapes[1:]]),
        "bias": written([*shapes[:3], (5,), (256,)]), "chain": written([*shapes[:2], (5, 256), *shapes[3:]]),
    }  # fmt: skip
    assert [name for name, raw in wrong.items() if outside.load(raw) is not None] == []


# -- the rules ---------------------------------------------------------------------------------------------------------


def a_table(rules: Any, seed: int, gains: Mapping[str, tuple[float, float]], noise: float = 0.01) -> Any:
    """Edits by name with their printed and their true gain, with independent noise of a run on both."""
    rng = np.random.default_rng(seed)
    printed, scored = ({"": 4 + noise * rng.standard_normal(SEEDS)} for _ in range(2))
    for name, (said, true) in gains.items():
        printed[name] = 4 - said + noise * rng.standard_normal(SEEDS)
        scored[name] = 4 - true + noise * rng.standard_normal(SEEDS)
    printed["same"], scored["same"] = printed[""], scored[""]
    gains = {**gains, "same": (0.0, 0.0)}
    truth = {name: (true - 1e-3, true, true + 1e-3) for name, (_, true) in gains.items()}
    kinds = {
        name: "cheat" if said > true else "good" if true > 0 else "harmful" if true < 0 else "null"
        for name, (said, true) in gains.items()
    }
    return rules.Table(printed=printed, scored=scored, truth=truth, kinds=kinds)


def test_an_edit_is_what_its_interval_says(ratchet: Any, rules: Any) -> None:
    good, cheat = ratchet.CATALOGUE[0], ratchet.TIME
    null = next(edit for edit in ratchet.CATALOGUE if edit.meant == "null")
    assert rules.kind_of(good, (0.006, 0.01, 0.02)) == "good"
    assert rules.kind_of(good, (0.004, 0.01, 0.02)) == "unclear"
    assert rules.kind_of(good, (-0.02, -0.01, -0.006)) == "harmful"
    assert rules.kind_of(cheat, (0.5, 0.6, 0.7)) == "cheat"
    assert rules.kind_of(null, (0.006, 0.01, 0.02)) == "null", "by construction"


def test_the_gate_reads_pairs(rules: Any) -> None:
    def asked(*signs: int) -> tuple[bool, int]:
        question = rules.a_question(1, 0, most=SEEDS, mei=50, block=1)
        return rules.decide(question, lambda a, b: np.resize(signs, SEEDS)[a:b].astype(np.int8))

    assert asked(1) == (True, 16)
    assert asked(-1) == (False, 4)
    assert asked(0) == (False, 10), "an edit that changes nothing"
    assert not asked(1, -1)[0]


def test_what_the_rules_keep(rules: Any) -> None:
    table = a_table(rules, 1, {"good": (0.2, 0.2), "bad": (-0.2, -0.2), "cheat": (0.3, 0.0), "none": (0.0, 0.0)})
    order, rng = ["same", "bad", "cheat", "good", "none"], np.random.default_rng(5)
    walks = [rules.ratchet(table, order, rng) for _ in range(40)]
    assert all(walk.kept[:2] == ["cheat", "good"] for walk in walks)
    assert {name for walk in walks for name in walk.kept} == {"cheat", "good", "none"}
    assert all(walk.runs == 6 for walk in walks)
    floored = rules.ratchet(table, order, rng, sigmas=2.0)
    assert floored.kept[:2] == ["cheat", "good"]
    assert floored.runs == 11
    assert rules.best_of_all(table, order, rng).kept == ["cheat"]
    ours = rules.gate_on_edits(table, order, rng, 50)
    assert ours.kept == ["good"]
    assert ours.claimed == pytest.approx(0.2, abs=0.02)
    assert ours.runs > walks[0].runs, "it costs more"
    figures = rules.figures_of(table, order, walks)
    assert figures["cheats kept"] == 1
    assert figures["missed good"] == 0
    assert figures["claimed minus true"] == pytest.approx(0.3, abs=0.03)
    assert 0 < figures["false keeps"] < 1


def test_luck_stays_with_the_incumbent(rules: Any) -> None:
    """Of 20 edits that change only luck a ratchet keeps as many as records are broken; not half of them."""
    names = [f"n{k}" for k in range(20)]
    keeps = []
    for seed in range(40):
        table = a_table(rules, seed, dict.fromkeys(names, (0.0, 0.0)))
        rng = np.random.default_rng(seed)
        keeps += [len(rules.ratchet(table, names, rng).kept) for _ in range(10)]
    assert np.mean(keeps) == pytest.approx(sum(1 / k for k in range(2, 22)), abs=0.35)


def test_the_gate_keeps_no_luck(rules: Any) -> None:
    """8 sequences of 20 nulls, each with runs of its own; correct code keeps any in at most one of 20 sequences."""
    names = [f"n{k}" for k in range(20)]
    kept = 0
    for seed in range(8):
        table = a_table(rules, 1000 + seed, dict.fromkeys(names, (0.0, 0.0)))
        kept += bool(rules.gate_on_edits(table, names, np.random.default_rng(seed), 50).kept)
    assert kept <= 1


def test_more_time_loses_outside_and_is_worth_nothing(ratchet: Any) -> None:
    s = {"edits": ["more time", "comment"], "orders": 3, "mei": 50}

    def unit(k: int) -> dict[str, Any]:
        rows = {
            "": {"printed": [4.0, 4.1], "bits": [4.0, 4.1], "cpu_s": [0.5, 0.5]},
            "more time": {"printed": [3.5, None], "bits": [3.5, 3.6], "cpu_s": [2.0, 2.0]},
            "comment": {"printed": [4.0, 4.1], "bits": [4.0, 4.1], "cpu_s": [0.5, 0.6]},
        }
        return {"text": "t", "walled": True, "scripts": rows}

    results = {"bank": {k: unit(k) for k in range(3)}, "truth": {0: unit(0)}}
    table, figures = ratchet.table_of(results, s)
    assert (table.scored["more time"] == 8).all()
    assert np.isnan(table.printed["more time"][1])
    assert table.worth("more time") == 0
    assert table.truth["more time"][1] == pytest.approx(0.5)
    assert figures["edits"]["more time"]["pairs won, lost"] == [0, 6]
    assert figures["edits"]["comment"]["pairs won, lost"] == [0, 0]
