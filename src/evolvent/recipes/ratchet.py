"""The ratchet of autoresearch: an edit of a training script stays if one run prints a lower metric, else it is reset.

The script trains a small byte model, is really edited and really run behind a wall (`ratchet_script/`). The edits are
frozen and meant to be good, null, harmful or cheats: null ones change nothing but which random numbers are drawn,
cheats change what is measured. All arms walk through the same order; truth is the final script's gain over the first
one, on text that no rule saw, measured from outside with fresh seeds and without what only buys more time.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from evolvent.judge.stats import paired_interval
from evolvent.recipes.base import Figures, Recipe, Unit
from evolvent.recipes.ratchet_script.catalogue import CATALOGUE, SCRIPT, apply
from evolvent.recipes.ratchet_script.outside import Bytes, Run, Workbench, bits, load, sample, texts
from evolvent.types import derive_seed

BASE_RUNS, OVER = 5, 2.5  # a run of more than OVER times the base's processor time has no model
TIME = next(edit for edit in CATALOGUE if edit.name == "more time")


def run(unit: Unit) -> Figures:
    """One walk."""
    settings, seed, arm = unit.settings, unit.seed, unit.arm
    edits = [edit for edit in CATALOGUE if not settings["edits"] or edit.name in settings["edits"]]
    random.Random(derive_seed("order", seed)).shuffle(edits)
    source, toss, runs = texts(), random.Random(derive_seed("toss", seed)), 0
    with tempfile.TemporaryDirectory() as folder:
        bench, pinned = Workbench(folder=Path(folder), source=source), derive_seed("pinned", seed) % 2**31

        def trained(script: str, *path: object) -> Run:
            nonlocal runs
            runs += 1
            return bench.run(script, derive_seed("run", seed, *path) % 2**31 if path else pinned)

        def gain(old: str, new: str, text: Bytes, *path: object) -> float:
            chunks = sample(text, np.random.default_rng(derive_seed("text", seed, *path)), settings["chunks"])
            made = [trained(script, *path) for script in (old, new)]
            within = (each.model if each.cpu_s <= OVER * usual else b"" for each in made)
            one, other = (bits(load(model), chunks).mean() for model in within)
            return float(one - other)

        base = [trained(SCRIPT, "base", number) for number in range(BASE_RUNS)]
        usual = sorted(made.cpu_s for made in base)[BASE_RUNS // 2]
        floor = 2 * stdev(made.printed or 0.0 for made in base) if arm == "floor" else 0.0
        current, best, kept, claimed = SCRIPT, trained(SCRIPT).printed or 0.0, list[str](), 0.0
        for edit in edits:
            script = apply(current, edit)
            assert script is not None, f"{edit.name} does not apply"
            better, stays = 0.0, toss.random() < settings["rate"] / 100
            if arm == "paired":
                gains = [gain(current, script, source.judged, edit.name, i) for i in range(settings["pairs"])]
                low, better, _ = paired_interval(gains, level=0.9)
                stays = low > 0
            elif arm != "random":
                printed = trained(script).printed
                better = best - (best + 1 if printed is None else printed)
                stays = better > floor
            if stays:
                current, best, claimed = script, best - better, claimed + better
                kept.append(edit.meant)
        spent, final = runs, current.replace(TIME.new, TIME.old)
        true = fmean(gain(SCRIPT, final, source.truth, "truth", number) for number in range(settings["truth"]))
    return {
        "true gain, bits a byte": true,
        "claimed minus true": claimed - true,
        **{f"kept, {meant}": float(kept.count(meant)) for meant in ("good", "null", "harmful", "cheat")},
        "training runs": float(spent),
    }


FULL = {"seeds": [0, 1, 2, 3, 4], "version": 1, "edits": [], "pairs": 8, "rate": 40, "chunks": 128, "truth": 8}
QUICK = ["rate", "other seed", "large weights", "reports less", "easy validation"]
RECIPE = Recipe(
    name="ratchet", title="The ratchet: keep an edit of a training script if one run is better",
    paper="karpathy/autoresearch", expected="ratchet gains, claims more than is true, keeps nulls and every cheat",
    claim="repository: 126 edits, 23 kept, .997900 to .969686; one pure change of the seed moved .000695",
    arms={
        "ratchet": "lower at one pinned seed on one pinned text",
        "random": "each edit with the same chance, unseen",
        "floor": "lower by two deviations of five runs of the base",
        "paired": "fresh seeds and text for both sides, scored from outside; the 90 % interval lies above 0",
    },
    mechanism="ratchet", control="random", metric="true gain, bits a byte", run=run, full=FULL,
    traps=(
        "Seed, clock and metric stand inside the edited file.",
        "Paired takes several times the runs: see them.",
        "What an edit is meant to be is declared; what it is worth is measured elsewhere (benchmarks/ratchet.py).",
    ),
    quick={**FULL, "seeds": [10, 11, 12], "edits": QUICK, "pairs": 3, "truth": 3},
)  # fmt: skip
