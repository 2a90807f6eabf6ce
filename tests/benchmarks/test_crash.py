"""The mutations of `benchmarks/crash.py` are what they are called: shown by the chain, or by a head kept elsewhere."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_each_mutation_is_shown_by_what_can_show_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    crash, common = (importlib.import_module(name) for name in ("crash", "common"))
    unit = common.Unit(arm="mutations", seed=1, settings={"tries": 2}, folder=tmp_path)
    found = crash.run_unit(unit)
    assert len(found["alone"]) > 20
    for name, row in found["alone"].items():
        assert row["by the chain"] == row["tries"] == 2, name
    for name, row in found["witness"].items():
        assert (row["by the chain"], row["by a head kept elsewhere"]) == (0, 2), name
