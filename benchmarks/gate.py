"""How often the gate errs and what it finds, on simulated outcomes with a known truth.

Arms (goal figures, numbered A1 to A9):

- ``null``: a thousand proposals of which none is better, again and again: runs in which any is promoted, beside what
  the rules of published engines would have promoted from 200 items each;
- ``loss``: chance that a loss of just the margin passes for none, whoever stops when;
- ``gain``: a true gain of five points, judged alone;
- ``stream``: a thousand proposals, few of them better: gains found, false ones, items;
- ``skills``: losses planted in one of twenty protected skills, and equal gains without any;
- ``drift``: fifty proposals that each lose a point somewhere, chained: what is left of the anchor;
- ``cost``: items of a whole decision, beside a design of fixed length with the same error rates;
- ``curse``: lower bounds reported with promotions, against the truth;
- ``watch``: detectors, time to a false alarm and delay after a fall.

The arms use the judge's own functions, and where a whole decision is made, the judge's own gate. Outcomes of two models
on an item are drawn as win, tie or loss. Bets and futility are planned for a fifth of the items differing, whatever the
truth. ``skills`` and ``drift`` have all the items that they want (60,000 and 40,000 a decision): they ask whether the
rule errs, not what it costs; ``skills`` says beside it what comes of equal gains with the default of 4,000.

Run ``python benchmarks/gate.py [--quick]``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from common import Results, Unit, bench_main  # the frame shared by all benchmarks
from numpy.typing import NDArray
from scipy import special
from scipy import stats as scipy_stats

from evolvent.judge import PairedGate, Protected, Question, slot_levels, stats
from evolvent.judge.detect import alarm_at, canary_path, cusum_path, fall_stake, shiryaev_roberts_path
from evolvent.judge.gate import Pair, items_used
from evolvent.judge.sequences import lower_bound
from evolvent.types import Candidate, Decision, derive_seed

ARMS = ("null", "loss", "gain", "stream", "skills", "drift", "cost", "curse", "watch")
Rng = np.random.Generator
Draws = NDArray[np.int8]

ALPHA, MEI, MARGIN = 0.05, 5, 5
MOST = 4000  # items of one verdict in the simulations of superiority alone; the default of a run
KINDS = {"planted": 60_000, "honest": 60_000, "honest, default budget": MOST}  # items of a decision
PLANNED = 0.2  # share of items on which two models differ, as planned; the default
TRUTHS = {"+10": 0.1, "+5": 0.05, "0": 0.0, "-5": -0.05}
CALM = 150_000  # requests of a good stream, after which one without an alarm is cut
MIX = {"+5": 0.05, "0": 0.45, "-5": 0.5}  # of proposals, as in `stream`


def outcomes(rng: Rng, gain: float, discordance: float, *shape: int) -> Draws:
    """Wins and losses on items: 1, 0, -1, with this mean and this share of items that differ."""
    u = rng.random(shape)
    return np.where(u < (discordance + gain) / 2, 1, np.where(u < discordance, -1, 0)).astype(np.int8)


def ends(draws: Draws, mei: float, discordance: float, beta: float = 0.1) -> tuple[NDArray[Any], NDArray[Any]]:
    """Running superiority log e of each row, and the index of the item at which it is futile (or past the last)."""
    path = stats.superiority_path(draws)
    stop = stats.futility_path(draws, mei, discordance) >= math.log(1 / beta)
    return path, np.where(stop.any(-1), stop.argmax(-1), draws.shape[-1])


def first(path: NDArray[Any], level: float) -> int:
    """Index of the first item at the threshold, or past the last."""
    over = path >= math.log(1 / level)
    return int(over.argmax()) if over.any() else len(path)


# -- null --------------------------------------------------------------------------------------------------------------


def naive(draws: Draws) -> dict[str, NDArray[np.bool_]]:
    """What the rules of published engines say of a fixed number of items."""
    n, wins, losses = draws.shape[-1], (draws > 0).sum(-1), (draws < 0).sum(-1)
    mean, error = draws.mean(-1), draws.std(-1, ddof=1) / math.sqrt(n)
    return {
        "keep if better": wins > losses,
        "McNemar at .05": scipy_stats.binom.sf(wins - 1, wins + losses, 0.5) <= ALPHA,
        "mean over 1 SE": mean > error,
        "mean over 2 SE": mean > 2 * error,
    }


def null(seed: int, s: Mapping[str, Any]) -> dict[str, Any]:
    """Runs of null proposals: promotions by the gate's superiority test alone (more could only refuse more)."""
    rng = np.random.default_rng(derive_seed("null", seed))
    runs: list[int] = []
    kept = dict.fromkeys(naive(outcomes(rng, 0, 0.2, 1, 9)), 0)
    items = 0
    for _ in range(s["runs"]):
        promotions, slot = 0, 0
        for start in range(0, s["proposals"], 250):
            count = min(250, s["proposals"] - start)
            discordance = float(rng.choice([0.1, 0.2, 0.3]))
            draws = outcomes(rng, 0.0, discordance, count, MOST)
            for name, said in naive(draws[:, :200]).items():
                kept[name] += int(said.sum())
            paths, stops = ends(draws, MEI / 100, PLANNED)
            for path, stop in zip(paths, stops, strict=True):
                slot += 1
                level, _ = slot_levels(alpha=ALPHA, slot=slot, promotions=promotions)
                end = first(path, float(level))
                promotions += int(end < stop)
                items += int(min(end, stop, MOST - 1)) + 1
        runs.append(promotions)
    return {"promotions": runs, "proposals": s["proposals"], "naive": kept, "items": items}


