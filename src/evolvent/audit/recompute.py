"""Every e-value again, from the outcomes and the formulas alone, in plain Python.

It shares no line with `judge/stats.py` and `judge/gate.py`, so that an error there shows here.

Not here: events and files (`audit/__init__.py`).

References:
    Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", arXiv:2010.09686.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

__all__ = ["Test", "decision", "futility_bets", "log_e", "margin_bets", "question_stages", "share", "standing_stages"]

Json = Mapping[str, Any]
Bets = tuple[int, float, tuple[float, ...]]  # sign and shift of the outcome, stakes

_STAKES = (0.06, 0.12, 0.25, 0.4, 0.6)
_FRACTIONS = (0.35, 0.7, 1.4)
_VALUE = {"-": -1, "0": 0, "+": 1}


@dataclass(frozen=True, kw_only=True)
class Test:
    """One test as its question defines it.

    `first` names the end that a crossing of `evidence` means; `second` that of `against`, at 1 / beta.
    """

    name: str
    pair: str
    alpha: str
    beta: str
    first: str
    second: str
    evidence: Bets
    against: Bets

    @property
    def threshold(self) -> float:
        """Log e at which it is proven."""
        return math.log(1 / float(self.alpha))

    def read(self, marks: str) -> tuple[list[float], str, int]:
        """Running log e, how the test ended, and after how many items."""
        path = list(log_e(marks, *self.evidence))
        ends = (
            (path, self.threshold, self.first),
            (list(log_e(marks, *self.against)), math.log(1 / float(self.beta)), self.second),
        )
        crossed = [
            (next((i for i, x in enumerate(p) if x >= at), len(p)), n, name) for n, (p, at, name) in enumerate(ends)
        ]
        index, _, outcome = min(crossed)
        return (path, outcome, index + 1) if index < len(path) else (path, "open", len(path))


def log_e(marks: str, sign: int, shift: float, stakes: tuple[float, ...]) -> Iterator[float]:
    """Running ``log mean_j prod_i (1 + stake_j * (sign * D_i + shift))``."""
    gains = [{mark: math.log1p(stake * (sign * value + shift)) for mark, value in _VALUE.items()} for stake in stakes]
    sums = [0.0] * len(stakes)
    for mark in marks:
        sums = [total + gain[mark] for total, gain in zip(sums, gains, strict=True)]
        top = max(sums)
        yield top + math.log(math.fsum(math.exp(total - top) for total in sums)) - math.log(len(sums))


def _margin_stakes(margin: float, discordance: float, most: float) -> tuple[float, ...]:
    return tuple(min(f * margin / (discordance + margin**2), most) for f in _FRACTIONS)


def margin_bets(entry: Json) -> tuple[Bets, Bets]:
    """Bets that a skill is kept, and that it is lost, each ``(sign, shift, stakes)``."""
    margin, discordance = entry["margin_points"] / 100, float(entry["discordance"])
    kept = (1, margin, _margin_stakes(margin, discordance, 0.95 / (1 - margin)))
    return kept, (-1, -margin, _margin_stakes(margin, discordance, 0.95 / (1 + margin)))


def futility_bets(gain: float, discordance: float) -> Bets:
    """Bet that the gain is smaller than is of interest."""
    return -1, gain, (min(gain / discordance, 0.9 / (1 + gain)),)


def question_stages(question: Json) -> list[Test]:
    """The tests that a question asks for, in the judge's order."""
    gain, beta = question["mei_points"] / 100, question["beta"]
    futile = futility_bets(gain, float(question["discordance"]))
    tests = [
        Test(
            name="superiority", pair=f"{question['target']}:incumbent", alpha=question["alpha_sup"], beta=beta,
            first="proven", second="futile", evidence=(1, 0.0, _STAKES), against=futile,
        )
    ]  # fmt: skip
    others = ["incumbent"] if question["anchor"] == question["incumbent"] else ["incumbent", "anchor"]
    for entry in question["protected"]:
        kept, lost = margin_bets(entry)
        for other in others:
            pair = f"{entry['skill']}:{other}"
            tests.append(
                Test(name=f"ni:{pair}", pair=pair, alpha=question["alpha_ni"], beta=beta, first="proven",
                      second="inferior", evidence=kept, against=lost)
            )  # fmt: skip
    return tests


def standing_stages(question: Json) -> list[Test]:
    """The tests of a standing check; its level is split over the skills, since any one raises the alarm."""
    level = _floor_six(Fraction(question["alpha"]) / len(question["protected"]))
    tests: list[Test] = []
    for entry in question["protected"]:
        kept, lost = margin_bets(entry)
        tests.append(
            Test(name=f"standing:{entry['skill']}", pair=f"{entry['skill']}:anchor", alpha=level, beta=question["beta"],
                  first="inferior", second="proven", evidence=lost, against=kept)
        )  # fmt: skip
    return tests


def decision(tests: list[Test], outcomes: list[str]) -> tuple[str, str]:
    """Decision and reason that follow from how the tests ended."""
    for test, outcome in zip(tests, outcomes, strict=True):
        if outcome in ("futile", "inferior"):
            return "reject", "futile" if outcome == "futile" else f"inferior:{test.pair.rsplit(':', 1)[0]}"
    return ("abstain", "insufficient") if "open" in outcomes else ("accept", "superior")


def share(slot: int, first: int) -> Fraction:
    """Share of an error budget for a slot: epoch j has ``first * 2**j`` slots and ``1 / ((j+1) * (j+2))`` of it."""
    epoch, last = 0, first
    while slot > last:
        epoch += 1
        last += first * 2**epoch
    return Fraction(1, (epoch + 1) * (epoch + 2) * first * 2**epoch)


def _floor_six(level: Fraction) -> str:
    """Decimal text of at most six significant digits that is not above `level`."""
    digits = 6 - 1 - math.floor(math.log10(level))
    return format(float(Fraction(math.floor(level * 10**digits), 10**digits)), ".6g")
