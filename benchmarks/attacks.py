"""What comes through, when everything that we can think of is tried against sandbox, verifiers, judge, ledger and files?

Every class is a way to cheat or to get out (`hostile/`, one file for each thing that is attacked), tried in many
variants against the real thing. An attempt ends as blocked, flagged (it happened, and was found and named), of no
effect, ESCAPED, or "probe did not run", which proves nothing and counts against the suite. Nothing hostile runs outside
of a sandbox: that a charge is live is shown by the same attempt in a sandbox weakened on purpose, inside of another one.

Run ``python benchmarks/attacks.py [--quick]``; resumes unit by unit.

Not here: bugs in the kernel or in SQLite; timing and power side channels; attacks on feedback and serving.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from common import Results, Unit, bench_main  # the frame shared by all benchmarks
from hostile.base import Found, tried

# Arm: modules with classes of attacks.
ATTACKED = {"reach": ("reach",), "harm": ("harm",), "cheats": ("cheats",), "sql": ("sql",)}
ARMS = (*ATTACKED,)
BAR_CLASSES, BAR_ATTEMPTS = 60, 3000


def run_unit(unit: Unit) -> dict[str, Any]:
    """One arm."""
    attacks = [attack for name in ATTACKED[unit.arm] for attack in importlib.import_module(f"hostile.{name}").ATTACKS]
    return tried(attacks, unit.settings["variants"], unit.seed)


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Classes, attempts, and what got through."""
    classes = {name: one for arm in ATTACKED for found in results[arm].values() for name, one in found.items()}
    ends = {found: sum(one["counts"].get(found, 0) for one in classes.values()) for found in Found}
    attempts = sum(ends.values())
    controls = [one["control"] for one in classes.values() if "control" in one]
    bars = {
        "classes of attacks": {"figure": len(classes), "bar": BAR_CLASSES, "holds": len(classes) >= BAR_CLASSES},
        "attempts": {"figure": attempts, "bar": BAR_ATTEMPTS, "holds": attempts >= BAR_ATTEMPTS},
        "escapes": {"figure": ends[Found.ESCAPED], "bar": 0, "holds": ends[Found.ESCAPED] == 0},
        "probes that did not run": {"figure": ends[Found.NO_PROBE], "bar": 0, "holds": ends[Found.NO_PROBE] == 0},
        "controls that worked in the box": {"figure": sum(controls), "bar": len(controls), "holds": all(controls)},
    }
    return {"figures": {"ends": ends, "classes": classes}, "bars": bars}


FULL: dict[str, Any] = {"seeds": [0], "variants": 50, "version": 1}
QUICK: dict[str, Any] = {**FULL, "variants": 3}

if __name__ == "__main__":
    sys.exit(bench_main("attacks", ARMS, run_unit, summarise, full=FULL, quick=QUICK))
