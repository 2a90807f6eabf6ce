"""Effect estimates: folds in whole numbers, shrunk level by level towards their prior."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import episode

from evolvent.memory.effects import Case, Effects, Prior
from evolvent.memory.sums import Effect

HERE, THERE = Case(band="middle", error="wrong_letters"), Case(band="low", error="syntax")
seen = st.builds(
    episode,
    operator=st.sampled_from(["gold", "policy"]),
    error=st.sampled_from(["", "a", "b"]),
    band=st.sampled_from(["low", "middle", "high"]),
    gain=st.none() | st.integers(-40_000, 40_000),
    outcome=st.sampled_from(["accepted", "rejected", "failed"]),
    params=st.sampled_from([{}, {"x": 1}, {"x": 2}]),
)


def effects(*gains: float, **fields: object) -> Effects:
    made = Effects()
    for gain in gains:
        made.learn(episode(gain=round(1000 * gain), **fields))
    return made


@given(st.lists(seen, max_size=20))
def test_order_does_not_count(episodes: list) -> None:
    one, other = Effects(), Effects()
    for e in episodes:
        one.learn(e)
    for e in episodes[::-1]:
        other.learn(e)
    assert one.plain() == other.plain()


@given(st.lists(seen, max_size=10))
def test_estimates_are_finite_and_between_prior_and_evidence(episodes: list) -> None:
    made = Effects()
    for e in episodes:
        made.learn(e)
    known = made.estimate("gold", {}, HERE, Prior(points=2.0))
    gains = [e.gain / 1000 for e in episodes if e.operator == "gold" and e.gain is not None]
    assert min([2.0, *gains]) - 1e-9 <= known.mean <= max([2.0, *gains]) + 1e-9
    assert 0 < known.error < known.deviation


def test_the_estimate_starts_at_the_prior_and_follows_the_evidence() -> None:
    none, few, many = (effects(*[10.0] * n).estimate("gold", {}, HERE, Prior(points=2.0)) for n in (0, 1, 50))
    assert none.mean == 2.0
    assert 2.0 < few.mean < many.mean <= 10.0
    assert many.mean == pytest.approx(10.0, abs=0.5)
    assert many.error < few.error < none.error
    assert effects(*[10.0] * 50).estimate("policy", {}, HERE, Prior(points=2.0)).mean == 2.0, (
        "another operator's evidence"
    )


def test_a_class_never_seen_borrows_from_those_that_were() -> None:
    made = effects(*[10.0] * 20)
    here, there = (made.estimate("gold", {}, case, Prior(points=0.0)) for case in (HERE, THERE))
    assert 8 < there.mean <= here.mean
    assert there.error > here.error


def test_classes_that_differ_are_told_apart_the_sooner_the_more_they_differ() -> None:
    made = effects(*[12.0] * 12, error="a")
    for gain in [-12.0] * 12:
        made.learn(episode(gain=round(1000 * gain), error="b"))
    a, b = (made.estimate("gold", {}, Case(band="middle", error=e), Prior(points=0.0)).mean for e in "ab")
    assert a > 9
    assert b < -9


def test_a_value_gives_its_share_until_it_was_seen() -> None:
    """A build at half the cost is expected to gain half as much; what was measured with it takes over."""
    prior = Prior(points=8.0, shares={"x=1": 0.5})
    half, whole = (Effects().estimate("gold", {"x": x}, HERE, prior).mean for x in (1, 2))
    assert (half, whole) == (4.0, 8.0)
    made = Effects()
    for x in [1, 2] * 40:
        made.learn(episode(gain=10_000, params={"x": x}))
    assert made.estimate("gold", {"x": 1}, HERE, prior).mean == pytest.approx(10.0, abs=1.5), "as good as the whole"


def test_values_of_parameters_shift_the_estimate() -> None:
    made = effects(*[8.0] * 10, params={"x": 1})
    for gain in [0.0] * 10:
        made.learn(episode(gain=round(1000 * gain), params={"x": 2}))
    one, two, new = (made.estimate("gold", {"x": x}, HERE, Prior(points=0.0)) for x in (1, 2, 3))
    assert two.mean < new.mean < one.mean
    assert new.error > one.error


def test_draws_of_one_call_belong_together() -> None:
    """The arm is drawn once: choices that differ in no parameter are worth the same, and many are not more hopeful."""
    rng = random.Random(0)
    same = [Effects().draws("gold", [{}] * 3, HERE, Prior(points=2.0), rng) for _ in range(2000)]
    assert all(len(set(draws)) == 1 for draws in same)
    assert all(both == of_arm for draws in same for both, of_arm in draws)
    assert statistics.fmean(draws[0][0] for draws in same) == pytest.approx(2.0, abs=0.8)
    assert statistics.stdev(draws[0][0] for draws in same) > 8
    apart = Effects().draws("gold", [{"x": 1}, {"x": 2}, {"x": 1}], HERE, Prior(points=2.0), rng)
    assert apart[0] == apart[2] != apart[1]
    assert len({of_arm for _, of_arm in apart}) == 1, "nothing is known of the values"


def test_cost_follows_what_values_made_of_it() -> None:
    made = Effects()
    for x, mflops in ((1, 100), (2, 300)):
        made.learn(episode(params={"x": x}, mflops=mflops))
    assert (made.cost("gold", {"x": 1}), made.cost("gold", {"x": 2}), made.cost("gold", {"x": 3})) == (100, 300, 200)
    assert made.cost("policy", {}) == 0
    assert made.foresee("gold", {"x": 2}, HERE, Prior(points=0.0)).flops == 300 * 10**6


def test_programs_are_arms_of_their_own_that_lend_each_other_evidence() -> None:
    made = Effects()
    made.learn(episode(operator="scaffold", params={"kind": "vote"}, gain=20_000, mflops=0))

    def known(kind: str) -> float:
        return made.estimate("scaffold", {"kind": kind}, HERE, Prior(points=10.0)).mean

    assert known("vote") > known("retry") > 10.0
    assert made.cost("scaffold", {"kind": "vote"}) == 0
    for kind in ("retry", "steps", "plan"):
        for _ in range(3):
            made.learn(episode(operator="scaffold", params={"kind": kind}, gain=0, mflops=0))
    assert known("retry") < known("decompose") < 7.0
    assert known("vote") > known("decompose") + 2
    assert made.forget("scaffold") == 4
    assert made.plain() == Effects().plain()


def test_an_operator_from_a_module_of_ones_own_is_an_operator_like_any_other() -> None:
    """`mine:Bold` has a colon of its own; so far all of `mine` was taken for one operator."""
    made = Effects()
    for operator, params, gain in (("mine:Bold", {"kind": "vote"}, 20_000), ("mine:Meek", {}, 0)):
        for _ in range(9):
            made.learn(episode(operator=operator, params=params, gain=gain))
    prior = Prior(points=2.0)
    assert made.estimate("mine:Bold", {"kind": "retry"}, HERE, prior).mean > 5
    assert made.estimate("mine:Meek", {}, HERE, prior).mean < 2
    plain = effects(*[0.0] * 9, operator="meek")
    for _ in range(9):
        plain.learn(episode(operator="bold", params={"kind": "vote"}, gain=20_000))
    same = [e.estimate(n, {}, HERE, prior).error for e, n in ((made, "mine:Meek"), (plain, "meek"))]
    assert same[0] == same[1], "two operators, and how far they are apart says how far a prior is believed"
    assert (made.forget("mine"), made.forget("mine:Bold"), made.forget("mine.Meek")) == (0, 1, 1)


def test_counts_are_whole_numbers() -> None:
    assert (
        effects(0.5, 0.5, 0.5, outcome="accepted").groups["gold|middle|wrong_letters"].plain()
        == Effect(n=3, total=1500, squares=0, accepted=3, judged=3, builds=3, mflops=9).plain()
    )


def test_the_range_foreseen_holds_what_comes_as_often_as_it_should() -> None:
    """Gains drawn from one law; each foreseen from those before it. At 80 %, within what 3,000 draws allow."""
    inside = trials = 0
    for run in range(100):
        rng, made = random.Random(run), Effects()
        mean = rng.gauss(3, 8)
        for trial in range(40):
            foreseen = made.foresee("gold", {}, HERE, Prior(points=3.0))
            gain = rng.gauss(mean, 6)
            if trial >= 10:
                trials += 1
                inside += abs(gain - foreseen.points) <= 1.2816 * foreseen.deviation
            made.learn(episode(gain=round(1000 * gain)))
    assert trials == 3000
    assert 0.76 <= inside / trials <= 0.88


def test_shrinkage_is_nearer_to_the_truth_than_the_classes_own_means() -> None:
    """Classes drawn about one arm's mean, few trials each: summed squared error of both, over 200 worlds."""
    shrunk = own = 0.0
    for world in range(200):
        rng, made = random.Random(world), Effects()
        truth = {error: 5 + rng.gauss(0, 3) for error in "abcdef"}
        drawn = {error: [rng.gauss(mean, 8) for _ in range(3)] for error, mean in truth.items()}
        for error, gains in drawn.items():
            for gain in gains:
                made.learn(episode(error=error, gain=round(1000 * gain)))
        for error, mean in truth.items():
            known = made.estimate("gold", {}, Case(band="middle", error=error), Prior(points=0.0))
            shrunk += (known.mean - mean) ** 2
            own += (statistics.fmean(drawn[error]) - mean) ** 2
    assert shrunk < 0.7 * own


