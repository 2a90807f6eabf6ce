"""What must hold of gate and statistics, checked within seconds: the net in which mutants are caught.

Every expectation has a source of its own: published reference values, the audit's own formulas (`audit/recompute.py`, which
shares no line with the judge), the rules as the gate's documents state them.

Not here: bench (`battery_bench.py`) and verifiers (`battery_verifiers.py`); what is wrong with a mutant.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from evolvent import judge as _judge  # noqa: F401 - so that its modules are there before a child is born
from evolvent.audit import recompute

__all__ = ["gate", "module", "stats_and_gate", "version"]

_MARKS = {-1: "-", 0: "0", 1: "+"}
_CLOSE = 1e-9


def module(name: str) -> Any:
    """A module of the judge, as it is in this process: perhaps a mutant."""
    return sys.modules[f"evolvent.judge.{name}"]


def _marks(differences: Any) -> str:
    return "".join(_MARKS[int(d)] for d in differences)


# -- statistics --------------------------------------------------------------------------------------------------------


def stats_and_gate() -> None:
    """Reference values, the audit's formulas, and what the functions refuse; then everything that the gate makes of them."""
    stats = module("stats")
    _references(stats)
    _paths(stats)
    _refusals(stats)
    _intervals(stats)
    gate()


def _references(stats: Any) -> None:
    for wins, losses, e in ((6, 0, 6.302758), (30, 12, 21.952977), (100, 60, 44.771070)):  # agreed before the code
        assert abs(float(np.exp(stats.grid_log_e(wins, losses))) / e - 1) < 1e-6
    for wins, losses, e in ((0, 0, 1), (6, 0, 18.142857), (7, 0, 31.875)):
        assert abs(float(np.exp(stats.uniform_log_e(wins, losses))) - e) < 1e-5
    grid = np.linspace(0.5, 1, 20_001)
    assert (
        abs(
            float(stats.uniform_log_e(9, 4)) - math.log(2 * np.trapezoid((2 * grid) ** 9 * (2 * (1 - grid)) ** 4, grid))
        )
        < 1e-5
    )
    slots = (1, 2, 7, 8, 9, 24, 25, 56, 57, 100, 101, 300, 301, 10_000)
    for first in (1, 8, 100):
        for slot in slots:
            assert math.isclose(
                float(stats.spend_epochs(slot, first)), float(recompute.share(slot, first)), rel_tol=1e-12
            )
    assert math.isclose(float(stats.spend_epochs(101)), float(recompute.share(101, 100)), rel_tol=1e-12)
    for slot, level in ((1, 2.7e-3), (10, 2.0e-4), (100, 2.1e-5), (1000, 1.9e-6)):  # agreed before the code, two digits
        assert abs(0.05 * float(stats.spend_javanmard(slot)) / level - 1) < 0.04
    assert np.isclose(float(stats.spend_javanmard(1)), 0.07720838 * math.log(2), rtol=1e-9)
    assert math.isclose(stats.e_lond_level(0.05, 0.01, 3), 0.05 * 0.01 * 4)
    assert math.isclose(stats.smallest_effect(300, 0.05, 0.2), math.sqrt(3 * 0.2 * math.log(20) / 300))
    assert stats.smallest_effect(0, 0.05, 0.2) == 1.0


def _paths(stats: Any) -> None:
    rng = np.random.default_rng(3)
    for margin, discordance in ((0.02, 0.05), (0.05, 0.2), (0.3, 0.02), (0.9, 0.5)):
        differences = rng.choice(np.array([-1, 0, 1], np.int8), 120, p=[0.2, 0.5, 0.3])
        marks = _marks(differences)
        kept, lost = recompute.margin_bets({"margin_points": round(margin * 100), "discordance": str(discordance)})
        pairs = (
            (stats.superiority_path(differences), (1, 0.0, recompute._STAKES)),
            (stats.non_inferiority_path(differences, margin, discordance), kept),
            (stats.inferiority_path(differences, margin, discordance), lost),
            (stats.futility_path(differences, margin, discordance), recompute.futility_bets(margin, discordance)),
        )
        for path, bets in pairs:
            assert np.allclose(path, list(recompute.log_e(marks, *bets)), rtol=0, atol=_CLOSE)
        assert np.allclose(stats.non_inferiority_stakes(margin, discordance), kept[2])
    flat = rng.choice(np.array([-1, 0, 1], np.int8), (3, 40))
    assert np.allclose(stats.superiority_path(flat)[1], stats.superiority_path(flat[1]))
    shared = rng.uniform(-1, 1, 50)  # differences need not be whole
    by_hand = np.log(np.mean([np.cumprod(1 + stake * shared) for stake in recompute._STAKES], axis=0))
    assert np.allclose(stats.superiority_path(shared), by_hand)
    assert np.isfinite(stats.superiority_path([1.0, -1.0, 1.0])).all()


