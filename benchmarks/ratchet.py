"""Which rule for keeping edits of a training script keeps what is better, and what does it cost?

A search in the manner of karpathy/autoresearch: an edit of a training script is kept if it trains a better model. The
script (`recipes/ratchet_script/train.py`, a byte-level model of 36,000 parameters) is really edited and really run;
the edits are frozen (`recipes/ratchet_script/catalogue.py`): meant to be good, to do nothing, to harm, and to cheat.
Rules:

- ``ratchet``: autoresearch's. Kept if the metric that the script prints, at one pinned seed on one pinned validation
  text, is lower than the incumbent's, else reset; one run an edit;
- ``floor``: the same, but lower by two deviations of five runs of the base;
- ``ten seeds``: the same as ``ratchet``, by the mean of ten pinned seeds;
- ``best of all``: every edit tried once on the base, the one with the lowest metric kept;
- ``random``: each edit kept with the chance with which ``ratchet`` keeps one, without looking;
- ``gate``: ours. The judge's own `PairedGate` at the levels of `slot_levels`. An item is a fresh training seed and a
  fresh sample of text: incumbent and candidate are both trained with that seed and scored on that text from outside of
  their process; the lower loss wins. A run without a model within the rules (2.5 times the base's processor time)
  loses.

What the gate tests. Training is random, so one trained pair, on however many texts, says that *these weights* are
better, not that *the edit* is. Items that stand for an edit are therefore pairs of training runs, with fresh seeds for
both sides. What is tested is the chance that the edit wins such a pair against the chance that it loses it: the sign of
a median. The truth below is a mean; the two agree in sign unless the differences are badly skewed. Ties (an edit that
changes no number) are neither. Only the target is protected, and the anchor is the incumbent. The live arm has
``weights`` beside it: the same gate with chunks of text as items, on one trained pair, as the loop uses it where a
version *is* its weights. Its claim is about these weights, and it is measured against both truths.

Arms:

- ``bank``: every edit alone on the base script, with seeds and texts of its own: what the rules see;
- ``truth``: the same with other seeds, on text that no rule sees. An edit is good or harmful if the 95 % interval of
  its gain lies beyond `MARGIN`, else unclear, which counts neither as found nor as false. What changes nothing but
  draws is null by construction, and a cheat is a cheat;
- ``live``: the catalogue in a random order through real runs, each edit on top of what was kept. The gate needs
  hundreds of runs for that, so it walks once; the other rules walk with each seed.

The table (figures by rule) is simulated: 200 orders through these runs. There effects of kept edits add up; a metric's
luck stays with the incumbent until the next keep, as in a real ratchet; and the gate draws its pairs from the bank in a
new random order for each edit, so orders share their runs: if the pairs of one null edit happen to lean, they lean in
all. Interactions between edits are in ``live`` only.

A gain is in bits a byte. "Claimed" is what a rule's own metric says that the kept edits gained (the gate: the mean
difference over the pairs that it read), "true" what they gain in ``truth``; nothing is counted for more time.

Not here: proposing edits; a proposer that learns what a rule likes; walls (the script can open its two texts only, and
no edit tries more; `attacks.py` has those who try).

Run ``python benchmarks/ratchet.py [--quick] [--data DIR]``; DIR has text files to use instead of Python's own sources.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from common import Results, Unit, bench_main, paired_interval  # the frame shared by all benchmarks
from numpy.typing import NDArray
from ratchet_rules import (
    ALPHA,
    CHUNKS,
    REPEATS,
    STREAMS,
    TIME,
    Floats,
    Rng,
    Table,
    Walk,
    a_question,
    decide,
    kind_of,
    simulate,
)

from evolvent.recipes.ratchet_script.catalogue import CATALOGUE, SCRIPT, Edit, apply
from evolvent.recipes.ratchet_script.outside import FAILED, Run, Workbench, bits, load, sample, texts
from evolvent.types import derive_seed

ARMS = ("truth", "bank", "live")
KINDS = ("good", "unclear", "null", "harmful", "cheat")
OVER = 2.5  # times the base's processor time that a run may take


# -- real runs ---------------------------------------------------------------------------------------------------------


def chosen(s: Mapping[str, Any]) -> list[Edit]:
    """The edits of these settings."""
    return [edit for edit in CATALOGUE if not s["edits"] or edit.name in s["edits"]]


def measured(unit: Unit) -> dict[str, Any]:
    """Base and each edit alone, with the unit's seeds: printed metric, bits from outside, processor time."""
    s, source = unit.settings, texts(unit.data)
    bench = Workbench(folder=unit.folder / "bench", source=source)
    text, count = (source.truth, 4 * CHUNKS) if unit.arm == "truth" else (source.judged, CHUNKS)
    seeds = [derive_seed("ratchet", unit.arm, unit.seed, k) % 2**31 for k in range(s["pairs"][unit.arm])]
    found: dict[str, Any] = {"text": source.name, "walled": bench.walled, "scripts": {}}
    for edit in (None, *chosen(s)):
        script = SCRIPT if edit is None else apply(SCRIPT, edit)
        assert script is not None, f"{edit} does not apply"
        runs = [bench.run(script, seed) for seed in seeds]
        chunks = [sample(text, np.random.default_rng(derive_seed("text", unit.arm, seed)), count) for seed in seeds]
        found["scripts"]["" if edit is None else edit.name] = {
            "printed": [run.printed for run in runs],
            "bits": [float(bits(load(run.model), c).mean()) for run, c in zip(runs, chunks, strict=True)],
            "cpu_s": [round(run.cpu_s, 3) for run in runs],
        }
    shutil.rmtree(bench.folder)
    return found