def test_values_that_differ_are_believed_and_values_that_do_not_are_not() -> None:
    """One parameter matters by 40 points, the other by none; 24 trials, each with noise of 12."""
    rng, made = random.Random(0), Effects()
    for trial in range(24):
        params = {"share": (0, 80)[trial % 2], "rate": (1, 2)[trial // 2 % 2]}
        gain = (-15.0, 25.0)[trial % 2] + rng.gauss(0, 12)
        made.learn(episode(params=params, gain=round(1000 * gain)))

    def mean(share: int, rate: int) -> float:
        return made.estimate("gold", {"share": share, "rate": rate}, HERE, Prior(points=2.0)).mean

    assert mean(80, 1) - mean(0, 1) > 25
    assert abs(mean(80, 1) - mean(80, 2)) < 8


def test_an_early_success_of_one_operator_leaves_doubt_about_the_others() -> None:
    """What was thought of others is trusted less where operators were seen far apart, and no less where they agree."""
    prior = Prior(points=5.0)
    alike, apart = effects(*[5.0] * 6), effects(*[45.0] * 6)
    for made in (alike, apart):
        for _ in range(6):
            made.learn(episode(operator="policy", gain=5000))
    other = [made.estimate("scaffold", {}, HERE, prior) for made in (alike, apart)]
    assert [known.mean for known in other] == [5.0, 5.0]
    assert other[1].error > 1.3 * other[0].error


def test_what_was_written_freely_teaches_of_its_operator_and_of_no_value() -> None:
    effects = Effects()
    for number in range(5):
        effects.learn(episode(id=f"{number}.0", operator="patch", params={"scaffold": {"kind": "code", "n": number}}))
    assert not effects.values
    assert not effects.pairs
    assert sum(effect.n for effect in effects.groups.values()) == 5
