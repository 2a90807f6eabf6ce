"""Signals: what told the verdict weighs, what did not weighs little, what misled weighs against."""

from __future__ import annotations

import random

from worlds import episode

from evolvent.memory.signals import Signals


def told(**means: tuple[float, float]) -> Signals:
    """400 verdicts, half accepted; each signal normal about its mean of refused or accepted."""
    rng, signals = random.Random(0), Signals()
    for number in range(400):
        accepted = number % 2
        values = {name: round(1000 * rng.gauss(pair[accepted], 1)) for name, pair in means.items()}
        signals.learn(episode(outcome="accepted" if accepted else "rejected", signals=values))
    return signals


def test_weights_are_the_discriminant_s_slopes() -> None:
    signals = told(good=(0.0, 2.0), empty=(1.0, 1.0), misleading=(1.0, 0.0))
    assert abs(signals.weight("good") - 2.0) < 0.3, "difference of means over the variance"
    assert abs(signals.weight("empty")) < 0.3
    assert signals.weight("misleading") < -0.7
    assert signals.promise({"good": 2500}) > 1 > -1 > signals.promise({"good": -500})
    assert signals.promise({"unheard_of": 9000}) == 0.0


def test_a_few_verdicts_weigh_little_and_one_kind_of_verdict_nothing() -> None:
    signals = Signals()
    signals.learn(episode(outcome="accepted", signals={"dev": 2000}))
    assert signals.weight("dev") == 0.0
    for value in (0, 100):
        signals.learn(episode(outcome="rejected", signals={"dev": value}))
    few = signals.weight("dev")
    for value in (1900, 2100, 2000, 0, 50, 100) * 5:
        signals.learn(episode(outcome="accepted" if value > 1000 else "rejected", signals={"dev": value}))
    assert 0 < few < signals.weight("dev")


def test_only_verdicts_count() -> None:
    signals = Signals()
    signals.learn(episode(outcome="screened out", signals={"dev": 2000}))
    assert signals.plain() == {}
