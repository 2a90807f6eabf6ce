"""The gate on its own: arrays of wins and losses in, a ruling out. No model, no task, no file.

Run it: ``python examples/02_gate.py``. Each item is answered by candidate and incumbent; +1 means that only the
candidate was right, -1 that only the incumbent was. The evidence may be read after every item, as often as one likes.

Not here: drawing items and running models (`judge/server.py`), spending the error budget over slots (`asking.py`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from evolvent.judge import stats
from evolvent.judge.gate import Pair, PairedGate
from evolvent.judge.questions import Protected, Question

ALPHA = 0.05
ITEMS, STREAMS = 1000, 400
SOMEONE = {"model": "0" * 64, "scaffold": {"kind": "direct"}, "genome": "0" * 64}


def differences(rng: np.random.Generator, gain: float, discordance: float, *shape: int) -> NDArray[np.int8]:
    """Outcomes of two models that differ on a share of items, with a true gain between them."""
    draw = rng.random(shape)
    wins, losses = (discordance + gain) / 2, (discordance - gain) / 2
    return np.where(draw < wins, 1, np.where(draw < wins + losses, -1, 0)).astype(np.int8)


def ruling(rng: np.random.Generator, gain_on_target: float, gain_elsewhere: float) -> str:
    """Ask the default gate, drawing blocks of 64 where it wants more items, as the judge does."""
    question = Question(
        slot=1,
        candidate=SOMEONE,
        incumbent=SOMEONE,
        anchor=SOMEONE,  # the anchor is the incumbent here, so each skill is tested once
        target="multi",
        protected=(Protected(skill="single", margin_points=5), Protected(skill="multi", margin_points=5)),
        alpha_sup="0.003",
        alpha_ni="0.003",
        max_items=4000,
        mei_points=8,
    )
    gains = {"multi": gain_on_target, "single": gain_elsewhere}
    outcomes: dict[Pair, NDArray[np.int8]] = {}
    while True:
        said = PairedGate().rule(question, outcomes)
        if said.decision is not None:
            items = sum(len(values) for values in outcomes.values())
            return f"{said.decision.value:<7} {said.reason:<16} after {items:>4} items"
        assert said.draw is not None
        block = differences(rng, gains[said.draw.skill], 0.15, question.block_items)
        outcomes[said.draw] = np.concatenate([outcomes.get(said.draw, block[:0]), block])


def main() -> None:
    """A reference value, the error rate under optional stopping, three rulings."""
    rng = np.random.default_rng(0)
    seven = float(np.exp(stats.uniform_log_e(7, 0)))
    print(f"seven wins, no loss: e = {seven:.3f}, past 1 / {ALPHA} = {1 / ALPHA:.0f}")

    for name, gain in (("no gain", 0.0), ("5 points", 0.05), ("10 points", 0.10)):
        paths = stats.superiority_path(differences(rng, gain, 0.2, STREAMS, ITEMS))
        proven = (paths >= math.log(1 / ALPHA)).any(axis=1)
        print(f"true effect {name:>9}: proven at some item in {int(proven.sum())} of {STREAMS} streams of {ITEMS}")

    print(f"better on the target, rest kept: {ruling(rng, 0.12, 0.0)}")
    print(f"no better at all:                {ruling(rng, 0.0, 0.0)}")
    print(f"better, but loses another skill: {ruling(rng, 0.12, -0.12)}")


if __name__ == "__main__":
    main()