class Live:
    """Real runs on scripts that change; each rule's walk starts from the base."""

    def __init__(self, unit: Unit) -> None:
        self.s, self.seed, self.source = unit.settings, unit.seed, texts(unit.data)
        self.bench = Workbench(folder=unit.folder / "bench", source=self.source)
        self.edits = chosen(self.s)
        np.random.default_rng(derive_seed("live order", unit.seed)).shuffle(self.edits)  # type: ignore[arg-type]
        self.pinned = derive_seed("pinned", unit.seed) % 2**31
        repeats = [self.bench.run(SCRIPT, derive_seed("repeat", unit.seed, k) % 2**31) for k in range(REPEATS)]
        self.sigma = statistics.stdev(run.printed for run in repeats if run.printed is not None)
        self.most_cpu_s = OVER * statistics.median(run.cpu_s for run in repeats)

    def fresh(self, *parts: object) -> int:
        """A seed that no other question of this walk has."""
        return derive_seed("live", self.seed, *map(str, parts)) % 2**31

    def score(self, run: Run, chunks: NDArray[np.uint8]) -> Floats:
        """Bits a byte of each chunk, from outside; a run over its time has no model."""
        return bits(load(run.model) if run.cpu_s <= self.most_cpu_s else None, chunks).astype(float)

    def ratchet(self, sigmas: float) -> tuple[Walk, str]:
        """As the function of that name, with real runs on the current script."""
        walk, current = Walk(), SCRIPT
        walk.ran(1 + len(self.edits) + (REPEATS if sigmas else 0))
        best = self.bench.run(SCRIPT, self.pinned).printed
        assert best is not None, "the base prints its metric"
        for edit in self.edits:
            script = apply(current, edit)
            assert script is not None, f"{edit.name} does not apply"
            printed = self.bench.run(script, self.pinned).printed
            if printed is not None and best - printed > sigmas * self.sigma:
                walk.claimed += best - printed
                walk.kept.append(edit.name)
                best, current = printed, script
        return walk, current

    def gate(self) -> tuple[Walk, str]:
        """Ours on edits: a fresh pair of runs for each item."""
        walk, current = Walk(), SCRIPT
        for slot, edit in enumerate(self.edits, 1):
            script, gains = apply(current, edit), []
            assert script is not None, f"{edit.name} does not apply"

            def draw(a: int, b: int, scripts: Sequence[str] = (current, script), gains: list[float] = gains,
                     slot: int = slot) -> NDArray[np.int8]:  # fmt: skip
                for item in range(a, b):
                    seed = self.fresh("gate", slot, item)
                    chunks = sample(self.source.judged, np.random.default_rng(derive_seed("text", seed)), CHUNKS)
                    old, new = (float(self.score(self.bench.run(each, seed), chunks).mean()) for each in scripts)
                    gains.append(old - new)
                return np.sign(gains[a:b]).astype(np.int8)

            question = a_question(slot, len(walk.kept), most=self.s["live_pairs"], mei=self.s["mei"], block=1)
            accepted, items = decide(question, draw)
            walk.ran(2 * items)
            if accepted:
                walk.claimed += statistics.fmean(gains)
                walk.kept.append(edit.name)
                current = script
        return walk, current

    def weights(self) -> tuple[Walk, str, dict[str, Any]]:
        """Ours on weights: one trained candidate an edit, fresh chunks as items; what is kept are these weights."""
        walk, current = Walk(), SCRIPT
        held = self.bench.run(SCRIPT, self.fresh("weights", 0))
        walk.runs = 1
        unseen = sample(self.source.truth, np.random.default_rng(derive_seed("unseen", self.seed)), 8 * CHUNKS)
        gains: list[float] = []
        for slot, edit in enumerate(self.edits, 1):
            script = apply(current, edit)
            assert script is not None, f"{edit.name} does not apply"
            run = self.bench.run(script, self.fresh("weights", slot))
            rng = np.random.default_rng(self.fresh("chunks", slot))
            lost: list[Floats] = []

            def draw(a: int, b: int, run: Run = run, held: Run = held, rng: Rng = rng,
                     lost: list[Floats] = lost) -> NDArray[np.int8]:  # fmt: skip
                chunks = sample(self.source.judged, rng, b - a)
                lost.append(self.score(held, chunks) - self.score(run, chunks))
                return np.sign(lost[-1]).astype(np.int8)

            accepted, items = decide(a_question(slot, len(walk.kept), most=self.s["chunks"], mei=5, block=CHUNKS), draw)
            walk.runs, walk.scored = walk.runs + 1, walk.scored + 2 * items
            if accepted:
                walk.claimed += float(np.concatenate(lost).mean())
                walk.kept.append(edit.name)
                gains.append(float((self.score(held, unseen) - self.score(run, unseen)).mean()))
                current, held = script, run
        return walk, current, {"gains of the kept weights": gains}

    def truth(self, script: str) -> list[float]:
        """Gain of a script over the base on text that no rule saw, at the base's time, for each of some fresh seeds."""
        script = script.replace(TIME.new, TIME.old)
        gains = []
        for k in range(self.s["final_seeds"]):
            seed = self.fresh("truth", k)
            chunks = sample(self.source.truth, np.random.default_rng(derive_seed("text", seed)), 4 * CHUNKS)
            old, new = (float(bits(load(self.bench.run(x, seed).model), chunks).mean()) for x in (SCRIPT, script))
            gains.append(old - new)
        return gains