def _refused(function: Any, *arguments: Any) -> None:
    try:
        function(*arguments)
    except ValueError:
        return
    raise AssertionError(f"{function} takes {arguments}")


def _refusals(stats: Any) -> None:
    for bad in ([1.01], [-1.01], [float("nan")], [0, 2]):
        for function, rest in (
            (stats.superiority_path, ()),
            (stats.non_inferiority_path, (0.1, 0.1)),
            (stats.inferiority_path, (0.1, 0.1)),
            (stats.futility_path, (0.1, 0.1)),
        ):
            _refused(function, bad, *rest)
    assert len(stats.superiority_path([])) == 0
    for share in (0, 1, -0.1, 1.5, float("nan")):
        for function in (stats.non_inferiority_path, stats.inferiority_path, stats.futility_path):
            _refused(function, [1], share, 0.1)
            _refused(function, [1], 0.1, share)
        _refused(stats.non_inferiority_stakes, share, 0.1)
        _refused(stats.non_inferiority_stakes, 0.1, share)
    for slot in (0, -1, [1, 0]):
        _refused(stats.spend_epochs, slot)
        _refused(stats.spend_javanmard, slot)
    _refused(stats.spend_epochs, 1, 0)


def _intervals(stats: Any) -> None:
    def near(got: Any, wanted: tuple[float, ...], within: float = 6e-4) -> None:
        assert all(abs(float(a) - b) < within for a, b in zip(got, wanted, strict=True)), f"{got} is not {wanted}"

    # Newcombe, Statistics in Medicine 17 (1998): 81/263 by Wilson and exactly; paired differences by method 10.
    near(stats.wilson(81, 263), (0.2553, 0.3662))
    near(stats.clopper_pearson(81, 263), (0.2527, 0.3676))
    near(stats.wilson(0, 20), (0.0, 0.1611))
    near(stats.clopper_pearson(0, 20), (0.0, 0.1684))
    near(stats.clopper_pearson(20, 20), (0.8316, 1.0))
    near(stats.wilson(29, 29), (0.8830, 1.0))
    near(stats.wilson(0, 0), (0.0, 1.0), 1e-12)
    near(stats.wilson(81, 263, 0.99), (0.2405, 0.3855), 2e-3)
    # Student's t by his table: 4.30265 at 95 % with two degrees of freedom, 2.13185 at 90 % with four.
    half = 4.30265 * math.sqrt(7 / 3) / math.sqrt(3)
    near(stats.paired_interval([1, 2, 4]), (7 / 3 - half, 7 / 3, 7 / 3 + half), 1e-4)
    half = 2.13185 * math.sqrt(2.5) / math.sqrt(5)
    near(stats.paired_interval([1, 2, 3, 4, 5], 0.9), (3 - half, 3.0, 3 + half), 1e-4)
    near(stats.paired_interval([1, 2]), (1.5 - 12.7062 * 0.5, 1.5, 1.5 + 12.7062 * 0.5), 1e-3)
    assert stats.paired_interval([0.3]) == (-math.inf, 0.3, math.inf)
    near(stats.newcombe_paired(36, 12, 2, 0), (0.0569, 0.3404))
    near(stats.newcombe_paired(0, 0, 0, 0), (-1.0, 1.0), 1e-12)
    near(stats.newcombe_paired(0, 50, 0, 0), (0.8955, 1.0), 5e-2)
    low, high = stats.newcombe_paired(10, 5, 5, 10)
    assert math.isclose(low, -high, abs_tol=1e-9)


