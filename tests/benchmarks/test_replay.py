"""The replay's own arithmetic: its e-values hold under the null, and its records add up."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import integrate
from scipy import stats as scipy_stats

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def replay() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("replay")
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_a_known_noise_gives_a_mean_of_at_most_one_under_the_null(replay: Any) -> None:
    def mean(true: float) -> float:
        def weighed(z: float) -> float:
            return math.exp(float(replay.normal_log_e(z, 1.0))) * float(scipy_stats.norm.pdf(z, true))

        return integrate.quad(weighed, -40, 40, points=[0, 3, 6], limit=400)[0]

    assert mean(0.0) == pytest.approx(1, abs=1e-6)
    assert mean(-0.5) < mean(-0.1) < 1 < mean(0.1)


@pytest.mark.parametrize("dof", [2, 5])
def test_an_estimated_noise_gives_a_mean_of_one_at_no_gain(replay: Any, dof: int) -> None:
    def weighed(t: float) -> float:
        return math.exp(float(replay.t_log_e(t, dof))) * float(scipy_stats.t.pdf(t, dof))

    parts = [integrate.quad(weighed, a, b, limit=400)[0] for a, b in [(-np.inf, 0), (0, 10), (10, 1e3), (1e3, np.inf)]]
    assert sum(parts) == pytest.approx(1, abs=1e-4)


def test_an_estimated_noise_under_losses_and_gains(replay: Any) -> None:
    """20,000 draws each; correct code fails the two-sided check about once in 10,000 seeds."""
    rng = np.random.default_rng(7)
    spread = np.sqrt(rng.chisquare(3, 20_000) / 3)
    means = {}
    for true in (-1.0, 0.0, 2.0):
        e = np.exp(replay.t_log_e((rng.standard_normal(20_000) + true) / spread, 3))
        means[true] = e.mean()
        if true <= 0:
            assert (e >= 20).mean() <= 0.05
    assert means[-1.0] < means[0.0] < means[2.0]
    t = np.linspace(-5, 200, 500)
    assert (np.diff(replay.t_log_e(t, 3)) > 0).all(), "rises in t: what makes it valid for losses too"


def test_few_repeats_put_a_ceiling_on_evidence(replay: Any) -> None:
    ceiling = math.log(2 * (1 + 30**2) ** 1.5)
    assert replay.t_log_e(1e6, 3) < ceiling
    assert replay.t_log_e(30.0, 3) < replay.normal_log_e(30.0, 1.0)


def test_noise_is_that_of_one_run(replay: Any) -> None:
    rng = np.random.default_rng(1)
    sigma, dof = replay.noise(rng.normal(0, 2.0, 4000) - rng.normal(0, 2.0, 4000))
    assert dof == 4000
    assert sigma == pytest.approx(2, rel=0.05)


def test_a_null_search_keeps_as_many_as_records_are_broken(replay: Any) -> None:
    keeps, gains = replay.null_search(np.random.default_rng(3), 125, 20_000)
    assert keeps.mean() == pytest.approx(sum(1 / k for k in range(2, 127)), abs=0.06)
    assert (gains >= 0).all()


def test_a_bound_excludes_what_evidence_excludes(replay: Any) -> None:
    low = replay.bound_of(3.0, lambda x: float(replay.normal_log_e(x, 1.0)))
    assert replay.normal_log_e(3.0 - low, 1.0) == pytest.approx(math.log(20), abs=1e-6)


def test_repeats_are_the_first_number_that_suffices(replay: Any) -> None:
    n, level = replay.repeats_needed(0.4, 1.0, 0.00025), -math.log(0.00025)
    assert replay.normal_log_e(0.4, 1.0, n) >= level > replay.normal_log_e(0.4, 1.0, n - 1)
    assert replay.repeats_needed(1e-9, 1.0, 0.00025) is None


def test_the_record_of_autoresearch_adds_up(replay: Any) -> None:
    data = replay.record("autoresearch")
    steps = replay.steps_of(data["kept"])
    assert len(data["kept"]) == 23
    assert sum(step["gain"] for step in steps) == pytest.approx(0.997900 - 0.969686, abs=1e-9)
    assert all(step["gain"] > 0 for step in steps), "keep if lower"
    slots = [step["slot"] for step in steps]
    assert slots == sorted(set(slots))
    assert slots[-1] <= data["proposals"]
    # The two ends of each gap between published rows have the same level, so where in it a row stands is no matter.
    for first, last in ((14, 63), (106, 125)):
        assert replay.level_of(first, 3) == replay.level_of(last, 3)
    earlier = sum(row["earlier"] for row in data["tried_again"])
    assert earlier == pytest.approx(0.997900 - 0.977287, abs=1e-9), "all that the earlier session kept"


def test_the_record_of_adas_is_counts(replay: Any) -> None:
    data = replay.record("adas")
    for domain in data["domains"].values():
        for validation, test in domain["hand_made"] + domain["found"]:
            for percent, n in ((validation, data["validation"]), (test, data["test"])):
                assert abs(100 * round(percent * n / 100) / n - percent) <= 0.11
        assert domain["reported"] in [test for _, test in domain["found"]]


def test_pairings_keep_the_difference(replay: Any) -> None:
    for kind in ("most favourable", "independent"):
        wins, losses = replay.pairing(70, 39, 128, kind)
        assert wins - losses == pytest.approx(31)
    assert replay.items_needed(0.5, 0.5, 0.05) is None
    assert replay.items_needed(0.7, 0.3, 0.05) < replay.items_needed(0.6, 0.4, 0.05)


def test_both_records_are_replayed_and_drawn(replay: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = importlib.import_module("common")
    monkeypatch.setattr(common, "_figures_root", tmp_path)
    settings = {**replay.QUICK, "searches": 200}
    results = {}
    for arm in replay.ARMS:
        unit = common.Unit(arm=arm, seed=0, settings=settings, folder=tmp_path)
        results[arm] = {0: json.loads(json.dumps(replay.run_unit(unit)))}
    summary = replay.summarise(results, settings)
    auto, adas = summary["figures"]["autoresearch"], summary["figures"]["adas"]
    counts = [len(auto["by factor"][str(factor)]["claimed"]) for factor in replay.FACTORS]
    assert counts == sorted(counts, reverse=True), "more noise, fewer claims"
    assert adas["mmlu"]["picked"]["validation"] > adas["mmlu"]["best on test"]["validation"]
    assert all(len(bar) == 3 for bar in summary["bars"].values())
    assert (tmp_path / "docs" / "img" / "replay.svg").stat().st_size > 10_000