def live(unit: Unit) -> dict[str, Any]:
    """One random order, really walked by each rule."""
    walker = Live(unit)
    found: dict[str, Any] = {"order": [edit.name for edit in walker.edits], "rules": {}}
    walks: dict[str, tuple[Walk, str]] = {"ratchet": walker.ratchet(0.0), "floor": walker.ratchet(2.0)}
    on_weights, script, more = walker.weights()
    walks["weights"] = (on_weights, script)
    if unit.seed in unit.settings["gate_walks"]:
        walks["gate"] = walker.gate()
    for rule, (walk, script) in walks.items():
        found["rules"][rule] = {
            "kept": walk.kept, "claimed": walk.claimed, "true": walker.truth(script), "runs": walk.runs,
            "scored": walk.scored, **(more if rule == "weights" else {}),
        }  # fmt: skip
    shutil.rmtree(walker.bench.folder)
    return found


def run_unit(unit: Unit) -> dict[str, Any]:
    """One arm."""
    return live(unit) if unit.arm == "live" else measured(unit)


# -- frame -------------------------------------------------------------------------------------------------------------


def table_of(results: Results, s: Mapping[str, Any]) -> tuple[Table, dict[str, Any]]:
    """The table from all units, and what is said of each edit."""
    bank, unseen = ([results[arm][seed]["scripts"] for seed in sorted(results[arm])] for arm in ("bank", "truth"))

    def joined(rows: Sequence[Mapping[str, Any]], name: str, key: str) -> Floats:
        return np.array([value for row in rows for value in row[name][key]], float)  # None becomes NaN

    names = ["", *(edit.name for edit in chosen(s))]
    usual = float(np.median(joined(bank, "", "cpu_s")))
    scored, times = {}, {}
    for name in names:
        times[name] = joined(bank, name, "cpu_s") / usual
        scored[name] = np.where(times[name] <= OVER, joined(bank, name, "bits"), FAILED)
    gains = {name: joined(unseen, "", "bits") - joined(unseen, name, "bits") for name in names[1:]}
    truth = {name: paired_interval(row.tolist()) for name, row in gains.items()}
    kinds = {edit.name: kind_of(edit, truth[edit.name]) for edit in chosen(s)}
    printed = {name: joined([*bank, *unseen], name, "printed") for name in names}
    table = Table(printed=printed, scored=scored, truth=truth, kinds=kinds)
    said = {
        edit.name: {
            "meant": edit.meant,
            "is": kinds[edit.name],
            "gain, 95 %": [round(x, 4) for x in truth[edit.name]],
            "printed gain": round(float((table.printed[""] - table.printed[edit.name]).mean()), 4),
            "pairs won, lost": [
                int((scored[edit.name] < scored[""]).sum()), int((scored[edit.name] > scored[""]).sum()),
            ],
            "times the base's time": round(float(np.median(times[edit.name])), 2),
        }
        for edit in chosen(s)
    }  # fmt: skip
    spread = {
        "base, printed, deviation": round(float(table.printed[""].std(ddof=1)), 4),
        "base, from outside, deviation": round(float(scored[""].std(ddof=1)), 4),
        "base, seconds of a run": round(usual, 2),
    }
    return table, {**spread, "edits": said}