# -- loss, gain --------------------------------------------------------------------------------------------------------


def loss(seed: int, s: Mapping[str, Any]) -> dict[str, Any]:
    """Sequences whose true loss is the margin; stopped as soon as the test says "kept", the worst for it."""
    rng = np.random.default_rng(derive_seed("loss", seed))
    passed: dict[str, list[int]] = {}
    cases = ((2, 0.05, 0.05), (2, 0.1, 0.1), (5, 0.1, 0.1), (5, 0.2, 0.2), (5, 0.3, 0.3), (5, 0.3, 0.1), (5, 0.1, 0.3))
    for margin, discordance, planned in cases:
        errors = 0
        for _ in range(s["sequences"] // 500):
            draws = outcomes(rng, -margin / 100, discordance, 500, 3000)
            path = stats.non_inferiority_path(draws, margin / 100, planned)
            errors += int((path.max(-1) >= math.log(1 / ALPHA)).sum())
        passed[f"margin {margin}, {discordance} differ, {planned} planned"] = [errors, s["sequences"]]
    return {"passed": passed}


def gain(seed: int, s: Mapping[str, Any]) -> dict[str, Any]:
    """A true gain of five points where a fifth of the items differ, one test at .05, futility below five points."""
    rng = np.random.default_rng(derive_seed("gain", seed))
    accepted, read = 0, []
    for _ in range(s["gains"] // 200):
        paths, stops = ends(outcomes(rng, 0.05, 0.2, 200, 6000), MEI / 100, PLANNED)
        for path, stop in zip(paths, stops, strict=True):
            end = first(path, ALPHA)
            accepted += int(end < stop)
            read.append(int(min(end, stop, 5999)) + 1)
    return {"accepted": accepted, "n": len(read), "items": sum(read)}


# -- stream, curse -----------------------------------------------------------------------------------------------------


def one_stream(rng: Rng, proposals: int, report: Callable[[float, Draws], None]) -> dict[str, int]:
    """A run: 5 % of proposals gain five points, 45 % nothing, half lose five. Screened on 200 other items first."""
    truth = rng.choice([0.05, 0.0, -0.05], proposals, p=[0.05, 0.45, 0.5])
    found = false = slot = items = 0
    for true in truth:
        items += 200
        if outcomes(rng, true, 0.2, 200).sum() < 4:  # two points on the screen
            continue
        slot += 1
        draws = outcomes(rng, true, 0.2, MOST)
        level, _ = slot_levels(alpha=ALPHA, slot=slot, promotions=found + false)
        path, stop = ends(draws[None], MEI / 100, PLANNED)
        end = first(path[0], float(level))
        items += int(min(end, stop[0], MOST - 1)) + 1
        if end < stop[0]:
            found, false = found + int(true > 0), false + int(true <= 0)
            report(float(true), draws[: end + 1])
    return {"found": found, "of": int((truth > 0).sum()), "false": false, "items": items, "slots": slot}


def stream(seed: int, s: Mapping[str, Any]) -> dict[str, Any]:
    """Gains found, false promotions and items of whole runs."""
    rng = np.random.default_rng(derive_seed("stream", seed))
    return {"runs": [one_stream(rng, s["proposals"], lambda true, draws: None) for _ in range(s["streams"])]}


def curse(seed: int, s: Mapping[str, Any]) -> dict[str, Any]:
    """Promotions of such runs: the observed mean gain, the reported lower bound, the truth."""
    rng = np.random.default_rng(derive_seed("curse", seed))
    rows: list[tuple[float, float, float]] = []

    def report(true: float, draws: Draws) -> None:
        rows.append((true, float(draws.mean()), float(lower_bound(draws, ALPHA))))

    for _ in range(s["streams"]):
        one_stream(rng, s["proposals"], report)
    return {
        "promotions": len(rows),
        "covered": sum(low <= true for true, _, low in rows),
        "mean_truth": float(np.mean([row[0] for row in rows])),
        "mean_observed": float(np.mean([row[1] for row in rows])),
        "mean_bound": float(np.mean([row[2] for row in rows])),
    }


# -- skills, drift: the whole gate -------------------------------------------------------------------------------------


def decide(
    rng: Rng, question: Question, gains: Mapping[Pair, float], discordance: Mapping[str, float]
) -> tuple[Decision, str, int]:
    """The judge's own gate on outcomes drawn as it asks for them."""
    gate, seen, drawn = PairedGate(), {}, dict.fromkeys((entry.skill for entry in question.protected), 0)
    while True:
        ruling = gate.rule(question, seen)
        if ruling.decision is not None:
            return ruling.decision, ruling.reason, items_used(seen)
        pair = ruling.draw
        assert pair is not None
        known = seen.get(pair, np.zeros(0, np.int8))
        if len(known) == drawn[pair.skill]:
            drawn[pair.skill] += min(question.block_items, question.max_items - items_used(seen))
        more = outcomes(rng, gains.get(pair, 0.0), discordance[pair.skill], drawn[pair.skill] - len(known))
        seen[pair] = np.concatenate([known, more])


def a_question(target: str, skills: tuple[str, ...], margin: int, slot: int, promotions: int, most: int) -> Question:
    """Slot `slot` of a run with the usual budgets; the anchor is another version than the incumbent."""
    sup, _ = slot_levels(alpha=ALPHA, slot=slot, promotions=promotions)
    _, ni = slot_levels(alpha=ALPHA, slot=slot, promotions=0)
    names = (Candidate(model=c * 64, scaffold={"kind": "direct"}, genome="0" * 64).plain() for c in "abc")
    candidate, incumbent, anchor = names
    return Question(
        slot=slot, candidate=candidate, incumbent=incumbent, anchor=anchor, target=target,
        protected=tuple(Protected(skill=name, margin_points=margin, discordance="0.1") for name in skills),
        alpha_sup=sup, alpha_ni=ni, max_items=most, block_items=200, discordance="0.2", mei_points=MEI,
    )  # fmt: skip


def skills(seed: int, s: Mapping[str, Any]) -> dict[str, Any]:
    """A gain of ten points on the target, with and without a loss of twice the margin on one of the other skills."""
    rng = np.random.default_rng(derive_seed("skills", seed))
    names = tuple(f"s{i:02d}" for i in range(20))
    counts = {kind: {"accepted": 0, "items": 0} for kind in KINDS}
    for i in range(s["planted"]):
        for kind, count in counts.items():
            question = a_question(names[0], names, MARGIN, i % 100 + 1, 0, KINDS[kind])
            gains = {Pair(names[0], "incumbent"): 0.1, Pair(names[0], "anchor"): 0.1}
            if kind == "planted":
                hurt = names[1 + int(rng.integers(19))]
                gains |= {Pair(hurt, "incumbent"): -2 * MARGIN / 100, Pair(hurt, "anchor"): -2 * MARGIN / 100}
            decision, _, used = decide(rng, question, gains, dict.fromkeys(names, 0.12))
            count["accepted"] += int(decision == Decision.ACCEPT)
            count["items"] += used
    return {**counts, "n": s["planted"]}


def drift(seed: int, s: Mapping[str, Any]) -> dict[str, Any]:
    """Fifty proposals in a chain: each gains ten points on the target and loses one on a skill of margin 2."""
    rng = np.random.default_rng(derive_seed("drift", seed))
    names = ("target", "kept")
    lost: dict[str, list[int]] = {"incumbent and anchor": [], "incumbent only": []}
    for _ in range(s["chains"]):
        for rule, ends_at in lost.items():
            below, promotions = 0, 0
            for k in range(50):
                question = replace(a_question(names[0], names, 2, k + 1, promotions, 40_000), block_items=1000)
                anchor_loss = -(below + 1) / 100 if rule == "incumbent and anchor" else -0.01
                gains = {
                    Pair("target", "incumbent"): 0.1, Pair("target", "anchor"): 0.1,
                    Pair("kept", "incumbent"): -0.01, Pair("kept", "anchor"): max(anchor_loss, -0.1),
                }  # fmt: skip
                decision, _, _ = decide(rng, question, gains, dict.fromkeys(names, 0.1))
                if decision == Decision.ACCEPT:
                    below, promotions = below + 1, promotions + 1
            ends_at.append(below)
    return {"points_lost": lost}


# -- cost --------------------------------------------------------------------------------------------------------------


def fixed_items(gain: float, discordance: float, alpha: float, power: float) -> float:
    """Items of McNemar's test that finds `gain` with that power (normal approximation)."""
    z_a, z_b = float(special.ndtri(1 - alpha)), float(special.ndtri(power))
    return ((z_a * math.sqrt(discordance) + z_b * math.sqrt(discordance - gain**2)) / gain) ** 2


def cost(seed: int, s: Mapping[str, Any]) -> dict[str, Any]:
    """Whole decisions at the first slot's levels: a target, and one other protected skill on which nothing changes."""
    rng = np.random.default_rng(derive_seed("cost", seed))
    plain = a_question("target", ("target", "other"), MARGIN, 1, 0, 20_000)
    question = replace(plain, anchor=plain.incumbent, block_items=64)
    counts = {name: {"accepted": 0, "items": 0} for name in TRUTHS}
    for name, true in TRUTHS.items():
        for _ in range(s["decisions"]):
            gains = {Pair("target", "incumbent"): true}
            decision, _, used = decide(rng, question, gains, {"target": 0.2, "other": 0.1})
            counts[name]["accepted"] += int(decision == Decision.ACCEPT)
            counts[name]["items"] += used
    return {"truths": counts, "n": s["decisions"], "level": question.alpha_sup}


# -- watch -------------------------------------------------------------------------------------------------------------


def watch(seed: int, s: Mapping[str, Any]) -> dict[str, Any]:
    """Detectors of a fall from .90, set for a mean time to a false alarm of at least 10,000 requests."""
    rng = np.random.default_rng(derive_seed("watch", seed))
    stake, runs = fall_stake(0.9, 0.05), s["watches"]

    def good(rate: float, length: int, count: int) -> NDArray[np.float64]:
        return (rng.random((count, length)) < rate).astype(float)

    def delay(path: NDArray[np.float64], alpha: float) -> float:
        """Mean requests until the alarm; one that never comes counts as long as the stream."""
        at = alarm_at(path, alpha)
        return float(np.where(at > 0, at, path.shape[-1]).mean())

    found: dict[str, Any] = {}
    for name, path in (("e-SR", shiryaev_roberts_path), ("e-CUSUM", cusum_path)):
        calm = np.concatenate([alarm_at(path(good(0.9, CALM, 10), 0.9, stake), 1e-4) for _ in range(runs // 100)])
        found[name] = {
            "mean time to a false alarm, at least": float(np.where(calm > 0, calm, CALM).mean()),
            "calm streams": len(calm),
            "with an alarm": int((calm > 0).sum()),
            "delay": {str(to): delay(path(good(to, 4000, runs), 0.9, stake), 1e-4) for to in (0.85, 0.8, 0.7)},
        }  # fmt: skip
    canary = canary_path(good(0.7, 1500, runs), 0.9, stake)
    calm = alarm_at(canary_path(good(0.9, 10_000, runs), 0.9, stake), 1 / 200)
    found["canary"] = {"delay .90 to .70": delay(canary, 1 / 200), "false alarms": [int((calm > 0).sum()), runs]}
    return found


# -- frame -------------------------------------------------------------------------------------------------------------

WORK: dict[str, Callable[[int, Mapping[str, Any]], dict[str, Any]]] = {
    "null": null, "loss": loss, "gain": gain, "stream": stream, "skills": skills, "drift": drift, "cost": cost,
    "curse": curse, "watch": watch,
}  # fmt: skip


def run_unit(unit: Unit) -> dict[str, Any]:
    """One arm of one seed."""
    return WORK[unit.arm](unit.seed, unit.settings)


def _bar(figure: Any, limit: Any, holds: bool) -> dict[str, Any]:
    return {"figure": figure, "bar": limit, "holds": bool(holds)}


def _total(units: list[dict[str, Any]], *path: Any) -> Any:
    """Sum over units of the number at a path."""
    total = 0
    for unit in units:
        value: Any = unit
        for key in path:
            value = value[key]
        total += value
    return total


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Counts over seeds, and the bars."""
    r = {arm: list(results[arm].values()) for arm in ARMS}
    parts = [_errors(r, settings), _gains(r), _whole_gate(r), _cost(r), _reports(r)]
    return {
        "figures": {name: figure for part in parts for name, figure in part["figures"].items()},
        "bars": {name: bar for part in parts for name, bar in part["bars"].items()},
    }


def _errors(r: dict[str, list[dict[str, Any]]], settings: dict[str, Any]) -> dict[str, Any]:
    runs = [n for unit in r["null"] for n in unit["promotions"]]
    some, proposals = sum(n > 0 for n in runs), settings["proposals"] * len(runs)
    kept = {name: round(1000 * _total(r["null"], "naive", name) / proposals, 1) for name in r["null"][0]["naive"]}
    passed = {case: [_total(r["loss"], "passed", case, i) for i in (0, 1)] for case in r["loss"][0]["passed"]}
    worst = max(errors / n for errors, n in passed.values())
    figures = {
        "null": {
            "runs": len(runs), "with a promotion": some,
            "95 % upper limit of their share": float(stats.clopper_pearson(some, len(runs))[1]),
            "promoted of 1,000 nulls by other rules": kept,
            "items a proposal": round(_total(r["null"], "items") / proposals, 1),
        },
        "loss, [passed, of]": passed,
    }  # fmt: skip
    bars = {
        f"runs of {settings['proposals']} nulls with any promotion, of {len(runs)}: at most 5 %":
            _bar(some, 0.05 * len(runs), some <= 0.05 * len(runs)),
        "worst share of losses of the margin that pass: at most .05": _bar(round(worst, 4), ALPHA, worst <= ALPHA),
    }  # fmt: skip
    return {"figures": figures, "bars": bars}


def _gains(r: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    n = _total(r["gain"], "n")
    accepted, items = _total(r["gain"], "accepted") / n, _total(r["gain"], "items") / n
    runs = [run for unit in r["stream"] for run in unit["runs"]]
    found = sum(run["found"] for run in runs) / sum(run["of"] for run in runs)
    false = float(np.mean([run["false"] / max(1, run["false"] + run["found"]) for run in runs]))
    each = {key: float(np.mean([run[key] for run in runs])) for key in ("false", "items", "slots")}
    figures = {
        "gain": {"accepted": accepted, "n": n, "items": round(items, 1)},
        "stream": {"runs": len(runs), "found": found, "false share": false, "a run": each},
    }
    bars = {
        "true +5: accepted, at least .9": _bar(round(accepted, 3), 0.9, accepted >= 0.9),
        "true +5: items on average, at most 500": _bar(round(items), 500, items <= 500),
        "stream: gains found, at least .75": _bar(round(found, 3), 0.75, found >= 0.75),
        "stream: false share of promotions, at most .05": _bar(round(false, 4), 0.05, false <= 0.05),
        "stream: items a run, at most .55 M": _bar(round(each["items"]), 550_000, each["items"] <= 550_000),
    }
    return {"figures": figures, "bars": bars}


def _whole_gate(r: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    n = _total(r["skills"], "n")
    accepted = {kind: _total(r["skills"], kind, "accepted") for kind in KINDS}
    planted, honest = accepted["planted"], accepted["honest"]
    lost = {rule: [x for u in r["drift"] for x in u["points_lost"][rule]] for rule in r["drift"][0]["points_lost"]}
    most = max(lost["incumbent and anchor"])
    each = {kind: round(_total(r["skills"], kind, "items") / n) for kind in KINDS}
    figures = {
        "skills": {"accepted": accepted, "of each": n, "items a decision": each},
        "drift, points lost": {
            rule: {"mean": float(np.mean(x)), "worst": max(x), "of": len(x)} for rule, x in lost.items()
        },
    }  # fmt: skip
    bars = {
        f"planted losses promoted, of {n}": _bar(planted, 0, planted == 0),
        "equal gains without loss accepted, at least .8": _bar(round(honest / n, 3), 0.8, honest >= 0.8 * n),
        "fifty proposals of -1, margin 2: points below the anchor, at most 3": _bar(most, 3, most <= 3),
    }
    return {"figures": figures, "bars": bars}


def _cost(r: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    n, level = _total(r["cost"], "n"), float(r["cost"][0]["level"])
    share = {name: _total(r["cost"], "truths", name, "accepted") / n for name in TRUTHS}
    ours = {name: _total(r["cost"], "truths", name, "items") / n for name in TRUTHS}
    # The fixed design finds +5 as often as the gate did: two tests, each with the root of its power.
    power = math.sqrt(min(share["+5"], 0.999))
    target, other = fixed_items(MEI / 100, 0.2, level, power), fixed_items(MARGIN / 100, 0.1, level, power)
    passes = {"+10": 1.0, "+5": power, "0": level, "-5": 0.0}
    fixed = {name: target + share * other for name, share in passes.items()}
    mixed = [sum(MIX[name] * items[name] for name in MIX) for items in (ours, fixed)]
    rounded = ({name: round(items) for name, items in arm.items()} for arm in (ours, fixed))
    figures = {"cost": dict(zip(("accepted", "items", "items, fixed design"), (share, *rounded), strict=True))}
    ratio = mixed[0] / mixed[1]
    text = "items of a whole decision over those of a fixed design, 5 % of +5, 45 % of 0, 50 % of -5: below 1"
    return {"figures": figures, "bars": {text: _bar(round(ratio, 3), 1.0, ratio < 1)}}


def _reports(r: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    covered = _total(r["curse"], "covered") / _total(r["curse"], "promotions")
    calm = float(np.mean([u["e-SR"]["mean time to a false alarm, at least"] for u in r["watch"]]))
    delay = float(np.mean([u["e-SR"]["delay"]["0.8"] for u in r["watch"]]))
    bars = {
        "lower bounds of promotions that cover the truth, at least .95": _bar(round(covered, 3), 0.95, covered >= 0.95),
        "e-SR: mean time to a false alarm, at least 10,000": _bar(round(calm), 10_000, calm >= 10_000),
        "e-SR: delay after a fall from .90 to .80, at most 200": _bar(round(delay), 200, delay <= 200),
    }
    return {"figures": {"curse": r["curse"], "watch": r["watch"]}, "bars": bars}


FULL: dict[str, Any] = {
    "seeds": [0, 1, 2, 3], "proposals": 1000, "runs": 50, "sequences": 2500, "gains": 2000, "streams": 15,
    "planted": 75, "chains": 4, "decisions": 500, "watches": 1000, "version": 3,
}  # fmt: skip
QUICK: dict[str, Any] = {
    **FULL, "seeds": [0], "proposals": 100, "runs": 2, "sequences": 500, "gains": 200, "streams": 1, "planted": 2,
    "chains": 1, "decisions": 10, "watches": 100,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(bench_main("gate", ARMS, run_unit, summarise, full=FULL, quick=QUICK))
