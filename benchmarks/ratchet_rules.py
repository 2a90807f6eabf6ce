"""Rules for keeping edits, on a table of runs: what each kept, what it claims of that, and what it cost.

Not here: the runs themselves, and walks through scripts that compose (`benchmarks/ratchet.py`).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evolvent.judge import PairedGate, Protected, Question, slot_levels
from evolvent.judge.gate import Pair
from evolvent.judge.stats import spend_epochs
from evolvent.recipes.ratchet_script.catalogue import CATALOGUE, Edit
from evolvent.types import Candidate, Decision, derive_seed

RULES = ("ratchet", "floor", "ten seeds", "best of all", "random", "gate")
STREAMS = ("all", "without cheats")
ALPHA, FIRST_EPOCH = 0.05, 8  # the defaults of a plan
MARGIN = 0.005  # bits a byte: a gain below is no gain
REPEATS = 5  # of the base, for the floor
CHUNKS = 128  # of text that a run is scored on: as much as the pinned validation text
TIME = next(edit for edit in CATALOGUE if edit.name == "more time")
PAIR = Pair("text", "incumbent")
Rng = np.random.Generator
Floats = NDArray[np.float64]
Draw = Callable[[int, int], NDArray[np.int8]]


# -- the gate ----------------------------------------------------------------------------------------------------------


def a_question(slot: int, promotions: int, *, most: int, mei: int, block: int) -> Question:
    """May this edit be kept? The levels are a run's; bets are planned for items on which the two nearly always differ.

    Args:
        slot: number of the edit in its sequence, from 1.
        promotions: edits kept before it.
        most: items that may be drawn.
        mei: smallest gain of interest, points of wins minus losses; also the loss that is tolerated.
        block: items drawn at a time.
    """
    spend = partial(spend_epochs, first_epoch=FIRST_EPOCH)
    sup, _ = slot_levels(alpha=ALPHA, slot=slot, promotions=promotions, spend=spend)
    _, ni = slot_levels(alpha=ALPHA, slot=slot, promotions=0, spend=spend)
    names = (Candidate(model=c * 64, scaffold={"kind": "direct"}, genome="0" * 64).plain() for c in "ab")
    candidate, incumbent = names
    return Question(
        slot=slot, candidate=candidate, incumbent=incumbent, anchor=incumbent, target=PAIR.skill,
        protected=(Protected(skill=PAIR.skill, margin_points=mei, discordance="0.9"),),
        alpha_sup=sup, alpha_ni=ni, max_items=most, block_items=block, discordance="0.9", mei_points=mei,
    )  # fmt: skip


def decide(question: Question, draw: Draw) -> tuple[bool, int]:
    """The judge's own gate; ``draw(a, b)`` gives the outcomes of items a to b. Accepted or not, and items read."""
    gate, seen = PairedGate(), np.zeros(0, np.int8)
    while (ruling := gate.rule(question, {PAIR: seen})).decision is None:
        more = min(question.block_items, question.max_items - len(seen))
        seen = np.concatenate([seen, draw(len(seen), len(seen) + more)])
    return ruling.decision == Decision.ACCEPT, len(seen)


# -- the table: what the rules see of each edit, and the truth ---------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Table:
    """Runs of the base (named ``""``) and of each edit alone on it.

    Attributes:
        printed: by name, what the script printed with each seed of both arms; NaN where nothing.
        scored: by name, bits a byte from outside with each seed of the bank, on that seed's text.
        truth: by name of an edit, low, mean and high of its gain.
        kinds: by name of an edit, see `kind_of`.
    """

    printed: Mapping[str, Floats]
    scored: Mapping[str, Floats]
    truth: Mapping[str, tuple[float, float, float]]
    kinds: Mapping[str, str]

    def level(self, name: str) -> float:
        """The mean metric of the base, or of the base with one edit; what is null by construction does not move it."""
        return float(self.printed["" if self.kinds.get(name) == "null" else name].mean())

    def worth(self, name: str) -> float:
        """The true gain of an edit within the rules."""
        return 0.0 if name == TIME.name else self.truth[name][1]


def kind_of(edit: Edit, gain: tuple[float, float, float]) -> str:
    """What an edit is: ``cheat`` or ``null`` by construction, else ``good``, ``harmful`` or ``unclear`` as measured."""
    if edit.meant in ("cheat", "null"):
        return edit.meant
    return "good" if gain[0] > MARGIN else "harmful" if gain[2] < -MARGIN else "unclear"


@dataclass
class Walk:
    """What a rule did with a sequence of edits.

    Attributes:
        kept: names, in order.
        claimed: gain by the rule's own metric.
        runs: training runs.
        scored: chunks of text that models were scored on, by the script or from outside.
    """

    kept: list[str] = field(default_factory=list)
    claimed: float = 0.0
    runs: int = 0
    scored: int = 0

    def ran(self, runs: int) -> None:
        self.runs, self.scored = self.runs + runs, self.scored + runs * CHUNKS


