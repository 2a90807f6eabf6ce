"""The toy world of `benchmarks/overhead.py` turns: its engine and judge answer all that the loop asks today."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_the_toy_world_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    overhead, common = (importlib.import_module(name) for name in ("overhead", "common"))
    unit = common.Unit(arm="toy", seed=0, settings={"toy_turns": 10}, folder=tmp_path)
    found = overhead.run_unit(unit)
    assert [size["turn"] for size in found["sizes"]] == [2, 4, 6, 8, 10]
    assert all(a["events"] < b["events"] for a, b in zip(found["sizes"], found["sizes"][1:], strict=False))