# -- gate --------------------------------------------------------------------------------------------------------------


def gate() -> None:
    """Simulated verdicts against the audit's formulas and the written rules; levels; standing checks."""
    _levels()
    for i in range(16):
        _verdict(i)
    for i in range(6):
        _standing(i)
    _silence()


def _levels() -> None:
    make = module("gate").slot_levels
    spend = module("stats").spend_epochs
    for slot in (1, 8, 9, 30, 1000):
        for promotions in (0, 1, 5):
            sup, ni = make(alpha=0.05, slot=slot, promotions=promotions, spend=lambda k: spend(k, 8))
            share = recompute.share(slot, 8)
            for text, exact in ((sup, 0.05 * float(share) * (promotions + 1)), (ni, 0.05 * float(share))):
                assert exact * (1 - 1.1e-5) <= float(text) <= exact * (1 + 1e-15), f"{text} for {exact}"
    assert float(make(alpha=0.05, slot=1, promotions=0)[1]) <= 0.05 / 200
    try:
        make(alpha=0.0, slot=1, promotions=0)
    except ValueError:
        return
    raise AssertionError("a level of nothing")


def version(name: str) -> dict[str, Any]:
    """Plain form of a candidate with that letter as its hash."""
    return {"model": name * 64, "scaffold": {"kind": "direct"}, "genome": "0" * 64, "schema_version": 1}


def _question(i: int) -> Any:
    questions = sys.modules["evolvent.judge.questions"]
    one, two = (
        questions.Protected(skill="a", margin_points=5, discordance="0.2"),
        questions.Protected(skill="b", margin_points=8 - i % 4, discordance="0.1"),
    )
    return questions.Question(
        slot=i + 1,
        candidate=version("c"),
        incumbent=version("1"),
        anchor=version("1" if i % 5 == 4 else "2"),
        target="a",
        protected=(one, two),
        alpha_sup=("0.01", "0.004")[i % 2],
        alpha_ni="0.01",
        max_items=(1800, 700, 130)[i % 3],
        block_items=(64, 50)[i % 2],
        mei_points=5 + i % 3,
    )


_GAINS = (
    {"a": 0.25, "b": 0.0},
    {"a": 0.25, "b": -0.25},
    {"a": 0.0, "b": 0.0},
    {"a": -0.15, "b": 0.1},
    {"a": 0.05, "b": 0.05},
    {"a": 0.25, "b": -0.06},
    {"a": 0.18, "b": 0.05},
    {"a": 0.3, "b": 0.05},
)


def _verdict(i: int) -> None:
    judged = module("gate")
    question, gains, rng = _question(i), _GAINS[i % len(_GAINS)], np.random.default_rng(i)
    outcomes: dict[Any, Any] = {}
    tests = recompute.question_stages(question.plain())
    rule = judged.PairedGate().rule
    for _ in range(200):
        ruling = rule(question, outcomes)
        marks = {f"{pair.skill}:{pair.against}": _marks(values) for pair, values in outcomes.items()}
        ends, needs = _same_stages(ruling.stages, tests, marks)
        said, reason = recompute.decision(tests, ends)
        used = sum(
            max(len(v) for k, v in marks.items() if k.startswith(f"{skill}:"))
            for skill in {k.split(":")[0] for k in marks}
        )
        assert judged.items_used(outcomes) == used
        if ruling.decision is not None:
            assert ruling.draw is None
            assert (ruling.decision.value, ruling.reason) == (said, reason), (
                f"{ruling.decision} {ruling.reason}, not {said} {reason}"
            )
            if said == "abstain":  # only where no item is left for what is asked next
                assert used >= question.max_items
            return
        assert said == "abstain", f"it goes on, but it is decided: {said}"
        _drawn_rightly(ruling, tests, ends, needs, marks)
        _draw(question, ruling.draw, outcomes, gains, rng, used)
    raise AssertionError("no end")