def told(walks: Mapping[int, Mapping[str, Any]], kinds: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """The live walks by rule, each kept edit with its kind."""
    by_rule: dict[str, list[dict[str, Any]]] = {}
    for seed, found in sorted(walks.items()):
        for rule, row in found["rules"].items():
            kept = [kinds[name] for name in row["kept"]]
            true = statistics.fmean(row["true"])
            by_rule.setdefault(rule, []).append({
                "order": seed, **{kind: kept.count(kind) for kind in KINDS},
                "kept": row["kept"], "claimed": round(row["claimed"], 3), "true": round(true, 3),
                "true, 95 %": [round(x, 3) for x in paired_interval(row["true"])],
                "claimed minus true": round(row["claimed"] - true, 3), "runs": row["runs"],
                "chunks scored": row["scored"],
                **{key: [round(x, 4) for x in row[key]] for key in row if key.startswith("gains")},
            })  # fmt: skip
    return by_rule


def _stated(figure: Any) -> dict[str, Any]:
    return {"figure": figure, "bar": "stated", "holds": True}


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """The edits, the rules on them, and the live walks beside."""
    units = [unit for arm in ("bank", "truth") for unit in results[arm].values()]
    assert len({unit["text"] for unit in units}) == 1, "all units read the same text"
    table, figures = table_of(results, settings)
    rules, lived = simulate(table, settings), told(results["live"], table.kinds)
    figures |= {"text": units[0]["text"], "walled": all(unit["walled"] for unit in units)}
    bars: dict[str, Any] = {}
    for stream in STREAMS:
        ours = rules[stream]["gate"]
        wrong = ours["share of keeps that are false or cheats"]
        bars[f"{stream}: gate: share of keeps that are false or cheats: at most {ALPHA}"] = {
            "figure": wrong, "bar": ALPHA, "holds": wrong <= ALPHA,
        }  # fmt: skip
        keys = ("false keeps", "cheats kept", "missed good", "claimed minus true", "runs")
        bars[f"{stream}: {', '.join(keys)}, mean of an order, {ours['good edits']} good"] = _stated(
            {rule: [figure[key] for key in keys] for rule, figure in rules[stream].items()}
        )
    worst = sum(row["null"] + row["harmful"] + row["cheat"] for row in lived.get("gate", []))
    bars["live: gate: keeps that are false or cheats: none"] = {"figure": worst, "bar": 0, "holds": worst == 0}
    bars[f"live: {', '.join(KINDS)} kept, claimed minus true, runs"] = _stated({
        rule: [[row[key] for key in (*KINDS, "claimed minus true", "runs")] for row in rows]
        for rule, rows in lived.items()
    })  # fmt: skip
    gains = [gain for row in lived["weights"] for gain in row["gains of the kept weights"]]
    bars["live: kept weights, and of these no better on text never seen"] = _stated(
        [len(gains), sum(gain <= 0 for gain in gains)]
    )
    return {"figures": {**figures, "rules": rules, "live": lived}, "bars": bars}


FULL: dict[str, Any] = {
    "seeds": [0, 1, 2, 3, 4, 5], "arm_seeds": {"truth": [0, 1, 2, 3, 4], "live": [0, 1]},
    "pairs": {"bank": 4, "truth": 2}, "edits": [], "orders": 200, "mei": 50, "live_pairs": 24, "chunks": 2560,
    "final_seeds": 5, "gate_walks": [0], "version": 1,
}  # fmt: skip
QUICK: dict[str, Any] = {
    **FULL, "seeds": [0, 1], "arm_seeds": {"live": [0]}, "pairs": {"bank": 3, "truth": 2},
    "edits": ["rate", "other seed", "comment", "large weights", "reports less"], "orders": 10, "live_pairs": 2,
    "chunks": 256, "final_seeds": 2,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(bench_main("ratchet", ARMS, run_unit, summarise, full=FULL, quick=QUICK))
