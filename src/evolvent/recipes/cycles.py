"""Autonomy cycles: 120 turns without a person, each edits the scaffold, measures it, and keeps or reverts.

The weights are fixed. An edit of the champion's program is drawn blindly (a step more or less, another number), the
same for all arms as far as their champions allow. The gate draws strings anew in each turn and spends one error budget
over all turns; the ratchet keeps what scores higher on the one dev set that it has. Truth is the share of strings
that no rule sees; a promotion is false if the new champion's is not higher than the old one's. Under `nulls` each
edit is the champion itself under another seed, so whatever is kept is an error.

Not here: that a run which is killed at any moment goes on as if nothing had been (`tests/test_long_run.py`).
"""

from __future__ import annotations

import random
from itertools import pairwise

from evolvent.recipes.base import Figures, Recipe, Unit
from evolvent.recipes.keeping import Walk
from evolvent.recipes.strings_bank import TARGET, Bank, bank_of
from evolvent.scaffold import edits
from evolvent.types import derive_seed

ROOT: edits.Steps = [{"do": "sample", "n": 1, "temperature": "0.9"}]


def walked(unit: Unit, bank: Bank, others: list[str], arm: str) -> Walk[edits.Steps]:
    """All turns of an arm."""
    settings, (rule, _, about) = unit.settings, arm.partition(", ")
    turns, walk = settings["turns"], Walk(solved=bank.solved, seed=unit.seed, champions=[ROOT])

    def edit(steps: edits.Steps, rng: random.Random) -> edits.Steps:
        return steps if about == "nulls" else edits.mutate(steps, rng, ("feedback",), settings["most"])

    if rule == "gate":
        stays = walk.gate(others, settings["items"], settings["block"])
    elif rule == "ratchet":
        dev = settings["large dev" if about == "large dev" else "dev"]
        stays = walk.ratchet(list(bank.problems)[:dev])
    else:
        kept = len(walked(unit, bank, others, "ratchet" if about == "often" else "gate").champions) - 1
        stays = walk.toss(random.Random(derive_seed(unit.seed, "toss")).sample(range(turns), kept))
    walk.go(turns, edit, stays)
    return walk


def run(unit: Unit) -> Figures:
    """One walk, and the truth about it."""
    bank = bank_of(unit)
    left = list(bank.problems)[unit.settings["large dev"] :]
    walk, unseen = walked(unit, bank, left[::2], unit.arm), left[1::2]
    seen = [bank.solved(steps, unseen, derive_seed(unit.seed, "truth")) for steps in walk.champions]
    true = [sum(solved) / len(solved) for solved, _ in seen]
    claims = {} if unit.arm.startswith("random") else {"claimed minus true": walk.claimed - true[-1] + true[0]}
    return {
        "true gain": true[-1] - true[0], **claims, "kept": len(true) - 1.0,
        "false promotions": float(sum(new <= old for old, new in pairwise(true))),
        "tokens of measuring, thousands": walk.tokens / 1000,
        "tokens of the last program in those of the first": seen[-1][1] / seen[0][1],
    }  # fmt: skip


FULL = {
    "seeds": [*range(20)], "version": 3, "turns": 120, "items": 1500, "block": 50, "dev": 100, "large dev": 400,
    "most": 6, "start": {"each": 600, "share": "0.4", "answers": 6, "strings": 4096},
}  # fmt: skip
RECIPE = Recipe(
    name="cycles",
    title="A hundred autonomy cycles: edit the scaffold, measure, keep or revert",
    paper="MiniMax-AI/MiniMax-M2.7",
    claim="README: over 100 rounds without a person, 30 % better; no code, criterion or held-out set",
    expected="gate keeps no null and nothing false; ratchet keeps about four nulls (calc), gains more or as much",
    arms={
        "gate": "strings drawn anew for each edit, one error budget of .05 over all turns",
        "random": "as many edits as the gate keeps, at turns drawn by chance, unseen",
        "random, often": "as many as the ratchet keeps",
        "ratchet": "higher on one dev set of 100 strings, the same for all turns (the claim's way)",
        "ratchet, large dev": "the same with 400 strings, about as many tokens as the gate takes",
        "gate, nulls": "the gate on 120 edits that change nothing but the seed (A/A)",
        "ratchet, nulls": "the ratchet on them",
    },
    mechanism="gate", control="random", metric="true gain", run=run, start=TARGET, full=FULL,
    traps=(
        "Better than chance is a low bar: the ratchet is what to compare with, and on true gain it may win.",
        "False promotions: programs that come to the same have the same truth, others have it to about a point.",
        "What the gate claims is a mean over items at which it stopped: it vouches for the sign, not for that.",
        "Programs of up to six answers cost up to six times the tokens; no rule here counts them.",
    ),
    quick={**FULL, "seeds": [10, 11, 12]},
)  # fmt: skip