def _same_stages(stages: Any, tests: list[recompute.Test], marks: dict[str, str]) -> tuple[list[str], list[float]]:
    """How each test ends by the audit's own formulas, and what log e is missing; the stages must say the same."""
    ends, needs = [], []
    assert [stage.name for stage in stages] == [test.name for test in tests]
    for stage, test in zip(stages, tests, strict=True):
        read = marks.get(test.pair, "")
        path, outcome, end = test.read(read)
        assert f"{stage.pair.skill}:{stage.pair.against}" == test.pair
        assert (stage.outcome, stage.num_items) == (outcome, end), (
            f"{test.name}: {stage.outcome} {stage.num_items}, not {outcome} {end}"
        )
        assert (stage.wins, stage.losses) == (read[:end].count("+"), read[:end].count("-"))
        assert np.allclose(stage.path, path[:end], rtol=0, atol=_CLOSE)
        assert math.isclose(stage.threshold_log_e, test.threshold)
        assert stage.alpha == test.alpha
        needs.append(test.threshold - (path[end - 1] if end else 0.0))
        assert math.isclose(stage.shortfall, needs[-1], abs_tol=1e-9)
        ends.append(outcome)
    return ends, needs


def _drawn_rightly(
    ruling: Any, tests: list[recompute.Test], ends: list[str], needs: list[float], marks: dict[str, str]
) -> None:
    """Target first; then every pair that has none; then the one with the least evidence."""
    pair = f"{ruling.draw.skill}:{ruling.draw.against}"
    still = {test.pair: need for test, end, need in zip(tests, ends, needs, strict=True) if end == "open"}
    if ends[0] == "open":
        assert pair == tests[0].pair
        return
    fresh = [name for name in still if not marks.get(name)]
    if fresh:
        assert pair == fresh[0]
        return
    assert still[pair] >= max(still.values()) - _CLOSE


def _draw(question: Any, pair: Any, outcomes: dict[Any, Any], gains: dict[str, float], rng: Any, used: int) -> None:
    known = outcomes.get(pair, np.zeros(0, np.int8))
    longest = max((len(v) for p, v in outcomes.items() if p.skill == pair.skill), default=0)
    room = question.max_items - used
    size = min(question.block_items, longest - len(known)) if len(known) < longest else min(question.block_items, room)
    assert size > 0, "it asks for more items than there are"
    gain = gains[pair.skill]
    outcomes[pair] = np.concatenate(
        [known, rng.choice(np.array([-1, 0, 1], np.int8), size, p=[(0.3 - gain) / 2, 0.7, (0.3 + gain) / 2])]
    )


def _standing(i: int) -> None:
    questions = sys.modules["evolvent.judge.questions"]
    judged = module("gate")
    skills = ("a", "b", "c")[: 1 + i % 3]
    question = questions.StandingQuestion(
        number=i + 1,
        reference=version("1"),
        champion=version("c"),
        alpha="0.01",
        max_items=900,
        protected=tuple(questions.Protected(skill=skill, margin_points=5) for skill in skills),
    )
    rng = np.random.default_rng(i)
    tests = recompute.standing_stages(question.plain())
    for size in (0, 40, 400):
        outcomes = {
            judged.Pair(skill, "anchor"): rng.choice(
                np.array([-1, 0, 1], np.int8), size, p=[0.3 - i / 25, 0.6, 0.1 + i / 25]
            )
            for skill in skills
        }
        marks = {f"{pair.skill}:{pair.against}": _marks(values) for pair, values in outcomes.items()}
        _same_stages(judged.standing_stages(question, outcomes), tests, marks)


def _silence() -> None:
    """Nothing seen: the target is asked for; nothing is decided. A test ends at its threshold, not beyond it."""
    assert module("gate")._crossing(np.array([0.5, 1.0, 2.0]), 1.0) == 1
    assert module("gate").items_used({module("gate").Pair("a", "anchor"): np.zeros(0, np.int8)}) == 0
    ruling = module("gate").PairedGate().rule(_question(0), {})
    assert ruling.decision is None
    assert (ruling.draw.skill, ruling.draw.against) == ("a", "incumbent")