def ratchet(table: Table, order: Sequence[str], rng: Rng, sigmas: float = 0.0, seeds: int = 1) -> Walk:
    """Keep if the mean printed metric at the pinned seeds is lower, by so many deviations of five runs of the base."""
    base = table.printed[""]
    walk, pinned = Walk(), rng.choice(len(base), seeds)
    floor = 0.0
    if sigmas:
        floor = sigmas * float(np.std(rng.choice(base, REPEATS, replace=False), ddof=1))
        walk.ran(REPEATS)
    walk.ran(seeds * (1 + len(order)))
    level, luck = table.level(""), float(base[pinned].mean() - base.mean())  # the incumbent's: its mean, its own runs
    for name in order:
        printed = table.printed[name]
        same = bool(np.array_equal(printed, base))  # an edit that changes no number has the incumbent's luck
        new_level = level + (table.level(name) - table.level(""))
        new_luck = luck if same else float(printed[pinned].mean() - printed.mean())
        gain = (level - new_level) + (luck - new_luck)  # in this order: just 0 where nothing changed
        if gain > floor:  # False for NaN
            walk.claimed += gain
            walk.kept.append(name)
            level, luck = new_level, new_luck
    return walk


def best_of_all(table: Table, order: Sequence[str], rng: Rng) -> Walk:
    """Every edit once on the base, at one pinned seed; the lowest metric is kept if it is below the base's."""
    walk, pinned = Walk(), int(rng.integers(len(table.printed[""])))
    walk.ran(1 + len(order))
    gains = {name: float(table.printed[""][pinned] - table.printed[name][pinned]) for name in order}
    best = max(order, key=lambda name: gains[name] if np.isfinite(gains[name]) else -np.inf)
    if gains[best] > 0:
        walk.kept, walk.claimed = [best], gains[best]
    return walk


def random_keep(order: Sequence[str], rng: Rng, rate: float) -> Walk:
    """Each edit with this chance. It looks at nothing, so it claims nothing."""
    return Walk(kept=[name for name in order if rng.random() < rate])


@cache
def verdict(slot: int, promotions: int, mei: int, signs: bytes) -> tuple[bool, int]:
    """The gate on pairs with these outcomes, asked for one at a time; remembered, as most edits win or lose all."""
    known = np.frombuffer(signs, np.int8)
    return decide(a_question(slot, promotions, most=len(known), mei=mei, block=1), lambda a, b: known[a:b])


def gate_on_edits(table: Table, order: Sequence[str], rng: Rng, mei: int) -> Walk:
    """Ours: fresh pairs of training runs for each edit, each with fresh text, read by the judge's gate."""
    walk = Walk()
    for slot, name in enumerate(order, 1):
        gains = rng.permutation(table.scored[""] - table.scored[name])
        accepted, items = verdict(slot, len(walk.kept), mei, np.sign(gains).astype(np.int8).tobytes())
        walk.ran(2 * items)
        if accepted:
            walk.kept.append(name)
            walk.claimed += float(gains[:items].mean())
    return walk


def simulate(table: Table, s: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By stream and rule, figures over random orders."""
    figures: dict[str, dict[str, Any]] = {}
    for stream in STREAMS:
        names = [name for name, kind in table.kinds.items() if stream == "all" or kind != "cheat"]
        walks: dict[str, list[Walk]] = {rule: [] for rule in RULES}
        for k in range(s["orders"]):
            order = list(np.random.default_rng(derive_seed("order", stream, k)).permutation(names))
            rng = np.random.default_rng(derive_seed("walk", stream, k))
            walks["ratchet"].append(ratchet(table, order, rng))
            walks["floor"].append(ratchet(table, order, rng, sigmas=2.0))
            walks["ten seeds"].append(ratchet(table, order, rng, seeds=10))
            walks["best of all"].append(best_of_all(table, order, rng))
            walks["gate"].append(gate_on_edits(table, order, rng, s["mei"]))
        rate = statistics.fmean(len(walk.kept) for walk in walks["ratchet"]) / len(names)
        for k in range(s["orders"]):
            walks["random"].append(random_keep(names, np.random.default_rng(derive_seed("random", stream, k)), rate))
        figures[stream] = {rule: figures_of(table, names, walks[rule]) for rule in RULES}
    return figures


def figures_of(table: Table, names: Sequence[str], walks: Sequence[Walk]) -> dict[str, Any]:
    """Means over walks; a false keep is one of a null or harmful edit, cheats are counted by themselves."""
    kinds = [[table.kinds[name] for name in walk.kept] for walk in walks]
    wrong = [sum(kind in ("null", "harmful") for kind in row) for row in kinds]
    cheats = [row.count("cheat") for row in kinds]
    good = sum(table.kinds[name] == "good" for name in names)
    true = [sum(table.worth(name) for name in walk.kept) for walk in walks]
    over = [walk.claimed - gain for walk, gain in zip(walks, true, strict=True)]

    def mean(values: Sequence[float]) -> float:
        return round(statistics.fmean(values), 3)

    return {
        "kept": mean([len(walk.kept) for walk in walks]),
        "false keeps": mean(wrong),
        "cheats kept": mean(cheats),
        "orders with a false keep": mean([float(n > 0) for n in wrong]),
        "share of keeps that are false or cheats":
            mean([(a + b) / max(1, len(walk.kept)) for a, b, walk in zip(wrong, cheats, walks, strict=True)]),
        "good edits": good,
        "missed good": mean([good - row.count("good") for row in kinds]),
        "claimed": mean([walk.claimed for walk in walks]),
        "true": mean(true),
        "claimed minus true": mean(over),
        "claimed minus true, middle 95 %": [round(float(x), 3) for x in np.quantile(over, [0.025, 0.975])],
        "runs": mean([walk.runs for walk in walks]),
        "chunks scored": mean([walk.scored for walk in walks]),
        "kept, by edit": {n: mean([float(n in walk.kept) for walk in walks]) for n in names},
    }  # fmt: skip
